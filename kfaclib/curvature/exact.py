"""Slow and certain: curvature by enumeration, to test the fast code against and to read beside chapters 4 and 5.

The vec convention is row-major everywhere: vec(W) = W.reshape(-1), so that a K-FAC block is kron(G, A).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from kfaclib.curvature.capture import capture
from kfaclib.curvature.factors import Factors
from kfaclib.curvature.labels import logit_gradient

if TYPE_CHECKING:
    from kfaclib.curvature.eigenbasis import Eigenbasis

LOSSES = ("cross_entropy", "squared")


def output_hessian(z: torch.Tensor, loss: str = "cross_entropy") -> torch.Tensor:
    """Hessian of one row's loss with respect to the outputs z [C]: diag(p) - p p^T, or the identity for 1/2 |z - y|^2.

    Returns [C, C]. Raises ValueError for a loss that is not in LOSSES.
    """
    if loss not in LOSSES:
        raise ValueError(f"loss={loss!r}: it is one of {LOSSES}")
    if loss == "squared":
        return torch.eye(len(z), dtype=z.dtype)
    p = torch.softmax(z, -1)
    return torch.diag(p) - torch.outer(p, p)


def exact_ggn_block(
    outputs: Callable[[torch.Tensor], torch.Tensor], weight: torch.Tensor, loss: str = "cross_entropy"
) -> torch.Tensor:
    """The GGN of one weight without any approximation: the mean over rows t of J_t^T H_t J_t.

    weight: [O, I]. outputs: a differentiable function of the weight that returns [T, C]; H_t is the loss's Hessian
    there. Returns [O*I, O*I], in nats per squared weight. It needs memory for T C O I numbers: for toys.
    """
    z = outputs(weight).detach()
    J = torch.autograd.functional.jacobian(outputs, weight.detach()).reshape(*z.shape, -1)
    return sum(J_t.T @ output_hessian(z_t, loss) @ J_t for J_t, z_t in zip(J, z)) / len(z)


def enumerated_fisher_block(outputs: Callable[[torch.Tensor], torch.Tensor], weight: torch.Tensor) -> torch.Tensor:
    """The Fisher of one weight by its definition: the mean over rows t of the sum over labels y of p_t(y) s s^T.

    s is the gradient of log p_t(y). weight: [O, I]. outputs: a function of the weight that returns logits [T, V].
    Returns [O*I, O*I], with one backward pass for each row and label.
    """
    weight = weight.detach().requires_grad_(True)
    log_p = torch.log_softmax(outputs(weight), -1)
    fisher = 0
    for row in log_p:
        for value in row:
            s = torch.autograd.grad(value, weight, retain_graph=True)[0].reshape(-1)
            fisher = fisher + value.detach().exp() * torch.outer(s, s)
    return fisher / len(log_p)


def exact_factors(
    model: torch.nn.Module, x: torch.Tensor, layers: dict[str, torch.nn.Linear], loss: str = "cross_entropy"
) -> dict[str, Factors]:
    """K-FAC's factors with the expectation over labels taken exactly, by one backward pass for each output.

    model: x -> outputs [..., C], whose rows are the examples or tokens. layers: {name: nn.Linear}, each called once.
    The vectors that enter at the top are the columns of a root of the output Hessian: sqrt(p(y)) (p - e_y), or e_c.
    """
    inputs, gradients, G = {}, {}, {}
    with torch.no_grad():
        outputs = model(x).shape[-1]
    with capture(model, layers, on_input=inputs.__setitem__, on_output_gradient=gradients.__setitem__):
        for c in range(outputs):
            gradients.clear()
            z = model(x)
            flat = z.detach().reshape(-1, z.shape[-1])
            label = torch.full((len(flat),), c)
            if loss == "squared":
                top = torch.nn.functional.one_hot(label, flat.shape[-1]).to(flat.dtype)
            else:
                top = torch.softmax(flat, -1)[:, c, None].sqrt() * logit_gradient(flat, label)
            z.backward(top.view_as(z))
            for name, g in gradients.items():
                g = g.reshape(-1, g.shape[-1])
                G[name] = G.get(name, 0) + g.T @ g
    rows = {name: a.reshape(-1, a.shape[-1]) for name, a in inputs.items()}
    return {name: Factors(a.T @ a / len(a), G[name] / len(a), len(a)) for name, a in rows.items()}


def block(basis: "Eigenbasis", eigenvalues: torch.Tensor) -> torch.Tensor:
    """K-FAC's or EK-FAC's curvature written out: [O*I, O*I] from eigenvalues [O, I] in the basis kron(Q_G, Q_A)."""
    Q = torch.kron(basis.Q_G, basis.Q_A)
    return (Q * eigenvalues.to(Q).reshape(-1)) @ Q.T


def curvature_distance(
    basis_1: "Eigenbasis", eigenvalues_1: torch.Tensor, basis_2: "Eigenbasis", eigenvalues_2: torch.Tensor
) -> float:
    """Relative Frobenius distance |F1 - F2| / |F1| of two curvatures that are diagonal in two Kronecker bases.

    Eigenvectors are unique up to sign, and up to rotation where eigenvalues are equal; this distance does not depend on
    such choices, and needs no [O*I, O*I] matrix: <F1, F2> = sum of L1 * ((Q_G1^T Q_G2)^2 L2 ((Q_A1^T Q_A2)^2)^T).
    Differences below about 1e-8 in float64 drown in rounding.
    """

    def inner(b1, L1, b2, L2):
        overlap_G, overlap_A = (b1.Q_G.T @ b2.Q_G).double().square(), (b1.Q_A.T @ b2.Q_A).double().square()
        return (L1.double() * (overlap_G @ L2.double() @ overlap_A.T)).sum()

    one, two = (basis_1, eigenvalues_1), (basis_2, eigenvalues_2)
    square = inner(*one, *one) + inner(*two, *two) - 2 * inner(*one, *two)
    return (square.clamp(min=0) / inner(*one, *one)).sqrt().item()
