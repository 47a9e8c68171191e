"""The spectrum of a matrix that is only known by its products: Lanczos, and the density by stochastic quadrature."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Tridiagonal:
    """What m steps of Lanczos found: M Q^T = Q^T T + residual e_m^T (M symmetric, rows of Q orthonormal).

    alpha [m] is the diagonal of T and beta [m - 1] its off-diagonal, both float64.  residual: the norm of what was left
    after the last step.  Q [m, n]: the Krylov basis, row by row.
    """

    alpha: torch.Tensor
    beta: torch.Tensor
    residual: float
    Q: torch.Tensor


def lanczos(matvec, v0, steps, *, reorthogonalize=True):
    """`Tridiagonal` of at most `steps` steps from v0 [n] (any length but 0) for a symmetric matvec: [n] -> [n].

    It stops early where the Krylov space is exhausted. Without reorthogonalisation the rows of Q lose their right
    angles and large eigenvalues come back as ghosts; chapter 4 shows it.
    """
    if v0.ndim != 1 or not v0.norm() > 0:
        raise ValueError(f"v0 must be a vector that is not zero; it has shape {tuple(v0.shape)} and norm {v0.norm():g}")
    if not 1 <= steps <= len(v0):
        raise ValueError(f"steps={steps}: between 1 and the size of the matrix, {len(v0)}")
    rows, alpha, beta, q = [], [], [], v0 / v0.norm()
    for _ in range(steps):
        rows.append(q)
        w = matvec(q)
        alpha.append((w @ q).item())
        w = w - alpha[-1] * q - (beta[-1] * rows[-2] if beta else 0)
        if reorthogonalize:
            Q = torch.stack(rows)
            for _ in range(2):  # once is not enough: the first pass leaves rounding errors along large eigenvectors
                w = w - Q.T @ (Q @ w)
        beta.append(w.norm().item())
        scale = max(map(abs, alpha + beta))
        if not beta[-1] > 10 * torch.finfo(v0.dtype).eps * scale:
            break  # exhausted; or not a number, which `ritz` reports
        q = w / beta[-1]
    return Tridiagonal(
        torch.tensor(alpha, dtype=torch.float64),
        torch.tensor(beta[:-1], dtype=torch.float64),
        beta[-1],
        torch.stack(rows),
    )


def _eigh(t):
    T = torch.diag(t.alpha) + torch.diag(t.beta, 1) + torch.diag(t.beta, -1)
    if not torch.isfinite(T).all():
        raise FloatingPointError("Lanczos met a product that is not finite: look at the loss and the parameters")
    values, vectors = torch.linalg.eigh(T)
    return values.flip(0), vectors.flip(1)


def ritz(t):
    """(values [m] descending, residuals [m], vectors [m, n]): approximate eigenpairs of the matrix.

    A residual is the exact norm |M x - value x|; there is an eigenvalue of M at most that far from the value.
    """
    values, s = _eigh(t)
    return values, (t.residual * s[-1]).abs(), s.T.to(t.Q.dtype) @ t.Q


def quadrature(t):
    """(nodes [m] descending, weights [m]) of the Gauss rule that v0 gives: the weights are >= 0 and sum to 1."""
    values, s = _eigh(t)
    return values, s[0] ** 2


def spectral_density(runs, grid, width):
    """The density of eigenvalues on grid [n_grid], by stochastic Lanczos quadrature: [n_grid] float64, integrates to 1.

    runs: `Tridiagonal`s from random starts (entries +1 and -1, or normal).  Every node becomes a Gaussian of standard
    deviation `width`: what is closer together than that is one hump.
    """
    if not runs:
        raise ValueError("no runs: give at least one Tridiagonal")
    if not width > 0:
        raise ValueError(f"width={width}: the Gaussians' standard deviation must be positive")
    density = torch.zeros(len(grid), dtype=torch.float64)
    for t in runs:
        nodes, weights = quadrature(t)
        density += torch.exp(-0.5 * ((grid.double()[:, None] - nodes) / width) ** 2) @ weights
    return density / (len(runs) * width * (2 * torch.pi) ** 0.5)


def random_signs(n, generator, dtype=torch.float32):
    """A start for Lanczos, [n] of +1 and -1: for these v^T M v is an unbiased estimate of the trace."""
    return torch.randint(0, 2, (n,), generator=generator).to(dtype) * 2 - 1
