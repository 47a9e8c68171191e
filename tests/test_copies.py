"""The learner's copies: made once, never overwritten, updated beside the answers; a pull loses nothing."""

import os
import subprocess

import nbformat
import pytest

from kfcourse import paths
from kfcourse.learning import copies
from kfcourse.notebooks import notebooks

ANSWER = '@exercise("97.double")\ndef double(x):\n    return 2 * x  # mine'


def cell_of(nb, exercise_id):
    return copies.stubs(nb)[exercise_id]


def edit(path, change):
    nb = notebooks.read(path)
    change(nb)
    notebooks.write(nb, path)


def solve(path):
    """What a learner does: an answer, a cell of their own after it, a changed cell, a note in the text."""

    def change(nb):
        cell_of(nb, "97.double").source = ANSWER
        where = next(i for i, c in enumerate(nb.cells) if "def double" in c.source)
        nb.cells.insert(where + 1, nbformat.v4.new_code_cell("double(21)", id="mine"))
        next(c for c in nb.cells if "nbval-check-output" in c.metadata.get("tags", [])).source += "\nprint('and mine')"
        nb.cells[2].source = "My own words."

    edit(path, change)


def test_copies_are_made_once_and_remember_their_version(tiny_path):
    own = paths.WORK / "97_tiny.ipynb"
    assert copies.make_copies(paths.WORK) == []
    made = notebooks.read(own)
    assert [c.source for c in made.cells] == [c.source for c in notebooks.learner_copy(notebooks.read(tiny_path)).cells]
    assert copies.version_of(own) == copies.fresh(tiny_path)[1]
    solve(own)
    before = own.read_bytes()
    assert copies.make_copies(paths.WORK) == []
    assert own.read_bytes() == before and copies.files(paths.WORK, "97_tiny") == [own]


def test_a_changed_chapter_comes_beside_the_copy_with_everything_the_learner_wrote(tiny_path):
    copies.make_copies(paths.WORK)
    own = paths.WORK / "97_tiny.ipynb"
    solve(own)
    before = own.read_bytes()

    def change(nb):
        cell_of(nb, "97.total").source = cell_of(nb, "97.total").source.replace("The sum of", "The whole sum of")
        nb.cells[-1].source = nb.cells[-1].source.replace("A tiny chapter is not", "It is not")
        nb.cells[2].source += " One more sentence."  # where the learner has written too

    edit(tiny_path, change)
    report = "\n".join(copies.make_copies(paths.WORK))
    assert own.read_bytes() == before
    new = notebooks.read(paths.WORK / "97_tiny.new.ipynb")
    for line in (
        "97_tiny.new.ipynb",
        "exercise 97.total: the task has changed",
        "your answer to 97.double is carried over",
        "sections changed:",
        "3 further cells of yours",
    ):
        assert line in report
    assert "97.mean" not in report
    assert cell_of(new, "97.double").source == ANSWER
    assert "whole sum" in cell_of(new, "97.total").source and "NotImplementedError" in cell_of(new, "97.total").source
    sources = [c.source for c in new.cells]
    assert sources.index("double(21)") == sources.index(ANSWER) + 1
    assert any("and mine" in s for s in sources) and any("My own words." in s for s in sources)
    assert any("One more sentence." in s for s in sources)
    assert copies.make_copies(paths.WORK) == []  # reported once

    os.replace(paths.WORK / "97_tiny.new.ipynb", own)  # the learner goes on in the new one, under the old name
    assert copies.make_copies(paths.WORK) == []
    edit(tiny_path, lambda nb: nb.cells[-1].update(source=nb.cells[-1].source + "\n\nAgain."))
    assert "97.double is carried over" in "\n".join(copies.make_copies(paths.WORK))
    assert cell_of(notebooks.read(paths.WORK / "97_tiny.new.ipynb"), "97.double").source == ANSWER


