"""Who is reciting? A detector that has seen no memorized text: how much of a layer's input lies where ordinary text
hardly goes.

The eigenvectors of A, sorted by eigenvalue, are the directions that ordinary text drives, the strongest first. *Flat
energy* is the share of an input's squared length in the flattest of them. One forward pass, no gradient, no label; only
ordinary text is needed, to know the directions, and to say how much flat energy is unusual.
"""

import torch
from scipy.stats import mannwhitneyu

from kfaclib.lm import activations

FLAT = 0.6  # the share of directions that counts as flat, as in the follow-up work on the 7B model


def flat_energy(x, basis, share=FLAT):
    """[T]: the share of ||x||^2 in the round(share I) flattest eigenvectors of A, for inputs x [T, I]; float64 in [0,
    1].

    A token whose input is zero has no energy to share out: ValueError.
    """
    width = len(basis.Q_A)
    if x.shape[-1] != width:
        raise ValueError(
            f"x has width {x.shape[-1]} and the basis is for inputs of width {width}: it belongs to another layer"
        )
    if not 0 < share < 1:
        raise ValueError(f"share={share}: the flat directions are a share of all, between 0 and 1")
    energy = (x.double() @ basis.Q_A.double()).square()
    total = energy.sum(-1)
    if (total == 0).any():
        raise ValueError(f"token {int((total == 0).nonzero()[0])} has an input of zeros: it has no energy to share out")
    return energy[..., width - round(share * width) :].sum(-1) / total


def scores(model, layers, bases, items, share=FLAT, batch=64):
    """{name: [N]}: the mean flat energy of every item, over the tokens from which its answer is predicted.

    items: [(prompt ids, answer ids)], for a passage (prefix ids, suffix ids). Layers that read the same input (gate and
    up of a block) have the same score: one of them is enough.
    """
    found, owner = activations.inputs(model, layers, items, batch)
    count = torch.bincount(owner, minlength=len(items))
    return {
        name: torch.zeros(len(items), dtype=torch.float64).index_add(0, owner, flat_energy(x, bases[name], share))
        / count
        for name, x in found.items()
    }


def auc(positive, negative):
    """The chance that a positive's score is above a negative's (ties count half), from two lists of scores: Mann and
    Whitney's U over the number of pairs. 1/2 is a coin, 1 tells them apart."""
    high, low = (torch.as_tensor(x, dtype=torch.float64).flatten() for x in (positive, negative))
    if min(len(high), len(low)) == 0:
        raise ValueError(
            f"{len(high)} positive and {len(low)} negative scores: a comparison needs at least one of each"
        )
    return mannwhitneyu(high.numpy(), low.numpy()).statistic.item() / (len(high) * len(low))


def caught(positive, ordinary, alarms=0.01):
    """Share of the positives above the threshold that lets `alarms` of the ordinary scores through: what a user would
    see.

    The threshold comes from ordinary text alone, so choose it on other ordinary text than is reported.
    """
    positive, ordinary = (torch.as_tensor(x, dtype=torch.float64).flatten() for x in (positive, ordinary))
    return (positive > ordinary.quantile(1 - alarms)).double().mean().item()
