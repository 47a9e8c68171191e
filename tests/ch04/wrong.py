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


def start_not_scaled():
    return [6, 2], (2 / 3) ** 0.5, [1.18, 2.82]


def beta_squared():
    return [2, 2], 2 / 3, [1.33, 2.67]


def eigenvalues_of_the_matrix():
    return [2, 2], 0.816, [1, 3]


def ritz_values_wrong():
    return [2, 2], 0.816, [0, 2.82]


def _loop(matvec, v0, steps, change):
    """Lanczos with one of the mistakes below."""
    q, rows, alpha, beta = v0 / v0.norm(), [], [], []
    for _ in range(steps):
        rows.append(q)
        w = matvec(q)
        alpha.append(w @ q)
        w = w - alpha[-1] * q
        if len(rows) > 1 and change != "previous":
            w = w - beta[-1] * rows[-2]
        if change != "once":
            Q = torch.stack(rows)
            for _ in range(2):
                w = w - (Q.T @ (Q @ w) if change != "previous" else 0)
        beta.append(w.norm())
        if change != "goes on" and w.norm() < 1e-12:
            break
        q = w if change == "not scaled" else w / w.norm()
    return torch.stack(alpha), torch.stack(beta if change == "all betas" else beta[:-1]), torch.stack(rows)


def previous_forgotten(matvec, v0, steps):
    return _loop(matvec, v0, steps, "previous")


def not_scaled(matvec, v0, steps):
    q, rows, alpha, beta = v0, [], [], []
    for _ in range(steps):
        rows.append(q)
        w = matvec(q)
        alpha.append(w @ q)
        q = w - alpha[-1] * q - (beta[-1] * rows[-2] if beta else 0)
        beta.append(q.norm())
    return torch.stack(alpha), torch.stack(beta[:-1]), torch.stack(rows)


def not_reorthogonalized(matvec, v0, steps):
    return _loop(matvec, v0, steps, "once")


def never_exhausted(matvec, v0, steps):
    return _loop(matvec, v0, steps, "goes on")


def one_beta_too_many(matvec, v0, steps):
    return _loop(matvec, v0, steps, "all betas")


def directions_as_columns(matvec, v0, steps):
    alpha, beta, Q = _loop(matvec, v0, steps, "")
    return alpha, beta, Q.T


def mean_of_each_image(x):
    return x - x.mean(1, keepdim=True)


def one_mean(x):
    return x - x.mean()


def standardized(x):
    return (x - x.mean(0)) / x.std(0)


def images_as_they_are(x):
    return x.clone()


def first_image_subtracted(x):
    return x - x[0]


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
        (labels_equally_likely, "with the label's probability"),
        (labels_of_the_data, "all labels"),
        (without_the_mean, "- p is missing"),
    ],
    "04.ggn_vector": [
        (no_loss, "output_hvp, is missing"),
        (at_the_wrong_place, "outputs at w"),
        (stays_at_the_outputs, "back to the weights"),
    ],
    "04.two_steps": [
        (start_not_scaled, "length 1"),
        (beta_squared, "square of the length"),
        (eigenvalues_of_the_matrix, "eigenvalues of M"),
        (ritz_values_wrong, "symmetrically around"),
    ],
    "04.lanczos_loop": [
        (previous_forgotten, "at right angles"),
        (not_scaled, "do not have length 1"),
        (not_reorthogonalized, "*all* earlier directions"),
        (never_exhausted, "exhausted after two steps"),
        (one_beta_too_many, "leads out of T"),
        (directions_as_columns, "one direction a row"),
    ],
    "04.without_shared_mean": [
        (mean_of_each_image, "mean of each image"),
        (one_mean, "one number was subtracted"),
        (standardized, "two things"),
        (images_as_they_are, "nothing has changed"),
        (first_image_subtracted, "are not zero"),
    ],
    "04.gauss_rule": [
        (first_eigenvector, "of every eigenvector"),
        (last_entries, "last entries"),
        (not_squared, "square the first"),
        (one_off_diagonal, "both sides of its diagonal"),
    ],
}
