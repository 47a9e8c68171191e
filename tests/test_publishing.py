"""The public address: unset, nothing is invented; set, every link follows from it, and the copies for Colab fetch the
release it names.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import nbformat
import pytest
from packaging.requirements import Requirement

from kfcourse import __main__ as course
from kfcourse import paths
from kfcourse.notebooks import notebooks
from kfcourse.site import publishing, readme, routes, signposts

ROOT = paths.ROOT
EXAMPLE = publishing.Address("https://github.com/example-owner/example-name", "v1.0")
DEVCONTAINER = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))


def set_address(repository, ref):
    (paths.ROOT / "pyproject.toml").write_text(f'[tool.course]\nrepository = "{repository}"\nref = "{ref}"\n')


@pytest.fixture
def published(tiny_path):
    """The tiny checkout with an address."""
    set_address(EXAMPLE.repository, EXAMPLE.ref)
    return tiny_path


def test_without_an_address_nothing_is_invented(tiny_path, capsys):
    assert publishing.address() is None
    assert "http" not in readme.course_map() and "Colab" not in readme.course_map()
    assert "http" not in signposts.signpost("97_tiny", routes.chapters(), publishing.address())
    assert course.main(["colab"]) == 2
    assert "has no public address yet" in capsys.readouterr().err and not paths.BUILD.exists()


@pytest.mark.parametrize(
    "repository, ref, wrong",
    [
        ("example-owner/example-name", "v1.0", "must look like https://github.com/owner/name"),
        ("https://github.com/example-owner/example-name.git", "v1.0", "must look like"),
        ("https://github.com/example-owner/example-name/", "v1.0", "must look like"),
        ("http://github.com/example-owner/example-name", "v1.0", "must look like"),
        ("https://github.com/example-owner/example-name", "", "must be the tag of a release"),
        ("https://github.com/example-owner/example-name", "v1 --upload-pack=x", "must be the tag of a release"),
        ("https://github.com/example-owner/example-name", "--x", "must be the tag of a release"),
    ],
)
def test_an_address_that_would_give_dead_links_is_refused(repository, ref, wrong, tiny_path):
    set_address(repository, ref)
    with pytest.raises(ValueError, match=wrong):
        publishing.address()


def test_the_projects_own_setting_is_one_that_can_be_read():
    setting = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["course"]
    assert sorted(setting) == ["ref", "repository"]
    assert publishing.address() == (publishing.Address(**setting) if setting["repository"] else None)


def test_with_an_address_every_link_follows_from_it(published):
    where = publishing.address()
    assert where == EXAMPLE
    colab = "https://colab.research.google.com/github/example-owner/example-name/blob/colab-v1.0/97_tiny.ipynb"
    assert publishing.colab_link(where, "97_tiny") == colab
    assert f"| [open]({colab}) |" in readme.course_map()
    header, line, row = readme.course_map().splitlines()
    assert header.count("|") == line.count("|") == row.count("|")
    sign = signposts.signpost("97_tiny", routes.chapters(), where)
    assert (
        f"({colab})" in sign
        and "https://github.com/example-owner/example-name/blob/v1.0/chapters/97_tiny.ipynb" in sign
    )
    assert publishing.file_link(where, "chapters") == "https://github.com/example-owner/example-name/tree/v1.0/chapters"


def test_copies_for_colab_are_learners_copies_with_one_bootstrap_cell(published, capsys):
    assert course.main(["colab", "--out", str(paths.BUILD / "colab")]) == 0
    assert "97_tiny.ipynb" in capsys.readouterr().out
    nb = notebooks.read(paths.BUILD / "colab" / "97_tiny.ipynb")
    nbformat.validate(nb)
    plain = notebooks.learner_copy(notebooks.read(published))
    assert [c.source for c in nb.cells[2:]] == [c.source for c in plain.cells[1:]]
    assert "v1.0" in nb.cells[0].source and "blob/v1.0/pages/glossary.md" in nb.cells[0].source
    assert [c.source for c in notebooks.code_cells(nb) if "clone" in c.source] == [nb.cells[1].source]
    assert not any("SOLUTION" in cell.source for cell in nb.cells)


def test_the_bootstrap_cell_is_valid_and_pins_the_release():
    source = publishing.bootstrap(EXAMPLE)
    tree = ast.parse(source)
    imported = {name.name.split(".")[0] for node in tree.body if isinstance(node, ast.Import) for name in node.names}
    assert imported <= sys.stdlib_module_names  # nothing is installed yet when it begins
    assert f'"--branch", "{EXAMPLE.ref}", "{EXAMPLE.repository}"' in source
    left = re.search(r"startswith\(\((.*)\)\)", source)[1].replace('"', "").split(", ")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = {Requirement(r).name for r in project["dependencies"] + project["optional-dependencies"]["course"]}
    assert set(left) <= needed and {"torch", "transformers", "matplotlib"} <= {
        n for n in needed if not n.startswith(tuple(left))
    }


@pytest.mark.long
@pytest.mark.slow
def test_the_bootstrap_cell_works_in_a_fresh_environment(tmp_path):
    """A stand-in for Colab: an empty environment that finds the packages of this one, as Colab has its own; git takes a
    repository on this disk for the public address; nothing is fetched from a network. The cell itself is run as it is
    written."""
    release = tmp_path / "release"
    skip = shutil.ignore_patterns("__pycache__", "results", "olmo2-tiny*", "vit-tiny")
    for part in ("kfaclib", "kfcourse", "chapters", "data"):
        shutil.copytree(ROOT / part, release / part, ignore=skip)
    shutil.copy(ROOT / "pyproject.toml", release)
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "release"], ["tag", EXAMPLE.ref]):
        subprocess.run(["git", "-c", "user.name=A", "-c", "user.email=a@b.c", *words], cwd=release, check=True)

    venv.create(tmp_path / "venv", with_pip=False, symlinks=sys.platform != "win32")
    python = tmp_path / "venv" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    own = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    )
    packages = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (Path(own.stdout.strip()) / "stand_in.pth").write_text("\n".join(packages))

    (path,) = notebooks.chapters(["05"])
    copy = publishing.colab_copy(notebooks.read(path), EXAMPLE)
    cells = notebooks.code_cells(copy)
    unsolved = next(i for i, cell in enumerate(cells) if "raise NotImplementedError" in cell.source)
    (tmp_path / "cells.json").write_text(json.dumps([cell.source for cell in cells[: unsolved + 2]]))
    script = "\n".join(
        [
            "import importlib.util, json, pathlib",
            "assert importlib.util.find_spec('kfaclib') is None, 'the stand-in has the course already'",
            "cells = json.loads(pathlib.Path('cells.json').read_text())",
            "space = {'__name__': '__main__'}",
            "for source in cells: exec(source, space)",
            "import kfaclib, kfcourse.paths",
            "print('from', kfcourse.paths.ROOT.name, pathlib.Path(kfaclib.__file__).parent.parent.name, "
            "kfcourse.paths.DATA.is_dir())",
        ]
    )
    there = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{release.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": EXAMPLE.repository,
        "PIP_NO_INDEX": "1",
    }
    keep = {
        name: value for name, value in os.environ.items() if not name.startswith(("KFAC_", "PYTHONPATH", "CI", "PIP_"))
    }
    done = subprocess.run(
        [python, "-c", script], cwd=tmp_path, env={**keep, **there, "MPLBACKEND": "agg"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "from kfac-course-v1.0 kfac-course-v1.0 True" in done.stdout, done.stdout
    assert "reference" in done.stdout, "an exercise that is not solved is filled by the release's own chapter"


# --- the devcontainer


def test_the_devcontainer_names_commands_and_versions_that_exist():
    names = {"__name__": "course_py", "__file__": str(ROOT / "course.py")}
    exec((ROOT / "course.py").read_text(encoding="utf-8"), names)
    program, file, command = DEVCONTAINER["postCreateCommand"].split()
    assert program == "python3" and (ROOT / file).is_file() and command in names["COMMANDS"]
    image, version = DEVCONTAINER["image"].split(":")
    assert image == "python" and tuple(map(int, version.split("."))) >= names["OLDEST"]
    interpreter = DEVCONTAINER["customizations"]["vscode"]["settings"]["python.defaultInterpreterPath"]
    assert (
        interpreter == "${containerWorkspaceFolder}/" + names["venv_python"](Path(".venv")).as_posix()
        or sys.platform == "win32"
    )
    assert set(DEVCONTAINER) <= {
        "name",
        "image",
        "hostRequirements",
        "postCreateCommand",
        "forwardPorts",
        "portsAttributes",
        "customizations",
    }
