"""Values as plain data: JSON and raw bytes, never pickle.  Both processes use this file; each trusts nothing it reads.

A value becomes a skeleton (JSON) in which tensors and arrays are numbered, and the list of these tensors. Functions
become numbers that only the side which gave them out can look up. A net, a Sequential of the layers in LAYERS, becomes
their names and parameters. Whatever else becomes `{"thing": its type's name}`.
"""

import json
import math
import struct
import sys

HEADER = 4 * 2**20  # bytes of JSON in one message
BODY = 256 * 2**20  # bytes of tensors in one message
DTYPES = (
    "bool",
    "uint8",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "complex64",
    "complex128",
)
LAYERS = ("Linear", "Tanh", "ReLU")


class Malformed(Exception):
    """What came in is not a message of ours."""


def pack(value, number_of=lambda function: None):
    """(skeleton, tensors) of a value. `number_of(function)` is a function's number, None for one that stays here."""
    torch, numpy, tensors = sys.modules.get("torch"), sys.modules.get("numpy"), []

    def walk(x):
        if x is None or isinstance(x, (bool, int, float, str)):
            return x
        if isinstance(x, complex):
            return {"complex": [x.real, x.imag]}
        if isinstance(x, bytes):
            return {"bytes": x.hex()}
        if numpy and isinstance(x, numpy.generic):
            return walk(x.item()) if type(x.item()) is not type(x) else {"thing": type(x).__name__}
        if torch and isinstance(x, torch.Tensor) and x.layout is torch.strided and name_of(x.dtype) in DTYPES:
            tensors.append(x)
            return {"tensor": len(tensors) - 1}
        if numpy and isinstance(x, numpy.ndarray) and x.dtype.name in DTYPES and torch:
            tensors.append(torch.from_numpy(numpy.ascontiguousarray(x)))
            return {"array": len(tensors) - 1}
        if torch and isinstance(x, torch.dtype):
            return {"dtype": name_of(x)}
        if torch and isinstance(x, torch.Generator):
            tensors.append(x.get_state())
            return {"generator": len(tensors) - 1}
        if torch and type(x) is torch.nn.Sequential and all(type(m).__name__ in LAYERS for m in x):
            return {"net": [[type(m).__name__, *(walk(p.detach()) for p in m.parameters())] for m in x]}
        if isinstance(x, dict):
            return {"dict": [[walk(k), walk(v)] for k, v in x.items()]}
        if isinstance(x, range):
            return {"range": [x.start, x.stop, x.step]}
        for kind in (list, tuple, set, frozenset):
            if isinstance(x, kind):
                return {kind.__name__: [walk(v) for v in x]}
        number = number_of(x) if callable(x) else None
        return {"thing": type(x).__name__[:40]} if number is None else {"call": number}

    return walk(value), tensors


def unpack(skeleton, tensors, call=None):
    """The value again. `call(number)` gives the function with this number; Malformed if there is none."""

    def walk(x):
        if x is None or isinstance(x, (bool, int, float, str)):
            return x
        ((kind, v),) = x.items()
        if kind == "complex":
            return complex(*v)
        if kind == "bytes":
            return bytes.fromhex(v)
        if kind == "tensor":
            return tensors[v]
        if kind == "array":
            return tensors[v].numpy()
        if kind == "dtype" and v in DTYPES:
            return getattr(sys.modules["torch"], v)
        if kind == "generator":
            generator = sys.modules["torch"].Generator()
            generator.set_state(tensors[v])
            return generator
        if kind == "net":
            return _net([(name, *map(walk, parameters)) for name, *parameters in v])
        if kind == "dict":
            return {walk(k): walk(w) for k, w in v}
        if kind == "range":
            return range(*v)
        if kind in ("list", "tuple", "set", "frozenset"):
            return {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}[kind](map(walk, v))
        if kind == "call" and call:
            return call(v)
        if kind == "thing" and isinstance(v, str) and v.isidentifier():
            return type(v[:40], (), {})()
        raise Malformed(f"no such kind of value: {kind!r}"[:100])

    try:
        return walk(skeleton)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, RuntimeError) as error:
        raise Malformed(f"a value that cannot be read: {error}"[:200]) from None


def _net(layers):
    """A Sequential of (a name in LAYERS, then the layer's parameters: weight, and bias if it has one)."""
    nn = sys.modules["torch"].nn
    made = []
    for name, *parameters in layers:
        if name not in LAYERS or (len(parameters) not in (1, 2) if name == "Linear" else parameters):
            raise Malformed("a net with a layer of an unknown kind")
        layer = (
            getattr(nn, name)(*reversed(parameters[0].shape), len(parameters) > 1)
            if parameters
            else getattr(nn, name)()
        )
        for key, value in zip(("weight", "bias"), parameters):
            setattr(layer, key, nn.Parameter(value))
        made.append(layer)
    return nn.Sequential(*made)


def name_of(dtype):
    return str(dtype).removeprefix("torch.")


def raw(tensor):
    """The bytes of a tensor."""
    flat = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    return flat.view(sys.modules["torch"].uint8).numpy().tobytes() if flat.numel() else b""


def message(head, tensors=()):
    """One message as bytes: the length of the JSON, the JSON, the tensors' bytes."""
    bodies = [raw(t) for t in tensors]
    lines = [[name_of(t.dtype), list(t.shape), t.requires_grad, len(b)] for t, b in zip(tensors, bodies)]
    header = json.dumps([head, lines]).encode()
    if len(header) > HEADER or sum(map(len, bodies)) > BODY:
        raise ValueError("too much data: an answer should be small")
    return struct.pack(">I", len(header)) + header + b"".join(bodies)


def receive(stream, limit=lambda head: BODY):
    """(head, tensors) of the next message, or None at the end. `limit(head)` is how many bytes its tensors may have."""
    start = stream.read(4)
    if len(start) < 4:
        return None
    size = struct.unpack(">I", start)[0]
    if size > HEADER:
        raise Malformed("a message that is too long")
    try:
        head, lines = json.loads(stream.read(size))
        if not isinstance(head, dict):
            raise Malformed("a message without a head")
        total = sum(length for *_, length in lines)
        if total > limit(head) or any(length < 0 for *_, length in lines):
            raise Malformed(f"{total:,} bytes of tensors: far more than this exercise's answer can need")
        return head, [_tensor(stream, *line) for line in lines]
    except (ValueError, TypeError, RecursionError, RuntimeError, AttributeError, OverflowError) as error:
        raise Malformed(f"a message that cannot be read: {error}"[:200]) from None


def _tensor(stream, dtype, shape, grad, length):
    import torch

    if dtype not in DTYPES or any(type(n) is not int or n < 0 for n in shape):
        raise Malformed("a tensor of an unknown kind")
    kind = getattr(torch, dtype)
    if math.prod(shape) * torch.empty(0, dtype=kind).element_size() != length:
        raise Malformed("a tensor whose size does not fit")
    data = bytearray(stream.read(length))
    if len(data) < length:
        raise Malformed("a message that ends too early")
    tensor = torch.frombuffer(data, dtype=kind).reshape(shape) if length else torch.empty(shape, dtype=kind)
    return tensor.requires_grad_() if grad is True and (kind.is_floating_point or kind.is_complex) else tensor
