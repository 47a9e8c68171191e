"""Marking: what is taken out of a notebook, what a hostile answer can reach, hidden inputs, variants, and what is
written.
"""

import ast
import csv
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import nbformat
import pytest
import torch

from kfcourse import __main__ as course
from kfcourse import paths
from kfcourse.grading import box, export, locks, marking, plain, release, submissions, variants
from kfcourse.learning import copies, exercises, progress
from kfcourse.notebooks import notebooks
from shared import wrong_answers
from tiny import tiny_chapter

SECRET = b"a secret of thirty-two bytes ..."
CHAPTERS = {path.name[:2]: path for path in notebooks.chapters()}
plus = lambda c: (f"Add {c}.", lambda ref: lambda x: ref(x) + c)
TINY = {
    "97.double": variants.Variant(lambda g: (variants.whole(g, -9, 9),), lambda g: plus(variants.whole(g, 1, 99))),
    "97.total": variants.Variant(
        lambda g: (variants.real(g, 4).tolist(),), lambda g: ("Twice.", lambda ref: lambda v: 2 * ref(v))
    ),
}


@pytest.fixture
def tiny(tiny_path, monkeypatch):
    """The tiny chapter with variants, and little patience."""
    monkeypatch.setattr(variants, "of", TINY.get)
    monkeypatch.setattr(marking, "SECONDS", 4)
    return tiny_path


def handed_in(path, **bodies):
    """A learner's copy with these functions (whole definitions by exercise name) at `path`."""
    nb = notebooks.learner_copy(tiny_chapter())
    for name, definition in bodies.items():
        copies.stubs(nb)[f"97.{name}"].source = textwrap.dedent(definition).strip()
    notebooks.write(nb, path)
    return path


RIGHT = {
    "double": '@exercise("97.double")\ndef double(x):\n    return 2 * x',
    "total": '@exercise("97.total")\ndef total(values):\n    return sum(values)',
    "mean": '@exercise("97.mean")\ndef mean(values):\n    return total(values) / len(values)',
}


def marked(tmp_path, double, secret=None, **more):
    """The Mark of one body of `double`: the rest is left empty."""
    path = handed_in(tmp_path / "one.ipynb", double=double, **more)
    about = marking.chapter("97")
    return marking.mark("one", export.answers(path, about.worked), about, secret)[0][0]


# --- out of the notebook


CELLS = [
    "import math, os\nfrom kfcourse import check, exercise",
    "%matplotlib inline\nLIMIT = 3\nloaded = open('x').read()",
    "def helper(x):\n    return math.floor(x) + LIMIT",
    "this is no Python",
    '@exercise("97.double")\ndef double(x):\n    return helper(x)  # mine',
    '@exercise("97.total")\ndef total(values):\n    """Doc."""\n    raise NotImplementedError',
]


def test_a_module_holds_the_answers_and_what_they_need_and_nothing_is_executed():
    worked = ['@exercise("97.total")\ndef total(values):\n    return sum(values)']
    found = export.module(CELLS, ["97.double", "97.total", "97.mean"], worked)
    assert found.written == ("97.double",) and found.empty == ("97.total",) and found.missing == ("97.mean",)
    assert "cell 4" in found.remarks[0]
    tree = ast.parse(found.source)
    assert [getattr(s, "name", type(s).__name__) for s in tree.body] == [
        "Import",
        "total",
        "Assign",
        "helper",
        "double",
    ]
    assert "exercise" not in found.source and "open(" not in found.source and "return helper(x)" in found.source
    assert (
        export.NOT_WRITTEN + "def total(values):\n    return sum(values)" in found.source
    )  # the course's own stands in where nothing was written


def test_the_last_definition_counts_and_a_missing_decorator_does_no_harm():
    found = export.module(["def double(x):\n    return 1", "def double(x):\n    return 2"], ["97.double"])
    assert found.source == "def double(x):\n    return 2\n" and found.written == ("97.double",)
    source = "import os; os._exit(1)\n@os.fsencode  # above\ndef helper(): pass\ndef double(x): return helper"
    assert export.module([source], ["97.double"]).source.split("\n\n\n") == [
        "import os",
        "@os.fsencode  # above\ndef helper(): pass",
        "def double(x): return helper\n",
    ]


