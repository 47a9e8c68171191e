"""A model's files on this machine: where they are, what they contain, and whether the download is intact. Nothing here
uses the network.

The hub's cache keeps every file under its etag, which is the SHA-256 of its content for large files and git's SHA-1 for
small ones, so a download can be checked later.
"""

import hashlib
import json
import struct
from pathlib import Path

from huggingface_hub import try_to_load_from_cache

from kfaclib.io import files

INDEX = "model.safetensors.index.json"


def weight_files(folder: str | Path) -> list[str]:
    """Names of the safetensors files that hold a model's weights: those of the folder's index, or the usual single
    one."""
    index = Path(folder) / INDEX
    return sorted(set(files.read_json(index)["weight_map"].values())) if index.exists() else ["model.safetensors"]


def find(name: str, revision: str | None = None) -> Path | None:
    """The cached folder of a hub model if its configuration and all of its weights are on this machine; None
    otherwise."""
    config = try_to_load_from_cache(str(name), "config.json", revision=revision)
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    return folder if all((folder / weights).exists() for weights in weight_files(folder)) else None


def header(path: str | Path) -> dict[str, tuple[str, list[int]]]:
    """{tensor: (dtype, shape)} of a safetensors file, read from its header: a length in eight bytes, then JSON of that
    length."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        entries = json.loads(file.read(length))
    return {name: (entry["dtype"], entry["shape"]) for name, entry in entries.items() if name != "__metadata__"}


def git_sha1(path: Path) -> str:
    """Hex digest of a file as git hashes a blob."""
    return hashlib.sha1(f"blob {path.stat().st_size}\0".encode() + path.read_bytes()).hexdigest()


def check(folder: str | Path) -> list[str]:
    """Compare the files of a cached snapshot with the checksums that the hub named them by, and return the names of the
    files compared.

    A file that is not a link into the cache has no such checksum and is passed over. Raises ValueError naming the first
    file that differs.
    """
    compared = []
    for path in sorted(p for p in Path(folder).iterdir() if p.is_symlink()):
        etag = path.resolve().name
        digest = {40: git_sha1, 64: files.sha256}.get(len(etag))
        if digest is None or set(etag) - set("0123456789abcdef"):
            continue
        if digest(path) != etag:
            raise ValueError(
                f"{path.name} in {folder} does not have the checksum that the hub gave it: the download is damaged; "
                "remove "
                f"{path.resolve()} and load the model again"
            )
        compared.append(path.name)
    return compared
