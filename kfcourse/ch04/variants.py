"""Chapter 04: fresh inputs for every exercise, and a question of one's own for every student."""

import torch

from kfcourse.grading.variants import Variant, alike, real, tenths, whole


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


def _other_diagonal(g):
    c, d = whole(g, 3, 9), whole(g, 2, 9)
    answer = [c + d, c + d], d * (2 / 3) ** 0.5, [c + d - d * (2 / 3) ** 0.5, c + d + d * (2 / 3) ** 0.5]
    return (
        f"Answer the question for the diagonal matrix with the entries {c}, {c + d} and {c + 2 * d}.",
        lambda ref: lambda: answer,
    )


def _same_by_pencil(a, b, _):
    numbers = lambda x: torch.cat([torch.as_tensor(part).double().reshape(-1).sort()[0] for part in x])
    return torch.allclose(numbers(a), numbers(b), rtol=0, atol=6e-3)


def _symmetric(g):
    n = whole(g, 5, 8)
    M = real(g, n, n)
    return (lambda v: (M + M.T) @ v), real(g, n), n - 2


def _shifted(g):
    c = tenths(g, 0.2, 3)
    return (
        f"Run the loop for the matrix 2 M + {c} I, where matvec still multiplies with M.",
        lambda ref: lambda matvec, v0, steps: ref(lambda v: 2 * matvec(v) + c * v, v0, steps),
    )


def _same_basis(a, b, _):
    rows = lambda Q: torch.stack(list(map(torch.as_tensor, Q))) if isinstance(Q, (list, tuple)) else torch.as_tensor(Q)
    numbers = lambda x: torch.tensor([float(v) for v in x], dtype=torch.float64)
    return all(alike(numbers(x), numbers(y)) for x, y in zip(a[:2], b[:2])) and alike(rows(a[2]), rows(b[2]).double())


def _images(g):
    return (real(g, whole(g, 8, 12), 5) * 2 + real(g, 5),)


def _moved(g):
    c = tenths(g, 0.2, 3)
    return (
        f"Afterwards add {c} to the first pixel of every image.",
        lambda ref: lambda x: ref(x) + c * torch.eye(x.shape[1], dtype=x.dtype)[0],
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
    "04.two_steps": Variant(lambda g: (), _other_diagonal, _same_by_pencil),
    "04.lanczos_loop": Variant(_symmetric, _shifted, _same_basis),
    "04.gauss_rule": Variant(_tridiagonal, _scaled, _same_nodes),
    "04.without_shared_mean": Variant(_images, _moved),
}
