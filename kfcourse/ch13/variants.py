"""Chapter 13: fresh inputs for every exercise, and a question of one's own for every student."""

import math

import torch

from kfcourse.ch13 import checks
from kfcourse.grading.variants import Variant, one_of, orthogonal, real, tenths, whole


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


def _times(g):
    c = whole(g, 2, 9)
    return (f"Multiply both results by {c}.", lambda ref: lambda: tuple(c * part for part in ref()))


def _one_ahead(g):
    c = whole(g, 1, 3)
    return (
        f"A positive only wins by more than {c}, ties at a lead of exactly {c}.",
        lambda ref: lambda positive, *more: ref(positive - c, *more),
    )


def _watching(g):
    model, Q, ids = checks._watched(whole(g, 20, 9999))
    return model, model.up, Q, 0.5, ids, whole(g, 3, 8)


def _sharp_instead(g):
    c = tenths(g, 1.5, 4)
    return (f"Return {c} minus the mean flat energy in its place.", lambda ref: lambda *arguments: c - ref(*arguments))


def _near(a, b, _):
    return torch.allclose(torch.as_tensor(a).double(), torch.as_tensor(b).detach().double(), atol=1e-6)


def _same_number(a, b, _):
    return math.isclose(float(a), float(b), rel_tol=1e-6, abs_tol=1e-9)


VARIANTS = {
    "13.energy_in_flat_directions": Variant(_coordinates, _energy_power),
    "13.expected_share": Variant(lambda g: (), _times),
    "13.area": Variant(lambda g: tuple(checks._scored(whole(g, 10, 9999))), _one_ahead, _same_number),
    "13.watch": Variant(_watching, _sharp_instead, _near),
    "13.area_among_equals": Variant(lambda g: checks._strata(whole(g, 10, 9999)), _one_ahead, _same_number),
}
