"""Right answers to the exercises of chapter 04 in unusual form: every one of them must pass its check."""

import numpy as np
import torch
from torch.func import grad, vjp


def product_by_reverse_mode(loss, w, v):
    return vjp(grad(loss), w)[1](v)[0]  # the Hessian is symmetric


def product_by_autograd(loss, w, v):
    w = w.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(loss(w), w, create_graph=True)
    return torch.autograd.grad(gradient @ v, w)[0]


def fisher_multiplied_out(p):
    return torch.diag(p) - torch.outer(p, p)


def fisher_by_a_loop(p):
    p, total = p.numpy(), 0
    for y in range(len(p)):
        score = np.eye(len(p))[y] - p
        total = total + p[y] * np.outer(score, score)
    return total.tolist()


def ggn_with_the_jacobian_transposed_twice(outputs, output_hvp, w, v):
    z, back = vjp(outputs, w)
    change = vjp(lambda u: back(u)[0], torch.zeros_like(z))[1](v)[0]
    return back(output_hvp(z, change))[0]


def ggn_with_the_jacobian(outputs, output_hvp, w, v):
    z, J = outputs(w), torch.func.jacrev(outputs)(w).flatten(0, -2)
    return J.T @ output_hvp(z, (J @ v).view_as(z)).flatten()


def two_steps_rounded():
    return (2, 2), 0.82, (2.82, 1.18)


def two_steps_as_tensors():
    T = torch.tensor([[2.0, (2 / 3) ** 0.5], [(2 / 3) ** 0.5, 2.0]])
    return T.diagonal(), T[0, 1:], torch.linalg.eigvalsh(T).numpy()


def loop_with_lists(matvec, v0, steps):
    rows, alpha, beta, w = [], [], [], v0
    for step in range(steps):
        length = w.norm().item()
        if step:
            scale = max(abs(x) for x in [*alpha, *beta, length])
            if length <= 1e-6 * scale * (1 if v0.dtype == torch.float32 else 1e-6):
                break
            beta.append(length)
        rows.append(w / length)
        w = matvec(rows[-1])
        alpha.append((w @ rows[-1]).item())
        for _ in range(2):
            for row in rows:
                w = w - (w @ row) * row
    return alpha, beta, rows


def loop_in_numpy(matvec, v0, steps):
    Q, alpha, beta = [v0.double().numpy() / np.linalg.norm(v0.double().numpy())], [], []
    while True:
        w = matvec(torch.from_numpy(Q[-1]).to(v0.dtype)).double().numpy()
        alpha.append(float(w @ Q[-1]))
        basis = np.stack(Q)
        for _ in range(3):
            w = w - basis.T @ (basis @ w)
        if len(alpha) == steps or np.linalg.norm(w) < 1e-9 * abs(alpha[0]):
            return np.array(alpha), np.array(beta), np.stack(Q)
        beta.append(np.linalg.norm(w))
        Q.append(w / beta[-1])


def gauss_rule_backwards_in_numpy(alpha, beta):
    T = np.diag(alpha.numpy()) + np.diag(beta.numpy(), 1) + np.diag(beta.numpy(), -1)
    nodes, vectors = np.linalg.eigh(T)
    return nodes[::-1].copy(), vectors[0, ::-1] ** 2


def mean_by_projection(x):
    ones = torch.ones(len(x), 1, dtype=x.dtype)
    return x - ones @ (ones.T @ x) / len(x)


def mean_in_numpy(x):
    return x.numpy() - x.numpy().mean(axis=0, keepdims=True)


RIGHT = {
    "04.hessian_vector": [product_by_reverse_mode, product_by_autograd],
    "04.fisher_of_softmax": [fisher_multiplied_out, fisher_by_a_loop],
    "04.ggn_vector": [ggn_with_the_jacobian_transposed_twice, ggn_with_the_jacobian],
    "04.two_steps": [two_steps_rounded, two_steps_as_tensors],
    "04.lanczos_loop": [loop_with_lists, loop_in_numpy],
    "04.gauss_rule": [gauss_rule_backwards_in_numpy],
    "04.without_shared_mean": [mean_by_projection, mean_in_numpy],
}
