"""Chapter 06: fresh inputs for every exercise, and a question of one's own for every student."""

import math

import torch

from kfcourse.grading.variants import Variant, alike, real, tenths, whole


def _weighted_rows(g):
    c = tenths(g, 0.3, 0.9)
    return (
        f"Multiply row number k of B (counted from 0) by {c} to the power k first.",
        lambda ref: lambda B: ref(B * c ** torch.arange(len(B), dtype=B.dtype)[:, None]),
    )


def _weighted_examples(g):
    c = tenths(g, 0.3, 0.9)
    return (
        f"Multiply the root of example number n (counted from 0) by {c} to the power n first.",
        lambda ref: (
            lambda roots, *more: ref(roots * c ** torch.arange(len(roots), dtype=roots.dtype)[:, None, None], *more)
        ),
    )


def _not_the_first(g):
    c = whole(g, 1, 3)

    def function(ref):
        def as_certain(unsure, wanted):
            picked = torch.zeros_like(unsure, dtype=torch.bool)
            picked[:, c:] = ref(unsure[:, c:], wanted)
            return picked

        return as_certain

    return f"The first {c} token{'s' * (c > 1)} of every row are never picked, and do not count.", function


def _same_direction(a, b, _):
    return (
        math.isclose(float(a[0]), float(b[0]), rel_tol=1e-6)
        and math.isclose(abs(float(a[1] @ b[1])), 1, rel_tol=1e-6)
        and alike(b[1].norm(), a[1].norm())
    )


def _uncertainties(g):
    return real(g, whole(g, 3, 6)).abs() / 3, real(g, whole(g, 6, 9)).abs() / 3, 0.2


def _as_many_pairs(a, b, arguments):
    """As many valid pairs as the course's own search finds, or more; for the question, the number that it asks for."""
    if isinstance(a, int):
        return float(b) == a
    memorized, clean, gap = arguments
    pairs = [(int(i), int(j)) for i, j in b]
    valid = all(abs(memorized[i] - clean[j]) < gap for i, j in pairs)
    return valid and len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs) >= len(a)


def _number_of_pairs(g):
    c = whole(g, 2, 9)
    return (
        f"Return the number of pairs, times {c}, in the place of the pairs.",
        lambda ref: lambda memorized, clean, gap: c * len(ref(memorized, clean, gap)),
    )


def _product(g):
    n = whole(g, 3, 6)
    half = real(g, n, n)
    F = half @ half.T
    return (lambda v: F @ v), real(g, n), whole(g, 3, 6)


def _shifted(g):
    c = tenths(g, 0.5, 3)
    return (
        f"Use F + {c} I in the place of F.",
        lambda ref: lambda product, start, steps: ref(lambda v: product(v) + c * v, start, steps),
    )


def _other_sharpness(g):
    c = whole(g, 2, 9)
    return (f"Multiply both results by {c}.", lambda ref: lambda: tuple(c * part for part in ref()))


VARIANTS = {
    "06.sharpest_direction": Variant(
        lambda g: (real(g, whole(g, 2, 4), whole(g, 6, 9)),), _weighted_rows, _same_direction
    ),
    "06.curvature_in_company": Variant(
        lambda g: (real(g, 5, 3, n := whole(g, 5, 9)), torch.nn.functional.normalize(real(g, n), dim=0)),
        _weighted_examples,
        lambda a, b, _: math.isclose(float(a), float(b), rel_tol=1e-6),
    ),
    "06.shared_share": Variant(
        lambda g: (real(g, whole(g, 4, 6), 3, 7) * (1 + 2 * real(g, 1, 1, 1).abs()),),
        _weighted_examples,
        lambda a, b, _: math.isclose(float(a), float(b), rel_tol=1e-6),
    ),
    "06.enough_others": Variant(lambda g: (), _other_sharpness),
    "06.equal_pairs": Variant(_uncertainties, _number_of_pairs, _as_many_pairs),
    "06.power_iteration": Variant(_product, _shifted, _same_direction),
    "06.as_certain": Variant(lambda g: (real(g, whole(g, 2, 5), whole(g, 4, 8)).abs() ** 3, 0.2), _not_the_first),
}
