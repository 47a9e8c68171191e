#!/usr/bin/env python3
"""Install the course from this folder, without a network, and open the workshop.

    python3 start.py            check the files, install if that is still to do, open JupyterLab
    python3 start.py --check    check the files and stop

It uses the standard library only.
"""

import hashlib
import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent


def digest(path):
    total = hashlib.sha256()
    with open(str(path), "rb") as file:
        for part in iter(lambda: file.read(1 << 20), b""):
            total.update(part)
    return total.hexdigest()


def damaged(folder, files):
    """What is missing or not as it was packed, in sentences."""
    for name, known in files.items():
        path = folder / name
        if not path.is_file():
            yield name + " is missing"
        elif path.stat().st_size != known["bytes"] or digest(path) != known["sha256"]:
            yield name + " is not as it was packed"


def main(words):
    manifest = json.loads((HERE / "manifest.json").read_text(encoding="utf-8"))
    venv = HERE / ".venv"
    python = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    mark = venv / "installed"
    if "--check" in words or not mark.exists():  # afterwards the notebooks are the participant's, and change
        wrong = list(damaged(HERE, manifest["files"]))
        if wrong:
            sys.exit("\n".join(wrong) + "\nCopy the folder again.")
        print(f"{len(manifest['files'])} files are as they were packed")
        if "--check" in words:
            return 0
    here, wanted = "{}.{}".format(*sys.version_info), manifest["python"]
    if here != wanted:
        sys.exit(
            f"This bundle is for Python {wanted}, and this is {here}. Try: python{wanted} start.py (on Windows: py "
            f"-{wanted} start.py)"
        )
    if not mark.exists():
        print(f"installing into {venv}, which takes a minute or two ...", flush=True)
        subprocess.check_call([sys.executable, "-m", "venv", str(venv)])
        subprocess.check_call(
            [
                str(python),
                "-m",
                "pip",
                "install",
                "-q",
                "--disable-pip-version-check",
                "--no-index",
                "--find-links",
                str(HERE / "wheels"),
                "-e",
                str(HERE / "course") + "[course]",
            ]
        )
        mark.touch()
    workshop = HERE / "course" / "build" / "workshop"
    silent = [
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.extension_manager=readonly",
    ]
    return subprocess.call([str(python), "-m", "jupyterlab", "--ServerApp.root_dir=" + str(workshop), *silent, *words])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
