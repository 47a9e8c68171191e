"""Chapter 03: fresh inputs for every exercise, and a question of one's own for every student."""

import math

import torch

from kfaclib.toy.grokking import all_pairs, logits
from kfcourse.grading.variants import Variant, alike, one_of, real, share, shuffled, tenths, whole


def _wave(g):
    p = one_of(g, 7, 11, 13, 17)
    return p, whole(g, 1, p // 2), share(g, 0, 3), share(g, 0, 3)


def _later(g):
    c = whole(g, 1, 4)
    return (
        f"The neuron is to answer a + b + {c} instead of a + b.",
        lambda ref: lambda *a: (lambda u, v, w: (u, v, w.roll(c)))(*ref(*a)),
    )


def _same_neuron(a, b, arguments):
    """Pure waves of the frequency asked for, and w as far from the product of u and v as in ours."""
    p, k = arguments[:2]
    turns = []
    for parts in (a, b):
        spectra = [torch.fft.rfft(torch.as_tensor(x).double().flatten()) for x in parts]
        for spectrum in spectra:
            power = spectrum[1:].abs() ** 2
            if len(spectrum) != p // 2 + 1 or power[min(k, p - k) - 1] < 0.999 * power.sum():
                return False
        u, v, w = (spectrum[min(k, p - k)] for spectrum in spectra)
        turns.append(w * (u * v).conj() / (w * u * v).abs())
    return abs(turns[0] - turns[1]).item() < 1e-2


def _all_later(g):
    c = whole(g, 1, 4)
    return (
        f"The network is to answer a + b + {c} instead of a + b.",
        lambda ref: lambda p: (lambda params: params | {"W": params["W"].roll(c, 0)})(ref(p)),
    )


def _same_answers(a, b, _):
    p = len(a["U"])
    ours, theirs = (logits({k: torch.as_tensor(x).double() for k, x in net.items()}, all_pairs(p)) for net in (a, b))
    return torch.equal(ours.argmax(1), theirs.argmax(1))


def _other_price(g):
    c = whole(g, 2, 9)
    return f"Multiply both results by {c}.", lambda ref: lambda: tuple(c * part for part in ref())


def _how_often(g):
    c = whole(g, 2, 9)

    def question(ref):
        return lambda p, seed: c * torch.bincount(torch.as_tensor(ref(p, seed)).flatten(), minlength=p)

    return f"Return {c} times how often each answer occurs in your table, [p], in the place of the table.", question


def _as_random(a, b, arguments):
    """The question's counts, or any table with every answer equally often and no answer more often than by chance."""
    if a.ndim == 1:
        return alike(a, torch.as_tensor(b))
    p, table = arguments[0], torch.as_tensor(b).long()
    by_sum = (table.flatten() == all_pairs(p).sum(1) % p).double().mean()
    counts = torch.bincount(table.flatten(), minlength=p)
    rows = min(len(set(row.tolist())) for row in table)
    return table.shape == (p, p) and bool((counts == p).all()) and by_sum < 0.5 and rows < p


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
    "03.wave_neuron": Variant(_wave, _later, _same_neuron),
    "03.clock_network": Variant(lambda g: (one_of(g, 7, 11, 13),), _all_later, _same_answers),
    "03.memory_price": Variant(
        lambda g: (),
        _other_price,
        lambda a, b, _: all(math.isclose(float(x), float(y), rel_tol=0.02) for x, y in zip(a, b, strict=True)),
    ),
    "03.purity": Variant(lambda g: (real(g, whole(g, 8, 13), whole(g, 2, 5)) + 1,), _purest),
    "03.mean_by_answer": Variant(_pairs, _other_sum),
    "03.no_rule": Variant(lambda g: (one_of(g, 11, 13), whole(g, 0, 999)), _how_often, _as_random),
    "03.keep_directions": Variant(_hidden_states, _more_even, _same_space),
}
