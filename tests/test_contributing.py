"""The map in CONTRIBUTING.md leads to what it names."""

import ast
import re

import pytest

from kfcourse.paths import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
MAP = re.findall(r"(?m)^\| ([^|`]+(?:`[^`|]+`[^|`]*)?) \| `([\w./]+\.py)` \| `(\w+)` \|$", TEXT)
MADE = (
    "build/",
    "work/",
    ".venv",
    "chapters/20_",
    "kfcourse/ch20",
    "tests/ch20",
    "../",
)  # what is not in the repository


@pytest.mark.parametrize("what, path, name", MAP, ids=[what for what, _, _ in MAP])
def test_what_the_map_names_is_defined_there(what, path, name):
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    assert name in {part.name for part in tree.body if isinstance(part, (ast.FunctionDef, ast.ClassDef))}, (
        f"{path} defines no {name}: the row {what!r} of CONTRIBUTING.md is out of date"
    )


def test_the_map_answers_what_newcomers_ask():
    asked = ("A and G are summed", "the mask of kept directions", "a label is sampled", "what `python3 course.py` runs")
    assert all(any(what.startswith(start) for what, _, _ in MAP) for start in asked) and len(MAP) > 20
    assert "\n## Add a chapter\n" in TEXT


def test_every_path_that_is_named_exists():
    named = {p for p in re.findall(r"`([\w.*/-]+/[\w.*/-]*|[\w-]+\.(?:py|md|txt|toml))`", TEXT) if "NN" not in p}
    named = {path for path in named if not path.startswith(MADE) and "(" not in path}
    assert len(named) > 50
    missing = [path for path in sorted(named) if not list(ROOT.glob(path.rstrip("/"))) and "/" in path]
    assert not missing, missing


def test_every_folder_of_both_packages_is_in_the_map():
    for package in ("kfaclib", "kfcourse"):
        folders = {path.parent.relative_to(ROOT).as_posix() for path in (ROOT / package).glob("*/__init__.py")}
        shown = set(re.findall(r"`(\w+/\w+)/`", TEXT))
        assert {folder for folder in folders if not re.search(r"/ch\d\d$", folder)} <= shown


def test_the_order_of_imports_is_the_one_that_the_map_states():
    stated = re.search(r"imports only what stands above it in this order: (.*?)\.\n", TEXT, flags=re.S)[1]
    order = re.findall(r"`(\w+)`", stated)
    assert set(order) == {path.parent.name for path in (ROOT / "kfaclib").glob("*/__init__.py")}
    wrong = []
    for path in sorted((ROOT / "kfaclib").glob("*/*.py")):
        for below in re.findall(r"(?m)^(?:from|import) kfaclib\.(\w+)", path.read_text(encoding="utf-8")):
            if order.index(below) > order.index(path.parent.name):
                wrong.append(f"{path.relative_to(ROOT)} imports kfaclib.{below}")
    assert not wrong, "\n".join(wrong)
