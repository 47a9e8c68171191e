"""Every worked notebook keeps the chapter contract; and the contract notices when one does not."""

import copy

import nbformat
import pytest

import contract
from kfcourse.learning import exercises
from kfcourse.notebooks import execution, notebooks
from tiny import PROSE, tiny_chapter


@pytest.mark.parametrize("path", notebooks.chapters(), ids=lambda path: path.stem)
def test_chapter_keeps_the_contract(path):
    nb = notebooks.read(path)
    number = path.name[:2]
    broken = contract.violations(nb, number, exercises.chapter_exercises(number))
    assert not broken, "\n" + "\n".join(broken)
    assert path.read_bytes() == notebooks.to_bytes(nb), "not written by `course execute`: execute the chapter again"


def stored_tiny_chapter():
    """The tiny chapter with outputs as an execution would store them."""
    nb = tiny_chapter()
    for count, cell in enumerate(notebooks.code_cells(nb), 1):
        cell.execution_count = count
        if "### BEGIN" in cell.source or "import check" in cell.source:
            continue
        if "plt" in cell.source:
            data, meta = {"image/png": "aGk=", "text/plain": "Figure: a line going up"}, {"alt": "a line going up"}
            output = nbformat.v4.new_output("display_data", data=data, metadata={"image/png": meta})
        else:
            output = nbformat.v4.new_output("stream", name="stdout", text="8 2.0\n")
        cell.outputs = [output]
    return execution.normalise(nb)


def tiny_facts(checkout):
    return exercises.chapter_exercises("97")


def test_tiny_chapter_keeps_the_contract(checkout):
    assert contract.violations(stored_tiny_chapter(), "97", tiny_facts(checkout)) == []


def replace(old, new, cell_type="markdown"):
    """A change of the first cell of this type that holds `old`."""

    def change(nb):
        cell = next(c for c in nb.cells if c.cell_type == cell_type and old in c.source)
        cell.source = cell.source.replace(old, new)

    return change


def figure(nb):
    return next(o for c in notebooks.code_cells(nb) for o in c.outputs if "data" in o and "image/png" in o.data)


def printed(nb):
    return notebooks.code_cells(nb)[-1].outputs[0]


def add_cells(count, source="x = 1"):
    return lambda nb: nb.cells.extend(nbformat.v4.new_code_cell(source) for _ in range(count))


def unsolved(nb):
    cell = next(c for c in notebooks.code_cells(nb) if notebooks.BEGIN in c.source)
    cell.source = notebooks.split_solution(cell.source)[0]


def error_output(nb):
    error = nbformat.v4.new_output("error", ename="ValueError", evalue="no", traceback=[])
    notebooks.code_cells(nb)[0].outputs = [error]


