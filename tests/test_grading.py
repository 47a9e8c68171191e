"""Marking: what is taken out of a notebook, what a hostile answer can reach, hidden inputs, variants, and what is
written.
"""

import ast
import contextlib
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
from kfcourse.grading import box, export, identity, marking, plain, release, sandbox, submissions, variants
from kfcourse.learning import copies, exercises, progress, slices
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
    return marking.mark("one", export.answers(path, about.worked), about, secret)[0]


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


LINES = {  # {what stands around a right answer: the lines}
    "modulo": ("", "return (\n        2 * x\n        % 10**9\n    ) if x > 0 else 2 * x"),
    "text": ("", 'note = """\n%d\n!ls\n"""\n    return 2 * x'),
    "help": ("?len\nlen?\nlen??", "return 2 * x"),
    "shell": ("files = !ls\n!pip install \\\n  rich", "return 2 * x"),
    "magic": ("%matplotlib inline\n%timeit -n 1 sum([1])\nt = %timeit -o 1", "%time y = 2 * x\n    return y"),
    "timed": ("%time TWO = 2", "return TWO * x"),
    "cell magic": ("%%time\nTWO = 2", "return TWO * x"),
    "annotated": ("TWO: int = 2", "return TWO * x"),
    "computed": ("TWO = 32 // 16\nTWO += 1; TWO -= 1", "return TWO * x"),
    "rebound": ("TWO = 2\nFOUR = 2 * TWO\nTWO = 'gone'", "return FOUR * x / 2"),
    "together": ("TWO, THREE = 2, 3", "return TWO * x"),
    "lambda": ("twice = lambda x: 2 * x", "return twice(x)"),
    "star": ("from operator import *", "return mul(2, x)"),
    "star over a builtin": ("from math import *", "return int(pow(2, 1.0)) * x"),
    "alias": ("import operator\nM = operator.mul\nNumber = int", "y: Number = 2\n    return M(y, x)"),
    "try": ("try:\n    import numpy as np\nexcept ImportError:\n    np = None", "return x + int(np.int64(x))"),
    "if": ("if True:\n    def twice(x):\n        return 2 * x\nelse:\n    twice = None", "return twice(x)"),
    "main": ("if __name__ == '__main__':\n    def twice(x):\n        return 2 * x", "return twice(x)"),
    "filled": ("TABLE = {}\nfor k in range(-9, 9):\n    TABLE[k] = 2 * k", "return TABLE[x]"),
    "class": ("class Twice:\n    by = 2\n    def __call__(self, x):\n        return self.by * x", "return Twice()(x)"),
    "dataclass": (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass P:\n    x: Later = 2",
        "return P().x * x",
    ),
    "cached": ("import functools\n@functools.cache\ndef twice(x):\n    return 2 * x", "return twice(x)"),
    "shown": ("", "display(x); print(x)\n    return 2 * x"),
    "form feed": ("A = '\x0c\x1c\x85\u2028'\ndef twice(x):\n    return 2 * x", "return twice(x)"),
    "old lines": ("TWO = 2\rTHREE = 3\r\nFOUR = 4", "return (FOUR - TWO) * x"),
}


def test_what_check_accepts_in_the_notebook_is_right_when_marked(tiny, tmp_path):
    """All in one module each, in one process each: in cells of their own, before the answer."""
    worked, about = notebooks.read(tiny), marking.chapter("97")
    for name, (before, body) in LINES.items():
        nb = notebooks.learner_copy(worked)
        cell = copies.stubs(nb)["97.double"]
        cell.source = f'@exercise("97.double")\ndef double(x):\n    {body}'
        nb.cells.insert(1, nbformat.v4.new_code_cell(before, id=cell.id))  # two cells of one id, as VS Code makes them
        (tmp_path / "a.ipynb").write_text(nbformat.writes(nb), encoding="utf-8-sig")
        mark = marking.mark("ada", export.answers(tmp_path / "a.ipynb", worked), about)[0]
        assert (mark.state, mark.message) == ("right", ""), name


