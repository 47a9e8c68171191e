"""The spectrum of a matrix that is only known by its products: Lanczos, and the density by stochastic quadrature."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Tridiagonal:
    """What m steps of the Lanczos method found: M Q^T = Q^T T + residual e_m^T, for symmetric M and orthonormal rows of
    Q.

    alpha [m] is the diagonal of T and beta [m - 1] its off-diagonal, both float64. residual: the norm of what was left
    after the last step. Q [m, n]: the Krylov basis, row by row.
    """

    alpha: torch.Tensor
    beta: torch.Tensor
    residual: float
    Q: torch.Tensor


def lanczos(
    matvec: Callable[[torch.Tensor], torch.Tensor], v0: torch.Tensor, steps: int, *, reorthogonalize: bool = True
) -> Tridiagonal:
    """The Lanczos method for a symmetric matrix that is known by its products only (Golub and Van Loan, chapter 10).

    matvec: [n] -> [n]. v0: [n], of any length but 0. steps: at most this many; fewer where the Krylov space is
    exhausted. Without reorthogonalization the rows of Q lose their right angles and large eigenvalues return as copies,
    which chapter 4 shows. Raises ValueError for a v0 or a number of steps that cannot be used.
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


def ritz(t: Tridiagonal) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Approximate eigenpairs of the matrix: (values [m] descending, residuals [m], vectors [m, n]).

    A residual is the exact norm |M x - value x|; there is an eigenvalue of M at most that far from the value. Raises
    FloatingPointError if a product was not finite.
    """
    values, s = _eigh(t)
    return values, (t.residual * s[-1]).abs(), s.T.to(t.Q.dtype) @ t.Q


def quadrature(t: Tridiagonal) -> tuple[torch.Tensor, torch.Tensor]:
    """The Gauss rule that belongs to v0: (nodes [m] descending, weights [m]), weights >= 0 with sum 1 (Golub and Welsch
    1969).
    """
    values, s = _eigh(t)
    return values, s[0] ** 2


def spectral_density(runs: Sequence[Tridiagonal], grid: torch.Tensor, width: float) -> torch.Tensor:
    """The density of eigenvalues on a grid, by stochastic Lanczos quadrature (Ubaru, Chen and Saad 2017).

    runs: Tridiagonals from random starts, such as `random_signs`. grid: [n_grid], in the unit of the eigenvalues. Every
    node becomes a Gaussian of standard deviation `width`, so what lies closer together is one hump. Returns float64
    [n_grid], which integrates to 1. Raises ValueError without runs or for a width that is not positive.
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


def random_signs(n: int, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """A start for `lanczos`: [n] of +1 and -1, for which v^T M v is an unbiased estimate of the trace (Hutchinson
    1990).
    """
    return torch.randint(0, 2, (n,), generator=generator).to(dtype) * 2 - 1
