"""Files that can be trusted: atomic writes, checksums, and where a result came from."""

import contextlib
import datetime
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it takes the name `path` only if the block ends without an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        yield Path(name)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)  # mkstemp's files are private; these are like any other
        os.replace(name, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def remove_half_written(path: str | Path) -> None:
    """Remove the temporary files of `atomic` that killed writers of `path` left beside it."""
    path = Path(path)
    for other in list(path.parent.glob(".*")):
        if re.fullmatch(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}", other.name):
            other.unlink(missing_ok=True)


def write_json(path: str | Path, value: object) -> None:
    """Write a value as readable JSON, atomically."""
    _write(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def write_rows(path: str | Path, rows: Iterable) -> None:
    """Write `rows` as jsonl, one JSON value a line, atomically."""
    _write(path, "".join(json.dumps(row) + "\n" for row in rows))


def _write(path, text):
    """Write a text atomically; OSError, with the file and what to do, if the disk cannot take it."""
    try:
        with atomic(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        if error.filename:
            raise
        raise OSError(
            f"{path} cannot be written ({error.strerror or error}); what was there before is untouched. Make room or "
            "choose another place, and run the same command again"
        ) from None


def read_json(path: str | Path) -> Any:
    """Read a JSON file. FileNotFoundError or ValueError names the file that is missing or broken."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing") from None
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON ({error}): restore it, for example with git checkout") from None


def sha256(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: str | Path, names: Iterable[str] | None = None) -> None:
    """Write `manifest.json`: size and SHA-256 of the files `names` in `folder` (default: of every other file)."""
    folder = Path(folder)
    listed = [p.name for p in folder.iterdir() if p.is_file() and p.name != "manifest.json"] if names is None else names
    entries = {name: {"bytes": (folder / name).stat().st_size, "sha256": sha256(folder / name)} for name in listed}
    write_json(folder / "manifest.json", dict(sorted(entries.items())))


def renew(path: str | Path, add: bool = False) -> None:
    """Bring the entry of a file in the `manifest.json` of its folder up to date, if there is one and it lists the file
    (with `add`, also if it does not yet); the other entries stay as they are."""
    path = Path(path)
    listed = manifest_of(path.parent)
    if listed is not None and (add or path.name in listed):
        listed[path.name] = {"bytes": path.stat().st_size, "sha256": sha256(path)}
        write_json(path.parent / "manifest.json", dict(sorted(listed.items())))


def manifest_of(folder: str | Path) -> dict[str, dict] | None:
    """What `manifest.json` in `folder` lists, {name: {"bytes", "sha256"}}; None if there is none, or if it is another
    program's file of that name.  ValueError if it is one of ours, but damaged."""
    path, keys = Path(folder) / "manifest.json", {"bytes", "sha256"}
    if not path.exists():
        return None
    listed = read_json(path)
    if not isinstance(listed, dict) or not any(isinstance(x, dict) and keys & set(x) for x in listed.values()):
        return None
    for name, known in listed.items():
        if not isinstance(known, dict) or set(known) != keys or Path(name).name != name:
            raise ValueError(f"{path} is damaged where it lists {name!r}: restore it, for example with git checkout")
    return listed


def check_manifest(folder: str | Path) -> None:
    """Compare a folder with its `manifest.json`; ValueError names the first file that is missing, cut or changed."""
    folder = Path(folder)
    listed = manifest_of(folder)
    if listed is None:
        read_json(folder / "manifest.json")  # says so if it is missing
        raise ValueError(f"{folder / 'manifest.json'} is not a list of files with their checksums: restore it")
    for name, known in listed.items():
        path = folder / name
        if not path.exists():
            raise ValueError(f"{path} is missing: restore it, for example with git checkout {folder.name}")
        if path.stat().st_size != known["bytes"]:
            raise ValueError(
                f"{path} has {path.stat().st_size} bytes instead of {known['bytes']}: it is cut short or "
                "not the released file; restore it, for example with git checkout"
            )
        if sha256(path) != known["sha256"]:
            raise ValueError(
                f"{path} does not have its recorded SHA-256: its content changed; restore it, for example "
                "with git checkout"
            )


def provenance(seed: int | None = None) -> dict:
    """Where a result comes from: command, commit, machine, date, seed and versions."""
    root, git = Path(__file__).resolve().parents[2], ""
    called = Path(sys.argv[0])
    program = f"python -m {called.parent.name}" if called.name == "__main__.py" else called.name
    with contextlib.suppress(OSError):  # no git on this machine
        if (root / "pyproject.toml").is_file():  # installed elsewhere, the repository around us is somebody else's
            words = ["git", "-C", str(root), "describe", "--always", "--dirty"]
            git = subprocess.run(words, capture_output=True, text=True).stdout
    return {
        "command": " ".join([program, *sys.argv[1:]]),
        "commit": git.strip() or "unknown",
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores",
        "date": datetime.date.today().isoformat(),
        "seed": seed,
        "versions": {
            "python": platform.python_version(),
            **{p: importlib.metadata.version(p) for p in ("torch", "transformers")},
        },
    }


def check_writable(path: str | Path | None) -> None:
    """Raise OSError before the work if `path` (a file or folder to come; None is fine) could not be written later."""
    if path is None:
        return
    path = Path(path)
    for place in (path, *path.parents):
        if place.is_symlink() and not place.exists():
            raise OSError(f"{path} cannot be written: {place} is a link to nothing; remove the link")
    folder = path.resolve()
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() and folder != path.resolve():
        raise OSError(f"{path} cannot be written: {folder} is a file, not a folder; choose another place")
    if not os.access(folder, os.W_OK):
        raise OSError(f"{path} cannot be written: no permission in {folder}; choose another place")


def check_result(path: str | Path | None) -> None:
    """Raise OSError or ValueError before the work if a command's result cannot be written to `path` (None is fine), or
    if that would replace something else than an earlier result."""
    check_writable(path)
    if path is None or not Path(path).exists():
        return
    if not Path(path).is_file():
        raise ValueError(f"{path} is a folder or a device: name a file to come, such as result.json")
    try:
        found = read_json(path)
    except ValueError:
        found = None
    if not isinstance(found, dict) or "provenance" not in found:
        raise ValueError(f"{path} is there already and is no result of a command: choose another file")
