"""Chapter 12: fresh inputs for every exercise, and a question of one's own for every student."""

import math

import torch

from kfcourse.grading.variants import Variant, one_of, orthogonal, real, share, tenths, whole


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


def _coordinates(g):
    n = whole(g, 6, 12)
    return (
        real(g, whole(g, 4, 9), n) * torch.linspace(0.5, 2, n, dtype=torch.float64),
        orthogonal(g, n),
        one_of(g, 0.2, 0.35, 0.6, 0.8),
    )


def _energy_power(g):
    c = tenths(g, 1.2, 3.6)

    def energy_in_flat_directions(x, Q_A, share):
        energy = (x @ Q_A).abs() ** c
        return energy[:, -round(share * len(Q_A)) :].sum(1) / energy.sum(1)

    return (
        f"An input's energy along an eigenvector is |coordinate| to the power {c}, instead of its square.",
        lambda ref: energy_in_flat_directions,
    )


VARIANTS = {
    "12.subnet_mask": Variant(
        lambda g: (real(g, whole(g, 3, 8), whole(g, 3, 8)), one_of(g, 0.1, 0.25, 0.4, 0.6)), _ramp
    ),
    "12.score_gradient": Variant(_scored, _decayed),
    "12.balanced_loss": Variant(
        _token_losses, _clean_twice, lambda a, b, _: math.isclose(float(a), float(b), rel_tol=1e-9, abs_tol=1e-12)
    ),
    "12.energy_in_flat_directions": Variant(_coordinates, _energy_power),
}
