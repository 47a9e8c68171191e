"""`course export`, killed at random moments: no row that was written is lost, and the marks at the end are the same."""

import csv
import random
import shutil
import time

import pytest

from children import finish, start
from kfcourse import __main__ as course
from kfcourse import paths
from test_grading import RIGHT, handed_in


def export(root, *words):
    """`course export` of the tiny chapter in the checkout `root`, in a process of its own."""
    for name, part in {"ROOT": "", "DATA": "data", "CHAPTERS": "chapters", "WORK": "work", "BUILD": "build"}.items():
        setattr(paths, name, root / part)
    return course.main(["export", "97", *map(str, words)])


def rows(out):
    """The rows of marks.csv, whole as it has to be at any moment; none before there is one."""
    if not (out / "marks.csv").exists():
        return []
    with open(out / "marks.csv", encoding="utf-8", newline="") as file:
        found = [tuple(row.items()) for row in csv.DictReader(file, strict=True)]
    assert all(None not in dict(row) and None not in dict(row).values() for row in found)
    return found


def killed(checkout, tmp_path, count, seed):
    rng, log, out, hit = random.Random(seed), tmp_path / "log", tmp_path / "out", 0
    for name in "abc":
        handed_in(tmp_path / "in" / f"{name}.ipynb", **RIGHT if name != "b" else {"double": RIGHT["double"]})

    def run(out):
        return start(export, checkout, tmp_path / "in", "--out", out, log=log)

    began = time.monotonic()
    assert finish(run(tmp_path / "whole"), log, 600)[0] == 0
    seconds, wanted = time.monotonic() - began, (tmp_path / "whole" / "marks.csv").read_bytes()
    there = []
    while hit < count:
        process = run(out)
        process.join(rng.uniform(0.1, 0.95) * seconds)
        hit += process.exitcode is None
        process.kill()  # SIGKILL: no time to tidy up
        process.join()
        now = rows(out)
        assert set(there) <= set(now) and len(now) == len(set(now))
        there = now
        if len(there) == len(rows(tmp_path / "whole")) and not (out / "unfinished.jsonl").exists():
            assert (out / "marks.csv").read_bytes() == wanted
            if rng.random() < 0.5:  # otherwise the finished export is started again
                shutil.rmtree(out)
                there = []
    code, said = finish(run(out), log, 600)
    assert code == 0, said
    ends = [{p.relative_to(o): p.read_bytes() for p in o.rglob("*") if p.is_file()} for o in (out, tmp_path / "whole")]
    assert ends[0] == ends[1]


@pytest.mark.slow
def test_killed_once_no_row_is_lost_and_the_marks_are_the_same(tiny_path, checkout, tmp_path_factory):
    killed(checkout, tmp_path_factory.mktemp("export"), 1, seed=1)


@pytest.mark.long
@pytest.mark.slow
def test_killed_fifty_times_no_row_is_lost(tiny_path, checkout, tmp_path_factory):
    killed(checkout, tmp_path_factory.mktemp("export"), 50, seed=2)
