"""A model's files on this machine: where they are, what is in them, and whether they came down whole. Nothing here
downloads.

The hub's cache keeps every file under its etag, which is the SHA-256 of its content for large files and git's SHA-1 for
small ones. So a download can be checked later, without a network.
"""

import hashlib
import json
import struct
from pathlib import Path

from huggingface_hub import try_to_load_from_cache

from kfaclib.io import files

INDEX = "model.safetensors.index.json"


def weight_files(folder):
    """The safetensors files that the weights of a model folder should be in: those of its index, or the only one."""
    index = Path(folder) / INDEX
    return sorted(set(files.read_json(index)["weight_map"].values())) if index.exists() else ["model.safetensors"]


def find(name, revision=None):
    """The folder of a hub model if its configuration and all of its weights are on this machine; None otherwise."""
    config = try_to_load_from_cache(str(name), "config.json", revision=revision)
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    return folder if all((folder / weights).exists() for weights in weight_files(folder)) else None


def header(path):
    """{tensor: (dtype, shape)} of a safetensors file, from its first bytes: eight for a length, then so many of
    JSON.
    """
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        entries = json.loads(file.read(length))
    return {name: (entry["dtype"], entry["shape"]) for name, entry in entries.items() if name != "__metadata__"}


def git_sha1(path):
    """Hex digest of a file as git hashes it."""
    return hashlib.sha1(f"blob {path.stat().st_size}\0".encode() + path.read_bytes()).hexdigest()


def check(folder):
    """Compare the files of a cached snapshot with the checksums that the hub named them by; returns the names of those
    compared.

    ValueError names the first one that differs. A file that is not a link into the cache has no such checksum and is
    passed over.
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
