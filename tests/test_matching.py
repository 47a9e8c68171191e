"""The search for a strength: on scores whose answer is known, and with as few tries as it says."""

import math

import pytest

from kfaclib.editing.matching import FURTHEST, nearest, neighbours


def counted(score):
    tried = []

    def wrapped(x):
        tried.append(x)
        return score(x)

    return wrapped, tried


@pytest.mark.parametrize("steps", [1, 5, 12])
def test_a_try_halves_the_bracket_until_both_ends_are_known_and_then_interpolates(steps):
    score, tried = counted(lambda x: x**3)
    x, reached = nearest(score, 0.3, 0.0, 1.0, steps=steps)
    assert len(tried) == steps and reached == x**3
    assert tried[:3] == pytest.approx([0.5, 0.75, 0.5 + 0.25 * 0.175 / 0.296875][:steps])
    assert abs(x - 0.3 ** (1 / 3)) <= 2.0**-steps


@pytest.mark.parametrize("jump", [0.1, 0.37, 0.98])
def test_a_score_that_jumps_over_the_target_is_bracketed_all_the_same(jump):
    score, tried = counted(lambda x: 0.2 * x if x < jump else 0.9 + 0.1 * x)
    x, reached = nearest(score, 0.8, 0.0, 1.0, steps=25)
    assert reached == pytest.approx(0.9 + 0.1 * jump, abs=1e-3) and len(tried) == 25


def test_an_open_bracket_is_widened_before_the_tries_count():
    score, tried = counted(lambda x: 1 - math.exp(-x))
    x, reached = nearest(score, 1 - 1e-6, 0.0, math.inf, steps=7, start=2.5)
    assert tried[:3] == [2.5, 6.0, 13.0] and len(tried) == 3 + 7
    assert x == pytest.approx(-math.log(1e-6), abs=0.1) and reached == score(x)


def test_what_cannot_be_reached_ends_the_search():
    score, tried = counted(lambda x: 0.2)
    nearest(score, 0.5, 0.0, math.inf, steps=7, start=2.5)
    assert tried == [2.5, 6.0, 13.0, 27.0] and tried[-1] < FURTHEST


@pytest.mark.parametrize("ends", [None, (0.0, 1.0)])
def test_a_bent_curve_takes_fewer_tries_than_halving(ends):
    score, tried = counted(lambda x: (x / 16) ** 4)
    _, reached = nearest(score, 0.9, 0.0, 16.0, steps=30, start=4.0, tolerance=1e-3, ends=ends)
    slope = 4 * 0.9**0.75 / 16
    assert abs(reached - 0.9) < 1e-3 and len(tried) < math.log2(16 * slope / 1e-3)


def test_between_whole_strengths_both_neighbours_and_the_way_between_them_are_given():
    score, tried = counted(lambda n: n * n / 10_000)
    below, above, share = neighbours(score, 0.3, 1, 100)
    assert below == (54, 0.2916) and above == (55, 0.3025)
    assert (1 - share) * below[1] + share * above[1] == pytest.approx(0.3) and len(tried) <= 2 + 7
    with pytest.raises(ValueError, match="not between the scores 0.0001 at 1 and 1 at 100"):
        neighbours(score, 2.0, 1, 100)


def test_a_target_that_a_whole_strength_meets_is_met_by_it():
    below, above, share = neighbours(lambda n: float(n), 7.0, 0, 10)
    assert (below[0], above[0], share) == (6, 7, 1.0)
