"""The box's walls: bubblewrap, where it is installed and works.  Without it a process and its limits are all there is.

With bubblewrap the box sees Python, its packages and the system's libraries, read-only, and one empty folder of its
own; no other file, no other process and no network.
"""

import functools
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
BOX = ("box.py", "limits.py", "plain.py")  # the files that the box runs
SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/libx32", "/bin", "/etc/ld.so.cache", "/etc/localtime")
CPUS = "/sys/devices/system/cpu"  # what numerical libraries ask about the processor
INSTALL = "on Debian and Ubuntu: sudo apt install bubblewrap"


def packages(preload: Sequence[str] = ()) -> list[str]:
    """The folders of the installed packages. That of the course is not among them where it is installed from a
    checkout.
    """
    found = [sysconfig.get_paths()[key] for key in ("purelib", "platlib")]
    if "torch" in preload:
        found.append(str(Path(sys.modules["torch"].__file__).parents[1]))
    return list(dict.fromkeys(found))


def plain_command(program: str | Path = HERE / "box.py") -> list[str]:
    """A command that starts the box as an ordinary process."""
    # -I and -S: not this folder, not the user's packages, and not the course's library
    return [sys.executable, "-I", "-S", "-B", str(program)]


def walled_command(folder: str | Path, preload: Sequence[str] = (), program: Sequence[str] = ()) -> list[str]:
    """A command that starts the box (or Python with the words `program`) inside bubblewrap, in its own `folder`."""
    python = os.path.realpath(sys.executable)
    readable = [*packages(preload), sys.base_prefix, sysconfig.get_paths()["stdlib"]]
    words = [shutil.which("bwrap") or "bwrap", "--die-with-parent", "--new-session"]
    words += ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    if os.getuid():
        words += ["--unshare-user", "--cap-drop", "ALL"]
    else:  # the box then becomes nobody by itself: root in a user namespace would still count as root for the limits
        words += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    for path in SYSTEM:
        if os.path.islink(path):
            words += ["--symlink", os.readlink(path), path]
        elif os.path.exists(path):
            words += ["--ro-bind", path, path]
    # the folders above are made first: bubblewrap would give them the permissions of what is put there, perhaps private
    for path in dict.fromkeys([*readable, *map(os.path.realpath, readable), os.path.dirname(python)]):
        words += ["--dir", os.path.dirname(path), "--ro-bind", path, path] if os.path.isdir(path) else []
    words += ["--ro-bind-try", CPUS, CPUS, "--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"]
    for name in BOX:
        words += ["--ro-bind", str(HERE / name), f"/box/{name}"]
    words += ["--dir", os.path.dirname(folder), "--bind", str(folder), str(folder), "--chdir", "/", "--remount-ro", "/"]
    return [*words, "--", python, "-I", "-S", "-B", *(program or ["/box/box.py"])]


@functools.cache
def missing(preload: tuple[str, ...] = ()) -> str:
    """Why bubblewrap cannot be used here, "" if it can. It is tried out, because systems may forbid it."""
    if sys.platform != "linux":
        return "bubblewrap is for Linux only"
    if shutil.which("bwrap") is None:
        return f"bubblewrap is not installed ({INSTALL})"
    words = ["import importlib.util as u, os, sys", f"sys.path += {packages(preload)!r}"]
    words += ["os.setgid(65534); os.setuid(65534)"] * (not os.getuid())
    words += [f"open(u.find_spec({name.partition('.')[0]!r}).origin, 'rb').read(1)" for name in preload]
    program = ["-c", "\n".join([*words, "print('inside')"])]
    with tempfile.TemporaryDirectory(prefix="answer-") as folder:
        try:
            done = subprocess.run(
                walled_command(folder, preload, program), capture_output=True, text=True, timeout=120, env={}
            )
        except (OSError, subprocess.SubprocessError) as error:
            return f"bubblewrap does not work here ({error})"[:300]
    if done.returncode == 0 and done.stdout.strip() == "inside":
        return ""
    said = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    return f"bubblewrap does not work here ({said[:200]})"


def in_words(preload: tuple[str, ...] = ()) -> str:
    """A sentence about the walls that answers run in here."""
    why = missing(tuple(preload))
    if not why:
        return (
            "answers run inside bubblewrap: they see no file of yours, no other process and no network, and are "
            "limited in time, memory and files"
        )
    return (  # what a lecturer should read before marking
        f"{why}, so answers run in a process with limits only: whoever wrote one can make it read and change your "
        "files and use the network. Mark strangers' work only inside bubblewrap or a container: see teaching/grading.md"
    )
