"""`course doctor`: is everything here that the course needs?  The library's checks (`kfac doctor`) and the course's
own; every finding comes with its mend.
"""

import contextlib
import functools
import json
import sys
from pathlib import Path

from packaging.requirements import Requirement

from kfaclib.commands.doctor import checkpoint, device, disk, memory, packages, python, show, smoke, version
from kfcourse.grading import sandbox
from kfcourse.paths import DATA, ROOT

WANTED = ("torch", "transformers", "safetensors", "jupyterlab", "ipywidgets", "matplotlib", "rapidfuzz")
AGAIN = "run python3 course.py again"


def tested():
    """Other versions than the tested ones are no fault, but good to know when something is odd. None: only a remark."""
    other = []
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        wanted = Requirement(line)
        here = version(wanted.name)
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


def widgets():
    """Progress bars need two things that do not know of each other: the Python package and JupyterLab's extension."""
    name = "@jupyter-widgets/jupyterlab-manager"
    if not any((Path(sys.prefix) / "share/jupyter/labextensions" / name).glob("package.json")):
        return False, f"widgets: JupyterLab's extension {name} is not in {sys.prefix}", "install ipywidgets again"
    return True, "widgets: JupyterLab's extension is there", ""


def marking():
    """Only lecturers need it, and only for other people's answers: without it there is a remark."""
    if why := sandbox.missing():
        mend = "see teaching/grading.md before marking strangers' work"
        return None, f"marking: {why}; answers run with limits only", mend
    return True, "marking: answers run inside bubblewrap", ""


def kernel():
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


def report(folder=DATA / "olmo2-tiny"):
    """Print one line per check, with the mend where it fails; True if all is well."""
    folders = dict.fromkeys([Path(folder), *(manifest.parent for manifest in sorted(DATA.glob("*/manifest.json")))])
    return show(
        [
            python,
            lambda: packages(WANTED, AGAIN),
            tested,
            memory,
            disk,
            device,
            *(functools.partial(checkpoint, folder, "git checkout data") for folder in folders),
            widgets,
            marking,
            kernel,
            lambda: smoke(folder),
        ]
    )
