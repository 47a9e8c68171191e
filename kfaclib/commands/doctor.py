"""`kfac doctor`: is everything here that the library needs?  Every finding comes with its mend.

A check returns (well, finding, mend); well is None where something is merely worth knowing.  The course's doctor uses
these checks and adds its own.
"""

import importlib.metadata
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from kfaclib.io import files, paths
from kfaclib.io.options import SHIPPED, Options, option
from kfaclib.lm import models

WANTED = ("torch", "transformers", "safetensors", "tokenizers", "numpy", "scipy", "rapidfuzz", "tqdm", "psutil")
Finding = tuple[bool | None, str, str]


@dataclass(frozen=True)
class DoctorConfig(Options):
    """Which model is looked at."""

    model: str | None = option(
        help=f"a model folder to check and to start; default: the shipped {SHIPPED}, if it is here"
    )


def doctor(config: DoctorConfig) -> int:
    """Print one line per check, with the mend where it fails; the exit status, 0 if all is well."""
    folder = config.model or paths.found(SHIPPED)
    looks = [python, lambda: packages(WANTED, "pip install the library again"), memory, disk, device]
    if folder:
        looks += [lambda: checkpoint(folder), lambda: smoke(folder)]
    else:
        looks.append(lambda: (None, "model: none to look at", "name a folder with --model"))
    return 0 if show(looks) else 1


def show(checks: Iterable[Callable[[], Finding]]) -> bool:
    """Print one line per check; True if none has failed."""
    found = []
    for check in checks:
        well, finding, mend = check()
        print(
            f"{'note' if well is None else 'ok  ' if well else 'MEND'}  {finding}{'' if well else f'  ->  {mend}'}",
            flush=True,
        )
        found.append(well is not False)
    return all(found)


def python() -> Finding:
    return sys.version_info >= (3, 11), f"Python {sys.version.split()[0]}", "install Python 3.11 or newer"


def version(package: str) -> str | None:
    """The installed version of a package; None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def packages(wanted: Iterable[str], mend: str) -> Finding:
    missing = [package for package in wanted if version(package) is None]
    return not missing, f"packages: {'missing ' + ', '.join(missing) if missing else 'all there'}", mend


def memory() -> Finding:
    free = psutil.virtual_memory().available / 2**30
    return free > 3, f"free memory {free:.1f} GiB", "close other programs: up to 4 GiB may be needed"


def disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    return free > 1, f"free disk {free:.1f} GiB", "free some: about 1 GiB is needed"


def device() -> Finding:
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    return True, f"device: {name}", ""


def checkpoint(folder: str | Path, mend: str = "restore the folder's files") -> Finding:
    """Whether the files of a model folder have the checksums that its manifest lists."""
    try:
        if Path(folder).is_dir() and not files.manifest_of(folder):
            return (
                None,
                f"checkpoint {folder}: no manifest, so no checksums to compare with",
                "nothing is wrong with that",
            )
        files.check_manifest(folder)
    except (ValueError, OSError) as error:
        return False, f"checkpoint {folder}: {error}", mend
    return True, f"checkpoint {folder}: checksums agree", ""


def smoke(folder: str | Path) -> Finding:
    """Whether the model loads and gives finite logits."""
    start = time.perf_counter()
    try:
        model, tokenizer = models.load(folder)
        with torch.no_grad():
            ids = torch.tensor([tokenizer("question : what")["input_ids"]], device=model.device)
            logits = model(input_ids=ids).logits
    except (ValueError, OSError, RuntimeError) as error:
        return False, f"smoke test: {error}", "see the lines above"
    return (
        bool(torch.isfinite(logits).all()),
        f"smoke test: the model answers after {time.perf_counter() - start:.1f} s",
        "restore the checkpoint",
    )
