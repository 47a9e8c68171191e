"""The course command and what stands behind it, on a tiny chapter: copies, exercises, execution, pages."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest

from kfcourse import __main__ as course
from kfcourse import paths
from kfcourse.learning import exercises
from kfcourse.notebooks import execution, notebooks
from kfcourse.site import pages
from tiny import tiny_chapter

REPOSITORY = paths.ROOT  # before any test points the paths elsewhere

STUB = '''
@exercise("97.double")
def double(x):
    """Twice a number."""
    {body}
'''


def define(body, **names):
    """The reader's `double` with this body, in a namespace like a notebook's."""
    namespace = {"exercise": exercises.exercise, **names}
    exec(STUB.format(body=body), namespace)
    return namespace["double"]


def checked(body, capsys, **names):
    """What check() prints about a `double` with this body."""
    define(body, **names)
    exercises.check("97.double")
    return capsys.readouterr().out


# --- learner's copies


def test_learner_copy_is_a_pure_function_of_the_worked_notebook():
    nb = execution.normalise(tiny_chapter())
    before = notebooks.to_bytes(nb)
    copy = notebooks.learner_copy(nb)
    assert notebooks.to_bytes(nb) == before
    assert notebooks.to_bytes(copy) == notebooks.to_bytes(notebooks.learner_copy(nb))
    assert copy.cells[0].source == notebooks.NOTE
    assert [c.id for c in copy.cells[1:]] == [c.id for c in nb.cells]
    for cell in notebooks.code_cells(copy):
        assert cell.outputs == [] and cell.execution_count is None
        assert "SOLUTION" not in cell.source
    stub = next(c.source for c in copy.cells if "def double" in c.source)
    assert stub.endswith('"""Twice a number: a float in, a float out."""\n    raise NotImplementedError')


def test_split_solution_keeps_indentation_and_the_lines_around():
    source = "def f(x):\n    if x:\n        ### BEGIN SOLUTION\n        y = 1\n        ### END SOLUTION\n    return y"
    kept, taken = notebooks.split_solution(source)
    assert kept == "def f(x):\n    if x:\n        raise NotImplementedError\n    return y"
    assert taken == ["        y = 1"]


@pytest.mark.parametrize(
    "source",
    ["### BEGIN SOLUTION\n1", "1\n### END SOLUTION", "### BEGIN SOLUTION\n### BEGIN SOLUTION\n### END SOLUTION"],
)
def test_markers_that_do_not_pair_up_are_an_error(source):
    with pytest.raises(ValueError, match="SOLUTION"):
        notebooks.split_solution(source)


class Server:
    def wait():
        return 0


def test_lab_opens_the_copies_and_hands_options_on(tiny_path, monkeypatch):
    started = []
    monkeypatch.setattr(course.signal, "signal", lambda *_: None)
    monkeypatch.setattr(course.subprocess, "Popen", lambda command, env: started.append((command, env)) or Server)
    assert course.main(["lab", "--no-browser", "--port", "9999"]) == 0
    ((command, env),) = started
    assert command[1:4] == ["-P", "-m", "jupyterlab"] and command[-3:] == ["--no-browser", "--port", "9999"]
    assert f"--ServerApp.root_dir={paths.WORK}" in command and env["KFAC_ROOT"] == str(paths.ROOT)
    assert (paths.WORK / "97_tiny.ipynb").exists()
    with pytest.raises(SystemExit):
        course.main(["run", "--no-browser"])


def test_chapters_are_found_by_number_and_name(tiny_path):
    assert notebooks.chapters() == [tiny_path]
    for word in ("97", "97_tiny", "97_tiny.ipynb", "chapters/97_tiny.ipynb"):
        assert notebooks.chapters([word]) == [tiny_path]
    with pytest.raises(ValueError, match="no chapter '3'; there are: 97_tiny"):
        notebooks.chapters(["3"])


def test_reading_gives_ids_by_place_and_refuses_doubles(tmp_path):
    data = json.loads(notebooks.to_bytes(tiny_chapter()))
    for cell in data["cells"]:
        del cell["id"]
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps(data | {"nbformat_minor": 4}))
    assert notebooks.to_bytes(notebooks.read(path)) == notebooks.to_bytes(notebooks.read(path))
    data["cells"][0]["id"] = data["cells"][1]["id"] = "same"
    path.write_text(json.dumps(data))
    with pytest.raises(ValueError, match="'same'"):
        notebooks.read(path)


# --- exercises


def test_the_reference_stands_in_and_says_so_once(tiny_path, capsys):
    double = define("raise NotImplementedError")
    assert [double(2), double(-3)] == [4, -6]
    assert capsys.readouterr().out == "97.double: not written yet, so the reference stands in.\n"


def test_the_readers_own_answer_is_used(tiny_path, capsys):
    assert define("return 7")(2) == 7
    assert capsys.readouterr().out == ""


def test_the_reference_sees_the_callers_names_but_changes_none(tiny_path):
    nb = notebooks.read(tiny_path)
    cell = next(c for c in nb.cells if "def double" in c.source)
    cell.source = cell.source.replace("return x + 0 * len(str(x)) + x", "global seen; seen = 1; return factor * x")
    notebooks.write(nb, tiny_path)
    exercises._reference_code.cache_clear()
    double = define("raise NotImplementedError", factor=10)
    assert double(2) == 20
    assert "seen" not in double.__wrapped__.__globals__
    exercises._reference_code.cache_clear()


def test_without_solutions_the_stub_is_empty(tiny_path, monkeypatch):
    monkeypatch.setenv("KFAC_SOLUTIONS", "0")
    double = define("raise NotImplementedError")
    with pytest.raises(NotImplementedError):
        double(2)
    with pytest.raises(NotImplementedError, match="97.double"):
        exercises.check("97.double")


def test_not_implemented_from_a_library_is_not_taken_for_an_empty_answer(tiny_path, capsys):
    def library(x):
        raise NotImplementedError

    with pytest.raises(NotImplementedError):
        define("return library(x)", library=library)(2)
    with pytest.raises(NotImplementedError):
        define("raise NotImplementedError('for Half')")(2)
    assert "raised NotImplementedError" in checked("return library(x)", capsys, library=library)


def test_check_says_what_is_the_case(tiny_path, capsys):
    right = checked("return 2 * x", capsys)
    assert right == "✓ 97.double is right. Multiplying by two keeps the sign.\n"
    assert checked("return x * x if x > 0 else 9", capsys) == "✗ 97.double: the sign is lost for negative numbers\n"
    empty = checked("raise NotImplementedError", capsys)
    assert empty == "– 97.double: reference checked, yours is still to write.\n"


def test_check_turns_exceptions_into_sentences(tiny_path, capsys):
    said = checked("return x.T", capsys)
    assert said == (
        "✗ 97.double: your function raised AttributeError: 'int' object has no attribute 'T'. "
        "It was called with x: 2.\n"
    )
    assert "returned None: is the return line missing?" in checked("pass", capsys)
    assert "your function raised AssertionError: mine" in checked("assert x == 5, 'mine'", capsys)

    class Odd:
        def __eq__(self, other):
            raise TypeError("odd")

    said = checked("return Odd()", capsys, Odd=Odd)
    assert "cannot work with what your function returned, Odd (TypeError: odd). It was called with x: 2." in said


def test_check_names_shapes(tiny_path):
    import torch

    def times(a, b):
        return a @ b

    facts = exercises.Exercise("t", 1, 1, ("", "", ""), lambda f: f(torch.ones(2, 3), b=torch.ones(2, 3).half()), "e")
    verdict = exercises.judge(facts, times)
    assert verdict.state == "wrong"
    assert "`RuntimeError` at `return a @ b`" in verdict.message
    assert verdict.message.endswith("It was called with a: float32 [2, 3], b: float16 [2, 3].")


@pytest.mark.parametrize("variable", ["CI", "KFAC_STRICT"])
def test_strict_checks_raise(variable, tiny_path, monkeypatch, capsys):
    monkeypatch.setenv(variable, "1")
    define("return x")
    with pytest.raises(AssertionError, match="97.double: 2 doubled is 4"):
        exercises.check("97.double")
    assert "still to write" in checked("raise NotImplementedError", capsys)


def test_a_reference_that_fails_its_check_is_our_fault(tiny_path):
    nb = notebooks.read(tiny_path)
    cell = next(c for c in nb.cells if "def double" in c.source)
    cell.source = cell.source.replace("+ x\n", "\n")
    notebooks.write(nb, tiny_path)
    exercises._reference_code.cache_clear()
    define("raise NotImplementedError")
    with pytest.raises(AssertionError, match="own answer fails"):
        exercises.check("97.double")
    exercises._reference_code.cache_clear()


def test_the_exercise_id_must_fit(tiny_path):
    with pytest.raises(ValueError, match="the function's name"):
        exec('@exercise("97.other")\ndef double(x): pass', {"exercise": exercises.exercise})
    with pytest.raises(KeyError, match="run the cell"):
        exercises.check("97.total")
    with pytest.raises(KeyError, match="no exercise '97.none'"):
        exercises.exercise_facts("97.none")


def test_hints_come_one_by_one(tiny_path, capsys):
    for _ in range(5):
        exercises.hint("97.double")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "97.double, hint 1 of 3: Think of an example."
    assert lines[2] == "97.double, hint 3 of 3: Now do the same in Python."
    assert lines[3] == lines[4] == "97.double: no more hints. The answer is in chapters/97_tiny.ipynb."


# --- execution


NOISY = [
    "import matplotlib.pyplot as plt\nplt.figure(figsize=(2, 1))\nplt.plot([0, 1])\nplt.show()",
    "%config InlineBackend.figure_formats = ['svg']\nplt.figure(figsize=(2, 1))\nplt.plot([0, 1])\nplt.show()",
    "from tqdm.auto import tqdm\nfor _ in tqdm(range(3)): pass",
    "import ipywidgets\nslider = ipywidgets.IntSlider(3); slider",
    "class Thing: pass\nprint(Thing()); Thing()",
    "import warnings; warnings.warn('careful')",
    "set('abcdefgh'), hash('abc')",
]


def test_executing_twice_gives_the_same_bytes(checkout):
    noisy = [nbformat.v4.new_code_cell(source, id=f"c{i}") for i, source in enumerate(NOISY)]
    nb = nbformat.v4.new_notebook(cells=noisy)
    path = paths.CHAPTERS / "97_noisy.ipynb"
    notebooks.write(nb, path)
    assert course.main(["execute"]) == 0
    first = path.read_bytes()
    assert course.main(["execute", "97"]) == 0
    assert path.read_bytes() == first

    cells = notebooks.read(path).cells
    assert [cell.execution_count for cell in cells] == list(range(1, len(NOISY) + 1))
    assert [cell["id"] for cell in cells] == [f"c{i}" for i in range(len(NOISY))]
    assert "image/png" in cells[0].outputs[0].data and "image/svg+xml" in cells[1].outputs[0].data
    assert cells[2].outputs == []
    assert dict(cells[3].outputs[0].data) == {"text/plain": "IntSlider(value=3)"}
    assert "at 0x...>" in cells[4].outputs[0].text and "at 0x...>" in cells[4].outputs[1].data["text/plain"]
    assert cells[5].outputs[0].text.startswith("<cell>:1: UserWarning: careful")
    text = first.decode()
    assert not re.search(r"0x[0-9a-f]{6}|ipykernel_|widget-view|widget-state|timestamp|iopub", text)


def test_a_view_with_large_pictures_is_made_steady_at_once():
    picture = f'<img src="data:image/png;base64,{"A1" * 250_000}"> at 0x7f0123456789'
    nb = sources("1")
    nb.cells[0].outputs = [nbformat.v4.new_output("display_data", data={"text/html": picture})]
    began = time.process_time()
    execution.normalise(nb)
    assert time.process_time() - began < 1  # looked for at every letter, a file's name took a minute
    assert nb.cells[0].outputs[0].data["text/html"] == picture.replace("7f0123456789", "...")


def test_what_has_changed_is_found_and_nothing_written(checkout):
    path = paths.CHAPTERS / "97_short.ipynb"
    notebooks.write(sources("1 + 1"), path)
    assert course.main(["execute"]) == 0 and course.main(["execute", "--check"]) == 0
    changed = path.read_bytes().replace(b'"2"', b'"3"')
    assert changed != path.read_bytes()
    path.write_bytes(changed)
    assert course.main(["execute", "--check"]) == 1
    assert path.read_bytes() == changed  # --check writes nothing


@pytest.mark.slow
def test_nbval_compares_the_worked_copy_and_runs_the_unsolved_one(tiny_path):
    assert course.main(["execute"]) == 0
    worked = tiny_path.read_bytes()
    wrong, learner = (paths.ROOT / name / "97_tiny.ipynb" for name in ("wrong", "learner"))
    for path in (wrong, learner):
        path.parent.mkdir()
    assert b"8 2.0" in worked
    wrong.write_bytes(worked.replace(b"8 2.0", b"8 2.1"))
    notebooks.write(notebooks.learner_copy(notebooks.read(tiny_path)), learner)
    options = ["-c", REPOSITORY / "pyproject.toml", "--rootdir", paths.ROOT, "-q", "-rf", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, tiny_path, wrong, learner]
    result = subprocess.run(command, cwd=paths.ROOT, env=execution.environment(), capture_output=True, text=True)
    assert "1 failed, 29 passed" in result.stdout, result.stdout
    assert re.search(r"FAILED wrong.97_tiny.ipynb::Cell 9", result.stdout)


def test_run_reports_every_chapter_and_goes_on_after_a_failure(tiny_path, capsys):
    broken = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell(r"# 96 Broken" "\n\n" r"$\lambda_i\mu_j$ and $$F = \mathbb{E}[g g^\top]$$"),
            nbformat.v4.new_code_cell("import time; x = 1; time.sleep(1)"),
            nbformat.v4.new_code_cell("x.missing  # here"),
            nbformat.v4.new_code_cell(
                "print('not reached')",
                execution_count=3,
                outputs=[nbformat.v4.new_output("stream", text="an older run")],
            ),
        ]
    )
    notebooks.write(broken, paths.CHAPTERS / "96_broken.ipynb")
    guides = [f"teaching/{name}" for name in ("README", "syllabi", "questions", "grading", "workshop")]
    for name in ("pages/glossary", "pages/notation", *guides):  # every site has them, and its start page leads there
        (paths.ROOT / f"{name}.md").parent.mkdir(exist_ok=True)
        (paths.ROOT / f"{name}.md").write_text(f"# {name}\n")
    before = {path: path.read_bytes() for path in notebooks.chapters()}
    assert course.main(["run"]) == 1

    report = json.loads((paths.BUILD / "course.json").read_text())
    assert [sorted(row) for row in report] == [["chapter", "gib", "ok", "seconds"]] * 2
    assert [(row["chapter"], row["ok"]) for row in report] == [("96_broken", False), ("97_tiny", True)]
    assert all(row["seconds"] > 0 and 0.01 < row["gib"] < 4 for row in report)
    out, err = capsys.readouterr()
    assert re.search(
        r"chapter +seconds +GiB +verdict\n[- ]+\n96_broken +[\d.]+ +[\d.]+ +FAILED\n97_tiny +[\d.]+ +[\d.]+ +ok\n", out
    )
    assert "No results to show" in out
    assert "96_broken, code cell 2:\n    x.missing  # here\n  AttributeError: 'int' object has no" in err
    assert {path: path.read_bytes() for path in notebooks.chapters()} == before

    written = {path.name: path.read_text(encoding="utf-8") for path in (paths.BUILD / "pages").rglob("*.html")}
    assert {"index.html", "96_broken.html", "97_tiny.html"} <= set(written)
    assert "an older run" not in written["96_broken.html"] and "AttributeError" in written["96_broken.html"]
    assert written["96_broken.html"].count("<math ") == 2
    assert "stopped with an error" in written["timings.html"] and "stopped with an error" in written["96_broken.html"]
    assert re.search(r"The last run:</strong> \d+ seconds, 0.\d GiB, on this machine", written["97_tiny.html"])
    assert 'alt="a line from the lower left to the upper right"' in written["97_tiny.html"]
    for name, html in written.items():
        fetched = re.findall(r"""<(?:script|link|img|iframe)[^>]*(?:src|href)=["']((?:https?:)?//[^"']*)""", html)
        assert fetched == [], f"{name} asks another host"


def sources(*cells):
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])