def test_a_name_that_is_left_behind_is_named(tiny, tmp_path):
    mark = marked(tmp_path, '@exercise("97.double")\ndef double(x):\n    return gone * x')
    assert mark.state == "wrong" and "It uses `gone`, which no cell" in mark.message
    mark = marked(tmp_path, 'from kfaclib import TWO\n@exercise("97.double")\ndef double(x):\n    return TWO * x')
    assert mark.state == "wrong" and "Left behind" in mark.message and "TWO (ModuleNotFoundError" in mark.message
    found = export.module(["def helper(x): return (", "def double(x): return helper(x)"], ["97.double"])
    assert "`helper` (it occurs in code cell 1, which is left out)" in found.notes["97.double"]
    found = export.module(["def double(x): return ("], ["97.double"])
    assert found.missing and "code cell 1, which cannot be read" in found.notes["97.double"]


def test_the_answer_is_what_check_would_look_at():
    mine, plain_one = '@exercise("97.double")\ndef double(x):\n    return 1', "def double(x):\n    return 2"
    stub = '@exercise("97.double")\ndef double(x):\n    raise NotImplementedError'
    under_another_name = mine.replace("@exercise", "@kfcourse.exercise")
    for cells, body in (
        ([mine, plain_one], "return 1"),
        ([plain_one, mine], "return 1"),
        ([stub, plain_one], "return 2"),
        ([mine, stub], "return 1"),
        ([under_another_name], "return 1"),
    ):
        found = export.module(cells, ["97.double"])
        assert found.written == ("97.double",) and body in found.source and "exercise" not in found.source
    assert export.module([stub, stub], ["97.double"]).empty == ("97.double",)


@pytest.mark.parametrize(
    "name, data, says",
    [
        ("a.py", "# Größe\n".encode("utf-8-sig"), None),
        ("a.py", "# -*- coding: cp1252 -*-\n# Größe\n".encode("cp1252"), None),
        ("a.py", "# Größe\n".encode("utf-16"), None),
        ("a.py", "# Größe\n".encode("cp1252"), "save it as UTF-8"),
        ("a.py", b"# coding: nonsense\n", "cannot be decoded"),
        ("a.ipynb", '{"cells": []}'.encode("utf-8-sig"), None),
        ("a.IPYNB", '{"cells": []}'.encode("utf-16"), None),
        ("a.ipynb.txt", b'{"worksheets": [{"cells": [{"cell_type": "code", "input": "x = 1"}]}]}', None),
        ("a.ipynb", b"%PDF-1.7", "a PDF"),
        ("a.ipynb", b"PK\x03\x04", "zip"),
        ("a.ipynb", b"", "empty file"),
        ("a.ipynb", b"{\n<html>", "no JSON in line 2"),
        ("a.ipynb", b"[" * 100_000, "nested"),
        ("a.ipynb", b"[]", "no cells"),
        ("a.ipynb", b'{"cells": 3}', "no cells"),
        ("a.ipynb", b'{"cells": [null]}', "one of its cells"),
        ("a.ipynb", b'{"cells": [{"cell_type": "code", "source": null}]}', "code cell 1 holds no text but null"),
        ("a.ipynb", b'{"cells": [{"cell_type": "code", "source": [1]}]}', "holds no text"),
        ("a.docx", b"PK", "neither a notebook"),
    ],
)
def test_every_file_is_read_or_refused_with_its_reason(name, data, says, tmp_path):
    (tmp_path / name).write_bytes(data)
    if says is None:
        assert all("Gr" not in c or "Größe" in c for c in export.cells_of(tmp_path / name))
    else:
        with pytest.raises(ValueError, match=says):
            export.cells_of(tmp_path / name)


# --- who handed in


@pytest.mark.parametrize(
    "name",
    [
        "José  García",
        "jose\u0301_garci\u0301a",
        "JOSÉ-GARCÍA",
        " José\tGarcía ",
        "José García_123456_assignsubmission_file_",
        "José García_123456_assignsubmission_file_05 kfac",
        "\ufeffjosé garcía",
        "Ｊｏｓé García",
        "josé\u00a0garcía",
    ],
)
def test_one_student_has_one_key_however_the_name_is_spelled(name):
    assert identity.key(name) == "josé garcía" and identity.file_name(name) == "josé_garcía"
    assert variants.question("97.double", SECRET, name) is not None if variants.of("97.double") else True


