"""Chains of steps: who owns two things, where do the owners live, and what do the numbers of these two cities add up
to?

A chain is one row. The model writes every answer into it and reads on from there: four lookups in contexts, then a sum.
A table that only the questioner has gives each city a number, so the sum that is asked depends on the cities that the
model named; the sums of the right cities are among those that training never showed.
"""

import random
from dataclasses import dataclass

import torch

from kfaclib.toy import world as w

STEPS = ("owners", "homes", "form", "sum", "result")


@dataclass(frozen=True)
class Problem:
    """Three things, their owners and the owners' cities (lists of words), which two are asked for, and every city's
    number.
    """

    things: list
    owners: list
    cities: list
    asked: list
    numbers: dict


@dataclass(frozen=True)
class Answer:
    """What the model wrote, and which steps were right: "owners" and "homes" (both of them), "form" (three digits and a
    full stop), "sum" (right for the numbers it was given) and "result" (right for the problem)."""

    text: str
    right: dict


def problems(seed, count):
    """`count` problems; the same seed gives the same ones."""
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


def solve(model, problems):
    """The model's `Answer` to every problem, word by greedy word."""
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
        answers.append(Answer(" ".join(row), right))
    return answers


def rates(answers):
    """{step: share of answers in which it is right}."""
    return {step: sum(a.right[step] for a in answers) / len(answers) for step in STEPS}
