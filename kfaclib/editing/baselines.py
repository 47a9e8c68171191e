"""Edits without curvature, to compare with: a low rank, the same staircase in a random basis, the largest entries, and
noise."""

import torch

from kfaclib.curvature.eigenbasis import Eigenbasis
from kfaclib.editing.edit import keep_prefix, prefix_mask, project


def svd_edit(W: torch.Tensor, share: float) -> torch.Tensor:
    """Cut W [O, I] to a low rank, the best one in the Frobenius norm (Eckart and Young 1936).

    share: the rank is the one whose two factors hold this share of W's numbers, rank (O + I) = share O I, at least 1.
    Returns [O, I] in the dtype of W.
    """
    rank = max(1, round(share * W.numel() / sum(W.shape)))
    U, S, V = torch.linalg.svd(W.detach().float(), full_matrices=False)
    return ((U[:, :rank] * S[:rank]) @ V[:rank]).to(W.dtype)


def random_basis(basis: Eigenbasis, generator: torch.Generator) -> Eigenbasis:
    """The spectra of `basis` with random orthogonal eigenvectors (Haar measure): the shape of the curvature without its
    directions.
    """

    def orthogonal(n):
        Q, R = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))
        return (Q * R.diagonal().sign()).to(basis.Q_A.dtype)

    return Eigenbasis(orthogonal(len(basis.lambda_A)), orthogonal(len(basis.lambda_G)), basis.lambda_A, basis.lambda_G)


def random_edit(W: torch.Tensor, basis: Eigenbasis, mass: float, generator: torch.Generator) -> torch.Tensor:
    """W [O, I] projected on the staircase that `mass` gives, in a random basis."""
    keep = prefix_mask(keep_prefix(basis.lambda_G, basis.lambda_A, mass), len(basis.lambda_A))
    return project(W, random_basis(basis, generator), keep)


def magnitude_edit(W: torch.Tensor, kept: float) -> torch.Tensor:
    """Set all but the share `kept` of the largest entries of W [O, I] to zero; at least one entry stays."""
    smallest = W.detach().abs().flatten().sort(descending=True)[0][max(1, round(kept * W.numel())) - 1]
    return W.detach() * (W.detach().abs() >= smallest)


def noise_edit(W: torch.Tensor, norm: float, generator: torch.Generator) -> torch.Tensor:
    """W [O, I] plus a Gaussian matrix of Frobenius norm `norm`, drawn by `generator` on the CPU."""
    noise = torch.randn(W.shape, generator=generator)
    return W.detach() + (norm * noise / noise.norm()).to(W)


def noisy(layers: dict[str, torch.nn.Linear], size: float, seed: int) -> dict[str, torch.Tensor]:
    """Weights plus noise of `size` times their norm, {name: [O, I]}: the edit that uses no knowledge at all."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: noise_edit(layer.weight, size * layer.weight.detach().norm().cpu(), generator)
        for name, layer in layers.items()
    }
