"""The one place with hooks: see a layer's inputs and output gradients, and nothing else changes."""

from contextlib import contextmanager

import torch


@contextmanager
def capture(model, layers, *, on_input, on_output_gradient):
    """Inside the block, `on_input(name, a)` is called in the forward pass of every layer of `layers` ({name: nn.Linear})
    with its input, and `on_output_gradient(name, g)` in the backward pass with the gradient at its output.

    All parameters are frozen, so no weight gradient is computed, and the graph starts at the output of the first layer
    of `layers`: nothing below it is recorded.  Flags and hooks are restored on exit, also after an exception.
    A layer that is called twice before its gradient came raises RuntimeError with its name: a shared layer's curvature
    is not one Kronecker product.
    """
    flags = {p: p.requires_grad for p in model.parameters()}
    waiting, handles = set(), []

    def forward_hook(name):
        def hook(_, inputs, output):
            if name in waiting:
                raise RuntimeError(f"layer {name!r} was called twice in one pass: its weight is shared over calls, which K-FAC "
                                   "as one Kronecker product does not describe; leave it out of the layers")
            waiting.add(name)
            on_input(name, inputs[0].detach())
            if not output.requires_grad:
                output = output.detach().requires_grad_(True)
            output.register_hook(backward_hook(name))
            return output.clone() if output.is_leaf else None  # an in-place activation must not hit a leaf

        return hook

    def backward_hook(name):
        def hook(gradient):
            waiting.discard(name)
            on_output_gradient(name, gradient.detach())

        return hook

    try:
        for parameter in flags:
            parameter.requires_grad_(False)
        handles += [layer.register_forward_hook(forward_hook(name)) for name, layer in layers.items()]
        with torch.enable_grad():
            yield
    finally:
        for handle in handles:
            handle.remove()
        for parameter, flag in flags.items():
            parameter.requires_grad_(flag)
