"""What can run here."""

import functools
import importlib.util
import os

import torch


@functools.cache
def triton_runs_on(index: int) -> bool:
    """Whether Triton is installed and compiles, and CUDA device `index` has the tensor cores that the kernels are
    written for.
    """
    return (
        torch.version.hip is None
        and os.environ.get("TRITON_INTERPRET", "0") != "1"  # else every program would run on the CPU, in Python
        and importlib.util.find_spec("triton") is not None
        and torch.cuda.get_device_capability(index) >= (8, 0)
    )


def has_triton(x: torch.Tensor) -> bool:
    """Whether the Triton kernels can take this tensor."""
    return x.is_cuda and x.dtype != torch.float64 and triton_runs_on(x.get_device())
