"""Intervals: what they must contain, and how often."""

import numpy as np
import pytest
import torch

from kfaclib.lm import intervals


def test_wilsons_interval_is_the_textbooks():
    """For 15 of 20 and z = 1.96, worked by hand; and for none and all of n, where the simple formula has no width."""
    assert intervals.share(15, 20) == pytest.approx([0.5313, 0.8881], abs=5e-4)
    low, high = intervals.share(0, 64)
    assert low == pytest.approx(0, abs=1e-12) and high == pytest.approx(1.96**2 / (64 + 1.96**2), abs=1e-4)
    assert intervals.share(64, 64)[0] == pytest.approx(1 - high, abs=1e-12)


def test_a_bootstrap_interval_covers_the_truth_about_as_often_as_it_says():
    """Over 300 samples of 60 skewed values, between 88 and 99 % of the intervals hold the true mean."""
    rng = np.random.default_rng(0)
    ends = [intervals.mean(rng.exponential(size=60), seed=k) for k in range(300)]
    assert 0.88 < np.mean([low <= 1 <= high for low, high in ends]) < 0.99


def test_a_bootstrap_interval_is_the_same_again_and_shrinks_with_the_root_of_n():
    values = torch.randn(1600, generator=torch.Generator().manual_seed(0))
    assert intervals.mean(values) == intervals.mean(values)
    width = lambda n: np.diff(intervals.mean(values[:n]))[0]
    assert width(100) / width(1600) == pytest.approx(4, rel=0.3)
    assert intervals.mean([0.5] * 10) == [0.5, 0.5]
