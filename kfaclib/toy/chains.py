"""Chains of dependent steps: find the owners of two things, then the owners' cities, then add the two cities' numbers.

A chain is one row. The model writes every answer into it and reads on from there: four lookups in contexts, then a sum.
A table that the model does not see gives each city a number, so the sum that is asked depends on the cities that the
model named. The sums of the right cities are among those that training never showed.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from kfaclib.toy import world as w

STEPS = ("owners", "homes", "form", "sum", "result")


@dataclass(frozen=True)
class Problem:
    """Three things, their owners and the owners' cities, the indices of the two that are asked for, and every city's
    number."""

    things: list[str]
    owners: list[str]
    cities: list[str]
    asked: list[int]
    numbers: dict[str, int]


@dataclass(frozen=True)
class Answer:
    """The row as the model completed it, what it said at each step ({"owners", "homes": two words, "digits": three}),
    and whether each of STEPS was right.

    "owners" and "homes": both of them. "form": three digits and a full stop. "sum": right for the numbers that were
    asked. "result": right for the problem.
    """

    text: str
    said: dict[str, list[str]]
    right: dict[str, bool]


def problems(seed: int, count: int) -> list[Problem]:
    """Draw `count` problems; the same seed gives the same ones."""
    rng = random.Random(f"chains {seed}")
    sums = [(a, b) for op, a, b in w.sums(unseen=True) if op == "+"]
    made = []
    for _ in range(count):
        things, owners, cities = (rng.sample(w.W[kind], 3) for kind in ("object", "first", "city"))
        asked, numbers = rng.sample(range(3), 2), {c: rng.randint(10, 99) for c in w.W["city"]}
        numbers[cities[asked[0]]], numbers[cities[asked[1]]] = rng.choice(sums)
        made.append(Problem(things, owners, cities, asked, numbers))
    return made


@torch.no_grad()
def _write(model, rows, count):
    """Let the model write `count` words at the end of every row (all rows are equally long); returns the words."""
    said = [[] for _ in rows]
    for _ in range(count):
        ids = torch.tensor([[w.BOS] + w.encode(row) for row in rows]).to(next(model.parameters()).device)
        for row, words, token in zip(
            rows, said, model(input_ids=ids, use_cache=False, logits_to_keep=1).logits[:, -1].argmax(-1).tolist()
        ):
            words.append(w.VOCABULARY[token] if token < len(w.VOCABULARY) else w.SPECIAL[w.UNK])
            row.append(words[-1])
    return said


def solve(model: torch.nn.Module, problems: Sequence[Problem]) -> list[Answer]:
    """The model's `Answer` to every problem, written word by word by greedy decoding."""
    rows = [
        ["context", ":"] + sum((["owner", "of", t, o, "."] for t, o in zip(p.things, p.owners)), []) for p in problems
    ]
    owners, homes = [], []
    for turn in (0, 1):
        for row, p in zip(rows, problems):
            row += ["question", ":", "owner", "of", p.things[p.asked[turn]]]
        owners.append(_write(model, rows, 2))
    for row, p in zip(rows, problems):
        row += ["context", ":"] + sum(([o, "lives", "in", c, "."] for o, c in sorted(zip(p.owners, p.cities))), [])
    for turn in (0, 1):
        for row, words in zip(rows, owners[turn]):
            row += ["question", ":", words[0], "lives", "in"]
        homes.append(_write(model, rows, 2))
    pairs = [tuple(p.numbers.get(homes[turn][n][0], 10) for turn in (0, 1)) for n, p in enumerate(problems)]
    for row, (a, b) in zip(rows, pairs):
        row += ["calc", ":", *str(a), "+", *str(b), "="]
    totals = _write(model, rows, 4)
    answers = []
    for n, (p, row, (a, b), said) in enumerate(zip(problems, rows, pairs, totals)):
        names, cities = ([kind[k] for k in p.asked] for kind in (p.owners, p.cities))
        right = {
            "owners": [owners[t][n] for t in (0, 1)] == [[x, "."] for x in names],
            "homes": [homes[t][n] for t in (0, 1)] == [[x, "."] for x in cities],
            "form": all(x in w.W["digit"] for x in said[:3]) and said[3] == ".",
            "sum": said[:3] == list(f"{a + b:03d}"[::-1]),
        }
        wanted = sum(p.numbers[c] for c in cities)
        right["result"] = right["owners"] and right["homes"] and said[:3] == list(f"{wanted:03d}"[::-1])
        words = {"owners": [owners[t][n][0] for t in (0, 1)], "homes": [homes[t][n][0] for t in (0, 1)]}
        answers.append(Answer(" ".join(row), {**words, "digits": said[:3]}, right))
    return answers


def rates(answers: Sequence[Answer]) -> dict[str, float]:
    """{step: share of the answers in which it is right}."""
    return {step: sum(a.right[step] for a in answers) / len(answers) for step in STEPS}