BREAKS = {
    "title": (replace("# 97 A", "# 96 A"), "the title '# 97"),
    "question": (replace("very little?", "little. Does it?"), "one sentence that asks"),
    "bullets": (replace("- how a figure is stored\n", ""), "3 to 5 bullets"),
    "prerequisites": (replace("**Prerequisites:**", "Prerequisites"), "Prerequisites"),
    "minutes": (replace("9 to solve", "more later"), "'N to solve'"),
    "predict": (replace("a second time?", "a second time."), "Predict first"),
    "few cells": (lambda nb: nb.cells.__delitem__(slice(3, -1)), "code cells, not 8 to 40"),
    "many cells": (add_cells(40), "code cells, not 8 to 40"),
    "long cell": (add_cells(1, "\n".join("x = 1" for _ in range(31))), "31 lines"),
    "long median": (add_cells(14, "\n".join("x = 1" for _ in range(7))), "median code cell"),
    "in a row": (add_cells(3), "in a row"),
    "no prose": (
        lambda nb: [c.update(source="So.") for c in nb.cells[1:-1] if "\n" in c.source and c.cell_type == "markdown"],
        "in the mean",
    ),
    "much prose": (replace(PROSE, PROSE * 4), "words without code"),
    "nothing compared": (lambda nb: [c.metadata.update(tags=[]) for c in nb.cells], "has the tag nbval-check-output"),
    "compared in vain": (add_cells(1, "# NBVAL_CHECK_OUTPUT\n1"), "in the reader's sight"),
    "checks differ": (replace('@exercise("97.mean")\n', "", "code"), "those with checks differ: ['97.mean']"),
    "no check": (replace('check("97.mean")', "1", "code"), 'check("97.mean") is never called'),
    "no solution": (unsolved, "no solution between"),
    "no spec": (replace("Twice a number: a float in, a float out.", "Doubles.", "code"), "no spec"),
    "difficulty": (replace("Difficulty 2/5", "Difficulty 3/5"), "Difficulty 2/5, 4 minutes"),
    "exercise title": (replace("Take a mean", "Something"), "title 'Take a mean'"),
    "sections": (replace("## References", "## Sources"), "the last sections are"),
    "paper": (replace("The paper says", "They say"), "does not speak of 'paper'"),
    "questions": (replace("**3.**", "3."), "2 questions"),
    "quiz": (replace("(c). Not (a), which leaves the number as it is, and", "(c), and"), "the options ['a']"),
    "not run": (lambda nb: notebooks.code_cells(nb)[0].update(execution_count=None), "executed once"),
    "run twice": (lambda nb: notebooks.code_cells(nb)[0].update(execution_count=11), "executed once"),
    "no outputs": (lambda nb: [c.update(outputs=[]) for c in notebooks.code_cells(nb)[3:]], "stored outputs"),
    "metadata": (lambda nb: nb.metadata.update(widgets={}), "metadata is not the normal"),
    "cell metadata": (lambda nb: nb.cells[1].metadata.update(collapsed=True), "metadata other than tags"),
    "size": (lambda nb: printed(nb).update(text="1 " * 900_000), "bytes, more than"),
    "error": (error_output, "a stored error: ValueError"),
    "stderr": (lambda nb: printed(nb).update(name="stderr"), "stderr"),
    "no figure": (lambda nb: figure(nb).data.pop("image/png"), "no figure"),
    "figure text": (lambda nb: figure(nb).data.update({"text/plain": "<Figure size 8x6>"}), "text/plain is not"),
    "alt text": (lambda nb: figure(nb).metadata.clear(), "alt text is missing"),
    "path": (lambda nb: printed(nb).update(text="saved in /home/me/course\n"), "a path of one machine"),
    "windows path": (lambda nb: printed(nb).update(text="saved in C:\\Users\\me\n"), "a path of one machine"),
    "address": (lambda nb: printed(nb).update(text="<object at 0x7f1234567890>\n"), "a memory address"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_the_contract_notices(name, checkout):
    change, expected = BREAKS[name]
    nb = copy.deepcopy(stored_tiny_chapter())
    change(nb)
    broken = contract.violations(nb, "97", tiny_facts(checkout))
    assert any(expected in sentence for sentence in broken), broken


def written_chapter():
    """What a chapter that is written in full has beside the rest, as small as it can be."""
    code, text = nbformat.v4.new_code_cell, nbformat.v4.new_markdown_cell
    picture = nbformat.v4.new_output("display_data", data={"image/png": "aGk=", "text/plain": "Figure: two boxes"})
    cells = [
        text('`hint("97.mean")` gives a hint.\n\n$$F = G \\otimes A$$'),
        code('predict("97.error", None, options=("up", "down"))'),
        code("drawing()", metadata={"tags": ["drawing"]}, outputs=[picture]),
        text("### Exercise 97.1 · A mean\n\n### Exercise 97.2 · A trace (with pencil)"),
        text("### Exercise 97.3 · What else? (design the control)\n\n### Exercise 97.4 · Why? (open)"),
        code('reveal("97.error", "up")'),
        text("## Go further\n\n1. this\n2. that\n3. the other\n\n## References"),
    ]
    return nbformat.v4.new_notebook(cells=cells)


LONG = {"97.mean": exercises.Exercise("A mean", 2, 25, ("", "", ""), None, "")}
LACKS = {
    "a wide line": (lambda nb: nb.cells[1].update(source="x = '" + "a" * 100 + "'"), "columns"),
    "a walrus": (lambda nb: nb.cells[2].update(source="print(x := 1)"), "walrus"),
    "a nested comprehension": (lambda nb: nb.cells[2].update(source="[[i for i in x] for x in y]"), "comprehension"),
    "alt text": (lambda nb: nb.cells[2].update(source='show(fig, alt="words")'), "alt text in a cell"),
    "a table": (lambda nb: nb.cells[2].update(source='"|---|---|"'), "formatting of a table"),
    "no drawing": (lambda nb: nb.cells[2].metadata.update(tags=[]), "conceptual drawing"),
    "no equation": (lambda nb: nb.cells[0].update(source='`hint("97.mean")`'), "displayed equations"),
    "a guess unpaid": (lambda nb: nb.cells[5].update(source="1"), "do not fit together"),
    "a wrong number": (lambda nb: nb.cells[3].update(source="### Exercise 97.2 · A mean"), "not numbered"),
    "no pencil": (lambda nb: nb.cells[3].update(source="### Exercise 97.1 · A mean"), "(with pencil)"),
    "no hint": (lambda nb: nb.cells[0].update(source="$$a$$"), "hint("),
    "two projects": (lambda nb: nb.cells[6].update(source="## Go further\n\n1. this\n2. that\n"), "three projects"),
}


def test_a_written_chapter_has_all_that_one_needs():
    assert list(contract.teaching(written_chapter(), "97", LONG)) == []
    short = {"97.mean": exercises.Exercise("A mean", 2, 5, ("", "", ""), None, "")}
    assert any("builds something" in sentence for sentence in contract.teaching(written_chapter(), "97", short))


@pytest.mark.parametrize("name", LACKS)
def test_the_contract_notices_what_a_written_chapter_lacks(name):
    change, expected = LACKS[name]
    nb = written_chapter()
    change(nb)
    broken = list(contract.teaching(nb, "97", LONG))
    assert any(expected in sentence for sentence in broken), broken
