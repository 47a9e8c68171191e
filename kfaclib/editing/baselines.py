"""Edits without curvature, to compare with: a low rank, the same staircase in a random basis, the largest entries, and
noise."""

import torch

from kfaclib.curvature.eigenbasis import Eigenbasis
from kfaclib.editing.edit import keep_prefix, prefix_mask, project


def svd_edit(W, share):
    """W [O, I] cut to the rank whose factors hold `share` of W's numbers: rank (O + I) = share O I, at least 1."""
    rank = max(1, round(share * W.numel() / sum(W.shape)))
    U, S, V = torch.linalg.svd(W.detach().float(), full_matrices=False)
    return ((U[:, :rank] * S[:rank]) @ V[:rank]).to(W.dtype)


def random_basis(basis, generator):
    """The spectra of `basis` with random orthogonal eigenvectors (Haar measure): curvature's shape without its
    directions.
    """

    def orthogonal(n):
        Q, R = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))
        return (Q * R.diagonal().sign()).to(basis.Q_A.dtype)

    return Eigenbasis(orthogonal(len(basis.lambda_A)), orthogonal(len(basis.lambda_G)), basis.lambda_A, basis.lambda_G)


def random_edit(W, basis, mass, generator):
    """W projected on the staircase that `mass` gives, in a random basis."""
    keep = prefix_mask(keep_prefix(basis.lambda_G, basis.lambda_A, mass), len(basis.lambda_A))
    return project(W, random_basis(basis, generator), keep)


def magnitude_edit(W, kept):
    """W [O, I] with all but its `kept` share of largest entries set to zero; at least one stays."""
    smallest = W.detach().abs().flatten().sort(descending=True)[0][max(1, round(kept * W.numel())) - 1]
    return W.detach() * (W.detach().abs() >= smallest)


def noise_edit(W, norm, generator):
    """W [O, I] plus a Gaussian matrix of Frobenius norm `norm`, drawn by `generator` on the CPU."""
    noise = torch.randn(W.shape, generator=generator)
    return W.detach() + (norm * noise / noise.norm()).to(W)


def noisy(layers, size, seed):
    """{name: weight plus noise of `size` times its norm} for {name: nn.Linear}: an edit that knows nothing."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: noise_edit(layer.weight, size * layer.weight.detach().norm().cpu(), generator)
        for name, layer in layers.items()
    }
