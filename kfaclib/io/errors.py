"""The one place where an error becomes what a user reads: a sentence with its mend, or how to report it."""

import contextlib
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError

MENDABLE = (
    ValueError,
    OSError,
    MemoryError,
    FloatingPointError,
    RuntimeError,
    ImportError,
    SafetensorError,
    UnicodeError,
)


def sentence(error: BaseException) -> str:
    """What to tell the user about an error, on one line.

    An error that the user can mend (bad input, a full disk, too little memory, a missing package) is its own message.
    Anything else is a fault of the program: the line says where it happened and how to report it.
    """
    said = " ".join(str(error).split())
    if isinstance(error, OSError) and error.filename and error.strerror:
        said = f"{error.filename}: {error.strerror}"
    if isinstance(error, MENDABLE):
        return said or type(error).__name__
    place = traceback.extract_tb(error.__traceback__)[-1:]
    where = f" in {Path(place[0].filename).name}, line {place[0].lineno}" if place else ""
    return (
        f"an unexpected {type(error).__name__}{where} ({said[:300]}). This is a fault of the program, not yours: run "
        "the same command with KFAC_TRACEBACK=1 in the environment, and report what it prints"
    )


def guarded(program: str, work: Callable[[], int | None], status: int = 1) -> int:
    """The exit status of `work()`: its own (None means 0), or `status` after an error, of which one line goes to
    stderr.

    With KFAC_TRACEBACK set, errors are raised with their traceback instead.
    """
    try:
        return work() or 0
    except KeyboardInterrupt:
        with contextlib.suppress(Exception):
            print(f"{program}: interrupted; nothing half-written was left", file=sys.stderr)
        return 130
    except Exception as error:
        if os.environ.get("KFAC_TRACEBACK"):
            raise
        print(f"{program}: {sentence(error)}", file=sys.stderr)
        return status
