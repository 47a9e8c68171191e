"""Where the course's files are. Notebooks, tests and commands all find them through here, from any folder.

ROOT is the checkout: the folder that the variable KFAC_ROOT names, or else the one this package was installed from
(`pip install -e .`, which is what course.py does).
"""

import os
from pathlib import Path


def find_root(named: str | None = None) -> Path:
    """The checkout; `named` (the value of KFAC_ROOT) comes first. Raises FileNotFoundError where there is none."""
    root = Path(named).expanduser().resolve() if named else Path(__file__).resolve().parents[1]
    if not (root / "pyproject.toml").is_file() or not (root / "kfaclib").is_dir():
        said = f"KFAC_ROOT names {root}, which" if named else f"kfaclib was imported from {root}, which"
        raise FileNotFoundError(
            f"{said} is not a checkout of the course. The chapters and the data are not part of the installed package: "
            "clone the repository and install it with `pip install -e .` there, or set KFAC_ROOT to the checkout."
        )
    return root


ROOT = find_root(os.environ.get("KFAC_ROOT"))
DATA = ROOT / "data"  # small checkpoints and recorded results
CHAPTERS = ROOT / "chapters"  # the worked notebooks
WORK = ROOT / "work"  # the learner's copies
BUILD = ROOT / "build"  # whatever can be made again
