"""What a check makes of what a reader's function returns, before it looks at the numbers."""

import contextlib

import torch
from torch.overrides import TorchFunctionMode

COUNTS = {2: "two", 3: "three", 4: "four"}


def numbers(result, shape, what):
    """A result (tensor, array, nested lists) as a float64 tensor of this shape, or a sentence that says what it is."""
    assert result is not None, "your function returned None: is the `return` line missing?"
    try:
        values = torch.as_tensor(result).detach().double()
    except (TypeError, ValueError, RuntimeError):
        raise AssertionError(f"{what} should be an array of numbers, not {type(result).__name__}") from None
    assert list(values.shape) == shape, f"{what} has shape {list(values.shape)}, it should be {shape}"
    assert torch.isfinite(values).all(), f"{what} has entries that are not finite numbers"
    return values


def parts(result, count, what):
    """A result that has to be so many things, as they came."""
    assert isinstance(result, (tuple, list)) and len(result) == count, f"return {COUNTS[count]} things: {what}"
    return result


_elsewhere = [0]


@contextlib.contextmanager
def elsewhere():
    """What comes into being inside the block belongs to no reader's function: it is brought from another process."""
    _elsewhere[0] += 1
    try:
        yield
    finally:
        _elsewhere[0] -= 1


class Largest(TorchFunctionMode):
    """Within the block, `entries` is the size of the largest tensor that a function of torch gave back, views of
    `known` tensors left out: how much memory a reader's function asks for. What runs in another process is not seen."""

    def __init__(self, *known):
        super().__init__()
        self.known = {x.untyped_storage().data_ptr() for x in known}
        self.entries = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, (tuple, list)) else [out]:
            if torch.is_tensor(x) and not _elsewhere[0] and x.untyped_storage().data_ptr() not in self.known:
                self.entries = max(self.entries, x.numel())
        return out
