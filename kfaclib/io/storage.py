"""Tensors in a file that can be trusted: safetensors, a header, and a digest of both; whole or not there at all."""

import hashlib
import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from kfaclib.io import files


def digest(tensors: dict[str, torch.Tensor], header: dict | None = None) -> str:
    """SHA-256 over the header and every tensor's name, dtype, shape and bytes."""
    total = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name, x in sorted(tensors.items()):
        total.update(f"{name} {x.dtype} {tuple(x.shape)}".encode())
        total.update(x.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def write(path: str | Path, tensors: dict[str, torch.Tensor], header: dict) -> None:
    """Write tensors and header (a dict that JSON can hold, with a "format") atomically; OSError, with what to do, if
    the disk cannot take it."""
    header = header | {"digest": digest(tensors, header)}
    try:
        with files.atomic(path) as temporary:
            save_file(tensors, temporary, metadata={"kfaclib": json.dumps(header)})
    except (OSError, SafetensorError) as error:
        raise OSError(
            f"{path} cannot be written ({error}); what was there before is untouched. Make room or choose another "
            "place "
            "for --out, and run the same command again"
        ) from None


COLLECT = "collect it again, with `kfac collect`"  # how most of these files are mended


def read(path: str | Path, kind: str, version: int = 1, mend: str = COLLECT) -> tuple[dict, dict[str, torch.Tensor]]:
    """(header, tensors) of a file whose format is "kfaclib <kind> <version>", memory-mapped.

    mend: what brings the file back, for the errors. Raises ValueError, naming the file, if it is cut short, changed, or
    not of that kind, FileNotFoundError if it is missing.
    """
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {}).get("kfaclib", "null"))
            tensors = {key: file.get_tensor(key) for key in file.keys()}
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing: {mend.replace(' again', '', 1)}") from None
    except Exception as error:  # safetensors has one exception for every kind of damage
        raise _damaged(path, error, mend) from None
    if not isinstance(header, dict) or not str(header.get("format", "")).startswith(f"kfaclib {kind}"):
        raise ValueError(f"{path} is a safetensors file, but not one of {kind}: name another file, or {mend}")
    if header["format"] != f"kfaclib {kind} {version}":
        raise ValueError(
            f"{path} is of the format {header['format']!r} and this version of kfaclib reads version {version}: {mend}"
        )
    recorded = header.pop("digest", None)
    if digest(tensors, header) != recorded:
        raise ValueError(f"{path} does not have its recorded SHA-256: its content changed; remove it and {mend}")
    return header, tensors


def _damaged(path, error, mend):
    return ValueError(
        f"{path} cannot be read as safetensors ({error}): it is cut short or damaged; remove it and {mend}"
    )


def read_header(path: str | Path) -> dict:
    """The header alone, unchecked against the content; {} if the file has none."""
    try:
        with safe_open(path, "pt") as file:
            return json.loads((file.metadata() or {}).get("kfaclib", "{}"))
    except Exception as error:
        raise _damaged(path, error, COLLECT) from None
