"""Where Triton is not installed, chapter 15's exercises run on a few words of it in NumPy, with the same verdicts."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from kfcourse.ch15 import without_triton
from kfcourse.ch15.without_triton import tl, triton
from kfcourse.learning import exercises
from shared import right_answers, wrong_answers

JUDGE = """
import importlib.util, json, sys
plain = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "triton" else plain(name, *more)
sys.path.insert(0, sys.argv[1])
from test_ch15_without_triton import verdicts
print(json.dumps([verdicts(), "triton" in sys.modules]))
"""
KERNELS = ("15.copy_kernel", "15.row_sum_kernel", "15.tile_kernel", "15.triangle_kernel")


def verdicts():
    """{exercise: [[function, state, message]]} of all answers that are kernels."""
    found = {}
    for i in KERNELS:
        answers = [f for f, _ in wrong_answers("15")[i]] + right_answers("15")[i]
        judged = [(f.__name__, exercises.judge(exercises.exercise_facts(i), f)) for f in answers]
        found[i] = [[name, verdict.state, verdict.message] for name, verdict in judged]
    return found


def test_every_answer_gets_the_same_verdict_with_triton_and_without():
    folders = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    code = JUDGE.replace("sys.path.insert(0, sys.argv[1])", f"sys.path[:0] = {folders!r}")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    without, imported = json.loads(done.stdout)
    assert not imported and without == verdicts()
    assert {state for answers in without.values() for _, state, _ in answers} == {"right", "wrong"}


def test_a_pointer_begins_where_its_tensor_begins_and_reaches_what_lies_behind_it():
    around = torch.zeros(12)
    part = around[3:7]

    def kernel(x):
        tl.store(x + tl.arange(0, 2) * 4, 1.0)

    triton.jit(kernel)[(1,)](part)
    assert around.nonzero().flatten().tolist() == [3, 7]


@pytest.mark.parametrize("length", [0, 3, 12])
def test_a_block_that_is_no_power_of_two_is_refused_as_by_triton(length):
    with pytest.raises(ValueError, match="power of 2"):
        tl.arange(0, length)


def test_every_program_of_a_grid_runs_once():
    seen = []
    without_triton.Kernel(lambda: seen.append((tl.program_id(0), tl.program_id(1))))[(2, 3)]()
    assert seen == [(i, j) for i in range(2) for j in range(3)]
