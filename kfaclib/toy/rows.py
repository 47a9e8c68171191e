"""Rows of the small world's own training mixture, to collect curvature on."""

import random

import torch

from kfaclib.toy import world as w


def world_rows(world, count, seed, kinds=("text", "refrain", "task")):
    """[count, ROW] token ids of the training mixture without the passages it repeats; `kinds` narrows it.

    Repeated passages are left out because the edit is to forget them; chapter 11 asks what changes when they are in.
    """
    rng = random.Random(f"collection {world.seed} {seed}")
    drawn = rng.choices(kinds, [world.mix[k] for k in kinds], k=count)
    return torch.tensor([w.row(world, kind, rng)[0] for kind in drawn])
