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
    "06.as_certain": Variant(lambda g: (real(g, whole(g, 2, 5), whole(g, 4, 8)).abs() ** 3, 0.2), _not_the_first),
}