def test_different_students_have_different_keys_and_accents_are_dropped_only_without_doubt():
    assert len({identity.key(f"o{mark}Brien") for mark in "'\u2019\u2018\u02bc`\u00b4\uff07"}) == 1
    assert len({identity.key(n) for n in ("Muller", "Müller", "Mueller", "Muller 2", "a_b", "ab")}) == 6
    assert identity.asked("Jose", ["ada", "José"]) == "José" and identity.asked("josé", ["Jose", "JOSÉ"]) == "JOSÉ"
    assert identity.asked("Jóse", ["Jose", "José"]) is None and identity.asked("bob", ["ada"]) is None
    assert (
        identity.person("lovelaceada_LATE_12345_67890_05_kfac") == "lovelaceada" and identity.person("ada_5") == "ada_5"
    )
    for name in ("con", "../x", "." * 3, "名" * 200, "a\udcff", ""):
        made = identity.file_name(name)
        assert (
            made and len(made.encode()) <= 101 and not set("/\\:") & set(made) and made.lower() not in identity.WINDOWS
        )


def test_who_was_never_asked_is_remarked_on_and_the_same_spelling_gives_the_same_question(tiny, tmp_path, capsys):
    secret, names, q = tmp_path / "secret", tmp_path / "names", tmp_path / "q"
    secret.write_text("0123456789abcdef", encoding="utf-16")
    names.write_text("José García\r\nada\r\nADA\r\n", encoding="utf-8-sig")
    words = ["--secret", str(secret)]
    assert course.main(["questions", "97", "--students", str(names), *words, "--out", str(q)]) == 0
    assert {p.name for p in q.iterdir()} == {
        "josé_garcía.md",
        "ada.md",
    } and "other spellings" in capsys.readouterr().out
    c = int((q / "josé_garcía.md").read_text(encoding="utf-8").split("Add ")[1].split(".")[0])
    own = RIGHT["double"] + f"\n\ndef double_variant(x):\n    return double(x) + {c}"
    for name in ("JOSE-GARCIA", "zoe"):
        handed_in(tmp_path / "in" / f"{name}.ipynb", double=own)
    assert (
        course.main(["export", "97", str(tmp_path / "in"), *words, "--variants", "--out", str(tmp_path / "out")]) == 0
    )
    assert "zoe: nobody was asked questions by this name" in capsys.readouterr().out
    rows = marks_in(tmp_path / "out")
    assert rows["José García", "97.double variant"]["state"] == "right"
    assert "accents" in rows["José García", "97.double"]["remarks"] and "nobody" in rows["zoe", "97.double"]["remarks"]


# --- whatever is handed in


