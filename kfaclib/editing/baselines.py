"""Edits to compare with: a low rank, the same staircase in a random basis, the flattest block, the largest entries,
noise, and nothing left at all."""

import torch

from kfaclib.curvature.eigenbasis import Eigenbasis
from kfaclib.editing.edit import project


def svd_edit(W: torch.Tensor, share: float, known: tuple | None = None) -> torch.Tensor:
    """Cut W [O, I] to a low rank, the best one in the Frobenius norm (Eckart and Young 1936).

    share: the rank is the one whose two factors hold this share of W's numbers, rank (O + I) = share O I, at least 1.
    known: (U, S, V^T) of W in float32, where it has been computed. Returns [O, I] in the dtype of W.
    """
    rank = max(1, round(share * W.numel() / sum(W.shape)))
    U, S, V = known or torch.linalg.svd(W.detach().float(), full_matrices=False)
    return ((U[:, :rank] * S[:rank]) @ V[:rank]).to(W.dtype)


def low_ranks(layers: dict[str, torch.nn.Linear]) -> list[float]:
    """The shares of `svd_edit` at which some layer's low rank becomes one larger, ascending: between two neighbours
    nothing changes."""
    shapes = [layer.weight.shape for layer in layers.values()]
    return sorted({rank * (O + I) / (O * I) for O, I in shapes for rank in range(1, min(O, I) + 1)})


def random_basis(basis: Eigenbasis, generator: torch.Generator) -> Eigenbasis:
    """The spectra of `basis` with random orthogonal eigenvectors (Haar measure): the shape of the curvature without its
    directions.
    """

    def orthogonal(n):
        Q, R = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))
        return (Q * R.diagonal().sign()).to(basis.Q_A.dtype)

    return Eigenbasis(orthogonal(len(basis.lambda_A)), orthogonal(len(basis.lambda_G)), basis.lambda_A, basis.lambda_G)


def block_edit(W: torch.Tensor, basis: Eigenbasis, share: float) -> torch.Tensor:
    """W [O, I] without the block that the flattest `share` of its output directions and of its input directions span: a
    rectangle where K-FAC's edit cuts a staircase."""
    O, I = W.shape
    keep = torch.ones(O, I, dtype=torch.bool)
    keep[round((1 - share) * O) :, round((1 - share) * I) :] = False
    return project(W, basis, keep)


def block_shares(layers: dict[str, torch.nn.Linear]) -> list[float]:
    """1 minus the shares of `block_edit` at which some layer's block becomes a row or a column smaller, ascending."""
    sizes = {n for layer in layers.values() for n in layer.weight.shape}
    return sorted({k / n for n in sizes for k in range(n + 1)})


def zeroed(layers: dict[str, torch.nn.Linear]) -> dict[str, torch.Tensor]:
    """Weights that are zero, {name: [O, I]}: what an edit of these layers can cost at most, and what the rest of the
    model does without them."""
    return {name: torch.zeros_like(layer.weight) for name, layer in layers.items()}


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
