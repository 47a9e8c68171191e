"""`kfac doctor` and `course doctor`: is everything here that the course needs?  Every finding comes with its mend."""

import contextlib
import importlib.metadata
import json
import shutil
import sys
import time
from pathlib import Path

import psutil
import torch
from packaging.requirements import Requirement

from kfaclib.io import files
from kfaclib.lm import models
from kfcourse.paths import DATA, ROOT

WANTED = ("torch", "transformers", "safetensors", "jupyterlab", "ipywidgets", "anywidget", "matplotlib", "rapidfuzz")
AGAIN = "run python3 course.py again"


def _python():
    return sys.version_info >= (3, 11), f"Python {sys.version.split()[0]}", "install Python 3.11 or newer"


def _packages():
    missing = [package for package in WANTED if _version(package) is None]
    return not missing, f"packages: {'missing ' + ', '.join(missing) if missing else 'all there'}", AGAIN


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _tested():
    """Other versions than the tested ones are no fault, but good to know when something is odd. None: only a remark."""
    other = []
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        wanted = Requirement(line)
        here = _version(wanted.name)
        if (
            here
            and (wanted.marker is None or wanted.marker.evaluate())
            and not wanted.specifier.contains(here, prereleases=True)
        ):
            other.append(f"{wanted.name} {here} ({wanted.specifier})")
    if not other:
        return True, "versions: the tested ones", ""
    return (
        None,
        f"versions: {len(other)} are not the tested ones: {', '.join(other[:4])}{' ...' if len(other) > 4 else ''}",
        f"{AGAIN} if something is odd",
    )


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


def _widgets():
    """The sliders need two things that do not know of each other: the Python package and JupyterLab's extension."""
    for name in ("@jupyter-widgets/jupyterlab-manager", "anywidget"):
        if not any((Path(sys.prefix) / "share/jupyter/labextensions" / name).glob("package.json")):
            return (
                False,
                f"widgets: JupyterLab's extension {name} is not in {sys.prefix}",
                "install ipywidgets and anywidget again",
            )
    return True, "widgets: the extensions of JupyterLab are there", ""


def _kernel():
    """Start the kernel that the notebooks run in, and see whether it is this Python."""
    from jupyter_client.manager import start_new_kernel

    mend = f"{AGAIN}; behind a firewall allow this Python to talk to itself (127.0.0.1)"
    try:
        manager, client = start_new_kernel(
            startup_timeout=60, kernel_name="python3", extra_arguments=["--IPKernelApp.log_level=40"]
        )
    except Exception as error:
        return False, f"kernel: it does not start ({type(error).__name__}: {error})", mend
    try:
        answer = client.execute_interactive(
            "", user_expressions={"p": "__import__('sys').prefix"}, timeout=60, output_hook=lambda _: None
        )
        prefix = answer["content"]["user_expressions"]["p"].get("data", {}).get("text/plain", "''")
    finally:
        client.stop_channels()
        with contextlib.suppress(Exception):
            manager.shutdown_kernel(now=True)
    same = json.loads(prefix.replace("'", '"').replace("\\\\", "/").replace("\\", "/")) == sys.prefix.replace("\\", "/")
    return (
        same,
        f"kernel: python3 {'is this Python' if same else f'belongs to {prefix}'}",
        f"python -m ipykernel install --prefix {sys.prefix}",
    )


def _smoke(folder):
    start = time.perf_counter()
    try:
        model, tokenizer = models.load(folder)
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([tokenizer("question : what")["input_ids"]])).logits
    except (ValueError, OSError, RuntimeError) as error:
        return False, f"smoke test: {error}", "see the lines above"
    return (
        bool(torch.isfinite(logits).all()),
        f"smoke test: the model answers after {time.perf_counter() - start:.1f} s",
        "restore the checkpoint",
    )


def report(folder=DATA / "olmo2-tiny"):
    """Print one line per check, with the mend where it fails; True if all is well."""
    folders = dict.fromkeys([Path(folder), *(manifest.parent for manifest in sorted(DATA.glob("*/manifest.json")))])
    checks = [
        _python,
        _packages,
        _tested,
        _memory,
        _disk,
        _device,
        *((_checkpoint, f) for f in folders),
        _widgets,
        _kernel,
        (_smoke, folder),
    ]
    found = []
    for check in checks:
        check, *words = check if isinstance(check, tuple) else (check,)
        well, finding, mend = check(*words)
        print(
            f"{'note' if well is None else 'ok  ' if well else 'MEND'}  {finding}{'' if well else f'  ->  {mend}'}",
            flush=True,
        )
        found.append(well is not False)
    return all(found)