NASTY = [
    "-" * 100_000 + "1",
    "(" * 100_000,
    "x" + ".a" * 100_000,
    "[" * 90 + "]" * 90,
    "lambda:" * 20_000 + "1",
    "x = " + "9" * 10_000,
    "\0",
    "\ud800",
    "def double(x): return 1\n" * 8_000,
    "x = 1; " * 20_000 + "import os",
]


def test_no_cell_is_too_nasty_to_be_read():
    """In a process of its own, because a parser that breaks takes everything with it."""
    code = """if 1:
        import json, sys
        from kfcourse.grading import export
        for source in json.load(sys.stdin):
            found = export.module([source, "def double(x): return x"], ["97.double"])
            assert found.written == ("97.double",) and found.source.count("def double") == 1"""
    done = subprocess.run([sys.executable, "-c", code], input=json.dumps(NASTY), text=True, capture_output=True)
    assert done.returncode == 0, done.stderr[-500:]


# --- plain data


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        -2.5,
        "text",
        2j,
        [1, [2.0, "x"]],
        (1, (2,)),
        {"a": [1], 2: (3,)},
        {1, 2},
        torch.float16,
        torch.arange(6).reshape(2, 3),
        torch.zeros(0, 3),
        torch.tensor(2.5, dtype=torch.bfloat16),
        torch.complex(torch.arange(6.0), torch.ones(6)).view(3, 2).T.conj(),
        torch.tensor([True, False]),
    ],
    ids=repr,
)
def test_plain_data_comes_back_as_it_was(value, tmp_path):
    skeleton, tensors = plain.pack(value)
    (tmp_path / "x").write_bytes(plain.message({"v": skeleton}, tensors))
    with open(tmp_path / "x", "rb") as stream:
        head, arrived = plain.receive(stream)
        assert plain.receive(stream) is None
    back = plain.unpack(head["v"], arrived)
    assert type(back) is type(value)
    assert torch.equal(back, value) and back.dtype == value.dtype if torch.is_tensor(value) else back == value


def test_what_is_not_plain_becomes_a_thing_without_behaviour():
    class Same:
        def __eq__(self, other):
            return True

    back = plain.unpack(*plain.pack(Same()))
    assert type(back).__name__ == "Same" and back != 4 and not isinstance(back, Same)


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff\xff",
        b"\0\0\0\2{}",
        b"\0\0\0\x10" + b"[" * 16,
        b"\0\0\0\1",
        plain.message({}) + b"\0",
        b"\0\0\0\x2a" + b'[{}, [["float64", [100000000000], false, 800]]]'.ljust(42),
    ],
)
def test_a_malformed_message_is_said_to_be_one(data, tmp_path):
    (tmp_path / "x").write_bytes(data)
    with open(tmp_path / "x", "rb") as stream:
        try:
            assert plain.receive(stream) is None or stream.read(1) in (b"", b"\0")
        except plain.Malformed:
            pass
    for skeleton in (
        {"call": 0},
        {"tensor": 5},
        {"list": 3},
        {"dict": [[{"list": []}, 1]]},
        {"eval": "1"},
        {},
        {"thing": "a b"},
    ):
        with pytest.raises(plain.Malformed):
            plain.unpack(skeleton, [])


# --- thirty submissions, most of them hostile


def attack(*lines, then="return 2 * x"):
    """A double that does something first. Where it succeeds the answer is right, and the test fails."""
    return '@exercise("97.double")\ndef double(x):\n' + textwrap.indent("\n".join([*lines, then]), "    ")


