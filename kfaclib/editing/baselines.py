"""Edits without curvature, to compare with: a low-rank weight, and the same staircase in a random basis."""

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
