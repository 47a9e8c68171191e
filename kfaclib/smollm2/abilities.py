"""Small suites of what a pretrained model can do, which need no download: facts, words, copying, numbers, yes or no.

An item is a prompt and an answer, given after a few examples; it is right if every token of the answer is the most
likely one.
"""

from __future__ import annotations  # naming a tokenizer's class must not load it

import random

import torch
import transformers

from kfaclib.lm import recitation

CAPITALS = {
    "France": "Paris",
    "Japan": "Tokyo",
    "Egypt": "Cairo",
    "Italy": "Rome",
    "Spain": "Madrid",
    "Germany": "Berlin",
    "Greece": "Athens",
    "Russia": "Moscow",
    "China": "Beijing",
    "England": "London",
    "Austria": "Vienna",
    "Portugal": "Lisbon",
    "Ireland": "Dublin",
    "Cuba": "Havana",
    "Peru": "Lima",
    "Kenya": "Nairobi",
    "Turkey": "Ankara",
    "Canada": "Ottawa",
    "Sweden": "Stockholm",
    "Norway": "Oslo",
    "Denmark": "Copenhagen",
    "Finland": "Helsinki",
    "Poland": "Warsaw",
    "Hungary": "Budapest",
    "Iraq": "Baghdad",
    "Iran": "Tehran",
    "Thailand": "Bangkok",
    "Vietnam": "Hanoi",
}
OPPOSITES = (
    "up down, left right, day night, black white, old new, open closed, good bad, rich poor, strong weak, early late, "
    "high low, long short, hard soft, wet dry, true false, fast slow, light dark, full empty, male female, love hate, "
    "north south, east west, first last, inside outside, begin end, win lose, push pull, buy sell"
)
WORDS = (
    "apple river table green window music paper stone garden winter horse bread silver mountain letter ocean candle "
    "pencil forest bridge kitchen summer yellow basket island button carpet doctor engine flower"
).split()
ANIMALS = "dog cat horse tiger eagle salmon rabbit monkey elephant sheep cow lion snake frog".split()
THINGS = "table rock hammer chair spoon car house pencil bottle shoe lamp guitar bicycle window".split()


def suites(seed: int = 0) -> dict[str, list[tuple[str, str]]]:
    """{ability: [(prompt, answer)]}; `seed` draws the numbers and words of those that are made up."""
    rng = random.Random(f"abilities {seed}")
    pairs = [pair.split() for pair in OPPOSITES.split(", ")]
    digits = [(a, b) for a in range(1, 9) for b in range(1, 9) if a + b < 10 and (a, b) not in ((2, 3), (4, 1))]
    kinds = [(word, "Yes") for word in ANIMALS[1:]] + [(word, "No") for word in THINGS[1:]]
    return {
        "capitals": [(f"The capital of {land} is", f" {city}") for land, city in CAPITALS.items()],
        "opposites": [(f"hot -> cold\nbig -> small\nhappy -> sad\n{a} ->", f" {b}") for a, b in pairs],
        "copying": [_copying(rng) for _ in range(28)],
        "counting": [_counting(rng) for _ in range(28)],
        "sums": [(f"2 + 3 = 5\n4 + 1 = 5\n1 + 2 = 3\n{a} + {b} =", f" {a + b}") for a, b in rng.sample(digits, 28)],
        "yes or no": [
            (f"Is a {ANIMALS[0]} an animal? Yes\nIs a {THINGS[0]} an animal? No\nIs a {word} an animal?", f" {answer}")
            for word, answer in kinds
        ],
    }


def _copying(rng):
    words = rng.sample(WORDS, 6)
    line, known = ", ".join(words), rng.randint(2, 4)
    return f"{line}.\n{line}.\n{', '.join(words[:known])},", f" {words[known]}"


def _counting(rng):
    start, step = rng.randint(1, 60), rng.choice((1, 2, 5, 10))
    numbers = [start + step * i for i in range(6)]
    return ", ".join(map(str, numbers[:-1])) + ",", f" {numbers[-1]}"


def hits(
    model: torch.nn.Module, tokenizer: transformers.PreTrainedTokenizerBase, asked: dict[str, list[tuple[str, str]]]
) -> dict[str, list[bool]]:
    """{ability: [whether each item is right]} by teacher forcing."""
    flat = [(ability, *item) for ability, items in asked.items() for item in items]
    starts = [len(tokenizer(prompt)["input_ids"]) for _, prompt, _ in flat]
    rows = [tokenizer(prompt + answer)["input_ids"] for _, prompt, answer in flat]
    found = {ability: [] for ability in asked}
    items = [(row[:start], row[start:]) for row, start in zip(rows, starts, strict=True)]
    for (ability, _, _), hit in zip(flat, recitation.hits(model, items, batch=16), strict=True):
        found[ability].append(hit.all().item())
    return found
