"""Which layers to edit: the paper sweeps with memorized windows at hand; its settings for OLMo-2-0425-1B are not
published.

Candidates are the chosen projections of one, two or three neighbouring blocks, at several masses.  Two tables:

without labels, from the factors alone: what an edit is predicted to cost, 1/2 E[(g^T dW a)^2] in nats per token, with
K-FAC's
    eigenvalues 1/2 sum of Pi C^2 over the dropped pairs; and the share of the weights' squared norm that it removes.
    On three small models (chapter 13) it orders candidates by what they forget, and by their perplexity only loosely;
    it is dozens of times too small, for it is a quadratic form taken far from its centre. What costs little forgets
    little.
with labels: what is left of recitation on memorized windows, and the perplexity of other text, both measured under the
edit.
"""

import re

import torch

from kfaclib.curvature.eigenbasis import eigenvalue_product
from kfaclib.editing.edit import edit_weights, edited, keep_prefix, prefix_mask
from kfaclib.lm.recitation import by_one_pass, perplexity


def blocks(names):
    """{number of the block: names of its layers}, from the first number in a layer's name; ValueError names a layer
    without one.
    """
    found = {}
    for name in names:
        number = re.search(r"\.(\d+)\.", name)
        if not number:
            raise ValueError(f"layer {name!r} has no block number in its name: a sweep over blocks cannot place it")
        found.setdefault(int(number[1]), []).append(name)
    return dict(sorted(found.items()))


def candidates(names, width=3):
    """{(first block, last block): layer names} of all runs of up to `width` neighbouring blocks."""
    by_block = blocks(names)
    return {
        (first, last): [name for b in range(first, last + 1) for name in by_block[b]]
        for first in by_block
        for last in range(first, first + width)
        if all(b in by_block for b in range(first, last + 1))
    }


def prediction(W, basis, mass):
    """(cost in nats per token, share of |W|^2 removed) that K-FAC predicts for keeping `mass` of W [O, I]'s
    curvature.
    """
    Q_G, Q_A = basis.Q_G.to(W.device), basis.Q_A.to(W.device)
    C2 = (Q_G.T @ W.detach().to(Q_G.dtype) @ Q_A).square()
    dropped = ~prefix_mask(keep_prefix(basis.lambda_G, basis.lambda_A, mass), len(basis.lambda_A)).to(W.device)
    cost = (eigenvalue_product(basis).to(W.device) * C2 * dropped).sum() / 2
    return cost.item(), ((C2 * dropped).sum() / C2.sum()).item()


def without_labels(layers, bases, masses, width=3):
    """Rows {"blocks", "mass", "cost", "removed"} of all candidates; costs of several layers add up, as if they did not
    interact.
    """
    single = {
        (name, mass): prediction(layers[name].weight, basis, mass) for name, basis in bases.items() for mass in masses
    }
    return [
        {
            "blocks": list(span),
            "mass": mass,
            "cost": sum(single[n, mass][0] for n in names),
            "removed": sum(single[n, mass][1] for n in names) / len(names),
        }
        for span, names in candidates(bases, width).items()
        for mass in masses
    ]


def with_labels(model, layers, bases, rows, windows, text, batch=64, say=lambda text: None):
    """The rows of `without_labels` with "strict" and "token_accuracy" on windows [(prefix ids, suffix ids)] and
    "perplexity" on text [N, S] under each candidate's edit, after a first row of the unedited model."""

    def measure():
        strict, tokens = by_one_pass(model, windows, batch)  # a sweep has many candidates, and generating is slow
        return {"strict": strict, "token_accuracy": tokens, "perplexity": perplexity(model, text)}

    measured, by_block = [{"blocks": None, "mass": 1.0, "cost": 0.0, "removed": 0.0, **measure()}], blocks(bases)
    for row in rows:
        first, last = row["blocks"]
        say(f"blocks {first} to {last}, mass {row['mass']:g}")
        names = [name for block in range(first, last + 1) for name in by_block[block]]
        with torch.no_grad(), edited(layers, edit_weights(layers, {name: bases[name] for name in names}, row["mass"])):
            measured.append({**row, **measure()})
    return measured


def best(rows, strict):
    """The measured row of lowest perplexity among those with strict recall of at most `strict`; None if there is
    none.
    """
    good = [row for row in rows if row["strict"] <= strict]
    return min(good, key=lambda row: row["perplexity"], default=None)


def cheapest(rows, removed):
    """Without labels: the row of lowest predicted cost among those that remove at least `removed` of the weights; None
    if there is none.
    """
    good = [row for row in rows if row["removed"] >= removed]
    return min(good, key=lambda row: row["cost"], default=None)
