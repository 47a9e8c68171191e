"""Factors in one safetensors file, tied to the weights that they were collected on."""

import re
from pathlib import Path

import torch

from kfaclib.curvature.factors import Factors
from kfaclib.io import storage

FACTORS = re.compile(r"factors(-\d+-of-\d+)?\.safetensors")  # what `kfac collect` calls its files, and nothing else


def fingerprint(layers: dict[str, torch.nn.Linear]) -> dict[str, list[str]]:
    """{name: [dtype, SHA-256 of its weight, SHA-256 of its weight in bfloat16]}: which model factors belong to.

    The digest in bfloat16 lets two loads of one checkpoint in different precisions agree.
    """
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


def save_factors(
    path: str | Path, factors: dict[str, Factors], layers: dict[str, torch.nn.Linear], **notes: object
) -> None:
    """Write factors to one safetensors file, atomically; a shared A is written once.

    layers: from `linear_layers`; their fingerprint ties the file to the weights that it was collected on. notes:
    labels, corpus, seed and the like, for the header. Raises OSError, with the mend, if the disk cannot take the file.
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


def factor_files(path: str | Path) -> list[Path]:
    """The factor files that `path` means: itself, or those of a folder that `kfac collect` filled, one per pass."""
    path = Path(path)
    found = sorted(p for p in path.iterdir() if FACTORS.fullmatch(p.name)) if path.is_dir() else [path]
    return found or [path / "factors.safetensors"]


def load_factors(path: str | Path, layers: dict[str, torch.nn.Linear] | None = None) -> dict[str, Factors]:
    """Read the file of `save_factors`, or a folder of them: {name: Factors}.

    Raises ValueError, naming the file, if it is cut short, changed, not a factor file, or (with `layers`) was collected
    on other weights than these.
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
