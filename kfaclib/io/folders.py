"""Folders that a command writes into: whole or not there, and no file of anybody else is touched.

What is ours is what our manifest lists: `manifest.json` with the size and SHA-256 of every file that a command wrote
there. A file that no such manifest lists belongs to somebody else. It is never listed, overwritten or deleted.
"""

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from kfaclib.io import files

# the names that a saved model may take: if one of them is there and not ours, that is said before the work
MODEL_FILES = re.compile(
    r"(config|generation_config|preprocessor_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab"
    r"|world|edit|recipe)\.json|model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json|merges\.txt"
    r"|training\.jsonl|chat_template\.jinja"
)
PARTIAL = ".kfac-partial"  # the end of the name of a folder that is being filled


def check_apart(out: str | Path, model: str | Path) -> None:
    """ValueError if the folder to be written is the model itself, however the two are spelled."""
    if Path(model).exists() and Path(out).exists() and os.path.samefile(model, out):
        raise ValueError(f"--out {out} is the model itself ({model}), which would be lost: choose another --out")


def check_room(out: str | Path, need: int, what: str) -> None:
    """OSError before the work if the disk of the folder `out` has fewer than `need` bytes free; `what` needs them."""
    folder = Path(out).resolve()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < need:
        raise OSError(
            f"{out}: {what} need {need / 2**30:.1f} GiB and the disk has {free / 2**30:.1f} GiB free; "
            "make room or choose another --out"
        )


def ours(out: str | Path, mark: str) -> dict:
    """The manifest in the folder `out` if the command that always writes the file `mark` wrote it; {} without one.

    ValueError if there is a manifest of anything else.
    """
    path = Path(out) / "manifest.json"
    if not path.exists():
        return {}
    listed = files.manifest_of(out)
    if not listed or mark not in listed:
        raise ValueError(
            f"{path} does not list an earlier result of this command ({mark}), so the folder may hold something else: "
            "choose another --out"
        )
    return listed


def check_free(out: str | Path, mark: str, names: re.Pattern = MODEL_FILES) -> None:
    """Before the work: OSError or ValueError if the folder `out` cannot be written, is a file, or has a file of
    somebody else under one of the `names` that the command may write."""
    files.check_writable(out)
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file: name a folder")
    listed = ours(out, mark)
    if out.is_dir():
        for path in sorted(out.iterdir()):
            if names.fullmatch(path.name) and path.name not in listed:
                raise _not_ours(path)


def _not_ours(path):
    return ValueError(
        f"{path} is there already and was not written by this command: move it away or choose another --out"
    )


@contextlib.contextmanager
def filled(out: str | Path, mark: str) -> Iterator[Path]:
    """Yield an empty folder; if the block ends without an error, its files and their manifest are what the command has
    written into the folder `out`, otherwise `out` is as it was.

    mark: the file by which a later run of the same command recognizes its own. A new `out` appears whole. In one that
    exists, the manifest comes first: killed between two files, the folder is refused by `check_manifest`, and the same
    command mends it.
    """
    out = Path(out)
    exists = out.is_dir()
    partial = out / PARTIAL if exists else out.parent / f".{out.name}{PARTIAL}"
    shutil.rmtree(partial, ignore_errors=True)  # left by a run that was killed
    partial.mkdir(parents=True)
    try:
        yield partial
        files.write_manifest(partial)
        if not exists:
            os.rename(partial, out)
            return
        listed, new = ours(out, mark), {path.name: path for path in partial.iterdir()}
        for name in new:
            if name != "manifest.json" and name not in listed and (out / name).exists():
                raise _not_ours(out / name)
        for name in listed.keys() - new.keys():  # of our earlier result, unless it was changed since
            if (out / name).is_file() and files.sha256(out / name) == listed[name]["sha256"]:
                (out / name).unlink()
        for name in sorted(new, key=lambda name: name != "manifest.json"):
            os.replace(new[name], out / name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
