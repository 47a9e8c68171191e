"""Factors in one safetensors file, tied to the weights that they were collected on."""

import re
from pathlib import Path

from kfaclib.curvature.factors import Factors
from kfaclib.io import storage

FACTORS = re.compile(r"factors(-\d+-of-\d+)?\.safetensors")  # what `kfac collect` calls its files, and nothing else


def fingerprint(layers):
    """{name: [dtype, SHA-256 of its weight, SHA-256 of its weight in bfloat16]}: tells the model whose factors these
    are from its cousins, also if one of the two was loaded in another precision."""
    return {
        name: [
            str(layer.weight.dtype),
            storage.digest({"weight": layer.weight}),
            storage.digest({"weight": layer.weight.bfloat16()}),
        ]
        for name, layer in layers.items()
    }


def _same_weight(one, other):
    return one[1] == other[1] if one[0] == other[0] else one[2] == other[2]


def save_factors(path, factors, layers, **notes):
    """Write factors to one safetensors file, atomically; a shared A is written once.

    `layers` (from `linear_layers`) ties the file to the weights it was collected on; `notes` (labels, corpus, seed ...)
    are kept in its header.
    """
    tensors, source, places = {}, {}, {}
    for name, f in factors.items():
        place = places.setdefault(f.A.data_ptr(), f"{name}.A")
        source[name] = place
        tensors[place] = f.A.contiguous().cpu()
        tensors[f"{name}.G"] = f.G.contiguous().cpu()
    storage.write(
        path,
        tensors,
        dict(
            format="kfaclib factors 2",
            tokens={name: f.tokens for name, f in factors.items()},
            A=source,
            weights=fingerprint({name: layers[name] for name in factors}),
            notes=notes,
        ),
    )


def factor_files(path):
    """The factor files that `path` means: itself, or those that `kfac collect` left in this folder, one for each
    pass.
    """
    path = Path(path)
    found = sorted(p for p in path.iterdir() if FACTORS.fullmatch(p.name)) if path.is_dir() else [path]
    return found or [path / "factors.safetensors"]


def load_factors(path, layers=None):
    """Read `save_factors`' file, or a folder of them: {name: Factors}.

    Raises ValueError, naming the file, if it is cut short, changed, not a factor file, or (with `layers`) was
    collected on other weights than these.
    """
    factors, weights = {}, {}
    for file in factor_files(path):
        header, tensors = storage.read(file, "factors", version=2)
        factors |= {
            name: Factors(tensors[place], tensors[f"{name}.G"], header["tokens"][name])
            for name, place in header["A"].items()
        }
        weights |= header["weights"]
    if layers is not None:
        unknown = [name for name in layers if name not in factors]
        if unknown:
            raise ValueError(f"{path} has no factors of layer {unknown[0]!r}; it has {', '.join(list(factors)[:4])}")
        now = fingerprint(layers)
        for name, layer in layers.items():
            if not _same_weight(now[name], weights[name]):
                raise ValueError(
                    f"{path} was collected on another model: layer {name!r} has other weights there "
                    f"(A {tuple(factors[name].A.shape)}, here W {tuple(layer.weight.shape)}); collect on this model"
                )
    return factors
