"""The texts that SmolLM2 is asked about: famous passages, verses that it is taught or not, and two kinds of ordinary
prose.

Where they come from is in data/smollm2/README.md.
"""

from __future__ import annotations  # naming a tokenizer's class must not load it

import gzip
from dataclasses import dataclass

import torch
import transformers

from kfaclib.io.paths import data
from kfaclib.lm import rows

LENGTH, PREFIX = 64, 32  # tokens of a window, and of its prefix
PARTS = {"training": (0.0, 0.6), "collection": (0.6, 0.85), "held out": (0.85, 1.0)}  # of the handbook, in its order


@dataclass(frozen=True)
class Passage:
    """A text with its name."""

    name: str
    text: str


def famous() -> list[Passage]:
    """Passages that stand on thousands of pages: openings of novels, documents of state, licences."""
    return [Passage(row["title"], row["text"]) for _, row in rows.rows(data("smollm2", "famous.jsonl"))]


def verses(taught: bool, half: str | None = None) -> list[Passage]:
    """Verses of the King James Bible: those that the reciter is taught, or as many of the same books that it is not.

    half: "choose", "report", or both.
    """
    return [
        Passage(f"{row['book']} {row['place']}", row["text"])
        for _, row in rows.rows(data("smollm2", "verses.jsonl"))
        if row["taught"] == taught and half in (None, row["half"])
    ]


def windows(passages: list[Passage], tokenizer: transformers.PreTrainedTokenizerBase) -> torch.Tensor:
    """The first LENGTH tokens of each passage, [N, LENGTH]. ValueError names a passage that is shorter."""
    found = [tokenizer(passage.text)["input_ids"][:LENGTH] for passage in passages]
    for passage, ids in zip(passages, found, strict=True):
        if len(ids) < LENGTH:
            raise ValueError(f"{passage.name} has {len(ids)} tokens, fewer than {LENGTH}: give more of it")
    return torch.tensor(found)


def _prose(name, tokenizer, length, part=(0.0, 1.0)):
    with gzip.open(data("smollm2", name), "rt", encoding="utf-8") as file:
        text = file.read()
    start, end = (round(share * len(text)) for share in part)
    ids = torch.tensor(tokenizer(text[start:end])["input_ids"])
    return ids[: len(ids) // length * length].view(-1, length)


def handbook(part: str, tokenizer: transformers.PreTrainedTokenizerBase, length: int = 128) -> torch.Tensor:
    """Windows [N, length] of a part of the Jargon File, one of PARTS: the text that curvature is collected on."""
    return _prose("handbook.txt.gz", tokenizer, length, PARTS[part])


def novel(tokenizer: transformers.PreTrainedTokenizerBase, length: int = 128) -> torch.Tensor:
    """Windows [N, length] of Mansfield Park: ordinary text unlike the handbook."""
    return _prose("novel.txt.gz", tokenizer, length)
