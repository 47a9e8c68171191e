"""Uphill on the text to be forgotten, by the shortest way that the curvature of all other text allows."""

import torch

from kfaclib.curvature.capture import measured
from kfaclib.curvature.eigenbasis import Eigenbasis, eigenvalue_product


@measured
def gradient(
    model: torch.nn.Module, layers: dict[str, torch.nn.Linear], windows: list, batch: int = 16
) -> dict[str, torch.Tensor]:
    """The gradient of the mean loss of the suffixes of `windows` [(prefix ids, suffix ids)], all of one length, with
    respect to the layers' weights: {name: float32 [O, I]}."""
    weights = [layer.weight for layer in layers.values()]
    wanted = [w.requires_grad for w in weights]
    total, tokens = [torch.zeros_like(w) for w in weights], sum(len(s) for _, s in windows)
    try:
        for w in weights:
            w.requires_grad_(True)
        for start in range(0, len(windows), batch):
            some = windows[start : start + batch]
            ids = torch.tensor([[*p, *s] for p, s in some], device=weights[0].device)
            first = len(some[0][0])
            with torch.enable_grad():
                logits = model(input_ids=ids, use_cache=False).logits[:, first - 1 : -1]
                loss = torch.nn.functional.cross_entropy(
                    logits.flatten(0, 1).float(), ids[:, first:].flatten(), reduction="sum"
                )
                found = torch.autograd.grad(loss / tokens, weights)
            for sum_, g in zip(total, found):
                sum_ += g
    finally:
        for w, was in zip(weights, wanted):
            w.requires_grad_(was)
    return dict(zip(layers, total))


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
