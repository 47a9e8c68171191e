"""Intervals of 95 %: how far a measured share or mean could lie from the truth by the chance of which items were asked.

They say nothing about other models or other samples of the curvature: for these, measure again with other seeds.
"""

import math
from collections.abc import Sequence

import torch

RESAMPLES = 2000


def share(right: int, asked: int) -> list[float]:
    """[low, high] of a share of `asked` independent items (Wilson 1927), which is sound near 0 and 1, too."""
    from scipy.stats import binomtest  # two seconds, which most users of this package need not wait

    found = binomtest(right, asked).proportion_ci(0.95, "wilson")
    return [found.low, found.high]


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
