"""pytest over the whole checkout, notebooks included: one thread a process, learner's copies, the order of the files,
what only `--all` runs, and the record of a whole run.
"""

import gc
import os
import time

from nbformat.v4 import new_code_cell, new_notebook

from kfaclib.io.files import atomic, write_json
from kfcourse import paths
from kfcourse.learning import slices
from kfcourse.notebooks import notebooks
from kfcourse.notebooks.execution import SELDOM, environment

BEGAN = time.monotonic()
LEARNER = paths.BUILD / "learner"  # copies with nothing solved, to their end
EXERCISES = paths.BUILD / "exercises"  # one notebook: the exercises of all these copies, and what they need
BEGIN = '%reset -f\n__import__("torch").set_grad_enabled(True)'  # chapter 08 switches them off for itself
IN_FULL = "05"  # the chapter whose learner's copy every run executes to its end
FIRST = ("test_browser.py", ".ipynb", "test_grading.py", "test_site.py", "test_course.py", "test_suite.py")
NARROWING = ("keyword", "markexpr", "lf", "stepwise", "deselect", "ignore", "ignore_glob", "maxfail", "collectonly")

gc.set_threshold(*SELDOM)
os.environ.update(environment())  # before anything imports torch; nbval's kernels inherit it
os.environ.setdefault("TRITON_INTERPRET", "1")  # before anything imports Triton: chapter 15's exercises need no GPU
for folder in (LEARNER, EXERCISES):  # at import: pytest decides which of its `testpaths` exist right after this
    folder.mkdir(parents=True, exist_ok=True)


def pytest_addoption(parser):
    parser.addoption("--all", action="store_true", help="run what takes long as well, as a release does")


def pytest_configure(config):
    if not hasattr(config, "workerinput"):  # one process writes
        write_copies()


def write_copies():
    """Learner's copies of all chapters, whole and cut down to the exercises, where pytest runs them as they are."""
    chapters = {path: notebooks.read(path) for path in notebooks.chapters()}
    copies = {LEARNER / path.name: notebooks.learner_copy(nb) for path, nb in chapters.items()}
    if chapters:
        copies[EXERCISES / "all_chapters.ipynb"] = notebooks.learner_copy(joined(chapters))
    for old in {*LEARNER.glob("*.ipynb"), *EXERCISES.glob("*.ipynb")} - set(copies):
        old.unlink()
    for path, nb in copies.items():
        data = notebooks.to_bytes(nb)
        if not path.exists() or path.read_bytes() != data:
            with atomic(path) as temporary:
                temporary.write_bytes(data)


def joined(chapters):
    """The exercises of all chapters, and what they need, in one notebook: a kernel of its own for each chapter would
    import the same again and again. A chapter begins with no names and with gradients switched on, as in a kernel of
    its own, and its number stands on top of every cell."""
    cells = []
    for path, nb in chapters.items():
        chapter = path.stem.partition("_")[0]
        cells.append(new_code_cell(BEGIN, id=f"{chapter}-begin"))
        for cell in slices.part(nb, is_exercise).cells:
            cells.append(new_code_cell(f"# chapter {chapter}\n{cell.source}", id=f"{chapter}-{cell.id}"))
    return new_notebook(cells=cells, metadata=nb.metadata)


def is_exercise(cell):
    return bool(notebooks.exercises_in(cell.source)) or cell.source.startswith("check(")


def pytest_collection_modifyitems(config, items):
    for item in items:
        if item.path.suffix == ".ipynb":
            item.add_marker("slow")
            if item.path.parent == LEARNER and not item.path.name.startswith(IN_FULL):
                item.add_marker("long")
    if not config.getoption("all"):
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("long")])
        items[:] = [item for item in items if not item.get_closest_marker("long")]
    items.sort(key=turn)


def turn(item):
    """When a file is begun: what takes minutes before what takes seconds, or one process would wait for the other."""
    return next((i for i, end in enumerate(FIRST) if item.path.name.endswith(end)), len(FIRST))


def pytest_terminal_summary(terminalreporter, exitstatus, config):
    """Record a run of all tests, or of all that are not marked long, in build/tests.json."""
    whole = config.args_source is config.ArgsSource.TESTPATHS
    if not whole or exitstatus > 1 or any(config.getoption(name, None) for name in NARROWING):
        return
    count = {kind: len(terminalreporter.stats.get(kind, [])) for kind in ("passed", "failed", "error", "skipped")}
    record = {
        "seconds": round(time.monotonic() - BEGAN, 1),
        "passed": count["passed"],
        "failed": count["failed"] + count["error"],
        "skipped": count["skipped"],
        "all": config.getoption("all"),
    }
    write_json(paths.BUILD / "tests.json", record)
