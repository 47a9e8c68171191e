"""Hooks that show a layer's inputs and output gradients and change nothing else; no other module sets a hook for
that."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Put every submodule of the model into evaluation mode inside the block, so that dropout is off; on exit, also
    after an exception, each gets its own mode back."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def measured(function: Callable) -> Callable:
    """Decorate function(model, ...) to run without gradients and in evaluation mode; the model's own modes are
    restored."""

    @functools.wraps(function)
    def run(model, *args, **kwargs):
        with torch.no_grad(), evaluating(model):
            return function(model, *args, **kwargs)

    return run


@contextmanager
def capture(
    model: torch.nn.Module,
    layers: dict[str, torch.nn.Linear],
    *,
    on_input: Callable[[str, torch.Tensor], object],
    on_output_gradient: Callable[[str, torch.Tensor], object],
) -> Iterator[None]:
    """Inside the block, call `on_input(name, a)` in the forward pass of every layer with its input a [..., I], and
    `on_output_gradient(name, g)` in the backward pass with the gradient g [..., O] at its output.

    All parameters are frozen, so no weight gradient is computed, and the graph starts at the output of the first of
    `layers`: nothing below it is recorded. The model is in evaluation mode. Flags, modes and hooks are restored on
    exit, also after an exception.

    Raises RuntimeError naming a layer that is called twice before its gradient arrives (the curvature of a shared
    layer is not one Kronecker product), or whose input is changed in place after the layer read it.
    """
    flags = {p: p.requires_grad for p in model.parameters()}
    waiting, handles = {}, []  # name -> (input, its version) of the layers whose gradient has not come yet

    def forward_hook(name):
        def hook(_, inputs, output):
            if name in waiting:
                raise RuntimeError(
                    f"layer {name!r} was called twice in one pass: its weight is shared over calls, which K-FAC "
                    "as one Kronecker product does not describe; leave it out of the layers"
                )
            waiting[name] = inputs[0], inputs[0]._version
            on_input(name, inputs[0].detach())
            if not output.requires_grad:
                output = output.detach().requires_grad_(True)
            output.register_hook(backward_hook(name))
            return output.clone() if output.is_leaf else None  # an in-place activation must not hit a leaf

        return hook

    def backward_hook(name):
        def hook(gradient):
            a, version = waiting.pop(name)
            if a._version != version:
                raise RuntimeError(
                    f"the input of layer {name!r} was changed in place after the layer had read it: its A "
                    "would be wrong; use the out-of-place operation there, as in relu(x) instead of relu_(x)"
                )
            on_output_gradient(name, gradient.detach())

        return hook

    try:
        for parameter in flags:
            parameter.requires_grad_(False)
        handles += [layer.register_forward_hook(forward_hook(name)) for name, layer in layers.items()]
        with torch.enable_grad(), evaluating(model):
            yield
    finally:
        for handle in handles:
            handle.remove()
        for parameter, flag in flags.items():
            parameter.requires_grad_(flag)
