"""A detector of recitation that has seen no memorized text: how much of a layer's input lies where ordinary text
hardly goes.

The eigenvectors of A, sorted by eigenvalue, are the directions that ordinary text drives, the strongest first. *Flat
energy* is the share of an input's squared length in the flattest of them. One forward pass, no gradient, no label; only
ordinary text is needed, to know the directions, and to say how much flat energy is unusual.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from kfaclib.lm import activations

if TYPE_CHECKING:
    from kfaclib.curvature.eigenbasis import Eigenbasis

FLAT = 0.6  # the share of directions that counts as flat, as in the follow-up work on the 7B model


def flat_energy(x: torch.Tensor, basis: "Eigenbasis", share: float = FLAT) -> torch.Tensor:
    """Share of the squared length of each input that lies in the flattest eigenvectors of A.

    x: [T, I]. basis: the layer's Eigenbasis. share: the share of the I directions that counts as flat. Returns float64
    [T], in [0, 1]. Raises ValueError for an input of zeros, a basis of another width or a share outside (0, 1).
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


def scores(
    model: torch.nn.Module, layers: dict, bases: dict, items: list, share: float = FLAT, batch: int = 64
) -> dict[str, torch.Tensor]:
    """Mean flat energy of every item, over the tokens from which its answer is predicted: {name: float64 [N]}.

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


def auc(positive: torch.Tensor | Sequence[float], negative: torch.Tensor | Sequence[float]) -> float:
    """Area under the ROC curve: the chance that a positive's score is above a negative's, ties counting half (Mann and
    Whitney 1947).

    positive, negative: scores, of any shape. 1/2 is chance, 1 separates them. Raises ValueError if one of them is
    empty.
    """
    high, low = (torch.as_tensor(x, dtype=torch.float64).flatten() for x in (positive, negative))
    if min(len(high), len(low)) == 0:
        raise ValueError(
            f"{len(high)} positive and {len(low)} negative scores: a comparison needs at least one of each"
        )
    from scipy.stats import mannwhitneyu  # takes two seconds, and most of this module needs none of it

    return mannwhitneyu(high.numpy(), low.numpy()).statistic.item() / (len(high) * len(low))


def auc_within(
    positive: Sequence[float],
    negative: Sequence[float],
    positive_by: Sequence[float],
    negative_by: Sequence[float],
    edges: Sequence[float],
) -> float:
    """`auc` among pairs that are alike in a second quantity: its strata's mean, each with the weight of its pairs.

    positive, negative: scores [N] and [M]. positive_by, negative_by: the quantity that shall not be what tells them
    apart, one for each score. edges: ascending, the K inner borders of K + 1 strata; a value on a border belongs to the
    stratum above it. A stratum without one of the two sides has no pairs. Raises ValueError if none has any. Source:
    van Elteren 1960, the stratified Mann-Whitney test.
    """
    sides = [torch.as_tensor(x, dtype=torch.float64).flatten() for x in (positive, negative)]
    borders = torch.as_tensor(edges, dtype=torch.float64)
    strata = [
        torch.bucketize(torch.as_tensor(x, dtype=torch.float64).flatten(), borders, right=True)
        for x in (positive_by, negative_by)
    ]
    total = pairs = 0
    for stratum in range(len(borders) + 1):
        high, low = (scores[which == stratum] for scores, which in zip(sides, strata, strict=True))
        if len(high) and len(low):
            total += auc(high, low) * len(high) * len(low)
            pairs += len(high) * len(low)
    if not pairs:
        raise ValueError("no stratum holds a positive and a negative score: use fewer edges")
    return total / pairs


def caught(
    positive: torch.Tensor | Sequence[float], ordinary: torch.Tensor | Sequence[float], alarms: float = 0.01
) -> float:
    """Share of the positives above the threshold that lets the share `alarms` of the ordinary scores through.

    The threshold comes from ordinary text alone, so choose it on other ordinary text than is reported.
    """
    positive, ordinary = (torch.as_tensor(x, dtype=torch.float64).flatten() for x in (positive, ordinary))
    return (positive > ordinary.quantile(1 - alarms)).double().mean().item()
