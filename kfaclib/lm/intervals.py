"""Intervals of 95 %: how far a measured share or mean could lie from the truth by the chance of which items were asked.

They say nothing about other models or other samples of the curvature: for these, measure again with other seeds.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

import torch

RESAMPLES = 2000


def share(right: int, asked: int) -> list[float]:
    """[low, high] of a share of `asked` independent items, which is sound near 0 and 1, too (Wilson 1927): the shares p
    with |right / asked - p| = z sqrt(p (1 - p) / asked)."""
    z = NormalDist().inv_cdf(0.975)
    middle, width = right + z**2 / 2, z * math.sqrt(right * (asked - right) / asked + z**2 / 4)
    return [max(0.0, (middle - width) / (asked + z**2)), min(1.0, (middle + width) / (asked + z**2))]


def mean(values: Sequence[float] | torch.Tensor, seed: int = 0) -> list[float]:
    """[low, high] of a mean over independent items, values [N]: the middle 95 % of the means of RESAMPLES resamples
    (Efron 1979)."""
    values = torch.as_tensor(values, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(values), (RESAMPLES, len(values)), generator=generator)
    return values[drawn].mean(1).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()


def exp_of_mean(values: Sequence[float] | torch.Tensor) -> list[float]:
    """[low, high] of exp of a mean, as of a perplexity or of the ratio of two, from losses or their differences [N]."""
    return [math.exp(end) for end in mean(values)]