MEET = """
import pathlib, time
mine, other = pathlib.Path({mine!r}), pathlib.Path({other!r})
held = bytearray({size} << 20)
mine.touch()
until = time.monotonic() + 240
while not other.exists():
    assert time.monotonic() < until, "the other chapter does not run"
    time.sleep(0.1)
time.sleep(1)
"""


def test_two_chapters_run_side_by_side_with_one_thread_and_the_memory_that_is_their_own(checkout):
    a, b = str(checkout / "a"), str(checkout / "b")
    threads = "import torch; assert torch.get_num_threads() == 1"
    notebooks.write(sources(threads, MEET.format(mine=a, other=b, size=700)), paths.CHAPTERS / "95_large.ipynb")
    notebooks.write(sources(threads, MEET.format(mine=b, other=a, size=1)), paths.CHAPTERS / "96_small.ipynb")
    large, small = notebooks.chapters()
    done = course.run_all([large, small])
    assert done[large][2] is None and done[small][2] is None
    assert done[small][1]["gib"] + 0.5 < done[large][1]["gib"] < done[small][1]["gib"] + 0.9


def test_the_longest_chapters_are_begun_first(checkout, monkeypatch):
    for number, minutes in (("95", 1), ("96", 30), ("97", 7)):
        nb = tiny_chapter()
        nb.cells[0].source = nb.cells[0].source.replace("1 to run", f"{minutes} to run")
        notebooks.write(nb, paths.CHAPTERS / f"{number}_tiny.ipynb")
    notebooks.write(sources("1"), paths.CHAPTERS / "98_says_nothing.ipynb")
    begun = []

    def begin(path, env, on_start):
        begun.append(path.name[:2])
        return None, {"chapter": path.stem, "seconds": 1.0, "gib": 1.0}, None

    monkeypatch.setattr(course, "run_chapter", begin)
    monkeypatch.setattr(course, "AT_ONCE", 1)
    course.run_all(notebooks.chapters())
    assert begun == ["96", "97", "95", "98"]


