"""The abilities of the small model, from pure recitation to logic, as lists of (prompt, answer) token ids.

Each task comes in two halves that share no quote, no fact, no sum and no context: "choose", on which
layers and mass may be chosen, and "report", which is only ever reported.
"""

import random

import torch

from kfaclib.lm import scoring
from kfaclib.toy import world as w

HALVES = ("choose", "report")


def _half(xs, half):
    if half not in HALVES:
        raise ValueError(f"half={half!r}: it is one of {HALVES}")
    return xs[HALVES.index(half) :: 2]


def quote_windows(world, half, passages=None):
    """[N, 112] token ids: <s>, the rest of the 64-token prefix, the 48-token suffix."""
    return torch.tensor([[w.BOS] + w.encode(q) for q in _half(world.quotes if passages is None else passages, half)])


def fresh_text(seed, documents=64):
    """[documents, 112] token ids of stories that no training run has seen; another seed gives other stories."""
    rng = random.Random(f"fresh text {seed}")
    return torch.tensor([[w.BOS] + w.encode(w.text(rng, w.PREFIX - 1 + w.SUFFIX)) for _ in range(documents)])


def make_suite(world, half, count=200):
    """{task: [(prompt ids, answer ids)]} for one half; an answer must be right in every token.

    Sums come from the held-out tenth, facts from all that the world knows (half of them), contexts are fresh.
    Deduction comes apart into rules that end after one step and chains of two, whose answer must go on by itself.
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


def right(model, items, batch=128):
    """bool [N]: is the greedy answer right in every token?

    Reading the argmax at every answer position under teacher forcing decides it: the greedy answer is right
    exactly when each argmax is.
    """
    found = scoring.teacher_forced(model, [p + a for p, a in items], [len(p) for p, _ in items], batch)
    return torch.tensor([row.hit.all() for row in found])


def accuracy(model, suite):
    """{task: share of items answered right}."""
    return {task: right(model, items).float().mean().item() for task, items in suite.items()}
