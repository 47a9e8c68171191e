"""The edit: keep the smallest set of eigenvector pairs that holds a given share of the curvature mass, drop the rest.

Both spectra are sorted, so the kept set is a staircase: every row keeps a prefix, and prefixes shrink downwards.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from kfaclib.curvature.eigenbasis import Eigenbasis

_ROUNDING = 1 - 1e-12  # a sum that misses its goal by rounding alone has reached it


def _check_mass(mass):
    if not 0 < mass <= 1:
        raise ValueError(f"mass={mass}: the share of curvature mass to keep lies in (0, 1]; 1 keeps everything")


def _to_about_one(x):
    """x times the power of two that brings its first entry to [1/2, 1): no comparison changes, and products of tiny
    eigenvalues stay in range."""
    mantissa, exponent = torch.frexp(x)
    return mantissa * 2.0 ** (exponent - exponent[0]).clamp(max=0).double()


def keep_prefix(lambda_G: torch.Tensor, lambda_A: torch.Tensor, mass: float) -> torch.Tensor:
    """The kept set of K-FAC's edit as a staircase: how many columns each row keeps, int64 [O] (Merullo et al. 2025,
    arXiv 2510.24256).

    lambda_G [O], lambda_A [I]: descending, >= 0. mass: in (0, 1]. The kept pairs are the smallest set, taken in
    descending order of lambda_G[i] lambda_A[j] (ties: row by row), whose products sum to at least mass * sum(lambda_G)
    * sum(lambda_A). One threshold is bisected; only the few pairs left between its two bounds are sorted. Raises
    ValueError for eigenvalues that are not sorted, not finite or all zero, and for a mass outside (0, 1].
    """
    _check_mass(mass)
    G, A = lambda_G.double().cpu(), lambda_A.double().cpu()
    for name, x in (("lambda_G", G), ("lambda_A", A)):
        if (x.diff() > 0).any() or (x < 0).any() or not torch.isfinite(x).all():
            raise ValueError(f"{name} must be finite, descending and not negative: take it from `decompose`")
    if mass == 1:
        return torch.full((len(G),), len(A))
    if not G.numel() or not A.numel() or G[0] == 0 or A[0] == 0:
        raise ValueError(
            "all eigenvalues are zero: there is no curvature to rank by (did any gradient reach this layer?)"
        )
    G, A = _to_about_one(G), _to_about_one(A)
    below = torch.cat([A.new_zeros(1), A.cumsum(0)])  # below[k] = sum of the first k of A
    goal = (mass * G.sum() * below[-1] * _ROUNDING).clamp(min=1e-300)  # of a tiny mass at least the first pair
    ascending, edge = -A, 1e-13  # products are compared as threshold / G against A: a margin above rounding

    def columns(threshold):
        """How many products in each row are >= threshold, up to rounding."""
        return torch.searchsorted(ascending, -(threshold / G), right=True)

    def enough(count):
        return (G * below[count]).sum() >= goal

    # one search for each entry of the shorter side is enough to count pairs above a threshold, and to add up their mass
    short, long = (G, A) if len(G) < len(A) else (A, G)
    long_below, long_ascending = torch.cat([long.new_zeros(1), long.cumsum(0)]), -long
    low, high = 0.0, (G[0] * A[0]).item() * 2
    surely, maybe = torch.zeros(len(G), dtype=torch.int64), torch.full((len(G),), len(A))
    few, many = 0, len(G) * len(A)  # pairs above high, above low
    while many - few > 4096:
        middle = (low * high) ** 0.5 if low > 0 else high * 1e-4
        if not low < middle < high:  # the last kept pairs are tied
            break
        count = torch.searchsorted(long_ascending, -(middle / short), right=True)
        if (short * long_below[count]).sum() >= goal:
            low, many = middle, int(count.sum())
        else:
            high, few = middle, int(count.sum())
    if few > 0:
        surely = columns(high * (1 + edge))
    if low > 0:
        maybe = columns(low * (1 - edge))
    width = maybe - surely
    rows = torch.repeat_interleave(torch.arange(len(G)), width)
    place = torch.arange(len(rows)) - torch.repeat_interleave(width.cumsum(0) - width, width)
    values = G[rows] * A[surely[rows] + place]
    order = values.argsort(descending=True, stable=True)
    running = (G * below[surely]).sum() + values[order].cumsum(0)
    missing = min(int((running < goal).sum()) + 1, len(order)) if not enough(surely) else 0
    return surely + torch.bincount(rows[order[:missing]], minlength=len(G))


def prefix_mask(prefix: torch.Tensor, columns: int) -> torch.Tensor:
    """The staircase as a mask: bool [O, I] from prefix [O] and I = columns."""
    return torch.arange(columns)[None, :] < prefix[:, None]


def keep_mask(eigenvalues: torch.Tensor, mass: float) -> torch.Tensor:
    """Mask of the smallest set of pairs whose eigenvalues sum to at least mass * eigenvalues.sum(): bool [O, I].

    eigenvalues: [O, I], >= 0, for any ranking: EK-FAC's eigenvalues, or products times |C|^2. Pairs are taken in
    descending order (ties: row by row). Raises ValueError for eigenvalues that are negative, not finite or all zero.
    """
    _check_mass(mass)
    values = eigenvalues.double().flatten()
    if (values < 0).any() or not torch.isfinite(values).all():
        raise ValueError("eigenvalues must be finite and not negative to be ranked by mass")
    if mass == 1:
        return torch.ones_like(eigenvalues, dtype=torch.bool)
    if values.sum() == 0:
        raise ValueError(
            "all eigenvalues are zero: there is no curvature to rank by (did any gradient reach this layer?)"
        )
    order = values.argsort(descending=True, stable=True)
    running = values[order].cumsum(0)
    count = min(int((running < mass * values.sum() * _ROUNDING).sum()) + 1, len(values))
    keep = torch.zeros_like(values, dtype=torch.bool)
    keep[order[:count]] = True
    return keep.view_as(eigenvalues)


def project(W: torch.Tensor, basis: "Eigenbasis", keep: torch.Tensor) -> torch.Tensor:
    """Keep some coefficients of a weight in its eigenbasis and drop the rest: Q_G ((Q_G^T W Q_A) * keep) Q_A^T.

    W: [O, I]; keep: bool [O, I]. Returns [O, I] in W's dtype; keeping all gives W, bit for bit. Raises ValueError for
    the basis of another layer, FloatingPointError for a W that is not finite.
    """
    Q_G, Q_A = basis.Q_G.to(W.device), basis.Q_A.to(W.device)
    if Q_G.shape[0] != W.shape[0] or Q_A.shape[0] != W.shape[1]:
        raise ValueError(
            f"W is {tuple(W.shape)} and its basis is for ({Q_G.shape[0]}, {Q_A.shape[0]}): this basis belongs to "
            "another layer"
        )
    if not torch.isfinite(W).all():
        raise FloatingPointError(f"W {tuple(W.shape)} has values that are not finite: they would spread")
    if keep.all():
        return W.detach().clone()
    C = Q_G.T @ W.detach().to(Q_G.dtype) @ Q_A
    return (Q_G @ (C * keep.to(W.device)) @ Q_A.T).to(W.dtype)


def edit_weights(
    layers: dict[str, torch.nn.Linear], bases: dict, mass: float | dict[str, float], eigenvalues: dict | None = None
) -> dict[str, torch.Tensor]:
    """Edited weights {name: [O, I]}: every layer projected on its own `mass` of curvature.

    layers: {name: nn.Linear}; bases: from `decompose`. mass: one number, or {name: number}. eigenvalues: {name: [O, I]}
    ranks the pairs by these instead of K-FAC's products.
    """
    edited_weights = {}
    for name, basis in bases.items():
        share = mass[name] if isinstance(mass, dict) else mass
        if not torch.isfinite(layers[name].weight).all():
            raise FloatingPointError(
                f"the weight of layer {name!r} has values that are not finite: the model is damaged"
            )
        if eigenvalues is None:
            keep = prefix_mask(keep_prefix(basis.lambda_G, basis.lambda_A, share), len(basis.lambda_A))
        else:
            keep = keep_mask(eigenvalues[name], share)
        edited_weights[name] = project(layers[name].weight, basis, keep)
    return edited_weights


@contextmanager
def edited(layers: dict[str, torch.nn.Linear], weights: dict[str, torch.Tensor]) -> Iterator[None]:
    """Inside the block the layers have these weights; afterwards, also after an exception, their own again, bit for
    bit.

    weights: {name: [O, I]}. Raises ValueError, before anything is changed, for a weight of another shape.
    """
    for name, weight in weights.items():
        if layers[name].weight.shape != weight.shape:
            raise ValueError(
                f"layer {name!r} has a weight {tuple(layers[name].weight.shape)}, not {tuple(weight.shape)}"
            )
    before = {name: layers[name].weight.detach().clone() for name in weights}
    try:
        with torch.no_grad():
            for name, weight in weights.items():
                layers[name].weight.copy_(weight)
        yield
    finally:
        with torch.no_grad():
            for name, weight in before.items():
                layers[name].weight.copy_(weight)


def kept_share(basis: "Eigenbasis", mass: float) -> float:
    """The share of all pairs that a mass keeps: usually far smaller than the mass."""
    return keep_prefix(basis.lambda_G, basis.lambda_A, mass).double().mean().item() / len(basis.lambda_A)