def test_an_answer_to_a_task_that_changed_or_went_is_kept_in_sight(tiny_path):
    copies.make_copies(paths.WORK)
    solve(paths.WORK / "97_tiny.ipynb")

    def change(nb):
        cell_of(nb, "97.double").source = cell_of(nb, "97.double").source.replace("double(x)", "double(x, times=2)")

    edit(tiny_path, change)
    report = "\n".join(copies.make_copies(paths.WORK))
    assert "exercise 97.double: the task has changed" in report and "below the new task, commented out" in report
    source = cell_of(notebooks.read(paths.WORK / "97_tiny.new.ipynb"), "97.double").source
    assert "times=2" in source and "raise NotImplementedError" in source and "# " + ANSWER.splitlines()[2] in source
    assert [i for i, _ in notebooks.exercises_in(source)] == ["97.double"]

    def remove(nb):
        nb.cells = [c for c in nb.cells if "double" not in c.source]

    edit(tiny_path, remove)
    report = "\n".join(copies.make_copies(paths.WORK))
    assert "exercise 97.double is no longer there" in report and "at the end" in report
    assert "return 2 * x  # mine" in notebooks.read(paths.WORK / "97_tiny.new2.ipynb").cells[-1].source


@pytest.mark.parametrize(
    "content",
    [
        "my answers, broken",
        "{}",
        '{"cells": [{"cell_type": "code"}], "nbformat_minor": 5, "nbformat": 4, "metadata": {}}',
    ],
)
def test_a_copy_that_cannot_be_read_is_left_alone(content, tiny_path):
    copies.make_copies(paths.WORK)
    own = paths.WORK / "97_tiny.ipynb"
    own.write_text(content)
    edit(tiny_path, lambda nb: nb.cells[0].update(source=nb.cells[0].source + "\n\nNew."))
    assert "97_tiny.new.ipynb" in copies.make_copies(paths.WORK)[0]
    assert own.read_text() == content
    assert "New." in (paths.WORK / "97_tiny.new.ipynb").read_text()


def test_without_its_version_only_the_answers_of_a_copy_are_carried(tiny_path):
    notebooks.write(notebooks.learner_copy(notebooks.read(tiny_path)), paths.WORK / "97_tiny.ipynb")
    solve(paths.WORK / "97_tiny.ipynb")
    report = "\n".join(copies.make_copies(paths.WORK))
    assert "not known" in report and "97.double" in report and "97.total" not in report
    assert "# mine" in cell_of(notebooks.read(paths.WORK / "97_tiny.new.ipynb"), "97.double").source


def test_git_pull_over_a_half_solved_chapter_loses_nothing(tiny_path, tmp_path_factory, monkeypatch):
    origin, clone = paths.ROOT, tmp_path_factory.mktemp("learner") / "course"

    def git(*words, folder=origin):
        subprocess.run(
            ["git", "-c", "user.name=A", "-c", "user.email=a@b.c", *words], cwd=folder, check=True, capture_output=True
        )

    (origin / ".gitignore").write_text("work/\n")
    git("init", "-q", "-b", "main")
    git("add", ".")
    git("commit", "-qm", "one")
    git("clone", "-q", str(origin), str(clone))
    for name, part in {"ROOT": "", "CHAPTERS": "chapters", "WORK": "work"}.items():
        monkeypatch.setattr(paths, name, clone / part)
    copies.make_copies(paths.WORK)
    own = paths.WORK / "97_tiny.ipynb"
    solve(own)
    before = own.read_bytes()

    edit(tiny_path, lambda nb: nb.cells[-1].update(source=nb.cells[-1].source + "\n\nMore."))
    git("commit", "-qam", "two")
    git("pull", "-q", "--ff-only", folder=clone)
    assert own.read_bytes() == before
    assert "97.double is carried over" in "\n".join(copies.make_copies(paths.WORK))
    assert own.read_bytes() == before
    assert cell_of(notebooks.read(paths.WORK / "97_tiny.new.ipynb"), "97.double").source == ANSWER
    assert subprocess.run(["git", "status", "--porcelain"], cwd=clone, capture_output=True, text=True).stdout == ""


def test_the_glossary_lies_beside_the_copies_and_a_learners_notes_in_it_stay(tiny_path):
    source, page = paths.ROOT / "pages" / "glossary.md", paths.WORK / "glossary.md"
    source.parent.mkdir()
    for text in ("# One\n\n[97](../chapters/97_tiny.ipynb)\n", "# Two\n"):
        source.write_text(text)
        copies.give_pages(paths.WORK)
        assert page.read_text() == text.replace("../chapters/", "")
    page.write_text("# Two\n\nmine\n")
    source.write_text("# Three\n")
    copies.give_pages(paths.WORK)
    assert page.read_text() == "# Two\n\nmine\n"
