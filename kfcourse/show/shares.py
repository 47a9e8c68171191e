"""Shares with their intervals, as text for a table: zero of sixty-four says less than zero of thousands."""

from collections.abc import Sequence

from kfaclib.lm import intervals


def pooled(shares: Sequence[float], asked: int) -> str:
    """A share over all of several models and its interval of 95 %: `shares` of each, of `asked` items each."""
    right, n = sum(round(share * asked) for share in shares), asked * len(shares)
    low, high = intervals.share(right, n)
    return f"{right / n:.3f} [{low:.3f}, {high:.3f}]"
