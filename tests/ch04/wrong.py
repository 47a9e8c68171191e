"""Plausible wrong answers to the exercises of chapter 04, with a fragment of what their check must say."""

import torch
from torch.func import grad, hessian, jvp, vjp


def finite_differences(loss, w, v):
    return (grad(loss)(w + 1e-4 * v) - grad(loss)(w)) / 1e-4


def gradient_times_v(loss, w, v):
    return grad(loss)(w) * v


def whole_matrix(loss, w, v):
    return hessian(loss)(w) @ v


def column_by_column(loss, w, v):
    return sum(v[i] * jvp(grad(loss), (w,), (torch.eye(len(w), dtype=w.dtype)[i],))[1] for i in range(len(w)))


def labels_equally_likely(p):
    scores = torch.eye(len(p), dtype=p.dtype) - p
    return scores.T @ scores / len(p)


def labels_of_the_data(p):
    score = torch.eye(len(p), dtype=p.dtype)[p.argmax()] - p
    return torch.outer(score, score)


def without_the_mean(p):
    return torch.diag(p)


def no_loss(outputs, output_hvp, w, v):
    _, u = jvp(outputs, (w,), (v,))
    return vjp(outputs, w)[1](u)[0]


def at_the_wrong_place(outputs, output_hvp, w, v):
    z, u = jvp(outputs, (w,), (v,))
    return vjp(outputs, w)[1](output_hvp(torch.zeros_like(z), u))[0]


def stays_at_the_outputs(outputs, output_hvp, w, v):
    return output_hvp(*jvp(outputs, (w,), (v,))).flatten()


def previous_forgotten(matvec, q_previous, q, beta):
    w = matvec(q)
    alpha = w @ q
    w = w - alpha * q
    return alpha, w.norm(), w / w.norm()


def not_scaled(matvec, q_previous, q, beta):
    w = matvec(q)
    alpha = w @ q
    w = w - alpha * q - beta * q_previous
    return alpha, w.norm(), w


def power_iteration(matvec, q_previous, q, beta):
    w = matvec(q)
    return w @ q, w.norm(), w / w.norm()


def _tridiagonal(alpha, beta):
    return torch.diag(alpha) + torch.diag(beta, 1) + torch.diag(beta, -1)


def first_eigenvector(alpha, beta):
    values, s = torch.linalg.eigh(_tridiagonal(alpha, beta))
    return values, s[:, 0] ** 2


def last_entries(alpha, beta):
    values, s = torch.linalg.eigh(_tridiagonal(alpha, beta))
    return values, s[-1] ** 2


def not_squared(alpha, beta):
    values, s = torch.linalg.eigh(_tridiagonal(alpha, beta))
    return values, s[0].abs()


def one_off_diagonal(alpha, beta):
    values, s = torch.linalg.eigh(torch.diag(alpha) + torch.diag(beta, 1))
    return torch.linalg.eig(torch.diag(alpha) + torch.diag(beta, 1))[0].real, s[0] ** 2


WRONG = {
    "04.hessian_vector": [
        (finite_differences, "finite differences"),
        (gradient_times_v, "once more"),
        (whole_matrix, "must not be built"),
        (column_by_column, "for one product"),
    ],
    "04.fisher_of_softmax": [
        (labels_equally_likely, "weight with p[y]"),
        (labels_of_the_data, "all labels"),
        (without_the_mean, "- p is missing"),
    ],
    "04.ggn_vector": [
        (no_loss, "output_hvp, is missing"),
        (at_the_wrong_place, "outputs at w"),
        (stays_at_the_outputs, "back to the weights"),
    ],
    "04.lanczos_step": [
        (previous_forgotten, "the one before"),
        (not_scaled, "divide what is left"),
        (power_iteration, "take alpha q away"),
    ],
    "04.gauss_rule": [
        (first_eigenvector, "first entry"),
        (last_entries, "last entries"),
        (not_squared, "square the first"),
        (one_off_diagonal, "both off-diagonals"),
    ],
}
