"""Slices: what a piece of a notebook needs of the pieces before it."""

import pytest

from kfcourse.learning import slices
from kfcourse.notebooks import notebooks


def test_the_last_piece_that_binds_a_name_is_needed_and_what_that_one_needs():
    pieces = ["import math", "x = 1", "unused = 2", "x = x + 1", "y = math.sqrt(x)", "x = 5", "print(y)"]
    assert slices.needed(pieces, [6]) == [0, 1, 3, 4, 6]
    assert slices.needed(pieces, [2]) == [2]


@pytest.mark.parametrize(
    "change",
    ["rows.append(1)", "rows[0] = 1", "rows.size = 1", "rows += [1]", "for i in range(3):\n    rows.append(i)"],
)
def test_a_change_in_place_counts(change):
    assert slices.needed(["rows = []", change, "print(rows)"], [2]) == [0, 1, 2]


def test_a_call_of_a_module_changes_nothing():
    assert slices.needed(["from kfaclib import plots", "plots.show(1)", "plots.picture(2)"], [2]) == [0, 2]


@pytest.mark.parametrize(
    "source",
    [
        "[i for i in items]",
        "for i in items:\n    print(i)",
        "f = lambda i: i + len(items)",
        "def g(i):\n    return i, items",
    ],
)
def test_variables_of_loops_and_functions_are_not_taken_from_before(source):
    assert slices.needed(["i = 7", "items = [1]", source], [2]) == [1, 2]


def test_names_that_a_function_uses_inside_are_needed():
    assert slices.needed(["scale = 2", "def f(x):\n    return [scale * y for y in x]", "f([1])"], [2]) == [0, 1, 2]


def test_statements_keep_comments_decorators_and_everything_else():
    source = "# why\nx = 1  # one\n\n@exercise('97.f')\ndef f(x):\n    return x\n"
    assert slices.statements(source) == ["# why\nx = 1  # one", "@exercise('97.f')\ndef f(x):\n    return x"]


@pytest.mark.parametrize("path", notebooks.chapters(), ids=lambda path: path.stem)
def test_a_slice_of_a_chapter_has_every_name_that_it_uses(path):
    pieces = [s for cell in notebooks.code_cells(notebooks.read(path)) for s in slices.statements(cell.source)]
    bound, used = zip(*map(slices.names, pieces))
    kept = slices.needed(pieces, [len(pieces) - 1])
    everywhere = set().union(*bound)
    for i in kept:
        before = set().union(*(bound[j] for j in kept if j < i))
        assert used[i] & everywhere <= before, pieces[i]
