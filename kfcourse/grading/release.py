"""The chapters as nbgrader assignments, from the same source: nbgrader's metadata on the cells that are there
already.
"""

import copy
import re
from pathlib import Path

from kfcourse.grading import marking, variants
from kfcourse.learning import exercises
from kfcourse.notebooks import notebooks

CHECK = re.compile(r"""^check\(["']([^"']+)["']\)[^\S\n]*$""", flags=re.M)
HIDDEN = """\
check("{id}", strict=True)
### BEGIN HIDDEN TESTS
from kfcourse.grading.release import hidden
hidden("{id}", {seeds})
### END HIDDEN TESTS"""


def assignment(nb, secret=None):
    """The instructor's version of a worked notebook: pure, outputs gone, solutions and hidden tests between nbgrader's
    marks.

    An exercise's cell is a solution cell, the cell with its check a test cell of one point. Which seeds the hidden
    tests draw their inputs from depends on the secret; without one there are none.
    """
    nb = copy.deepcopy(nb)
    for cell in notebooks.code_cells(nb):
        cell.outputs, cell.execution_count = [], None
        found, checked = notebooks.exercises_in(cell.source), CHECK.findall(cell.source)
        if found:
            cell.metadata["nbgrader"] = facts(found[0][0].replace(".", "-"), solution=True)
        elif checked:
            cell.metadata["nbgrader"] = facts(
                "test-" + checked[0].replace(".", "-"), grade=True, locked=True, points=len(checked)
            )
            cell.source = CHECK.sub(lambda m: test_cell(m[1], secret), cell.source)
    return nb


def facts(grade_id, solution=False, grade=False, locked=False, points=None):
    """nbgrader's metadata of a cell, schema 3."""
    known = {
        "grade": grade,
        "grade_id": grade_id,
        "locked": locked,
        "schema_version": 3,
        "solution": solution,
        "task": False,
    }
    return known if points is None else known | {"points": points}


def test_cell(exercise_id, secret):
    if secret is None or variants.of(exercise_id) is None:
        return f'check("{exercise_id}", strict=True)'
    seeds = ", ".join(map(str, marking.seeds(secret, exercise_id, "nbgrader")))
    return HIDDEN.format(id=exercise_id, seeds=seeds)


def hidden(exercise_id, *seeds):
    """Compare the answer in this notebook with the course's own on hidden inputs; AssertionError if they differ."""
    function = exercises._active[exercise_id].__wrapped__
    reference = marking.chapter(exercise_id.partition(".")[0]).references[exercise_id.partition(".")[2]]
    verdict = variants.compare(exercise_id, reference, function, seeds)
    assert verdict.state == "right", f"{exercise_id}: {verdict.message or verdict.state}"


def assignments(words, folder, secret=None):
    """Write chapters into an nbgrader course folder: source/NN_name/NN_name.ipynb. Returns the paths."""
    written = []
    for path in notebooks.chapters(words):
        target = Path(folder) / "source" / path.stem / path.name
        notebooks.write(assignment(notebooks.read(path), secret), target)
        written.append(target)
    config = Path(folder) / "nbgrader_config.py"
    if not config.exists():
        config.write_text('c = get_config()\nc.CourseDirectory.course_id = "kfaclib"\n', encoding="utf-8")
    return written
