"""The words of Triton that chapter 15's exercises use, in NumPy, for systems without Triton (it has wheels for Linux
only).

    from kfcourse.ch15.without_triton import tl, triton

A program is one call of the kernel, and a pointer is an array of places in a tensor's memory. Like Triton's own
interpreter, it shows whether indices and masks are right, and says nothing about speed. The tests give every answer to
both.
"""

import itertools
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import torch


@dataclass(frozen=True)
class Pointer:
    """Places in the memory that a tensor lies in."""

    memory: np.ndarray  # all of it, flat
    places: np.ndarray  # int64, any shape

    def __add__(self, offset):
        return Pointer(self.memory, self.places + offset)

    __radd__ = __add__


def pointer(x):
    """A tensor as a Pointer to its first number; anything else as it is."""
    if not torch.is_tensor(x):
        return x
    whole = torch.empty(0, dtype=x.dtype).set_(x.untyped_storage()).numpy()
    return Pointer(whole, np.int64(x.storage_offset()))


_program = [0, 0, 0]


class Kernel:
    """What `triton.jit` makes of a function: `kernel[grid](*arguments)` calls it once for every program."""

    def __init__(self, function):
        self.function = function

    def __getitem__(self, grid):
        def launch(*arguments, **constants):
            arguments = [pointer(x) for x in arguments]
            constants = {name: pointer(x) for name, x in constants.items()}
            for _program[:] in itertools.product(*(range(n) for n in (*grid, 1, 1)[:3])):
                self.function(*arguments, **constants)

        return launch


def arange(start, end):
    """Like Triton's, for a length that is a power of two."""
    length = end - start
    if length < 1 or length & (length - 1):
        raise ValueError("arange's range must be a power of 2")
    return np.arange(start, end)


def load(pointer, mask=None, other=0):
    """The numbers at a pointer's places; where `mask` is False nothing is read, and `other` stands there."""
    if mask is None:
        return pointer.memory[pointer.places]
    mask, places = np.broadcast_arrays(mask, pointer.places)
    return np.where(mask, pointer.memory[np.where(mask, places, 0)], other)


def store(pointer, value, mask=None):
    """Write `value` to a pointer's places, where `mask` is not False."""
    places, value, mask = np.broadcast_arrays(pointer.places, value, True if mask is None else mask)
    pointer.memory[places[mask]] = value[mask]


def dot(x, y, acc=0, input_precision=None):
    """acc + x @ y in float32."""
    return x.astype(np.float32) @ y.astype(np.float32) + acc


triton = SimpleNamespace(jit=Kernel, cdiv=lambda a, b: -(-a // b))
tl = SimpleNamespace(
    constexpr=object,
    float32=np.float32,
    int32=np.int32,
    int64=np.int64,
    program_id=lambda axis: _program[axis],
    arange=arange,
    load=load,
    store=store,
    dot=dot,
    cdiv=triton.cdiv,
    zeros=lambda shape, dtype: np.zeros(shape, dtype),
    full=lambda shape, value, dtype: np.full(shape, value, dtype),
    sum=lambda x, axis=None: np.sum(x, axis),
    max=lambda x, axis=None: np.max(x, axis),
    trans=np.transpose,
    where=np.where,
    exp=np.exp,
    minimum=np.minimum,
    maximum=np.maximum,
)
