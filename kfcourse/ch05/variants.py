"""Chapter 05: fresh inputs for every exercise, and a question of one's own for every student."""

import torch

from kfcourse.grading.variants import Variant, one_of, orthogonal, real, tenths, whole


def _tokens(g):
    T = whole(g, 5, 9)
    return real(g, T, whole(g, 2, 4)) + 0.5, real(g, T, whole(g, 2, 4)) - 0.3


def _token_weights(g):
    c = tenths(g, 0.3, 0.9)
    weight = lambda a: c ** torch.arange(len(a), dtype=a.dtype)[:, None]
    return (
        f"Token number t (counted from 0) counts {c} to the power t in the mean; still divide by the number of tokens.",
        lambda ref: lambda a, g, *bases: ref(a * weight(a).sqrt(), g, *bases),
    )


def _damped_factors(g):
    c = tenths(g, 0.2, 3)
    eye = lambda M: torch.eye(len(M), dtype=M.dtype)
    return (
        f"Add {c} times the identity to A, and subtract nothing; divide G by {c}.",
        lambda ref: lambda a, g: (lambda A, G: (A + c * eye(A), G / c))(*ref(a, g)),
    )


def _rotated(g):
    a, s = _tokens(g)
    return a, s, orthogonal(g, a.shape[1]), orthogonal(g, s.shape[1])


def _sequences(g):
    N, S, inputs, outputs = whole(g, 3, 5), whole(g, 3, 5), whole(g, 2, 4), whole(g, 2, 4)
    return real(g, N, S, inputs), real(g, N, S, outputs), orthogonal(g, inputs), orthogonal(g, outputs)


def _alternating(g):
    c = tenths(g, 0.3, 2.5)
    return (
        f"The first token's gradient in every sequence is multiplied by {c} before it is added to the others.",
        lambda ref: lambda a, g, Q_A, Q_G: ref(a, torch.cat([c * g[:, :1], g[:, 1:]], 1), Q_A, Q_G),
    )


def _other_numbers(g):
    size, more = one_of(g, 2, 8, 16), whole(g, 1, 4)
    return (
        f"A number takes {size} bytes, and the layer has {more} further inputs that the argument I does not count.",
        lambda ref: lambda O, I: tuple(n * size // 4 for n in ref(O, I + more)),
    )


VARIANTS = {
    "05.fisher_block": Variant(_tokens, _token_weights),
    "05.kfac_factors": Variant(_tokens, _damped_factors),
    "05.ekfac_eigenvalues": Variant(_rotated, _token_weights),
    "05.sequence_eigenvalues": Variant(_sequences, _alternating),
    "05.curvature_bytes": Variant(lambda g: (whole(g, 2, 4000), whole(g, 2, 4000)), _other_numbers),
}
