"""Token windows to collect curvature on: the small world's own mixture, or any text, packed without padding."""

import json
import random
from pathlib import Path

import torch

from kfaclib import world as w


def world_rows(world, count, seed, kinds=("text", "refrain", "task")):
    """[count, ROW] token ids of the training mixture without the passages it repeats; `kinds` narrows it.

    Repeated passages are left out because the edit is to forget them; chapter 11 asks what changes when they are in.
    """
    rng = random.Random(f"collection {world.seed} {seed}")
    drawn = rng.choices(kinds, [world.mix[k] for k in kinds], k=count)
    return torch.tensor([w.row(world, kind, rng)[0] for kind in drawn])


def documents(path):
    """Yield the documents of a file: the "text" of every jsonl row, or the whole of a text file."""
    path = Path(path)
    if path.suffix != ".jsonl":
        yield path.read_text(encoding="utf-8")
        return
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield json.loads(line)["text"]
            except (ValueError, KeyError, TypeError):
                raise ValueError(f'{path}, line {number}: expected one JSON object a line with a "text" in it') from None


def text_windows(path, tokenizer, length=512, count=None):
    """[N, length] token ids of the file's documents, end to end, without padding; at most `count` windows."""
    stream = []
    for document in documents(path):
        stream += tokenizer(document)["input_ids"]
        if count is not None and len(stream) >= count * length:
            break
    windows = len(stream) // length if count is None else min(count, len(stream) // length)
    if windows == 0:
        raise ValueError(f"{path} has {len(stream)} tokens, fewer than one window of {length}: give more text or a shorter --length")
    return torch.tensor(stream[: windows * length]).view(windows, length)
