"""Chapter 12: fresh inputs for every exercise, and a question of one's own for every student."""

import math

import torch

from kfcourse.ch12 import checks
from kfcourse.grading.variants import Variant, one_of, real, share, tenths, whole


def _ramp(g):
    c = tenths(g, 0.2, 1)
    return (
        f"A score in column number j (counted from 0) counts 1 + {c} j times.",
        lambda ref: (
            lambda scores, ratio: ref(scores * (1 + c * torch.arange(scores.shape[1], dtype=scores.dtype)), ratio)
        ),
    )


def _scored(g):
    O, I, T = whole(g, 3, 6), whole(g, 3, 6), whole(g, 4, 9)
    return real(g, O, I), real(g, O, I), real(g, T, I), real(g, T, O)


def _decayed(g):
    c = tenths(g, 0.1, 2)
    return (
        f"The loss also holds {c} / 2 times the sum of the squared scores.",
        lambda ref: lambda W, scores, a, g_: ref(W, scores, a, g_) + c * scores,
    )


def _token_losses(g):
    return (
        real(g, whole(g, 5, 12)).abs() * 2,
        real(g, whole(g, 5, 12)).abs() * 2,
        share(g, 0.1, 0.9),
        share(g, 0.5, 1.5),
    )


def _clean_twice(g):
    c = tenths(g, 0.2, 2)
    return (
        f"Add {c} times the mean square of the clean losses.",
        lambda ref: lambda clean, *more: ref(clean, *more) + c * (clean**2).mean(),
    )


def _pairs(g):
    return (*checks._memories(whole(g, 200, 9000)), 0.2)


def _as_selective(a, b, arguments):
    """A mask that forgets as selectively as the course's own, nearly; for the question, one of the size asked for."""
    W, memorized, clean, _ = arguments
    a, b = (torch.as_tensor(mask).double() for mask in (a, b))
    times = lambda mask: checks._error(W * mask, memorized) / checks._error(W * mask, clean)
    return a.shape == b.shape and a.sum() == b.sum() and times(b) > 0.6 * times(a)


def _other_ratio(g):
    c = one_of(g, 0.3, 0.5, 0.75)
    return (
        f"Drop {c} times the share of weights that `ratio` says.",
        lambda ref: lambda W, memorized, clean, ratio: ref(W, memorized, clean, c * ratio),
    )


def _quotes(g):
    return checks._some_quotes(whole(g, 10, 9999)), 4


def _valid_halves(a, b, arguments):
    """Two halves that share no run and hold all quotes; for the question, the number that it asks for."""
    if isinstance(a, int):
        return float(b) == a
    quotes, n = arguments
    first, second = ([int(i) for i in half] for half in b)
    runs = [set().union(*(checks._runs(quotes[i], n) for i in half)) for half in (first, second)]
    complete = sorted(first + second) == list(range(len(quotes)))
    return complete and not runs[0] & runs[1] and min(len(first), len(second)) >= 5


def _larger_half(g):
    c = whole(g, 2, 9)
    return (
        f"Return the number of all quotes, which is that of both halves together, times {c} in the place of the "
        f"halves.",
        lambda ref: lambda quotes, n: c * sum(len(half) for half in ref(quotes, n)),
    )


def _other_draws(g):
    c = whole(g, 2, 9)
    return (f"Multiply both results by {c}.", lambda ref: lambda: tuple(c * part for part in ref()))


def _close(a, b, _):
    return math.isclose(float(a), float(b), rel_tol=1e-9, abs_tol=1e-12)


VARIANTS = {
    "12.subnet_mask": Variant(
        lambda g: (real(g, whole(g, 3, 8), whole(g, 3, 8)), one_of(g, 0.1, 0.25, 0.4, 0.6)), _ramp
    ),
    "12.score_gradient": Variant(_scored, _decayed),
    "12.balanced_loss": Variant(_token_losses, _clean_twice, _close),
    "12.train_subnet": Variant(_pairs, _other_ratio, _as_selective),
    "12.disjoint_halves": Variant(_quotes, _larger_half, _valid_halves),
    "12.draws_needed": Variant(lambda g: (), _other_draws),
}