def strange(folder):
    """Fill a folder with what people hand in besides a notebook. Returns {student: a word of the reason}."""
    good = handed_in(folder / "ada.ipynb", **RIGHT).read_bytes()
    nb = json.loads(good)
    for name in ("upper.IPYNB", "text.ipynb.txt", "._ada.ipynb", "__MACOSX/._ada.ipynb", "two/a.ipynb", "same/a.ipynb"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(good)
    (folder / "same" / "a (1).ipynb").write_bytes(good)
    (folder / "same" / "plot.png").write_bytes(b"x")
    (folder / "two" / "b.ipynb").write_bytes(good + b"\n")
    (folder / "deep" / "a" / "b").mkdir(parents=True)
    (folder / "deep" / "a" / "b" / "x.ipynb").write_bytes(good)
    (folder / "pdf").mkdir()
    (folder / "pdf" / "answer.pdf").write_bytes(b"%PDF")
    (folder / "nothing").mkdir()
    for name in ("zip.zip", "pages.pdf", "word.docx", "bare", "ada.pdf"):
        (folder / name).write_bytes(b"PK")
    (folder / "big.ipynb").write_bytes(b"")
    os.truncate(folder / "big.ipynb", export.LARGEST + 1)
    (folder / "broken.ipynb").write_bytes(good[:500])
    (folder / "null.ipynb").write_text(
        json.dumps(nb | {"cells": [*nb["cells"], {"cell_type": "code", "source": None}]})
    )
    (folder / "blank.ipynb").write_text(json.dumps(nb | {"cells": []}))
    (folder / "other.ipynb").write_text(json.dumps(nb).replace("97.", "42."))
    if os.name == "posix":
        (folder / "link.ipynb").symlink_to(folder / "ada.ipynb")
        (folder / "linked").symlink_to(folder / "same")
        os.mkfifo(folder / "pipe.ipynb")
    links = {"link": "link", "linked": "link", "pipe": "not a file"} if os.name == "posix" else {}
    return links | {
        "two": "2 notebooks",
        "pdf": "a PDF",
        "nothing": "nothing",
        "zip": "unpack",
        "pages": "PDF",
        "word": "neither",
        "bare": "no ending",
        "big": "larger",
        "broken": "JSON",
        "null": "no text",
    }


def test_every_submission_has_its_rows_and_what_is_passed_over_is_named(tiny, tmp_path, capsys):
    reasons = strange(tmp_path / "in")
    out = tmp_path / "in" / "out"  # among the submissions, and none of them
    assert course.main(["export", "97", str(tmp_path / "in"), "--out", str(out)]) == 0
    rows, said = marks_in(out), capsys.readouterr().out
    right = {"ada", "upper", "text", "same", "deep"}
    assert {student for student, _ in rows} == right | set(reasons) | {"blank", "other"}
    for student in right:
        assert [rows[student, f"97.{n}"]["state"] for n in RIGHT] == ["right"] * 3, student
    for student, word in reasons.items():
        row = rows[student, "97.mean"]
        assert row["state"] == "unreadable" and word in row["message"], row
    assert "no code" in rows["blank", "97.mean"]["remarks"] and "chapter 42" in rows["other", "97.mean"]["remarks"]
    passed = (out / "passed_over.csv").read_text()
    for name in ("._ada.ipynb", "__MACOSX", "ada.pdf", "a (1).ipynb", "plot.png", "out"):
        assert name in passed and name in said, name
    assert course.main(["export", "97", str(tmp_path / "in" / "nothing"), "--out", str(tmp_path / "o")]) == 2
    assert "no submission" in capsys.readouterr().err


def test_an_export_that_was_killed_goes_on_and_gives_the_same(tiny, tmp_path, monkeypatch, capsys):
    for name in "abcd":
        handed_in(tmp_path / "in" / f"{name}.ipynb", **RIGHT)
    found, _ = submissions.found([tmp_path / "in"])
    submissions.mark_all("97", found, tmp_path / "whole")
    wanted, marked_now = (tmp_path / "whole" / "marks.csv").read_bytes(), []
    real = marking.mark

    def killed(student, *words):
        marked_now.append(student)
        if len(marked_now) in (2, 4):
            raise KeyboardInterrupt
        return real(student, *words)

    monkeypatch.setattr(marking, "mark", killed)
    for there in ("a", "ab"):
        with pytest.raises(KeyboardInterrupt):
            submissions.mark_all("97", found, tmp_path / "out")
        assert {student for student, _ in marks_in(tmp_path / "out")} == set(there)
        with open(tmp_path / "out" / "unfinished.jsonl", "ab") as file:
            file.write(b'{"of": "cut sho')
    submissions.mark_all("97", found, tmp_path / "out")
    assert marked_now == ["a", "b", "b", "c", "c", "d"] and "2 of 4" in capsys.readouterr().out
    assert (tmp_path / "out" / "marks.csv").read_bytes() == wanted
    assert not (tmp_path / "out" / "unfinished.jsonl").exists()


def test_a_finished_export_that_is_started_again_and_killed_keeps_its_rows(tiny, tmp_path, monkeypatch):
    for name in "abc":
        handed_in(tmp_path / "in" / f"{name}.ipynb", **RIGHT)
    found, _ = submissions.found([tmp_path / "in"])
    submissions.mark_all("97", found, tmp_path / "out")
    wanted = marks_in(tmp_path / "out")
    real = marking.mark

    def killed(student, *words):
        if student == "b":
            raise KeyboardInterrupt
        return real(student, *words)

    handed_in(tmp_path / "in" / "a.ipynb", double=RIGHT["double"])  # handed in again, with less
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(marking, "mark", killed)
        submissions.mark_all("97", found, tmp_path / "out")
    now = marks_in(tmp_path / "out")
    assert now.keys() == wanted.keys()
    assert {student for student, exercise in now if now[student, exercise] != wanted[student, exercise]} == {"a"}
    submissions.mark_all("97", found[:2], tmp_path / "out")
    assert {student for student, _ in marks_in(tmp_path / "out")} == {"a", "b"}, "rows of nobody who is marked now"


@pytest.mark.parametrize("damage", [b"student;exercise\na;97.mean\n", b"\xff\xfe", b'student,exercise\n"a', b""])
def test_marks_that_cannot_be_read_do_not_stop_an_export(damage, tiny, tmp_path):
    handed_in(tmp_path / "in" / "a.ipynb", **RIGHT)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "marks.csv").write_bytes(damage)
    submissions.mark_all("97", submissions.found([tmp_path / "in"])[0], tmp_path / "out")
    assert {row["state"] for row in marks_in(tmp_path / "out").values()} == {"right"}


