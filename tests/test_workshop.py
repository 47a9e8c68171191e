"""The workshop: notebooks made from the chapters, four gaps, a start for late-comers, and a plan whose figures are
computed.
"""

import builtins
import re

import nbformat
import pytest

from kfaclib.io.files import read_json
from kfcourse import paths
from kfcourse.learning import exercises, slices
from kfcourse.notebooks import execution, notebooks
from kfcourse.workshop import workshop

PLAN = paths.ROOT / "teaching" / "workshop.md"
RECORD = paths.DATA / "results" / workshop.RECORD
each_block = pytest.mark.parametrize("block", workshop.BLOCKS, ids=lambda block: block.name)


def run(cells):
    """A Failure or None: these cells, executed from a fresh kernel."""
    nb = nbformat.v4.new_notebook(cells=cells)
    return execution.execute(nb, execution.environment())


def gap_cells(nb, block):
    """(the stub, its check) of a block's notebook."""
    stubs = [c for c in notebooks.code_cells(nb) if any(i == block.gap for i, _ in notebooks.exercises_in(c.source))]
    checks = [c for c in notebooks.code_cells(nb) if c.source.startswith(f'check("{block.gap}"')]
    (stub,), (check,) = stubs, checks
    return stub, check


@pytest.fixture(scope="module")
def factors():
    """The factors that block 4 loads. Few rows do for the tests; what a workshop has is left alone."""
    from kfaclib.toy import pipeline

    state, was_there = workshop.state(), workshop.state().exists()
    if not was_there:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pipeline, "ROWS", 32)
            workshop.collect(state)
    yield state
    if not was_there:
        state.unlink()


def test_four_gaps_one_a_block_and_three_hours():
    assert len(workshop.BLOCKS) == 4 and sum(entry.minutes for entry in workshop.TIMETABLE) == 180
    unwritten = [
        c.source
        for b in workshop.BLOCKS
        for c in notebooks.code_cells(workshop.notebook(b, filled=False))
        if "NotImplementedError" in c.source
    ]
    assert len(unwritten) == 4
    for block in workshop.BLOCKS:
        assert exercises.exercise_facts(block.gap).minutes <= block.minutes / 3


@each_block
def test_a_block_is_made_of_the_chapters_cells(block):
    """Prose and code are the chapters'; both versions differ in the gap and its check alone."""
    prefilled, answers = (workshop.notebook(block, filled) for filled in (False, True))
    differing = [a.id for a, b in zip(prefilled.cells, answers.cells, strict=True) if a != b]
    assert differing == [cell.id for cell in gap_cells(prefilled, block)]
    assert len({cell.id for cell in answers.cells}) == len(answers.cells)
    chapters = "\n".join(
        workshop.without_markers(c.source) for n in {n for n, _, _ in block.parts} for c in workshop.chapter(n).cells
    )
    for cell in answers.cells[3:]:
        for line in cell.source.splitlines():
            ours = line in ("", workshop.GIVEN) or line.startswith("**Gap ")
            assert ours or line in chapters, line
    text = "\n".join(cell.source for cell in answers.cells)
    assert "SOLUTION" not in text and "NBVAL" not in text


@each_block
def test_no_name_means_two_things_at_the_start(block):
    nb = workshop.notebook(block, filled=False)
    source = nb.cells[2].source
    bound = [name for s in slices.statements(source) if workshop.is_import(s) for name in slices.imported(s)]
    assert len(bound) == len(set(bound))
    pieces = [c.source for c in notebooks.code_cells(nb)]
    known = set(dir(builtins))
    for i, piece in enumerate(pieces):  # every cell finds what it uses: here, or in the library
        before = set().union(*(slices.names(p)[0] for p in pieces[:i]))
        assert slices.names(piece)[1] <= before | known, piece


def test_a_cell_that_is_gone_is_named(monkeypatch):
    with pytest.raises(ValueError, match="'c999'"):
        workshop.between(workshop.chapter("09"), "s02", "c999")


