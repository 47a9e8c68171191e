"""Uphill on the text to be forgotten, by the shortest way that the curvature of all other text allows."""

import torch

from kfaclib.curvature.capture import evaluating
from kfaclib.curvature.eigenbasis import Eigenbasis, eigenvalue_product
from kfaclib.editing.subnet import token_losses


def gradient(
    model: torch.nn.Module, layers: dict[str, torch.nn.Linear], windows: list, batch: int = 16
) -> dict[str, torch.Tensor]:
    """The gradient of the mean loss of the suffixes of `windows` [(prefix ids, suffix ids)], all of one length, with
    respect to the layers' weights: {name: float32 [O, I]}. The model is in evaluation mode meanwhile."""
    weights = {name: layer.weight.detach().clone().requires_grad_() for name, layer in layers.items()}
    device, tokens, first = next(model.parameters()).device, sum(len(s) for _, s in windows), len(windows[0][0])
    total = {name: torch.zeros_like(w) for name, w in weights.items()}
    with evaluating(model):
        for start in range(0, len(windows), batch):
            ids = torch.tensor([[*p, *s] for p, s in windows[start : start + batch]], device=device)
            loss = token_losses(model, weights, ids)[:, first - 1 :].sum() / tokens
            for name, g in zip(weights, torch.autograd.grad(loss, list(weights.values()))):
                total[name] += g
    return total


def uphill_step(
    layers: dict[str, torch.nn.Linear],
    bases: dict[str, Eigenbasis],
    gradients: dict[str, torch.Tensor],
    size: float,
    damping: float = 0.1,
) -> dict[str, torch.Tensor]:
    """Weights after one step uphill: {name: [O, I]}, each W + size * Q_G [(Q_G^T grad Q_A) / (Pi + damping * mean(Pi))]
    Q_A^T in its dtype.

    This is K-FADE's step (McKinney et al. 2026, arXiv 2602.10568) with K-FAC's product Pi for the curvature of the text
    to retain: of all steps that raise the forgotten text's loss as much, to first order, it raises the retained text's
    least, as far as K-FAC sees it. Unlike the edit by mass it needs the text that is to be forgotten. damping is in
    units of each layer's mean eigenvalue.
    """
    moved = {}
    for name, basis in bases.items():
        W, Pi = layers[name].weight.detach(), eigenvalue_product(basis)
        C = basis.Q_G.T @ gradients[name].cpu().to(basis.Q_G.dtype) @ basis.Q_A
        step = basis.Q_G @ (C / (Pi + damping * Pi.mean()).to(C)) @ basis.Q_A.T
        moved[name] = W + size * step.to(W)
    return moved
