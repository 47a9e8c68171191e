"""A text to mine whose ground truth is known: rows of the small world, some of which were often repeated in
training."""

import random
from dataclasses import dataclass

import torch

from kfaclib.lm.recitation import PREFIX, SUFFIX
from kfaclib.toy import world as w


@dataclass(frozen=True)
class Stream:
    """A text to mine, with its ground truth.

    ids [T]: token ids, rows of the length of a training row, end to end. repeats [T]: how often the passage that this
    token belongs to was in the training text; 0 for new text. rows: {kind: number of rows}.
    """

    ids: torch.Tensor
    repeats: torch.Tensor
    rows: dict[str, int]

    def known(self, start: int, prefix: int = PREFIX, suffix: int = SUFFIX) -> int:
        """How often the passage that most of the suffix of the window at `start` belongs to was in the training
        text."""
        return int(self.repeats[start + prefix : start + prefix + suffix].median())


def world_stream(
    world: w.World, seed: int, quotes: int = 18, again: int = 6, rung: int = 6, fresh: int = 28, echoes: int = 8
) -> Stream:
    """A `Stream` of shuffled rows of the small world.

    They are `quotes` passages that training repeated most, the first `again` of them a second time, the first `rung`
    passages of every step of the ladder, `fresh` rows of new stories, and `echoes` rows in which a new story of half
    the length occurs twice.
    """
    rng = random.Random(f"stream {seed}")
    repeated = [(q, world.quote_repeats) for q in world.quotes[:quotes] + world.quotes[:again]]
    repeated += [(p, n) for n, passages in world.ladder.items() for p in passages[:rung]]
    rows = [(w.row(world, "quote", rng, p)[0], [n] * (len(p) + 2) + [0] * (w.ROW - len(p) - 2)) for p, n in repeated]
    rows += [(w.row(world, "text", rng)[0], [0] * w.ROW) for _ in range(fresh)]
    for _ in range(echoes):
        story = w.encode(w.text(rng, w.ROW // 2))
        rows.append(([w.BOS, *story, *story][: w.ROW], [0] * w.ROW))
    rng.shuffle(rows)
    ids, repeats = (torch.tensor(x).flatten() for x in zip(*rows))
    kinds = {"quotes": quotes + again, "ladder": rung * len(world.ladder), "fresh": fresh, "echoes": echoes}
    return Stream(ids, repeats, kinds)