def hostile(canary, secret):
    """{name: (double, the states that are fine)}. `canary` is a folder that must stay as it is; `secret` must not be
    read.
    """
    parent = "import os; parent = os.getppid()"
    no = {"wrong"}
    return {
        "os_exit": (attack("import os; os._exit(0)"), {"crashed"}),
        "system_exit": (attack("raise SystemExit(0)"), no),
        "interrupt": (attack("raise KeyboardInterrupt"), no),
        "loop": (attack("while True: pass"), {"too slow"}),
        "sleep": (attack("import time; time.sleep(1e6)"), {"too slow"}),
        "recursion": (attack("return double(x)"), no),
        "memory": (
            attack("hold = bytearray(60 * 2**30)", "hold[::4096] = bytes(len(hold) // 4096)"),
            no | {"crashed", "too big", "too slow"},
        ),
        "empty_error": (attack("raise NotImplementedError"), {"empty"}),
        "huge_answer": (attack(then="return list(range(10**6))"), no),
        "huge_number": (attack(then="return 10**10**5"), no),
        "cycle": (attack("a = []; a.append(a)", then="return a"), no),
        "always_equal": (attack("class Same:", "    __eq__ = lambda s, o: True", then="return Same()"), no),
        "float_that_is_equal": (
            attack("class Same(float):", "    __eq__ = lambda s, o: True", then="return Same(0)"),
            no,
        ),
        "prints": (
            attack(
                "print('{\"score\": 1}')", "import os; os.write(1, b'passed'); os.write(2, b'passed')", then="return 0"
            ),
            no,
        ),
        "forged": (
            attack(
                "import os, struct",
                'm = b\'[{"is":"right"},[]]\'',
                "for fd in range(3, 30):",
                "    try: os.write(fd, struct.pack('>I', len(m)) + m)",
                "    except OSError: pass",
                then="return 0",
            ),
            no | {"crashed"},
        ),
        "closes": (attack("import os; os.closerange(0, 99)"), {"crashed", "too slow"}),
        "patches": (
            attack(
                "import builtins, sys",
                "builtins.abs = lambda v: 0",
                "for m in list(sys.modules.values()): m.__dict__['AssertionError'] = type(None)",
                then="return 0",
            ),
            no | {"crashed"},
        ),
        "the_library": (attack("from kfcourse import exercises"), no),
        "frames": (
            attack(
                "import sys; f = sys._getframe()",
                "while f:",
                "    assert not {'secret', 'expected', 'facts'} & set(f.f_locals); f = f.f_back",
                then="return 0",
            ),
            no,
        ),
        "reads_the_secret": (attack(f"open({str(secret)!r}).read()"), no),
        "reads_the_folder": (attack("import os", f"os.listdir({str(canary)!r})"), no),
        "reads_the_parent": (attack(parent, "open(f'/proc/{parent}/mem', 'rb').read(1)"), no),
        "its_environment": (attack(parent, "open(f'/proc/{parent}/environ', 'rb').read()"), no),
        "kills": (attack(parent, "import os; os.kill(parent, 9)"), no | {"crashed"}),
        "forks": (attack("import os", "while True: os.fork()"), no),
        "starts": (attack("import subprocess; subprocess.run(['true'])"), no),
        "writes": (attack(f"open({str(canary / 'new')!r}, 'w')"), no),
        "deletes": (attack("import os", f"os.remove({str(canary / 'file')!r})"), no),
        "renames": (attack("import os", f"os.rename({str(canary / 'file')!r}, {str(canary / 'gone')!r})"), no),
        "chmods": (attack("import os", f"os.chmod({str(canary)!r}, 0)"), no),
        "network": (attack("import socket; socket.create_connection(('127.0.0.1', 9), 1)"), no),
        "fills": (
            attack("for i in range(200): open(f'f{i}', 'wb').write(bytes(2**22))", "import time; time.sleep(9)"),
            {"too big", "wrong", "too slow"},
        ),
        "in_its_folder": (attack("open('mine', 'w').write('fine'); assert open('mine').read() == 'fine'"), {"right"}),
        "on_import": (
            attack() + "\n\nimport os as x; y = [os._exit(1)]\nclass Now:\n    import os; os._exit(1)\nz = double(Now)",
            {"right"},
        ),
        "in_a_default": (RIGHT["double"].replace("(x)", "(x, y=__import__('os')._exit(3))"), {"crashed"}),
    }


