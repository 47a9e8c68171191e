"""A model's files on this machine: found without a download, read by hand, and checked against the names that the hub
gave them.
"""

import hashlib
import json
import struct

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import save_file

from kfaclib.lm import snapshot

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def put(repository, name, content, large):
    """A file as the hub's cache holds it: a link to a blob that is named by its checksum."""
    etag = (
        hashlib.sha256(content).hexdigest()
        if large
        else hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
    )
    blob = repository / "blobs" / etag
    blob.write_bytes(content)
    link = repository / "snapshots" / COMMIT / name
    link.symlink_to(blob)
    return blob


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """acme/tiny in the cache: a configuration, two files of weights and their index."""
    cache = tmp_path / "cache"
    place = cache / "models--acme--tiny"
    for folder in ("blobs", f"snapshots/{COMMIT}", "refs"):
        (place / folder).mkdir(parents=True)
    (place / "refs" / "main").write_text(COMMIT)
    put(place, "config.json", b"{}", large=False)
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    put(place, snapshot.INDEX, json.dumps(index).encode(), large=False)
    for name in ("model-1.safetensors", "model-2.safetensors"):
        put(place, name, name.encode() * 9, large=True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return place


def test_a_model_is_found_only_if_all_of_its_weights_are_there(repository):
    folder = repository / "snapshots" / COMMIT
    assert snapshot.find("acme/tiny") == snapshot.find("acme/tiny", COMMIT) == folder
    assert snapshot.weight_files(folder) == ["model-1.safetensors", "model-2.safetensors"]
    (folder / "model-2.safetensors").unlink()
    assert snapshot.find("acme/tiny") is None and snapshot.find("acme/other") is None


def test_a_download_is_compared_with_the_checksums_that_the_hub_named_its_files_by(repository):
    folder = repository / "snapshots" / COMMIT
    assert snapshot.check(folder) == sorted(
        ["config.json", snapshot.INDEX, "model-1.safetensors", "model-2.safetensors"]
    )
    (folder / "notes.txt").write_text("of one's own: no checksum, no complaint")
    assert "notes.txt" not in snapshot.check(folder)
    for name in ("config.json", "model-2.safetensors"):
        blob = (folder / name).resolve()
        before = blob.read_bytes()
        for broken in (before[:-1], bytes([before[0] ^ 1]) + before[1:]):
            blob.write_bytes(broken)
            with pytest.raises(ValueError, match=f"{name} in .* does not have the checksum"):
                snapshot.check(folder)
        blob.write_bytes(before)


def test_the_header_of_a_safetensors_file_is_read_by_hand(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file({"x": torch.zeros(3, 2), "y": torch.zeros(5, dtype=torch.bfloat16)}, path, metadata={"note": "kept out"})
    assert snapshot.header(path) == {"x": ("F32", [3, 2]), "y": ("BF16", [5])}
    (length,) = struct.unpack("<Q", path.read_bytes()[:8])
    assert path.stat().st_size == 8 + length + 3 * 2 * 4 + 5 * 2
