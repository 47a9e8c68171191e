"""Where the course's data is, for those defaults that need it: found when it is used, so that the library works without
it.

The checkout is the folder that the variable KFAC_ROOT names, or else the one this package was installed from (`pip
install -e .`).
"""

import os
from pathlib import Path


def checkout() -> Path:
    """The checkout of the course.  Raises FileNotFoundError, with the mend, where there is none."""
    named = os.environ.get("KFAC_ROOT")
    root = Path(named).expanduser().resolve() if named else Path(__file__).resolve().parents[2]
    if not (root / "pyproject.toml").is_file() or not (root / "data").is_dir():
        said = f"KFAC_ROOT names {root}, which" if named else f"kfaclib was imported from {root}, which"
        raise FileNotFoundError(
            f"{said} is not a checkout of the course, and this needs the course's data: name your own files, or "
            "clone the repository and set KFAC_ROOT to it"
        )
    return root


def data(*parts: str) -> Path:
    """A file or folder of the course's data: data("results", "paper.json"). Raises FileNotFoundError outside a
    checkout.
    """
    return checkout().joinpath("data", *parts)


def found(*parts: str) -> Path | None:
    """`data(...)` if there is a checkout and it has this file or folder; None otherwise."""
    try:
        path = data(*parts)
    except FileNotFoundError:
        return None
    return path if path.exists() else None
