"""Tasks for the small model, from pure recitation to logic, as lists of (prompt, answer) token ids.

Each task comes in two halves that share no quote, no fact, no sum and no context: "choose", on which layers and mass
may be chosen, and "report", which is only ever reported.
"""

import random
from collections.abc import Sequence

import torch

from kfaclib.lm import recitation
from kfaclib.toy import world as w

HALVES = ("choose", "report")


def _half(xs, half):
    if half not in HALVES:
        raise ValueError(f"half={half!r}: it is one of {HALVES}")
    return xs[HALVES.index(half) :: 2]


def quote_windows(world: w.World, half: str, passages: Sequence[Sequence[str]] | None = None) -> torch.Tensor:
    """One half of the world's quotes, or of `passages`, as windows: token ids [N, 112], which are <s>, the rest of the
    64-token prefix and the 48-token suffix. Raises ValueError for a `half` that is not one of HALVES."""
    return torch.tensor([[w.BOS] + w.encode(q) for q in _half(world.quotes if passages is None else passages, half)])


def fresh_text(seed: int | str, documents: int = 64) -> torch.Tensor:
    """Stories that no training run has seen: token ids [documents, 112]; another seed gives other stories."""
    rng = random.Random(f"fresh text {seed}")
    return torch.tensor([[w.BOS] + w.encode(w.text(rng, w.PREFIX - 1 + w.SUFFIX)) for _ in range(documents)])


def strange_text(seed: int | str, documents: int = 64) -> torch.Tensor:
    """Text unlike the corpus: stories by another hand (`world.strange_text`), token ids [documents, 112]."""
    rng = random.Random(f"strange text {seed}")
    return torch.tensor([[w.BOS] + w.encode(w.strange_text(rng, w.PREFIX - 1 + w.SUFFIX)) for _ in range(documents)])


def make_suite(world: w.World, half: str, count: int = 200) -> dict[str, list[tuple[list[int], list[int]]]]:
    """The tasks of one half, at most `count` items each: {task: [(prompt ids, answer ids)]}.

    Sums come from the held-out tenth, facts are half of the world's facts, contexts are new. Deduction is split into
    rules that end after one step ("deduction") and chains of two, whose answer must go on by itself
    ("deduction_chain").
    """
    rng = random.Random(f"suite {world.seed} {half}")
    sums = w.sums(unseen=True)
    random.Random("sums").shuffle(sums)
    pairs = {
        "facts_rare": [w.rare_item(world, c) for c in _half(list(world.rare), half)],
        "facts_frequent": [w.frequent_item(world, k) for k in _half(list(world.frequent), half)],
        "arithmetic": [w.sum_item(*s) for s in _half(sums, half)[:count]],
    }
    contexts = {
        "open_book": lambda: w.open_book(rng)[0],
        "boolean": lambda: w.boolean(rng),
        "deduction": lambda: w.deduction(rng, steps=1)[0],
        "deduction_chain": lambda: w.deduction(rng, steps=2)[0],
        "comparison": lambda: w.comparison(rng),
        "tracking": lambda: w.tracking(rng)[0],
    }
    pairs |= {task: [make() for _ in range(count)] for task, make in contexts.items()}
    return {task: [([w.BOS] + w.encode(p), w.encode(a)) for p, a in items] for task, items in pairs.items()}


def right(model: torch.nn.Module, items: Sequence[tuple[list[int], list[int]]], batch: int = 128) -> torch.Tensor:
    """Whether the greedy answer to each item is right in every token: bool [N].

    items: (prompt ids, answer ids). One pass of teacher forcing decides it: the greedy answer is right exactly when the
    argmax at every position of the answer is.
    """
    return torch.tensor([row.all() for row in recitation.hits(model, items, batch)])


def accuracy(model: torch.nn.Module, suite: dict[str, list]) -> dict[str, float]:
    """{task: share of items that are answered right}, for a suite of `make_suite`."""
    return {task: right(model, items).float().mean().item() for task, items in suite.items()}
