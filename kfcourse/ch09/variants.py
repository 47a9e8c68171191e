"""Chapter 09: fresh inputs for every exercise, and a question of one's own for every student."""

import math

import torch

from kfcourse.grading.variants import Variant, alike, falling_spectrum, one_of, orthogonal, real, share, tenths, whole


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


def _another_weight(g):
    a, b, c, d = (whole(g, 1, 9) for _ in range(4))
    r, s = (a + b) / 2, (c + d) / 2
    price = (6 * (a - b) ** 2 / 2 + 2 * (c - d) ** 2 / 2) / 2
    return f"Answer for W = [[{a}, {b}], [{c}, {d}]].", lambda ref: lambda: ([[r, r], [s, s]], price)


def _same_pair(a, b, _):
    values = lambda x: torch.as_tensor(x, dtype=torch.float64)
    return alike(values(a[0]), values(b[0])) and math.isclose(float(a[1]), float(b[1]), abs_tol=1e-6)


def _spectra(g):
    falling = lambda n: (-4 * torch.rand(n, generator=g, dtype=torch.float64)).exp().sort(descending=True)[0]
    return falling(whole(g, 4, 9)), falling(whole(g, 4, 9)), share(g, 0.2, 0.98)


def _flatter_spectra(g):
    c = one_of(g, 0.25, 0.5, 0.75)
    return (
        f"Take both spectra to the power {c} first.",
        lambda ref: lambda lambda_G, lambda_A, mass: ref(lambda_G**c, lambda_A**c, mass),
    )


def _controlled(g):
    W = real(g, whole(g, 4, 6), 3)
    prefix = torch.randint(0, 4, (len(W),), generator=g).sort(descending=True)[0]
    return W, torch.arange(3)[None, :] < prefix[:, None], torch.Generator().manual_seed(whole(g, 0, 9999))


def _directions_kept(g):
    c = whole(g, 2, 9)
    return (
        f"Return the number of directions that the control keeps, times {c}, in the place of the weight.",
        lambda ref: lambda W, keep, generator: c * int(keep.sum()),
    )


def _a_cut(a, b, arguments):
    """Other random directions give another weight: it has W's shape, is shorter than W and no cut of W's entries; for
    the question, the number that it asks for."""
    if isinstance(a, int):
        return float(b) == a
    W, keep, _ = arguments
    return (
        a.shape == b.shape and float(b.norm()) <= float(W.norm()) + 1e-9 and (not keep.any() or not alike(b, W * keep))
    )


def _logit_changes(g):
    T, V = whole(g, 3, 6), whole(g, 3, 6)
    return torch.softmax(real(g, T, V), -1), real(g, T, V)


def _scaled_change(g):
    c = tenths(g, 1.2, 4)
    return f"The change of the logits is {c} times dz.", lambda ref: lambda p, dz: ref(p, c * dz)


def _same_number(a, b, _):
    return math.isclose(float(a), float(b), rel_tol=1e-6)


VARIANTS = {
    "09.by_hand": Variant(lambda g: (), _another_weight, _same_pair),
    "09.stairs": Variant(_spectra, _flatter_spectra),
    "09.control": Variant(_controlled, _directions_kept, _a_cut),
    "09.price_of_change": Variant(_logit_changes, _scaled_change, _same_number),
    "09.kept_pairs": Variant(lambda g: (falling_spectrum(g), share(g, 0.2, 0.98)), _power),
    "09.projected": Variant(_layer, _softly),
    "09.predicted_cost": Variant(
        _coefficients, _cost_of_both, lambda a, b, _: math.isclose(float(a), float(b), rel_tol=1e-6)
    ),
    "09.find_strength": Variant(_score, _other_range, lambda a, b, _: math.isclose(a, b, rel_tol=1e-9)),
}
