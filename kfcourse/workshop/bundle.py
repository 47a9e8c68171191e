"""Everything the workshop needs in one folder for machines without a network: wheels, checkpoints, notebooks, pages,
checksums.
"""

import email
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from kfaclib.io.files import atomic, sha256, write_json
from kfcourse import paths

TAKEN = (
    "kfaclib",
    "kfcourse",
    "chapters",
    "data",
    "pages",
    "course.py",
    "pyproject.toml",
    "constraints.txt",
    "README.md",
    "LICENSE",
    "LICENSE-TEXT",
    "CITATION.cff",
)
LEFT_OUT = {"__pycache__", ".ipynb_checkpoints"}
BUILDING = ("setuptools", "wheel")  # what `pip install -e` builds with


@dataclass(frozen=True)
class Platform:
    """What pip needs to know to fetch wheels for another machine, and what a requirement's markers mean there."""

    tags: tuple = ()  # none: this machine
    markers: tuple = ()


def linux(*glibc):
    return tuple(f"manylinux_2_{n}_x86_64" for n in glibc) + ("manylinux2014_x86_64", "linux_x86_64")


PLATFORMS = {
    "this": Platform(),
    "linux": Platform(
        linux(28, 27, 26, 24, 17),
        (("sys_platform", "linux"), ("platform_system", "Linux"), ("os_name", "posix"), ("platform_machine", "x86_64")),
    ),
    "windows": Platform(
        ("win_amd64",),
        (("sys_platform", "win32"), ("platform_system", "Windows"), ("os_name", "nt"), ("platform_machine", "AMD64")),
    ),
    "macos": Platform(
        ("macosx_14_0_arm64",),
        (
            ("sys_platform", "darwin"),
            ("platform_system", "Darwin"),
            ("os_name", "posix"),
            ("platform_machine", "arm64"),
        ),
    ),
}

README = """\
# The course and its workshop, without a network

Python {python} is needed, and 2 GB of disk. In this folder:

    python3 start.py

It compares every file with its checksum, makes an environment in `.venv`, installs from `wheels/`, and opens
JupyterLab on the workshop's notebooks. On Windows: `py -{python} start.py`. By hand, the same is

    python3 -m venv .venv
    .venv/bin/python -m pip install --no-index --find-links wheels -e "course[course]"
    .venv/bin/jupyter lab course/build/workshop

- `course/build/workshop/`: the notebooks, one a block, with their gaps; `answers/` beside them, executed.
- `course/build/pages/index.html`: all chapters to read, in any browser.
- `course/chapters/`, `course/data/`: the worked chapters, the checkpoints and the recorded results.
- `manifest.json`: size and SHA-256 of every file. The wheels are for: {platform}, Python {python}.
"""


def markers_of(platform, python):
    """The environment in which requirements' markers are read, for a platform and a Python such as "3.11"."""
    given = dict(platform.markers)
    if platform.tags:
        given |= {"python_version": python, "python_full_version": f"{python}.0"}
    return dict(default_environment()) | given


def asked_for(requirement, markers, extras=()):
    """Whether a requirement applies there, for one of the extras that are wanted."""
    return requirement.marker is None or any(
        requirement.marker.evaluate(markers | {"extra": extra}) for extra in ("", *extras)
    )


def pins(markers):
    """{name: requirement} of constraints.txt for that environment."""
    lines = (paths.ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if line and line[0] != "#"]
    return {canonicalize_name(r.name): f"{r.name}{r.specifier}" for r in found if asked_for(r, markers)}


def requirements_of(wheel):
    """(name, requirements) of a wheel file."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", n))
        facts = email.message_from_bytes(archive.read(name))
    return canonicalize_name(facts["Name"]), [Requirement(text) for text in facts.get_all("Requires-Dist") or []]


def fetch_wheels(wanted, folder, platform, python, options=()):
    """Fetch wheels of the requirements `wanted` and of all they need, in the tested versions; returns the files.

    pip reads its own settings, so the wheels come from where this machine installs from. It evaluates the markers of
    what it fetches for *this* machine, also when asked for another platform, so the walk over what needs what is made
    here, a level at a time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    markers = markers_of(platform, python)
    known, done, level = pins(markers), set(), [r for r in map(Requirement, wanted) if asked_for(r, markers)]
    target = [word for tag in platform.tags for word in ("--platform", tag)]
    if target:
        target += ["--python-version", python, "--implementation", "cp"]
    while level:
        new = {(canonicalize_name(r.name), frozenset(r.extras)): r for r in level}
        new = {key: r for key, r in new.items() if key not in done}
        done |= set(new)
        words = sorted({known.get(name, f"{r.name}{r.specifier}") for (name, _), r in new.items()})
        if not words:
            break
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "-q",
            "--disable-pip-version-check",
            "--no-deps",
            "--only-binary=:all:",
            "--dest",
            str(folder),
            *target,
            *options,
            *words,
        ]
        if subprocess.call(command):
            raise ValueError(
                f"pip could not fetch all of: {', '.join(words)}. It says why above; a network is needed to make a "
                "bundle"
            )
        there = dict(requirements_of(wheel) for wheel in folder.glob("*.whl"))
        level = [r for (name, extras) in new for r in there[name] if asked_for(r, markers, extras)]
    return sorted(folder.glob("*.whl"))


def copy_course(folder):
    """What a participant needs of this checkout."""
    for name in TAKEN:
        source = paths.ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=lambda _, names: LEFT_OUT & set(names), dirs_exist_ok=True)
        elif source.exists():
            shutil.copy2(source, folder / name)


def write_manifest(folder, **facts):
    """`manifest.json`: facts, and size and SHA-256 of every file below the folder."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / "manifest.json")
    listed = {p.relative_to(folder).as_posix(): {"bytes": p.stat().st_size, "sha256": sha256(p)} for p in files}
    write_json(folder / "manifest.json", {**facts, "files": listed})


def make(out, platform="this", python=None):
    """Write the bundle into the folder `out`, which must be empty or not there. Returns its size in bytes."""
    from kfcourse.notebooks import notebooks
    from kfcourse.site import pages
    from kfcourse.workshop import workshop

    out, here = Path(out), "{}.{}".format(*sys.version_info)
    if platform == "this" and python not in (None, here):
        raise ValueError(f"this machine has Python {here}; name a platform as well to bundle for Python {python}")
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"{out} is not empty: remove it, or name another folder with --out")
    python = python or here
    project = tomllib.loads((paths.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = project["dependencies"] + project["optional-dependencies"]["course"]
    print("fetching wheels ...", flush=True)
    fetch_wheels([*needed, *BUILDING], out / "wheels", PLATFORMS[platform], python)
    copy_course(out / "course")
    print("making the workshop's notebooks ...", flush=True)
    built = out / "course" / "build"
    workshop.write(built / "workshop")
    shutil.copy2(workshop.state(), built / "workshop")
    print("rendering the pages ...", flush=True)
    pages.render({path.stem: notebooks.read(path) for path in notebooks.chapters()}, built / "pages")
    shutil.copy2(Path(__file__).with_name("start_bundle.py"), out / "start.py")
    with atomic(out / "README.md") as temporary:
        temporary.write_text(
            README.format(python=python, platform=platform if PLATFORMS[platform].tags else sys.platform),
            encoding="utf-8",
        )
    write_manifest(out, python=python)
    return sum(p.stat().st_size for p in out.rglob("*") if p.is_file())