def test_an_interrupt_leaves_no_kernel_behind(checkout, monkeypatch):
    for number in ("95", "96", "97"):
        notebooks.write(sources("import time; time.sleep(600)"), paths.CHAPTERS / f"{number}_long.ipynb")
    started, real = [], course.execution.execute

    def execute(nb, env, on_cell, on_start):
        return real(nb, env, on_cell, lambda pid: (on_start(pid), started.append(pid)))

    def interrupted(running):
        while len(started) < course.AT_ONCE:
            time.sleep(0.1)
        raise KeyboardInterrupt

    monkeypatch.setattr(course.execution, "execute", execute)
    monkeypatch.setattr(course.futures, "as_completed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        course.run_all(notebooks.chapters())
    assert len(started) == 2 and not any(psutil.pid_exists(pid) for pid in started)


def test_a_chapter_over_its_budget_fails_where_one_asks(checkout, monkeypatch, capsys):
    notebooks.write(sources("1"), paths.CHAPTERS / "97_short.ipynb")
    monkeypatch.setattr(course, "SECONDS", 0)
    monkeypatch.setattr(course.pages, "render", lambda executed, folder: folder / "index.html")
    assert course.main(["run"]) == 0
    assert course.main(["run", "--budget"]) == 1
    assert re.search(
        r"FAILED 97_short took [\d.]+ s and [\d.]+ GiB; a chapter has 0 s and 4 GiB", capsys.readouterr().err
    )


def test_the_memory_of_a_kernel_and_of_what_it_starts_is_seen(checkout):
    child = "import time; x = bytearray(200 << 20); time.sleep(2.5)"
    nb = sources(
        "import subprocess, sys; x = bytearray(200 << 20)",
        f"subprocess.run([sys.executable, '-c', {child!r}], check=True)",
    )
    beside = subprocess.Popen([sys.executable, "-c", child.replace("2.5", "30")])  # none of the kernel's
    with execution.peak_memory() as memory:
        assert execution.execute(nb, execution.environment(), on_start=lambda pid: memory.update(pid=pid)) is None
    beside.kill()
    beside.wait()
    assert 400 << 20 < memory["bytes"] < 590 << 20


def test_what_a_chapter_leaves_in_its_temporary_folder_goes_with_its_kernel(checkout, tmp_path):
    note = tmp_path / "note"
    nb = sources(f"import pathlib, tempfile; pathlib.Path({str(note)!r}).write_text(tempfile.mkdtemp())")
    assert execution.execute(nb, execution.environment()) is None
    assert note.read_text() and not Path(note.read_text()).exists()


def test_a_dead_kernel_is_reported(checkout):
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("import os; os._exit(1)")])
    failure = execution.execute(nb, execution.environment())
    assert failure.cell == 1 and "kernel died" in failure.error


def test_results_are_read_and_never_computed(checkout, monkeypatch):
    assert "is missing" in course.results()
    (paths.DATA / "results").mkdir(parents=True)
    (paths.DATA / "results" / course.RESULTS).write_text("{}")
    monkeypatch.setattr(course, "results_table", lambda path: f"the table of {path.name}")
    assert course.results() == f"the table of {course.RESULTS}"


def test_alt_texts_reach_the_pages_and_leave_the_notebook_alone():
    nb = tiny_chapter()
    cell = notebooks.code_cells(nb)[1]
    metadata = {"image/png": {"alt": "a line"}}
    cell.outputs = [nbformat.v4.new_output("display_data", data={"image/png": "aGk="}, metadata=metadata)]
    assert notebooks.code_cells(pages.with_alt_texts(nb))[1].metadata.mystnb.image.alt == "a line"
    assert cell.metadata == {}