def test_thirty_submissions_in_one_call(tiny, tmp_path, capsys):
    secret, canary, folder = tmp_path / "secret.txt", tmp_path / "canary", tmp_path / "in"
    secret.write_text("no answer may read this secret")
    for place in (canary, folder, folder / "alone"):
        place.mkdir()
    (canary / "file").write_text("here")
    attacks = hostile(canary, secret)
    for name, (double, _) in attacks.items():
        handed_in(folder / f"{name}.ipynb", double=double)
    handed_in(folder / "right.ipynb", **RIGHT)
    handed_in(folder / "unwritten.ipynb")
    handed_in(folder / "alone" / "notebook.ipynb", **RIGHT | {"double": RIGHT["double"].replace("2 *", "3 *")})
    (folder / "no_notebook.ipynb").write_text("PK\x03\x04")
    (folder / "a_module.py").write_text("def double(x):\n    return x + x\n")
    if os.name == "posix":
        (folder / "a_link.ipynb").symlink_to(secret)
    else:
        (folder / "a_link.ipynb").write_bytes(b"")
    before = os.stat(canary).st_mode

    assert course.main(["export", "97", str(folder), "--out", str(tmp_path / "out"), "--secret", str(secret)]) == 0

    with open(tmp_path / "out" / "marks.csv", encoding="utf-8", newline="") as file:
        rows = {(row["student"], row["exercise"]): row for row in csv.DictReader(file)}
    states = {student: row["state"] for (student, exercise), row in rows.items() if exercise == "97.double"}
    for name, (_, fine) in attacks.items():
        assert states[name] in fine, f"{name}: {rows[name, '97.double']}"
    assert [states[n] for n in ("right", "unwritten", "alone", "no_notebook", "a_module", "a_link")] == [
        "right",
        "empty",
        "wrong",
        "unreadable",
        "right",
        "unreadable",
    ]
    assert all(rows["right", f"97.{n}"]["points"] == "1" for n in RIGHT)
    assert "2 doubled is 4" in rows["alone", "97.double"]["message"]
    assert rows["alone", "97.total"]["state"] == "right" and rows["a_module", "97.total"]["state"] == "missing"
    assert (
        os.listdir(canary) == ["file"] and (canary / "file").read_text() == "here" and os.stat(canary).st_mode == before
    )

    handed = json.loads((tmp_path / "out" / "gradescope" / "right" / "results.json").read_text())
    assert handed["score"] == 3 and [t["status"] for t in handed["tests"]] == ["passed"] * 3
    assert {"name", "score", "max_score", "output", "visibility"} <= set(handed["tests"][0])
    namespace = {}
    exec((tmp_path / "out" / "modules" / "right.py").read_text(), namespace)
    assert namespace["mean"]([1, 2]) == 1.5
    out = capsys.readouterr().out
    assert "fence" in out and "3/3" in out
    assert "no answer may read" not in "".join(
        p.read_text() for p in (tmp_path / "out").rglob("*") if p.is_file() and "modules" not in p.parts
    )


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's own locks are Linux's")
def test_the_kernels_locks_hold_where_the_fence_has_been_climbed(tmp_path):
    """The same attacks with the audit hook taken away: what is left is Landlock and seccomp."""
    own, other = tmp_path / "own", tmp_path / "other"
    own.mkdir(), other.mkdir()
    (other / "file").write_text("here")
    code = f"""
        import os, signal, socket, sys
        sys.path.insert(0, {str(Path(locks.__file__).parent)!r})
        import locks
        locks.fence = lambda *a: None
        on = locks.lock({str(own)!r}, [sys.prefix, sys.base_prefix, os.path.dirname(os.__file__)], 2**30, 60)
        print(*on)
        os.chdir({str(own)!r})
        tries = dict(
            read=lambda: open({str(other / "file")!r}).read(), write=lambda: open({str(other / "file")!r}, "w"),
            create=lambda: open({str(other / "new")!r}, "w"), delete=lambda: os.remove({str(other / "file")!r}),
            folder=lambda: os.mkdir({str(other / "new")!r}), chmod=lambda: os.chmod({str(other / "file")!r}, 0),
            touch=lambda: os.utime({str(other / "file")!r}), truncate=lambda: os.truncate({str(other / "file")!r}, 0),
            memory=lambda: open(f"/proc/{{os.getppid()}}/mem", "rb"), environment=lambda: open(f"/proc/{{os.getppid()}}/environ", "rb"),
            kill=lambda: os.kill(os.getppid(), 0), fork=os.fork, execute=lambda: os.execv("/bin/true", ["true"]),
            spawn=lambda: os.posix_spawn("/bin/true", ["true"], {{}}), network=socket.socket, link=lambda: os.link({str(other / "file")!r}, "mine"),
        )
        for name, do in tries.items():
            try:
                do()
            except OSError as error:
                continue
            print("done:", name)
        open("mine", "w").write("x"); os.remove("mine"); os.kill(os.getpid(), 0)
        import threading; print("end")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    first, *rest = done.stdout.splitlines()
    if "files" not in first or "calls" not in first:
        pytest.skip(f"this kernel has only: {first}")
    assert rest == ["end"], done.stdout + done.stderr
    assert (other / "file").read_text() == "here" and os.listdir(other) == ["file"]


# --- the proxy behaves like the function


def test_an_exception_is_told_as_if_it_had_happened_here(tiny, tmp_path):
    mark = marked(tmp_path, '@exercise("97.double")\ndef double(x):\n    return x.T')
    assert (
        mark.message
        == "your function raised `AttributeError` at `return x.T`: 'int' object has no attribute 'T'. It was called with x: 2."
    )
    assert "returned None" in marked(tmp_path, '@exercise("97.double")\ndef double(x):\n    pass').message


def test_hidden_inputs_catch_an_answer_made_for_the_public_check(tiny, tmp_path):
    cheat = '@exercise("97.double")\ndef double(x):\n    return {2: 4, -3: -6}.get(x, 0)'
    assert marked(tmp_path, cheat).state == "right"
    mark = marked(tmp_path, cheat, SECRET)
    assert mark.state == "wrong" and "hidden inputs" in mark.message
    assert marked(tmp_path, RIGHT["double"], SECRET).state == "right"


def test_variants_are_for_one_student_and_the_public_answer_does_not_do(tiny, tmp_path):
    secret, names = tmp_path / "secret", tmp_path / "names"
    secret.write_text("0123456789abcdef")
    names.write_text("ada\nbob\n")
    assert (
        course.main(
            ["questions", "97", "--students", str(names), "--secret", str(secret), "--out", str(tmp_path / "q")]
        )
        == 0
    )
    ada, bob = ((tmp_path / "q" / f"{n}.md").read_text() for n in ("ada", "bob"))
    assert "double_variant`: Add " in ada and ada.replace("ada", "bob") != bob
    c = int(ada.split("Add ")[1].split(".")[0])
    for student in ("ada", "bob"):  # bob hands in ada's answer
        own = RIGHT["double"] + f"\n\ndef double_variant(x):\n    return double(x) + {c}"
        handed_in(
            tmp_path / f"{student}.ipynb",
            **RIGHT | {"double": own, "total": RIGHT["total"] + "\n\ntotal_variant = total"},
        )
    found = submissions.found([tmp_path / "ada.ipynb", tmp_path / "bob.ipynb"])
    marks = submissions.mark_all("97", found, tmp_path / "out", marking.secret_of(secret), True)
    states = {(m.student, m.exercise): m.state for m in marks}
    assert states["ada", "97.double variant"] == "right" and states["bob", "97.double variant"] == "wrong"
    assert states["bob", "97.double"] == "right" and states["ada", "97.total variant"] == "missing"
    with pytest.raises(SystemExit):
        course.main(["export", "97", "--variants"])


def test_tensors_functions_and_changes_in_place_go_both_ways():
    source = "\n".join(
        [
            "import torch",
            "def curve(f, w):",
            "    return [f(w), f({'w': w['w'] + 1})]",
            "def spoil(w, seen):",
            "    w += 1; seen.append(3)",
            "    return w",
            "def slope(f, w):",
            "    w = {'w': w['w'].clone().requires_grad_()}",
            "    f(w).backward(); return w['w'].grad",
            "def odd(f):",
            "    return f(f)",
            "def big(x):",
            "    return torch.zeros(10**6)",
        ]
    )
    made = marking.Box(source, ("torch",))
    try:
        made.deadline += 60
        w, seen, calls = torch.arange(3.0), [1], []
        f = lambda p: (calls.append(1), (p["w"] ** 2).sum())[1]
        assert [x.item() for x in made.call("curve", (f, {"w": w}), {})] == [5, 14] and len(calls) == 2
        assert torch.equal(made.call("spoil", (w, seen), {}), torch.tensor([1.0, 2.0, 3.0]))
        assert torch.equal(w, torch.tensor([1.0, 2.0, 3.0])) and seen == [1, 3]
        assert torch.equal(
            made.call("slope", (f, {"w": w}), {}), 2 * w
        )  # the derivative is asked for across the border
        g = lambda x: 1 if x is g else 0
        assert made.call("odd", (g,), {}) == 1  # a function is known again when it comes back
        with pytest.raises(marking.Lost, match="far more"):
            made.call("big", (1,), {})
    finally:
        made.close()
    assert not os.path.exists(made.folder) and made.process.poll() is not None


# --- every exercise


@pytest.mark.parametrize("number", CHAPTERS)
def test_every_exercise_has_fresh_inputs_and_questions_of_ones_own(number):
    about, missing = marking.chapter(number), 0
    for i in about.ids:
        assert variants.of(i), (
            f"{i} needs an entry in kfcourse/ch{number}/variants.py: fresh inputs and a changed question"
        )
        reference, seeds = about.references[i.partition(".")[2]], marking.seeds(SECRET, i, "ada")
        assert variants.compare(i, reference, reference, seeds).state == "right", i
        asked = variants.question(i, SECRET, "ada")
        assert variants.compare(i, asked.function(reference), asked.function(reference), seeds).state == "right", i
        assert variants.compare(i, asked.function(reference), reference, seeds).state == "wrong", f"{i}: {asked.text}"
        assert asked.text == variants.question(i, SECRET, "ada").text
        assert len({variants.question(i, SECRET, str(n)).text for n in range(20)}) >= 3, i
        missed = [f for f, _ in wrong_answers(number)[i] if variants.compare(i, reference, f, seeds).state == "right"]
        missing += len(missed)
        assert len(missed) < len(wrong_answers(number)[i]), f"{i}: hidden inputs catch none of the wrong answers"
    assert missing <= 5


@pytest.mark.slow
@pytest.mark.parametrize("number", CHAPTERS)
def test_every_exercise_can_be_marked_in_a_box(number, monkeypatch):
    monkeypatch.setattr(marking, "SECONDS", 60)
    monkeypatch.setattr(marking, "SUBMISSION", 300)
    about = marking.chapter(number)
    cells = [cell.source for cell in notebooks.code_cells(about.worked)]
    marks, _ = marking.mark("ada", export.module(cells, about.ids), about, SECRET)
    assert [(m.exercise, m.state, m.message) for m in marks] == [(i, "right", "") for i in about.ids]
    source = (Path(__file__).parent / f"ch{number}" / "wrong.py").read_text(encoding="utf-8").partition("\nWRONG")[0]
    made = marking.Box(source, about.preload)
    try:
        for i, answers in wrong_answers(number).items():
            for function, fragment in answers:
                made.deadline += 120
                verdict = exercises.judge(about.facts[i], lambda *a, n=function.__name__, **k: made.call(n, a, k))
                assert verdict.state == "wrong" and fragment in verdict.message, f"{function.__name__}: {verdict}"
    finally:
        made.close()


# --- what is written


def test_no_cell_of_the_table_is_a_formula_or_breaks_a_line():
    text = submissions.as_csv([marking.Mark("=cmd|' /C calc'!A0", "97.x", "wrong", "@a\n\x1b[2Jb\ud800")])
    assert text.count("\n") == 2
    row = next(csv.DictReader(text.splitlines()))
    assert row["student"].startswith("'=") and row["message"].startswith("'@a") and "\x1b" not in text
    assert submissions.safe("../../etc/passwd") == "_.._etc_passwd" and submissions.safe("..") == "_"


def test_two_submissions_of_one_name_are_refused(tmp_path):
    for name in ("a.py", "a.ipynb"):
        (tmp_path / name).write_text("")
    with pytest.raises(ValueError, match="same name: a"):
        submissions.found([tmp_path])
    with pytest.raises(FileNotFoundError, match="nowhere"):
        submissions.found([tmp_path / "nowhere"])
    (tmp_path / "s").write_text("short")
    with pytest.raises(ValueError, match="16 characters"):
        marking.secret_of(tmp_path / "s")


def test_progress_says_what_is_solved(tiny, capsys):
    assert "No copies yet" in progress.report()
    copies.make_copies(paths.WORK)
    handed_in(paths.WORK / "97_tiny.ipynb", **RIGHT | {"total": RIGHT["total"].replace("sum(values)", "0.0")})
    edit = copies.stubs(nb := notebooks.read(paths.WORK / "97_tiny.ipynb"))["97.mean"]
    edit.source = edit.source.replace("return", "raise NotImplementedError  #")
    notebooks.write(nb, paths.WORK / "97_tiny.ipynb")
    assert course.main(["progress"]) == 0
    lines = capsys.readouterr().out
    assert "1 of 3 solved." in lines and "97.total: the sum of 1 and 2 is 3" in lines and "to do" in lines


def test_the_nbgrader_assignment_has_its_metadata_and_hides_its_seeds(tiny, tmp_path):
    worked = notebooks.read(tiny)
    before = notebooks.to_bytes(worked)
    nb = release.assignment(worked, SECRET)
    assert notebooks.to_bytes(worked) == before
    nbformat.validate(nb)
    known = {
        c.metadata.nbgrader.grade_id: (c.metadata.nbgrader, c.source) for c in nb.cells if "nbgrader" in c.metadata
    }
    assert list(known) == [f"{kind}97-{n}" for n in ("double", "total", "mean") for kind in ("", "test-")]
    for facts, source in known.values():
        assert {"grade", "grade_id", "locked", "schema_version", "solution", "task"} <= set(
            facts
        ) and facts.schema_version == 3
        assert ("points" in facts) == facts.grade == facts.locked == (not facts.solution)
        assert (notebooks.BEGIN in source) == facts.solution
    assert "BEGIN HIDDEN TESTS" in known["test-97-double"][1] and "HIDDEN" not in known["test-97-mean"][1]
    assert "HIDDEN" not in notebooks.to_bytes(release.assignment(worked)).decode()
    namespace = {"exercise": exercises.exercise, "check": exercises.check, "display": print}
    exec(notebooks.split_solution(known["97-double"][1])[0], namespace)
    with pytest.raises(NotImplementedError, match="97.double"):
        exec(known["test-97-double"][1], namespace)
    exec(RIGHT["double"].replace("2 * x", "{2: 4, -3: -6}.get(x, 0)"), namespace)
    with pytest.raises(AssertionError, match="hidden inputs"):
        exec(known["test-97-double"][1], namespace)
    exec(RIGHT["double"], namespace)
    exec(known["test-97-double"][1], namespace)
    assert release.assignments([], tmp_path)[0] == tmp_path / "source" / "97_tiny" / "97_tiny.ipynb"


def test_an_exception_is_of_a_built_in_type_or_a_runtime_error():
    assert isinstance(box.exception("ValueError", "x"), ValueError) and isinstance(
        marking.told("IndexError", "x", "", False), IndexError
    )
    for kind in ("print", "SystemExit", "Nonsense", "UnicodeDecodeError", "a b"):
        assert (
            type(box.exception(kind, "x")) is RuntimeError and type(marking.told(kind, "x", "", False)) is RuntimeError
        )
