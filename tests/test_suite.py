"""The test command itself, on a tiny checkout: what a run takes in, in which processes, and what it records."""

import json
import re
import runpy
import shutil
import subprocess
import sys

import pytest

from kfcourse import paths
from kfcourse.notebooks import execution, notebooks
from test_contract import stored_tiny_chapter

REPOSITORY = paths.ROOT  # before any test points the paths elsewhere
TESTS = """
import os, time
import pytest

def test_threads():
    import torch

    assert torch.get_num_threads() == 1 and os.environ["OMP_WAIT_POLICY"] == "PASSIVE"

def test_wrong():
    assert False

def test_skipped():
    pytest.skip("for the count")

@pytest.mark.long
def test_long():
    pass
"""


@pytest.fixture
def suite(tiny_path):
    """run(*words): what `course.py test` says in a tiny checkout with one chapter and four tests."""
    for name in ("conftest.py", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, paths.ROOT)
    notebooks.write(stored_tiny_chapter(), tiny_path)
    (paths.ROOT / "tests").mkdir()
    (paths.ROOT / "tests" / "test_some.py").write_text(TESTS)
    two = runpy.run_path(str(REPOSITORY / "course.py"))["TWO_PROCESSES"]

    def run(*words):
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *two, *words]
        done = subprocess.run(command, cwd=paths.ROOT, env=execution.environment(), capture_output=True, text=True)
        return done.stdout

    return run


def recorded():
    return json.loads((paths.BUILD / "tests.json").read_text())


@pytest.mark.slow
@pytest.mark.long
def test_a_whole_run_is_recorded_and_ends_with_pytests_closing_line(suite):
    said = suite()
    cells = len(notebooks.code_cells(notebooks.read(paths.CHAPTERS / "97_tiny.ipynb")))
    record = recorded()
    assert record.pop("seconds") > 0
    part = cells - 3 + 1  # without the figure, the hint and the cell that uses the answers; with one that clears names
    assert record == {"passed": cells + part + 1, "failed": 1, "skipped": 1, "all": False}, said
    last = said.rstrip("\n").splitlines()[-1]
    assert re.fullmatch(rf"=+ 1 failed, {cells + part + 1} passed, 1 skipped.* in .*=+", last)

    (paths.BUILD / "tests.json").unlink()
    suite("-n", "0", "tests")
    suite("-n", "0", "-k", "skipped")
    assert not (paths.BUILD / "tests.json").exists()  # neither was a whole run


@pytest.mark.long
@pytest.mark.slow
def test_all_takes_in_what_is_long_and_the_whole_learners_copies(suite):
    said = suite("--all")
    cells = len(notebooks.code_cells(notebooks.read(paths.CHAPTERS / "97_tiny.ipynb")))
    record = recorded()
    assert record["all"] and record["passed"] == 2 * cells + (cells - 3 + 1) + 2, said
