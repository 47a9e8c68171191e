"""Chapter 3's second sweep: grokking with and without weight decay on two shares of the table, and what it costs to
memorize sums compared with answers that have been shuffled.

It is small on purpose, so that one core records it in about two minutes: a clock of 53 numbers and two seeds, and one
run without weight decay in the world of the chapter, to set beside those of `grokking.json`.
"""

import torch
import torch.nn.functional as F
from tqdm.auto import tqdm

from kfaclib.io import files
from kfaclib.toy import grokking as g
from kfcourse.experiments.grokking import first, watched

P, WIDTH, SEEDS = 53, 256, (0, 1)
DECAYS, SHARES, STEPS = (0.0, 0.3, 1.0), (0.4, 0.6), 600  # of the map; .4 has a short plateau at decay 1, .6 has none
PRICED, SHORT = (0.2, 0.4, 0.6), 500  # shares of the table for the comparison with shuffled answers, and its steps


def sums(p):
    """[p, p]: the answers to all pairs, (a + b) mod p."""
    return g.answers(g.all_pairs(p), p).view(p, p)


def shuffled_sums(p, seed):
    """[p, p]: the same answers in random places, so that there is no rule to find."""
    order = torch.randperm(p * p, generator=torch.Generator().manual_seed(seed))
    return sums(p).flatten()[order].view(p, p)


def loss_on(table):
    """The squared error on the answers of a table [p, p], for `grokking.train`."""

    def loss(params, pairs):
        out = g.logits(params, pairs)
        return F.mse_loss(out, F.one_hot(table[pairs[:, 0], pairs[:, 1]], len(table)).to(out.dtype))

    return loss


def squared_norm(params):
    """The sum of all squared weights, which is what weight decay charges for."""
    return sum(value.square().sum().item() for value in params.values())


@torch.no_grad()
def cost(params, pairs, table):
    """{"margin", "squared_norm", "cost"}: by how much the right output exceeds the mean of the others, and the squared
    norm that the same network would have if scaled to margin 1 (outputs grow with the third power of the weights).
    """
    out, right = g.logits(params, pairs), table[pairs[:, 0], pairs[:, 1]]
    of_right = out.gather(1, right[:, None])[:, 0]
    margin = (of_right - (out.sum(1) - of_right) / (out.shape[1] - 1)).mean().item()
    norm = squared_norm(params)
    return {"margin": margin, "squared_norm": norm, "cost": norm / margin ** (2 / 3)}


def decayed(p, decay, share, seed, steps, every):
    """One run: when it memorized and generalized, and its measures after the last step."""
    train, test = g.split(p, share, seed)
    kept, on_train, on_test = watched(
        g.init(p, WIDTH, seed), train, test, steps, every, keep=(steps,), weight_decay=decay, progress=False
    )
    params = kept[steps]
    curvature = g.curvature(g.logits, params, train, examples=1)
    return {
        "p": p,
        "decay": decay,
        "fraction": share,
        "seed": seed,
        "steps": steps,
        "memorized": first(on_train, 0.99),
        "generalized": first(on_test, 0.95),
        "test": on_test,
        "restricted_test": g.restricted_accuracy(params, test),
        "excluded_train": g.excluded_accuracy(params, train, test),
        "purity": g.purity(params),
        "squared_norm": squared_norm(params),
        "top": curvature.top,
        "effective_rank": curvature.effective_rank,
    }


def priced(share, shuffled, seed):
    """One short run on sums or on shuffled answers: what it learned, and what that costs."""
    train, test = g.split(P, share, seed)
    table = shuffled_sums(P, seed) if shuffled else sums(P)
    loss = loss_on(table)
    params = g.train(g.init(P, WIDTH, seed), train, SHORT, loss=loss, keep=(SHORT,), progress=False)[SHORT]
    right = g.logits(params, train).argmax(1) == table[train[:, 0], train[:, 1]]
    return {
        "fraction": share,
        "pairs": len(train),
        "answers": "shuffled" if shuffled else "sums",
        "seed": seed,
        "train": right.double().mean().item(),
        "test": None if shuffled else g.accuracy(params, test),
        "relative_loss": loss(params, train).item() * P,  # 1: as bad as answering zero everywhere
    } | cost(params, train, table)


def run(out):
    """About two minutes on one core."""
    rows = [
        decayed(P, decay, share, seed, STEPS, 20)
        for share in SHARES
        for decay in tqdm(DECAYS, desc=f"weight decay, {share} of the table")
        for seed in SEEDS
    ]
    prices = [
        priced(share, shuffled, seed)
        for share in tqdm(PRICED, desc="what memorizing costs")
        for shuffled in (False, True)
        for seed in SEEDS
    ]
    large = decayed(g.P, 0.0, g.FRACTION, 0, 3000, 50)
    files.write_json(
        out, {"provenance": files.provenance(list(SEEDS)), "map": rows, "prices": prices, "without_decay": large}
    )