@pytest.mark.parametrize("words", [["--secret", "."], ["--out", "file"], ["--secret", "binary"], ["--secret", "none"]])
def test_what_the_lecturer_can_mend_is_one_sentence(words, tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "binary").write_bytes(b"\xff\x00\xff" * 9)
    handed_in(tmp_path / "ada.ipynb", **RIGHT)
    assert course.main(["export", "97", "ada.ipynb", *words]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and words[1] in error and "Traceback" not in error


@pytest.mark.long
def test_sixty_submissions_of_every_kind_in_one_folder(tiny, tmp_path, monkeypatch, capsys):
    """Each gets its rows, none harms another or learns a hidden input."""
    monkeypatch.setattr(marking, "SECONDS", 10)
    secret, canary, folder = tmp_path / "secret.txt", tmp_path / "canary", tmp_path / "in"
    secret.write_text("no answer may read this secret")
    canary.mkdir()
    (canary / "file").write_text("here")
    folder.mkdir()
    reasons = strange(folder)
    attacks = hostile(canary, secret)
    if sandbox.missing():
        attacks = {name: found for name, found in attacks.items() if not name.startswith(WALLS)}
    for name, (double, _) in attacks.items():
        handed_in(folder / f"x_{name}.ipynb", **RIGHT | {"double": double})
    for name, (before, body) in LINES.items():
        double = f'{before}\n@exercise("97.double")\ndef double(x):\n    {body}'
        if not before.startswith(("%%", "from __future__")):
            handed_in(folder / f"y_{name}.ipynb", **RIGHT | {"double": double})
    cheat = RIGHT["double"].replace("2 * x", "{2: 4, -3: -6}.get(x, 0)")
    handed_in(folder / "cheat.ipynb", **RIGHT | {"double": cheat})
    handed_in(folder / "unwritten.ipynb")
    words = ["export", "97", str(folder), "--out", str(tmp_path / "out"), "--secret", str(secret)]
    assert course.main(words) == 0
    rows = marks_in(tmp_path / "out")
    students = {student for student, _ in rows}
    assert len(students) >= 60 and len(rows) == 3 * len(students)
    for name in attacks:
        assert rows[f"x_{name}", "97.double"]["state"] in attacks[name][1], rows[f"x_{name}", "97.double"]
        assert rows[f"x_{name}", "97.mean"]["state"] == "right", rows[
            f"x_{name}", "97.mean"
        ]  # it costs no other exercise
    for student in students:
        if student.startswith("y_"):
            known = "y_filled" == student  # its table ends where hidden inputs go on
            assert known or rows[student, "97.double"]["state"] == "right", rows[student, "97.double"]
    assert all(rows[student, "97.mean"]["state"] == "unreadable" for student in reasons)
    assert rows["cheat", "97.double"]["state"] == "wrong" and "hidden" in rows["cheat", "97.double"]["message"]
    assert os.listdir(canary) == ["file"] and (canary / "file").read_text() == "here"
    hidden = [str(n) for s in students for n in marking.seeds(marking.secret_of(secret), "97.double", identity.key(s))]
    text = capsys.readouterr().out + "".join(
        p.read_text() for p in (tmp_path / "out").rglob("*") if p.is_file() and "modules" not in p.parts
    )
    assert "no answer may read" not in text and not any(seed in text for seed in hidden)


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
        frozenset({1, 2}),
        range(1, 9, 2),
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


def test_a_net_comes_back_with_its_weights_and_no_other_module_does():
    net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Tanh(), torch.nn.Linear(2, 4, bias=False)).double()
    x = torch.ones(5, 3, dtype=torch.float64)
    assert torch.equal(plain.unpack(*plain.pack(net))(x), net(x))
    assert not callable(plain.unpack(*plain.pack(torch.nn.Sequential(torch.nn.Dropout()))))
    with pytest.raises(plain.Malformed, match="unknown kind"):
        plain.unpack({"net": [["Module"]]}, [])


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


