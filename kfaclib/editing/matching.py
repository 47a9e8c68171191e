"""How strong must an edit be to do just so much?  One search for the strength at which a score meets its target."""

import math
from collections.abc import Callable, Sequence

from kfaclib.editing.edit import edited

NEAR = 0.0015  # how far from the target a search may end: two methods are then within .003 of one another
FURTHEST = 30.0  # no bracket is widened beyond: 1 - exp(-30) is one to twelve digits


def nearest(
    score: Callable[[float], float],
    target: float,
    low: float,
    high: float,
    *,
    steps: int,
    start: float | None = None,
    tolerance: float = 0.0,
    ends: tuple[float, float] | None = None,
) -> tuple[float, float]:
    """(x, score(x)) whose score is nearest to `target`, of `steps` tries between low and high.

    score: rises with x.  The first try is at `start` (default: the middle).  high may be infinite: then x goes on to
    2x + 1 until the score there has reached the target or x is FURTHEST, and only that try and those after it count.  A
    score nearer than `tolerance` ends the search.
    ends: the scores at low and high, where they are known.  A try halves the bracket until the scores at both its ends
    are known.  From then on tries are placed by linear interpolation, and an end that stays twice counts half (the
    Illinois rule of Dowell and Jarratt 1971), or a bent curve would be approached from one side for ever.
    """
    below, above = [low, ends and ends[0] - target], [high, ends and ends[1] - target]  # [x, score minus target]
    x, best, moved = (low + high) / 2 if start is None else start, None, None
    while steps and (above[0] < math.inf or x < FURTHEST):
        value = score(x)
        apart = value - target
        if best is None or abs(apart) < abs(best[1] - target):
            best = x, value
        if abs(apart) < tolerance:
            break
        end, other = (below, above) if apart < 0 else (above, below)
        end[:] = x, apart
        if above[0] == math.inf:
            x = 2 * x + 1
            continue
        steps -= 1
        if other[1] is None:
            x = (below[0] + above[0]) / 2
            continue
        if moved is end:
            other[1] /= 2
        moved = end
        x = (below[0] * above[1] - above[0] * below[1]) / (above[1] - below[1])
    return best


def bring_to(
    target: float, edit: Callable, layers: dict, score: Callable[[], float], steps: int = 16, tolerance: float = NEAR
) -> tuple[float, float]:
    """The strength at which score() under the edit is nearest to `target`: (strength, score there).

    edit: strength in [0, 1) -> {layer: weight}; `score` rises with strength.  Searched on x, strength = 1 - exp(-x),
    because some edits need strengths very close to one; of the `steps` tries, the first is the one that reaches the
    target, and a score nearer than `tolerance` ends them.
    """
    strength = lambda x: 1 - math.exp(-x)

    def under(x):
        with edited(layers, edit(strength(x))):
            return score()

    x, reached = nearest(under, target, 0.0, math.inf, steps=steps, start=2.5, tolerance=tolerance)
    return strength(x), reached


def neighbours(
    score: Callable[[int], float], target: float, low: int, high: int
) -> tuple[tuple[int, float], tuple[int, float], float]:
    """For a strength that is a whole number, as a rank is: ((n, score(n)), (n + 1, score(n + 1)), share).

    The target lies between the two scores, and `share` in [0, 1] of the way from the first to the second, so that any
    measurement at the target is (1 - share) times the one at n plus share times the one at n + 1.  score: rises with n
    from low to high.  ValueError if the target is not between the scores at low and high.
    """
    below, above = (low, score(low)), (high, score(high))
    if not below[1] <= target <= above[1]:
        raise ValueError(
            f"the target {target:g} is not between the scores {below[1]:g} at {low} and {above[1]:g} at {high}: "
            "search a wider range"
        )
    while above[0] - below[0] > 1:
        n = (below[0] + above[0]) // 2
        tried = n, score(n)
        below, above = (tried, above) if tried[1] < target else (below, tried)
    rise = above[1] - below[1]
    return below, above, (target - below[1]) / rise if rise else 0.0


def on_grid(
    score: Callable[[float], float], target: float, grid: Sequence[float], tolerance: float
) -> list[tuple[float, float, float]]:
    """For strengths that go in steps, `grid`, ascending: [(strength, score there, its share)].

    One strength if one comes nearer to the target than `tolerance`, otherwise the two `neighbours` of the target, with
    the shares by which what is measured there is to be mixed (`mixture`).  score: rises along the grid.
    """
    *pair, share = neighbours(lambda n: score(grid[n]), target, 0, len(grid) - 1)
    n, reached = min(pair, key=lambda found: abs(found[1] - target))
    if abs(reached - target) < tolerance:
        return [(grid[n], reached, 1.0)]
    return [(grid[n], reached, part) for (n, reached), part in zip(pair, (1 - share, share))]


def mixture(rows: Sequence, shares: Sequence[float]):
    """The mean of rows of results, weighted by `shares`: numbers in dicts and lists of one form."""
    first = rows[0]
    if isinstance(first, dict):
        return {key: mixture([row[key] for row in rows], shares) for key in first}
    if isinstance(first, (list, tuple)):
        return [mixture(values, shares) for values in zip(*rows)]
    return sum(value * share for value, share in zip(rows, shares))
