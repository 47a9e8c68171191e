"""Lanczos and the spectral density: theorems on matrices whose spectrum is known."""

import pytest
import torch
from scipy.sparse.linalg import LinearOperator, eigsh

from kfaclib.curvature.spectrum import lanczos, quadrature, random_signs, ritz, spectral_density


def symmetric(n, seed=0):
    M = torch.randn(n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (M + M.T) / 2


def start(n, seed=0):
    return torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_exact_on_a_diagonal_with_as_many_steps_as_it_has_entries():
    diagonal = torch.arange(1, 21, dtype=torch.float64)
    values, residuals, _ = ritz(lanczos(lambda v: diagonal * v, start(20), 20))
    assert torch.allclose(values, diagonal.flip(0), atol=1e-9)
    assert residuals.max() < 1e-6


def test_basis_is_orthonormal_and_turns_the_matrix_tridiagonal():
    M = symmetric(40)
    t = lanczos(lambda v: M @ v, start(40), 15)
    T = torch.diag(t.alpha) + torch.diag(t.beta, 1) + torch.diag(t.beta, -1)
    assert torch.allclose(t.Q @ t.Q.T, torch.eye(15, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(t.Q @ M @ t.Q.T, T, atol=1e-11)


def test_the_residual_is_the_norm_it_says_it_is():
    M = symmetric(40, 1)
    t = lanczos(lambda v: M @ v, start(40), 12)
    values, residuals, vectors = ritz(t)
    assert torch.allclose((vectors @ M - values[:, None] * vectors).norm(dim=1), residuals, atol=1e-11)
    exact = torch.linalg.eigvalsh(M)
    assert ((exact[None] - values[:, None]).abs().min(1).values <= residuals + 1e-11).all()


def test_extreme_values_match_scipy():
    M = symmetric(120, 2)
    M = M @ M
    values, residuals, _ = ritz(lanczos(lambda v: M @ v, start(120), 60))
    theirs = eigsh(LinearOperator((120, 120), matvec=lambda v: M.numpy() @ v), k=4, which="LA")[0][::-1].copy()
    assert torch.allclose(values[:4], torch.from_numpy(theirs), rtol=1e-6)
    assert residuals[0] < 1e-3 * values[0]


def test_stops_where_nothing_is_left():
    u = start(30)
    t = lanczos(lambda v: u * (u @ v), start(30, 1), 30)  # rank one: the Krylov space has two dimensions
    assert len(t.alpha) <= 3
    assert ritz(t)[0][0].item() == pytest.approx((u @ u).item(), rel=1e-9)


def test_without_reorthogonalisation_the_top_comes_back_as_a_ghost():
    diagonal = torch.cat([torch.linspace(0, 1, 199), torch.tensor([100.0])]).float()
    v0 = start(200).float()
    ghosts = {
        flag: (ritz(lanczos(lambda v: diagonal * v, v0, 60, reorthogonalize=flag))[0] > 99).sum()
        for flag in (True, False)
    }
    assert ghosts[True] == 1
    assert ghosts[False] > 1


def test_quadrature_weights_sum_to_one_and_give_the_moments():
    M = symmetric(50, 3)
    v0 = start(50)
    nodes, weights = quadrature(lanczos(lambda v: M @ v, v0, 10))
    v = v0 / v0.norm()
    assert weights.sum().item() == pytest.approx(1)
    assert (weights >= 0).all()
    power = v.clone()
    for k in range(1, 2 * 10):  # Gauss: exact for polynomials up to degree 2 m - 1
        power = M @ power
        assert (weights * nodes**k).sum().item() == pytest.approx((v @ power).item(), rel=1e-7)


def test_first_moment_is_hutchinsons_trace():
    M = symmetric(60, 4)
    generator = torch.Generator().manual_seed(0)
    signs = [random_signs(60, generator, torch.float64) for _ in range(200)]
    first = [60 * (n * w).sum().item() for n, w in (quadrature(lanczos(lambda v: M @ v, v, 3)) for v in signs)]
    assert first == pytest.approx([(v @ M @ v).item() for v in signs], rel=1e-9)
    error = torch.tensor(first).std() / len(first) ** 0.5
    assert abs(sum(first) / len(first) - M.trace().item()) < 4 * error


def test_density_integrates_to_one_and_counts_shares():
    diagonal = torch.cat([torch.zeros(90), torch.full((10,), 5.0)]).double()
    generator = torch.Generator().manual_seed(0)
    runs = [lanczos(lambda v: diagonal * v, random_signs(100, generator, torch.float64), 5) for _ in range(4)]
    grid = torch.linspace(-2, 7, 2001, dtype=torch.float64)
    density = spectral_density(runs, grid, 0.1)
    assert torch.trapezoid(density, grid).item() == pytest.approx(1, abs=1e-6)
    above = grid > 2.5
    assert torch.trapezoid(density[above], grid[above]).item() == pytest.approx(0.1, abs=1e-3)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="not zero"):
        lanczos(lambda v: v, torch.zeros(3), 1)
    with pytest.raises(ValueError, match="steps=4"):
        lanczos(lambda v: v, torch.ones(3), 4)
    with pytest.raises(ValueError, match="no runs"):
        spectral_density([], torch.linspace(0, 1, 3), 0.1)
    with pytest.raises(FloatingPointError, match="not finite"):
        ritz(lanczos(lambda v: v * float("nan"), torch.ones(3), 3))
