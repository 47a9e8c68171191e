"""Edits without curvature: what they keep, and what they share with the edit by curvature."""

import pytest
import torch

from kfaclib.curvature.eigenbasis import Eigenbasis
from kfaclib.editing.baselines import block_edit, random_basis, svd_edit
from kfaclib.editing.edit import keep_prefix, prefix_mask, project


@pytest.fixture
def W():
    return torch.randn(12, 18, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def basis():
    spectrum = lambda n: (torch.arange(n, 0, -1).double() / n) ** 3
    eye = lambda n: torch.eye(n, dtype=torch.float64)
    return Eigenbasis(eye(18), eye(12), spectrum(18), spectrum(12))


@pytest.mark.parametrize("share", [0.001, 0.3, 0.5, 1.0])
def test_svd_keeps_the_rank_whose_factors_hold_the_share_of_numbers(W, share):
    rank = max(1, round(share * 12 * 18 / 30))
    found = svd_edit(W, share)
    assert torch.linalg.matrix_rank(found) == rank
    tail = torch.linalg.svdvals(W.double())[rank:].square().sum().sqrt()
    assert torch.linalg.norm(found.double() - W) == pytest.approx(
        tail.item(), rel=1e-5
    )  # no matrix of that rank is nearer


def test_svd_gives_the_weights_dtype_back_and_leaves_the_weight_alone(W):
    before = W.clone()
    assert svd_edit(W.bfloat16(), 0.5).dtype == torch.bfloat16
    svd_edit(W, 0.2)
    assert torch.equal(W, before)


def test_a_random_basis_is_orthogonal_keeps_the_spectra_and_comes_from_the_generator(basis):
    draw = lambda seed: random_basis(basis, torch.Generator().manual_seed(seed))
    one, again, other = draw(0), draw(0), draw(1)
    for Q in (one.Q_A, one.Q_G):
        torch.testing.assert_close(Q.T @ Q, torch.eye(len(Q), dtype=torch.float64), rtol=0, atol=1e-13)
    assert torch.equal(one.lambda_A, basis.lambda_A) and torch.equal(one.lambda_G, basis.lambda_G)
    assert torch.equal(one.Q_A, again.Q_A) and not torch.equal(one.Q_A, other.Q_A)


def test_random_eigenvectors_favour_no_direction(basis):
    """Under the Haar measure every entry of Q has mean 0 and variance 1 / n, also those on the diagonal."""
    g = torch.Generator().manual_seed(0)
    Q = torch.stack([random_basis(basis, g).Q_G for _ in range(400)])
    standard_error = (1 / 12 / 400) ** 0.5
    assert Q.mean(0).abs().max() < 4.5 * standard_error
    assert (Q.square().mean(0) * 12 - 1).abs().max() < 0.4


def test_a_random_basis_cuts_the_curvatures_staircase_in_other_directions(W, basis):
    W, drawn = W.double(), random_basis(basis, torch.Generator().manual_seed(3))
    columns = prefix_mask(keep_prefix(basis.lambda_G, basis.lambda_A, 0.8), 18)
    C = drawn.Q_G.T @ project(W, drawn, columns) @ drawn.Q_A
    assert C[~columns].abs().max() < 1e-12
    torch.testing.assert_close(C[columns], (drawn.Q_G.T @ W @ drawn.Q_A)[columns])


def test_the_flattest_block_is_deleted_and_nothing_else(W, basis):
    """In a basis that is the identity, ordered from sharp to flat, the block is the lower right corner of W."""
    edited = block_edit(W.double(), basis, 1 / 3)
    assert (edited[8:, 12:] == 0).all()
    edited[8:, 12:] = W[8:, 12:]
    torch.testing.assert_close(edited, W.double())
    assert torch.equal(block_edit(W, basis, 0), W)
