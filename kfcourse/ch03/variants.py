"""Chapter 03: fresh inputs for every exercise, and a question of one's own for every student."""

import math

import torch

from kfcourse.grading.variants import Variant, alike, one_of, real, share, shuffled, tenths, whole


def _wave(g):
    p = one_of(g, 7, 11, 13, 17)
    return p, whole(g, 1, p // 2), share(g, 0, 3), share(g, 0, 3)


def _louder(g):
    c = tenths(g, 1.2, 4)
    return (
        f"u is {c} times as large, and w is {c} times smaller; v stays.",
        lambda ref: lambda *a: (lambda u, v, w: (c * u, v, w / c))(*ref(*a)),
    )


def _purest(g):
    m = one_of(g, 2, 3)
    c = tenths(g, 0, 1)

    def purity(weight):
        power = torch.fft.rfft(weight, dim=0)[1:].abs() ** 2
        return power.topk(m, dim=0).values.sum(0) / (power.sum(0) + c)

    return (
        f"Give the share of the {m} strongest frequencies together, and add {c} to the total that you divide by.",
        lambda ref: purity,
    )


def _pairs(g):
    p = one_of(g, 5, 7, 11)
    pairs = torch.cartesian_prod(torch.arange(p), torch.arange(p))[shuffled(g, p * p)[: p * p - p + 1]]
    return real(g, len(pairs), whole(g, 2, 4)), pairs, p


def _other_sum(g):
    c = whole(g, 2, 4)
    shift = whole(g, 0, 4)
    return (
        f"Row c is the mean over the pairs with (a + {c} b + {shift}) mod p = c.",
        lambda ref: (
            lambda outputs, pairs, p: ref(outputs, torch.stack([pairs[:, 0], (c * pairs[:, 1] + shift) % p], 1), p)
        ),
    )


def _damped(name):
    def draw(g):
        c = tenths(g, 0.2, 3)
        return (
            f"Use {name} + {c} I instead of {name}.",
            lambda ref: lambda M: ref(M + c * torch.eye(len(M), dtype=M.dtype)),
        )

    return draw


def _square(g):
    x = real(g, whole(g, 3, 8), n := whole(g, 3, 6))
    return (x.T @ x + 0.1 * torch.eye(n, dtype=x.dtype),)


def _hidden_states(g):
    n = whole(g, 4, 7)
    return real(g, 30, n) * torch.linspace(3, 0.1, n, dtype=torch.float64) + share(g), share(g, 0.5, 0.97)


def _more_even(g):
    c = tenths(g, 0.2, 2)

    def keep_directions(h, mass):
        values, vectors = (x.flip(-1) for x in torch.linalg.eigh(h.T @ h / len(h)))
        values = values + c
        return vectors[:, : int((values.cumsum(0) < mass * values.sum()).sum()) + 1]

    return f"Use A + {c} I instead of A.", lambda ref: keep_directions


def _same_space(a, b, _):
    return a.shape == b.shape and alike(a @ a.T, b @ b.T) and alike(b.T @ b, torch.eye(b.shape[1], dtype=b.dtype))


VARIANTS = {
    "03.wave_neuron": Variant(
        _wave, _louder, lambda a, b, _: all(alike(x.float(), y.float()) for x, y in zip(a, b, strict=True))
    ),
    "03.purity": Variant(lambda g: (real(g, whole(g, 8, 13), whole(g, 2, 5)) + 1,), _purest),
    "03.mean_by_answer": Variant(_pairs, _other_sum),
    "03.effective_rank": Variant(_square, _damped("G"), lambda a, b, _: math.isclose(float(a), float(b), rel_tol=1e-5)),
    "03.keep_directions": Variant(_hidden_states, _more_even, _same_space),
}
