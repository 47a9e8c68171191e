"""Chapter 04: fresh inputs for every exercise, and a question of one's own for every student."""

import torch

from kfcourse.grading.variants import Variant, alike, orthogonal, real, share, tenths, whole


def _bent(g):
    n = whole(g, 3, 5)
    M = real(g, n, n)
    return (lambda w: w @ M @ w + torch.sin(w).sum() + w.prod()), *real(g, 2, n)


def _plus(g):
    c = tenths(g, 0.2, 3)
    return f"Add {c} times v to the result (damping).", lambda ref: lambda *args: ref(*args) + c * args[-1]


def _probabilities(g):
    return (torch.softmax(real(g, whole(g, 3, 6)), 0),)


def _weighted_labels(g):
    label, c = whole(g, 0, 2), tenths(g, 1.2, 4)

    def fisher(p):
        weight = p.clone()
        weight[label] *= c
        scores = torch.eye(len(p), dtype=p.dtype) - p
        return scores.T @ (weight[:, None] * scores)

    return (
        f"The label {label} counts {c} times as much in the sum over labels as before. The scores e_y - p stay as "
        "they are.",
        lambda ref: fisher,
    )


def _two_layers(g):
    x, weights = real(g, 3, 2), real(g, 3, 2).abs() + 0.5
    return (lambda w: torch.tanh(x @ w.view(2, 2).T) * 2), (lambda z, u: weights * u * (1 + z)), *real(g, 2, 4)


def _step(g):
    n = whole(g, 4, 7)
    M, Q = real(g, n, n), orthogonal(g, n)
    return (lambda v: (M + M.T) @ v), Q[0].clone(), Q[1].clone(), 0.2 + share(g)


def _shifted(g):
    c = tenths(g, 0.2, 3)
    return (
        f"Do the step for the matrix 2 M + {c} I, where matvec still multiplies with M.",
        lambda ref: lambda matvec, before, q, beta: ref(lambda v: 2 * matvec(v) + c * v, before, q, beta),
    )


def _tridiagonal(g):
    m = whole(g, 3, 6)
    return real(g, m), real(g, m - 1).abs() + 0.2


def _scaled(g):
    c = tenths(g, 0.2, 0.9)
    return (
        f"Multiply beta by {c} before anything else; alpha stays.",
        lambda ref: lambda alpha, beta: ref(alpha, c * beta),
    )


def _same_nodes(a, b, _):
    return all(alike(x[a[0].argsort()], y[b[0].argsort()]) for x, y in zip(a, b, strict=True))


VARIANTS = {
    "04.fisher_of_softmax": Variant(_probabilities, _weighted_labels),
    "04.hessian_vector": Variant(_bent, _plus),
    "04.ggn_vector": Variant(_two_layers, _plus),
    "04.lanczos_step": Variant(
        _step,
        _shifted,
        lambda a, b, _: all(alike(torch.as_tensor(x), torch.as_tensor(y).double()) for x, y in zip(a, b, strict=True)),
    ),
    "04.gauss_rule": Variant(_tridiagonal, _scaled, _same_nodes),
}
