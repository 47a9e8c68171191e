"""Curvature without the matrix: a product with the Hessian or the GGN costs a few gradients, the matrix never exists.

`Params` is a dict of tensors, as in `dict(model.named_parameters())`; with `torch.func.functional_call` any model is a
function of it.  Losses are summed.  Forward-mode differentiation is used, which PyTorch's fused attention does not
have: load a transformer with `attn_implementation="eager"`.
"""

from collections.abc import Callable

import torch
from torch.func import grad, jvp, vjp

Params = dict[str, torch.Tensor]


def check_direction(params: Params, v: Params) -> None:
    """Check that a direction has the names and shapes of the parameters; ValueError names the one that differs."""
    for name in params.keys() | v.keys():
        shapes = [tuple(d[name].shape) if name in d else None for d in (params, v)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"parameter {name!r} has shape {shapes[0]} and the direction has {shapes[1]} there: "
                "a direction has one entry per parameter (None means: not there at all)"
            )


def hvp(loss: Callable[[Params], torch.Tensor], params: Params, v: Params) -> Params:
    """Product of the Hessian of a loss with a direction: the derivative of the gradient along v (Pearlmutter 1994).

    loss: a function of Params that returns a scalar. v: Params, as params. Returns Params. It costs about two
    gradients. Raises ValueError, naming the parameter, if v does not fit params.
    """
    check_direction(params, v)
    return jvp(grad(loss), (params,), (v,))[1]


def ggnvp(
    outputs: Callable[[Params], torch.Tensor],
    output_hvp: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    params: Params,
    v: Params,
) -> Params:
    """Product of the generalized Gauss-Newton matrix with a direction: G v = J^T H J v (Schraudolph 2002).

    J is the Jacobian of the outputs and H the Hessian of the loss with respect to the outputs. outputs: a function of
    Params that returns the network's outputs, of any shape. output_hvp(outputs, u): H u, of the outputs' shape, such as
    `cross_entropy_hvp`. Returns Params. Raises ValueError, naming the parameter, if v does not fit params.
    """
    check_direction(params, v)
    _, change = jvp(outputs, (params,), (v,))
    out, pull_back = vjp(outputs, params)
    return pull_back(output_hvp(out, change))[0]


def cross_entropy_hvp(logits: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    """Product (diag(p) - p p^T) u for every row: the Hessian of the summed -log p(label) with respect to the logits.

    logits, u: [..., V]. Returns [..., V]. The label does not occur in it, which is why GGN and Fisher are the same
    matrix for a softmax (Martens 2020, arXiv 1412.1193).
    """
    p = torch.softmax(logits, -1)
    return p * u - p * (p * u).sum(-1, keepdim=True)


def flatten(params: Params) -> torch.Tensor:
    """One vector [P] of all parameters, in the order of the dict."""
    return torch.cat([p.reshape(-1) for p in params.values()])


def unflatten(vector: torch.Tensor, params: Params) -> Params:
    """Params with the names and shapes of `params` from a vector [P]: the inverse of `flatten`. ValueError if P
    differs.
    """
    total = sum(p.numel() for p in params.values())
    if vector.shape != (total,):
        raise ValueError(
            f"a vector of shape {tuple(vector.shape)} does not fill these parameters: they have {total} numbers"
        )
    pieces = vector.split([p.numel() for p in params.values()])
    return {name: piece.view_as(p) for (name, p), piece in zip(params.items(), pieces, strict=True)}