def test_a_notebook_that_was_worked_in_is_not_written_over(tmp_path):
    mine = tmp_path / f"{workshop.BLOCKS[2].name}.ipynb"
    nb = workshop.notebook(workshop.BLOCKS[2], filled=False)
    nb.cells[3].source += "\n\nMy note."
    notebooks.write(nb, mine)
    before = mine.read_bytes()
    with pytest.raises(ValueError, match="3_cut_by_hand.ipynb has been worked in.*--out"):
        workshop.write(tmp_path)
    assert mine.read_bytes() == before and list(tmp_path.iterdir()) == [mine]


@pytest.mark.long
@pytest.mark.slow
@each_block
def test_an_empty_gap_fails_in_its_check_alone_and_what_uses_it_works_all_the_same(block, factors):
    """In a fresh kernel: the start, the gap, and every cell that calls its function, with what those need."""
    nb = workshop.notebook(block, filled=False)
    stub, check = gap_cells(nb, block)
    cells = notebooks.code_cells(nb)
    name = block.gap.partition(".")[2]
    callers = [i for i, cell in enumerate(cells) if name in slices.names(cell.source)[1]]
    assert callers or block.gap == "09.kept_pairs"
    kept = [
        cells[i]
        for i in slices.needed([c.source for c in cells], [0, cells.index(stub), *callers])
        if cells[i] is not check
    ]
    assert run(kept) is None
    failure = run([cells[0], stub, check])
    assert failure.cell == 3 and failure.error == f"NotImplementedError: {block.gap} is not written yet"


@pytest.mark.long
@pytest.mark.slow
@each_block
def test_a_late_comer_is_brought_up_to_date(block, factors):
    """The first cell alone, in a fresh kernel, makes every name that the block takes from before."""
    nb = workshop.notebook(block, filled=False)
    later = [c.source for c in notebooks.code_cells(nb)[1:]]
    taken = set().union(
        *(
            slices.names(piece)[1] - set().union(set(), *(slices.names(p)[0] for p in later[:i]))
            for i, piece in enumerate(later)
        )
    )
    taken -= set(dir(builtins))
    start = nb.cells[2]
    start.source += f"\nassert not {sorted(taken)!r} or not set({sorted(taken)!r}) - set(globals())"
    assert run([start]) is None


@pytest.mark.long
@pytest.mark.slow
def test_the_answers_run_and_are_measured(factors, tmp_path, capsys):
    measured = workshop.write(tmp_path)
    assert [row["block"] for row in measured] == [block.name for block in workshop.BLOCKS]
    for block, row in zip(workshop.BLOCKS, measured, strict=True):
        answers = notebooks.read(tmp_path / "answers" / f"{block.name}.ipynb")
        cells = notebooks.code_cells(answers)
        assert len(cells) == row["cells"] and all(c.execution_count for c in cells)
        assert not [o for c in cells for o in c.outputs if o.output_type == "error"]
        _, check = gap_cells(answers, block)
        assert "✓" in check.outputs[0].data["text/plain"]
        assert all(not c.outputs for c in notebooks.code_cells(notebooks.read(tmp_path / f"{block.name}.ipynb")))


def test_the_plan_is_computed_and_its_record_fits():
    text = PLAN.read_text(encoding="utf-8")
    assert workshop.computed(text) == text, "make it again: python -m kfcourse.workshop.workshop"
    for number, block in enumerate(workshop.BLOCKS, 1):
        assert f"`{block.name}`" in text and re.search(rf"(?m)^## Block {number}: {re.escape(block.title)}$", text)


@pytest.mark.skipif(
    not RECORD.exists(), reason="the workshop was not measured yet: python -m kfcourse.workshop.workshop"
)
def test_what_was_measured_is_this_workshop_and_leaves_time_to_talk():
    recorded = read_json(RECORD)
    assert [row["block"] for row in recorded["blocks"]] == [block.name for block in workshop.BLOCKS]
    assert recorded["provenance"]["commit"]
    for block, row in zip(workshop.BLOCKS, recorded["blocks"], strict=True):
        assert row["cells"] == len(notebooks.code_cells(workshop.notebook(block, filled=True))), (
            "measured before the block changed"
        )
        assert row["core_seconds"] < 60 * block.minutes / 4
