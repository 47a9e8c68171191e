"""A sweep over the layers to edit: the paper's settings for OLMo-2-0425-1B are not published.

Candidates are the chosen projections of one, two or three neighbouring blocks, at several masses. There are two tables.

- Without labels, from the factors alone: the predicted cost of an edit, 1/2 E[(g^T dW a)^2] in nats per token, which
  with K-FAC's eigenvalues Pi is 1/2 the sum of Pi C^2 over the dropped pairs; and the share of the weights' squared
  norm that the edit removes. `exactly` adds the same quadratic form of the Fisher without a factorisation, over all
  layers of a candidate together, from a few rows of text. Chapter 17 says how far both are from what is measured on
  three small models, and why.
- With labels: strict recall on memorized windows, and the perplexity of other text, both measured under the edit.
"""

import re
from collections.abc import Callable, Iterable, Sequence

import torch

from kfaclib.curvature.eigenbasis import Eigenbasis, eigenvalue_product
from kfaclib.curvature.price import exact_prices
from kfaclib.editing.edit import edit_weights, edited, keep_prefix, prefix_mask
from kfaclib.lm.recitation import by_one_pass, perplexity


def blocks(names: Iterable[str]) -> dict[int, list[str]]:
    """{number of a block: names of its layers}, by the first number in a layer's name. Raises ValueError naming a layer
    without one."""
    found = {}
    for name in names:
        number = re.search(r"\.(\d+)\.", name)
        if not number:
            raise ValueError(f"layer {name!r} has no block number in its name: a sweep over blocks cannot place it")
        found.setdefault(int(number[1]), []).append(name)
    return dict(sorted(found.items()))


def within(by_block: dict[int, list[str]], span: Sequence[int]) -> list[str]:
    """Layer names of the blocks from span[0] to span[1]; by_block: from `blocks`."""
    return [name for block in range(span[0], span[1] + 1) for name in by_block[block]]


def candidates(names: Iterable[str], width: int = 3) -> dict[tuple[int, int], list[str]]:
    """{(first block, last block): layer names} of all runs of up to `width` neighbouring blocks."""
    by_block = blocks(names)
    return {
        (first, last): within(by_block, (first, last))
        for first in by_block
        for last in range(first, first + width)
        if all(b in by_block for b in range(first, last + 1))
    }


def prediction(W: torch.Tensor, basis: Eigenbasis, mass: float) -> tuple[float, float]:
    """K-FAC's prediction for keeping `mass` of the curvature of W [O, I]: (cost in nats per token, share of |W|^2
    removed)."""
    Q_G, Q_A = basis.Q_G.to(W.device), basis.Q_A.to(W.device)
    C2 = (Q_G.T @ W.detach().to(Q_G.dtype) @ Q_A).square()
    dropped = ~prefix_mask(keep_prefix(basis.lambda_G, basis.lambda_A, mass), len(basis.lambda_A)).to(W.device)
    cost = (eigenvalue_product(basis).to(W.device) * C2 * dropped).sum() / 2
    return cost.item(), ((C2 * dropped).sum() / C2.sum()).item()


def without_labels(
    layers: dict[str, torch.nn.Linear], bases: dict[str, Eigenbasis], masses: Iterable[float], width: int = 3
) -> list[dict]:
    """Rows {"blocks", "mass", "cost", "removed"} of all candidates, from the factors alone.

    "cost" is in nats per token; the costs of several layers are added, as if they did not interact. "removed" is the
    mean over layers of the share of |W|^2 that is removed.
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


def exactly(
    model: torch.nn.Module,
    batches: Sequence,
    layers: dict[str, torch.nn.Linear],
    bases: dict[str, Eigenbasis],
    rows: Iterable[dict],
) -> list[dict]:
    """The rows of `without_labels` with "exact", the Fisher's quadratic form over all layers of the candidate together,
    and "alone", the sum of the same over its layers one by one, both in nats per token on `batches` of token ids.

    No label is needed: the Fisher's labels are the model's own. It costs one forward-mode pass a batch for each layer
    and mass.
    """
    rows, by_block, found = list(rows), blocks(bases), {}
    for mass in dict.fromkeys(row["mass"] for row in rows):
        mine = [i for i, row in enumerate(rows) if row["mass"] == mass]
        groups = [within(by_block, rows[i]["blocks"]) for i in mine]
        single = list(dict.fromkeys(name for group in groups for name in group))
        weights = edit_weights(layers, {name: bases[name] for name in single}, mass)
        prices = exact_prices(model, batches, layers, weights, [*groups, *([name] for name in single)])
        alone = dict(zip(single, prices[len(groups) :]))
        for i, group, price in zip(mine, groups, prices):
            found[i] = {"exact": price, "alone": sum(alone[name] for name in group)}
    return [{**row, **found[i]} for i, row in enumerate(rows)]


def with_labels(
    model: torch.nn.Module,
    layers: dict[str, torch.nn.Linear],
    bases: dict[str, Eigenbasis],
    rows: Iterable[dict],
    windows: Sequence,
    text: torch.Tensor,
    batch: int = 64,
    say: Callable[[str], object] = lambda text: None,
) -> list[dict]:
    """The rows of `without_labels` with "strict", "token_accuracy" and "perplexity" as measured under each candidate's
    edit, after a first row of the unedited model.

    windows: [(prefix ids, suffix ids)] of memorized text, for the first two. text: token ids [N, S] of other text, for
    the perplexity. The weights are restored after each row.
    """

    def measure():
        strict, tokens = by_one_pass(model, windows, batch)  # a sweep has many candidates, and generating is slow
        return {"strict": strict, "token_accuracy": tokens, "perplexity": perplexity(model, text)}

    measured, by_block = [{"blocks": None, "mass": 1.0, "cost": 0.0, "removed": 0.0, **measure()}], blocks(bases)
    for row in rows:
        first, last = row["blocks"]
        say(f"blocks {first} to {last}, mass {row['mass']:g}")
        names = within(by_block, row["blocks"])
        with torch.no_grad(), edited(layers, edit_weights(layers, {name: bases[name] for name in names}, row["mass"])):
            measured.append({**row, **measure()})
    return measured


def best(rows: Iterable[dict], strict: float) -> dict | None:
    """The measured row of lowest perplexity among those with a strict recall of at most `strict`; None if there is
    none."""
    good = [row for row in rows if row["strict"] <= strict]
    return min(good, key=lambda row: row["perplexity"], default=None)


def cheapest(rows: Iterable[dict], removed: float, by: str = "cost") -> dict | None:
    """The row of lowest predicted cost among those that remove at least the share `removed` of |W|^2; None if there is
    none. by: "cost", or "exact" or "alone" of `exactly`."""
    good = [row for row in rows if row["removed"] >= removed]
    return min(good, key=lambda row: row[by], default=None)
