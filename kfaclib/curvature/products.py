"""Curvature without the matrix: a product with the Hessian or the GGN costs a few gradients, the matrix never exists.

`Params` is a dict of tensors, as in `dict(model.named_parameters())`; with `torch.func.functional_call` any model is a
function of it.  Losses are summed.  Forward-mode differentiation is used, which PyTorch's fused attention does not
have: load a transformer with `attn_implementation="eager"`.
"""

import torch
from torch.func import grad, jvp, vjp


def check_direction(params, v):
    """Raise ValueError, naming the parameter, if v does not have the same names and shapes as params."""
    for name in params.keys() | v.keys():
        shapes = [tuple(d[name].shape) if name in d else None for d in (params, v)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"parameter {name!r} has shape {shapes[0]} and the direction has {shapes[1]} there: "
                "a direction has one entry per parameter (None means: not there at all)"
            )


def hvp(loss, params, v):
    """H v, the Hessian of `loss` times a direction: the derivative of the gradient along v.

    loss: Params -> scalar.  v: Params, as params.  Returns Params.
    """
    check_direction(params, v)
    return jvp(grad(loss), (params,), (v,))[1]


def ggnvp(outputs, output_hvp, params, v):
    """G v = J^T H_out J v: forward to the outputs' change, through the loss's Hessian there, and back.

    outputs: Params -> tensor of the network's outputs (logits), any shape.  output_hvp(outputs, u): product of the
    loss's Hessian *with respect to the outputs* with u, of the outputs' shape.  Returns Params.
    """
    check_direction(params, v)
    _, change = jvp(outputs, (params,), (v,))
    out, pull_back = vjp(outputs, params)
    return pull_back(output_hvp(out, change))[0]


def cross_entropy_hvp(logits, u):
    """(diag(p) - p p^T) u for every row: the Hessian of the summed -log p(label) in the logits.

    logits, u: [..., V].  The label does not occur in it: that is why GGN and Fisher agree.
    """
    p = torch.softmax(logits, -1)
    return p * u - p * (p * u).sum(-1, keepdim=True)


def flatten(params):
    """One long vector [P] of Params, in the dict's order."""
    return torch.cat([p.reshape(-1) for p in params.values()])


def unflatten(vector, params):
    """The inverse of `flatten`: Params with the names and shapes of `params` from a vector [P]."""
    total = sum(p.numel() for p in params.values())
    if vector.shape != (total,):
        raise ValueError(
            f"a vector of shape {tuple(vector.shape)} does not fill these parameters: they have {total} numbers"
        )
    pieces = vector.split([p.numel() for p in params.values()])
    return {name: piece.view_as(p) for (name, p), piece in zip(params.items(), pieces, strict=True)}
