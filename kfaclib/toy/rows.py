"""Rows of the small world's own training mixture, to collect curvature on."""

import random
from collections.abc import Sequence

import torch

from kfaclib.toy import world as w


def world_rows(
    world: w.World, count: int, seed: int | str, kinds: Sequence[str] = ("text", "refrain", "task")
) -> torch.Tensor:
    """Rows of the training mixture without the passages that it repeats: token ids [count, ROW].

    kinds: those to draw from. Repeated passages are left out because the edit is meant to remove them; chapter 13 shows
    what changes when they are included.
    """
    rng = random.Random(f"collection {world.seed} {seed}")
    drawn = rng.choices(kinds, [world.mix[k] for k in kinds], k=count)
    return torch.tensor([w.row(world, kind, rng)[0] for kind in drawn])
