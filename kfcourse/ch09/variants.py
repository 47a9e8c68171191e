"""Chapter 09: fresh inputs for every exercise, and a question of one's own for every student."""

import math

import torch

from kfcourse.grading.variants import Variant, falling_spectrum, one_of, orthogonal, real, share, tenths, whole


def _layer(g):
    rows, columns = whole(g, 3, 6), whole(g, 3, 6)
    return (
        real(g, rows, columns),
        orthogonal(g, rows),
        orthogonal(g, columns),
        torch.rand(rows, columns, generator=g) < 0.5,
    )


def _power(g):
    c = one_of(g, 0.25, 0.5, 0.75, 1.5, 2.0, 3.0)
    return f"The mass is that of Pi to the power {c}, entry by entry.", lambda ref: lambda Pi, mass: ref(Pi**c, mass)


def _softly(g):
    c = tenths(g, 0.1, 0.9)
    return (
        f"A dropped coefficient is multiplied by {c} instead of being set to zero.",
        lambda ref: lambda W, *more: (1 - c) * ref(W, *more) + c * W,
    )


def _cost_of_both(g):
    c = tenths(g, 0.1, 0.9)
    return (
        f"Add {c} times what it would cost to drop the kept pairs instead.",
        lambda ref: lambda C, Pi, keep: ref(C, Pi, keep) + c * ref(C, Pi, ~keep),
    )


def _coefficients(g):
    Pi = falling_spectrum(g)
    return real(g, *Pi.shape), Pi, torch.rand(Pi.shape, generator=g) < 0.6


def _score(g):
    power, goal = share(g, 0.5, 3), share(g, 0.1, 0.99)
    return (lambda strength: strength**power), goal, whole(g, 3, 10)


def _other_range(g):
    low, high = tenths(g, 0.1, 1), one_of(g, 7, 8, 9, 10, 14, 15, 16)

    def function(ref):
        def find_strength(score, target, steps=8):
            a, b = low, float(high)
            for _ in range(steps):
                x = (a + b) / 2
                s = 1 - math.exp(-x)
                a, b = (x, b) if score(s) < target else (a, x)
            return s

        return find_strength

    return f"Begin with x between {low} and {high}.", function


VARIANTS = {
    "09.kept_pairs": Variant(lambda g: (falling_spectrum(g), share(g, 0.2, 0.98)), _power),
    "09.projected": Variant(_layer, _softly),
    "09.predicted_cost": Variant(
        _coefficients, _cost_of_both, lambda a, b, _: math.isclose(float(a), float(b), rel_tol=1e-6)
    ),
    "09.find_strength": Variant(_score, _other_range, lambda a, b, _: math.isclose(a, b, rel_tol=1e-9)),
}
