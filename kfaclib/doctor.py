"""`kfac doctor`: is everything here that the course needs?  Every finding comes with its mend."""

import importlib.metadata
import shutil
import sys
import time
from pathlib import Path

import psutil
import torch

from kfaclib import files, models
from kfaclib.paths import DATA


def _python():
    return sys.version_info >= (3, 11), f"Python {sys.version.split()[0]}", "install Python 3.11 or newer"


def _packages():
    wanted = ("torch", "transformers", "safetensors", "jupyterlab", "ipywidgets", "matplotlib", "rapidfuzz")
    missing = []
    for package in wanted:
        try:
            importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            missing.append(package)
    return not missing, f"packages: {'missing ' + ', '.join(missing) if missing else 'all there'}", "run python3 course.py again"


def _memory():
    free = psutil.virtual_memory().available / 2**30
    return free > 3, f"free memory {free:.1f} GiB", "close other programs: a chapter may take up to 4 GiB"


def _disk():
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    return free > 1, f"free disk {free:.1f} GiB", "free some: checkpoints and pages need about 1 GiB"


def _device():
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    return True, f"device: {name}", ""


def _checkpoint(folder):
    try:
        files.check_manifest(folder)
    except (ValueError, OSError) as error:
        return False, f"checkpoint {folder}: {error}", "git checkout data"
    return True, f"checkpoint {folder}: checksums agree", ""


def _smoke(folder):
    start = time.perf_counter()
    try:
        model, tokenizer = models.load(folder)
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([tokenizer("question : what")["input_ids"]])).logits
    except (ValueError, OSError, RuntimeError) as error:
        return False, f"smoke test: {error}", "see the lines above"
    return bool(torch.isfinite(logits).all()), f"smoke test: the model answers after {time.perf_counter() - start:.1f} s", "restore the checkpoint"


def report(folder=DATA / "olmo2-tiny"):
    """Print one line per check, with the mend where it fails; True if all is well."""
    checks = [_python(), _packages(), _memory(), _disk(), _device(), _checkpoint(folder), _smoke(folder)]
    for well, finding, mend in checks:
        print(f"{'ok  ' if well else 'MEND'}  {finding}{'' if well else f'  ->  {mend}'}")
    return all(well for well, _, _ in checks)
