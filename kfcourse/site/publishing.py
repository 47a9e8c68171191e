"""The course's public address, one setting, and everything that follows from it: repository links, launch links, copies
for Colab.
"""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import nbformat

from kfcourse import paths
from kfcourse.notebooks import notebooks

COLAB = "https://colab.research.google.com/github"
COLAB_NOTE = """\
> **This copy runs on a machine of Google Colab's**, which is lent for some hours. Keep your work with *File, Save a
> copy in Drive*.
>
> - Run the next cell first. It fetches release `{ref}` of the course and takes about two minutes.
> - An exercise is a function that still says `raise NotImplementedError`. Replace that line with your answer.
> - Until you do, a reference stands in and says so once, so that the rest of the chapter runs all the same.
> - `check("...")` tells you at once whether your answer is right; `hint("...")` gives a hint, three in all, one at
>   a time.
> - Words and symbols: [glossary]({glossary}), [notation]({notation})."""
# The requirements are read from the release itself, so no pin in a notebook can grow old. Colab's kernel is running
# already: its own Jupyter packages stay as they are, and the checkout is put on the path, where it is found at once.
BOOTSTRAP = """\
# Run this first: it fetches the course, release {ref}, and installs what it needs.
import os
import pathlib
import subprocess
import sys
import tomllib

root = pathlib.Path("kfac-course-{ref}").resolve()
if not (root / "pyproject.toml").exists():
    clone = ["git", "-c", "advice.detachedHead=false", "clone", "--quiet", "--depth", "1"]
    subprocess.run([*clone, "--branch", "{ref}", "{repository}", str(root)], check=True)
project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
needed = project["dependencies"] + project["optional-dependencies"]["course"]
needed = [
    name
    for name in needed
    if not name.startswith(("ipykernel", "ipywidgets", "jupyterlab", "nbclient", "nbformat"))
]
subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *needed], check=True)
os.environ.update(KFAC_ROOT=str(root), PYTHONPATH=str(root))
sys.path.insert(0, str(root))
if "google.colab" in sys.modules:
    from google.colab import output
    output.enable_custom_widget_manager()"""


@dataclass(frozen=True)
class Address:
    """Where the course is published: `repository`, the address of a GitHub repository, and `ref`, the tag of a release
    there.
    """

    repository: str
    ref: str


def address():
    """The Address that pyproject.toml names under [tool.course], or None while the course is not published."""
    file = paths.ROOT / "pyproject.toml"
    setting = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {}).get("course", {})
    repository, ref = setting.get("repository", ""), setting.get("ref", "")
    if not repository:
        return None
    if not re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", repository) or repository.endswith(".git"):
        raise ValueError(
            f"{file}: [tool.course] repository is {repository!r}; it must look like https://github.com/owner/name"
        )
    if not re.fullmatch(r"[\w][\w.-]*", ref):
        raise ValueError(f"{file}: [tool.course] ref is {ref!r}; it must be the tag of a release, such as v1.0")
    return Address(repository, ref)


def file_link(where, path):
    """The address of a file or folder of the repository, as it is in the release."""
    kind = "tree" if (paths.ROOT / path).is_dir() else "blob"
    return f"{where.repository}/{kind}/{where.ref}/{Path(path).as_posix()}"


def colab_branch(where):
    """The branch that holds the copies for Colab of one release."""
    return f"colab-{where.ref}"


def colab_link(where, name):
    """The address at which Colab opens its copy of the chapter `name`."""
    return f"{COLAB}/{where.repository.removeprefix('https://github.com/')}/blob/{colab_branch(where)}/{name}.ipynb"


def bootstrap(where):
    """The source of the one cell that a copy for Colab begins with."""
    return BOOTSTRAP.format(ref=where.ref, repository=where.repository)


def colab_copy(nb, where):
    """The copy of a worked notebook for Colab: the learner's, with its own note and the bootstrap cell on top."""
    copy = notebooks.learner_copy(nb)
    links = {name: file_link(where, f"pages/{name}.md") for name in ("glossary", "notation")}
    copy.cells[0].source = COLAB_NOTE.format(ref=where.ref, **links)
    copy.cells.insert(1, nbformat.v4.new_code_cell(bootstrap(where), id="colab-bootstrap"))
    return copy


def write_colab_copies(folder):
    """Write every chapter's copy for Colab into `folder`; returns their paths. ValueError while no address is set."""
    where = address()
    if where is None:
        raise ValueError(
            "the course has no public address yet, so a copy for Colab could fetch nothing: "
            "set repository and ref under [tool.course] in pyproject.toml"
        )
    written = []
    for path in notebooks.chapters():
        notebooks.write(colab_copy(notebooks.read(path), where), Path(folder) / path.name)
        written.append(Path(folder) / path.name)
    return written