WALLS = ("reads_", "looks_", "kills", "forks", "starts", "writes", "deletes", "renames", "chmods", "network", "leaves_")


def hostile(canary, secret):
    """{name: (double, the states that are fine)}. `canary` is a folder that must stay as it is; `secret` must not be
    read. Those whose name begins with one of WALLS are only played inside bubblewrap.
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
        "looks_at_the_parent": (attack(parent, "assert b'test' in open(f'/proc/{parent}/cmdline', 'rb').read()"), no),
        "looks_for_processes": (attack("import os; assert sum(n.isdigit() for n in os.listdir('/proc')) > 3"), no),
        "kills": (attack(parent, "os.kill(parent, 9)"), no | {"crashed", "right"}),  # the first process is immune
        "forks": (attack("import os", "while True: os.fork()"), no),
        "starts": (attack("import subprocess; subprocess.run(['true'])"), no),
        "writes": (attack(f"open({str(canary / 'new')!r}, 'w')"), no),
        "deletes": (attack("import os", f"os.remove({str(canary / 'file')!r})"), no),
        "renames": (attack("import os", f"os.rename({str(canary / 'file')!r}, {str(canary / 'gone')!r})"), no),
        "chmods": (attack("import os", f"os.chmod({str(canary)!r}, 0)"), no),
        "leaves_files": (attack("open('/tmp/left', 'w')"), no),
        "leaves_memory": (attack("open('/dev/shm/left', 'w')"), no),
        "reads_a_disk": (
            attack("import os; assert [d for d in os.listdir('/dev') if d.startswith(('sd', 'vd', 'nvme'))]"),
            no,
        ),
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
    if sandbox.missing():
        attacks = {name: found for name, found in attacks.items() if not name.startswith(WALLS)}
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
    assert ("no network" if not sandbox.missing() else "limits only") in out and "3/3" in out
    protections = {row["protection"] for row in rows.values()}
    assert protections == {"limits only" if sandbox.missing() else "bubblewrap", ""}
    assert "no answer may read" not in "".join(
        p.read_text() for p in (tmp_path / "out").rglob("*") if p.is_file() and "modules" not in p.parts
    )


def test_bubblewrap_lets_an_answer_reach_nothing_outside_its_folder(tmp_path):
    """The attacks once more, on the walls alone, with no box and no limits around them."""
    if why := sandbox.missing():
        pytest.skip(why)
    own, other = tmp_path / "own", tmp_path / "other"
    own.mkdir(), other.mkdir()
    (other / "file").write_text("here")
    if not os.getuid():
        os.chown(own, 65534, 65534)
    code = f"""
        import os, signal, socket, sys
        if not os.getuid():
            os.setgid(65534); os.setuid(65534)
        os.chdir({str(own)!r})
        tries = dict(
            read=lambda: open({str(other / "file")!r}).read(), write=lambda: open({str(other / "file")!r}, "w"),
            create=lambda: open({str(other / "new")!r}, "w"), delete=lambda: os.remove({str(other / "file")!r}),
            folder=lambda: os.mkdir({str(other / "new")!r}), chmod=lambda: os.chmod({str(other / "file")!r}, 0),
            touch=lambda: os.utime({str(other / "file")!r}), truncate=lambda: os.truncate({str(other / "file")!r}, 0),
            kill=lambda: os.kill({os.getpid()}, 0), memory=lambda: open("/proc/{os.getpid()}/mem", "rb"),
            environment=lambda: open("/proc/{os.getpid()}/environ", "rb"),
            link=lambda: os.link({str(other / "file")!r}, "mine"), passwords=lambda: open("/etc/passwd"),
            network=lambda: socket.create_connection(("1.1.1.1", 53), 3), root=lambda: open("/new", "w"),
            course=lambda: open({box.__file__!r}), system=lambda: open("/usr/new", "w"),
        )
        for name, do in tries.items():
            try:
                do()
            except OSError as error:
                continue
            print("done:", name)
        open("mine", "w").write("x"); os.remove("mine")
        import threading; print("end")
    """
    done = subprocess.run(
        sandbox.walled_command(own, program=["-c", textwrap.dedent(code)]), capture_output=True, text=True, env={}
    )
    assert done.stdout.split("\n") == ["end", ""], done.stdout + done.stderr
    assert (other / "file").read_text() == "here" and os.listdir(other) == ["file"]


def test_without_bubblewrap_the_marks_say_that_there_are_limits_only(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sandbox, "missing", lambda preload=(): "bubblewrap is not installed")
    monkeypatch.setenv("A_SECRET_OF_THE_LECTURER", "x")
    look = attack("import os", "assert 'A_SECRET_OF_THE_LECTURER' not in os.environ and not os.listdir('.')")
    handed_in(tmp_path / "in" / "ada.ipynb", double=look)
    assert course.main(["export", "97", str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert (
        "bubblewrap is not installed" in out and "read and change your files" in out and "1 of 1 ran with limits" in out
    )
    rows = marks_in(tmp_path / "out")
    assert rows["ada", "97.double"]["state"] == "right" and rows["ada", "97.double"]["protection"] == "limits only"


def marks_in(folder):
    """{(student, exercise): row} of a folder of marks."""
    with open(folder / "marks.csv", encoding="utf-8", newline="") as file:
        return {(row["student"], row["exercise"]): row for row in csv.DictReader(file)}


def test_a_forged_message_costs_its_own_exercise_and_no_other(tiny, tmp_path):
    """A result in the box's own format, sent before the real one, must not be taken for the next answer's."""
    forge = attack(
        "import os, struct",
        """m = b'[{"is":"result","call":1,"value":4,"after":null},[]]'""",
        "for fd in range(3, 30):",
        "    try: os.write(fd, struct.pack('>I', len(m)) + m)",
        "    except OSError: pass",
        then="return 0",
    )
    path = handed_in(tmp_path / "one.ipynb", **RIGHT | {"double": forge})
    about = marking.chapter("97")
    marks = marking.mark("one", export.answers(path, about.worked), about)
    assert [m.state for m in marks] == ["wrong", "right", "right"], marks


# --- the proxy behaves like the function


def test_an_exception_is_reported_as_if_it_had_happened_here(tiny, tmp_path):
    mark = marked(tmp_path, '@exercise("97.double")\ndef double(x):\n    return x.T')
    assert (
        mark.message == "your function raised `AttributeError` at `return x.T`: 'int' object has no attribute 'T'. "
        "It was called with x: 2."
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
    found, _ = submissions.found([tmp_path / "ada.ipynb", tmp_path / "bob.ipynb"])
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
    box.warm()  # imports hundreds of modules, here and in the box: that is not the time of an answer
    made = marking.Box(source, ("torch", "torch.func"))
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
        missing += sum(not getattr(f, "only_in_the_notebook", False) for f in missed)
        assert len(missed) < len(wrong_answers(number)[i]), f"{i}: hidden inputs catch none of the wrong answers"
    assert missing <= 5


@pytest.mark.slow
@pytest.mark.parametrize(
    "number", [n if n in ("01", "05", "15") else pytest.param(n, marks=pytest.mark.long) for n in CHAPTERS]
)
def test_every_exercise_can_be_marked_in_a_box(number, monkeypatch):
    monkeypatch.setattr(marking, "SECONDS", 60)
    monkeypatch.setattr(marking, "SUBMISSION", 300)
    about = marking.chapter(number)
    cells = [cell.source for cell in notebooks.code_cells(about.worked)]
    answers = export.module(cells, about.ids)
    wrong = (Path(__file__).parent / f"ch{number}" / "wrong.py").read_text(encoding="utf-8").partition("\nWRONG")[0]
    assert not defined(wrong) & defined(answers.source)  # so one box serves both: to start one takes seconds
    made = marking.Box(f"{wrong}\n{answers.source}", about.preload)
    monkeypatch.setattr(marking, "Box", lambda source, preload: made)
    with contextlib.closing(made):
        for i, several in wrong_answers(number).items():
            for function, fragment in several:
                if getattr(function, "only_in_the_notebook", False):
                    continue
                made.deadline += 120
                verdict = exercises.judge(about.facts[i], lambda *a, n=function.__name__, **k: made.call(n, a, k))
                assert verdict.state == "wrong" and fragment in verdict.message, f"{function.__name__}: {verdict}"
        marks = marking.mark("ada", answers, about, SECRET)
    assert [(m.exercise, m.state, m.message) for m in marks] == [(i, "right", "") for i in about.ids]


def defined(source):
    """The names that a module binds, but for what it imports."""
    tree = ast.parse(source)
    imports = [s for s in ast.walk(tree) if isinstance(s, (ast.Import, ast.ImportFrom))]
    imported = {alias.asname or alias.name.partition(".")[0] for s in imports for alias in s.names}
    return set().union(*(slices.names_of(statement).makes for statement in tree.body)) - imported


# --- what is written


def test_no_cell_of_the_table_is_a_formula_or_breaks_a_line():
    text = submissions.as_csv([marking.Mark("=cmd|' /C calc'!A0", "97.x", "wrong", "@a\n\x1b[2Jb\ud800")])
    assert text.count("\n") == 2
    row = next(csv.DictReader(text.splitlines()))
    assert row["student"].startswith("'=") and row["message"].startswith("'@a") and "\x1b" not in text
    assert identity.file_name("../../etc/passwd") == "_.._etc_passwd" and identity.file_name("..") == "_"


def test_two_submissions_of_one_name_are_both_marked_and_say_so(tiny, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "Ada B.py").write_text("def double(x):\n    return 2 * x\n")
    handed_in(tmp_path / "in" / "ada_b.ipynb", **RIGHT)
    found, _ = submissions.found([tmp_path / "in"])
    marks = submissions.mark_all("97", found, tmp_path / "out")
    assert [(m.student, m.state) for m in marks if m.exercise == "97.double"] == [
        ("Ada B", "right"),
        ("ada_b", "right"),
    ]
    assert all("2 submissions by this name" in m.remarks for m in marks)
    assert {p.name for p in (tmp_path / "out" / "modules").iterdir()} == {"ada_b.py", "ada_b_2.py"}


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        submissions.found([tmp_path / "nowhere"])
    (tmp_path / ".hidden").write_text("")
    with pytest.raises(ValueError, match=r"no submission in .*\n.*\.hidden: hidden"):
        submissions.found([tmp_path])
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


def test_results_are_compared_by_what_they_hold():
    z = torch.complex(torch.ones(2), torch.arange(2.0))
    for a, b in (({1, 2}, frozenset({2, 1})), (True, torch.tensor(True)), (z, z.numpy()), (2, 2.0), ([1.0], (1,))):
        assert variants.alike(a, b), (a, b)
    for a, b in (
        ({1}, {2}),
        (True, torch.tensor(False)),
        (True, 1),
        (z, z.conj()),
        (z, z.real),
        ([1.0], [1.1]),
        (None, 0),
    ):
        assert not variants.alike(a, b), (a, b)


def test_an_exception_is_of_a_built_in_type_or_a_runtime_error():
    assert isinstance(box.exception("ValueError", "x"), ValueError) and isinstance(
        marking.exception_like("IndexError", "x", "", False), IndexError
    )
    for kind in ("print", "SystemExit", "Nonsense", "UnicodeDecodeError", "a b"):
        assert (
            type(box.exception(kind, "x")) is RuntimeError
            and type(marking.exception_like(kind, "x", "", False)) is RuntimeError
        )
