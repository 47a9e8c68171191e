"""Two processes that talk through gloo against one, on the CPU: the same labels, the same sums to rounding, kills
included.
"""

import itertools
import os
import random
import shutil
import socket
import subprocess
import sys

import pytest
import torch

from children import finish, start
from kfaclib.commands import cli
from kfaclib.curvature import distributed
from kfaclib.curvature.eigenbasis import decompose
from kfaclib.curvature.factor_file import load_factors
from kfaclib.curvature.factors import Factors
from kfaclib.io import storage


@pytest.mark.parametrize("d", [1, 5, 512, 513, 1100])
def test_a_packed_triangle_comes_back_and_is_little_more_than_half(d):
    matrix = torch.randn(d, d, generator=torch.Generator().manual_seed(d))
    packed, back = distributed.pack(matrix), torch.full((d, d), -7.0)
    assert len(packed) <= d * (d + 512) / 2 + d
    distributed.unpack_(back, packed)
    assert torch.equal(back.tril(), matrix.tril())
    assert torch.equal(distributed.pack(back), packed)


@pytest.mark.parametrize(("count", "world"), [(7, 3), (8, 2), (5, 5), (100, 7)])
def test_shares_are_contiguous_complete_and_even(count, world):
    shares = [distributed.share(count, rank, world) for rank in range(world)]
    assert [i for a, b in shares for i in range(a, b)] == list(range(count))
    assert max(b - a for a, b in shares) - min(b - a for a, b in shares) <= 1


def test_work_is_assigned_within_a_third_of_the_best_possible():
    rng = random.Random(0)
    for _ in range(30):
        costs, world = [rng.randint(1, 20) for _ in range(rng.randint(1, 7))], rng.randint(1, 3)

        def heaviest(ranks):
            return max(sum(c for c, r in zip(costs, ranks) if r == rank) for rank in range(world))

        best = min(heaviest(ranks) for ranks in itertools.product(range(world), repeat=len(costs)))
        assert 3 * heaviest(distributed.assign(costs, world)) <= 4 * best


def test_a_single_process_is_left_alone(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with distributed.processes() as place:
        assert place == (0, 1) == distributed.place() and not distributed.active()


def command(folder, out, *more):
    return [
        str(x)
        for x in (
            "collect",
            "--model",
            folder,
            "--layers",
            "*.3.mlp.*",
            "--rows",
            9,
            "--batch",
            2,
            "--checkpoint-minutes",
            0,
            "--out",
            out,
            *more,
        )
    ]


def pair(function, arguments, tmp_path):
    """Two started processes that form a group, as torchrun would start them, and their logs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    logs = [tmp_path / f"log {rank}" for rank in range(2)]
    shared = dict(WORLD_SIZE="2", LOCAL_WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    if sys.platform != "win32":
        shared["GLOO_SOCKET_IFNAME"] = "lo0" if sys.platform == "darwin" else "lo"  # whatever this machine calls itself
    return [
        start(function, *arguments, log=log, RANK=str(rank), LOCAL_RANK=str(rank), **shared)
        for rank, log in enumerate(logs)
    ], logs


def together(function, arguments, tmp_path):
    processes, logs = pair(function, arguments, tmp_path)
    ends = [finish(process, log) for process, log in zip(processes, logs)]
    assert [code for code, _ in ends] == [0, 0], ends
    return [said for _, said in ends]


def digest(out):
    return storage.digest(storage.read(out / "factors.safetensors", "factors", 2)[1])


@pytest.fixture(scope="module")
def by_two(folder, tmp_path_factory):
    """The folder that two processes collected into, and what each of them said."""
    path = tmp_path_factory.mktemp("two")
    return path / "out", together(cli.main, (command(folder, path / "out"),), path)


def test_two_processes_agree_with_one_to_rounding_and_count_every_token_once(folder, by_two, tmp_path):
    assert cli.main(command(folder, tmp_path / "one")) == 0
    one, two = load_factors(tmp_path / "one"), load_factors(by_two[0])
    for name in one:
        assert one[name].tokens == two[name].tokens == 9 * 127
        for side in "AG":
            x, y = getattr(one[name], side), getattr(two[name], side)
            assert (x - y).norm() < 1e-6 * x.norm() and torch.equal(y, y.T)
    assert not [p.name for p in by_two[0].iterdir() if p.name.startswith((".", "checkpoint"))]
    first, second = by_two[1]
    assert "on 2 processes" in first and "tokens; factors" in first and "tokens; factors" not in second


@pytest.mark.long
@pytest.mark.slow
def test_two_processes_of_which_one_is_killed_go_on_and_end_with_the_same_bits(folder, by_two, tmp_path):
    out = tmp_path / "out"
    for victim in (0, 1):  # the other one waits for it, as torchrun it would be ended too
        processes, logs = pair(cli.main, (command(folder, out),), tmp_path)
        processes[victim].join(0.8)
        for process in (processes[victim], processes[1 - victim]):
            process.kill()
            process.join()
    together(cli.main, (command(folder, out),), tmp_path)
    assert digest(out) == digest(by_two[0])


@pytest.mark.long
@pytest.mark.slow
def test_a_process_that_goes_on_and_one_that_begins_anew_still_add_up_the_same_sums(
    folder, by_two, tmp_path, monkeypatch
):
    # what a checkpoint holds comes back in another order: the sums must not be matched by order
    out = tmp_path / "out"
    together(stop_before_the_end, (command(folder, out),), tmp_path)
    shutil.copy(out / "checkpoint-0.safetensors", tmp_path / "kept")
    (out / "checkpoint-1.safetensors").unlink()
    together(cli.main, (command(folder, out),), tmp_path)
    assert digest(out) == digest(by_two[0])


def stop_before_the_end(words):
    """Collects all windows, and ends before the sums are added up."""

    def leave(sums):
        os._exit(0)

    distributed.add_up_ = leave
    return cli.main(words)


def test_checkpoints_of_two_processes_are_not_taken_by_one(folder, tmp_path, capsys):
    out = tmp_path / "out"
    together(stop_before_the_end, (command(folder, out),), tmp_path)
    assert cli.main(command(folder, out)) == 1
    assert "processes '2' instead of '1'" in capsys.readouterr().err


def test_eigendecompositions_are_shared_out_and_everyone_has_all(tmp_path):
    torch.manual_seed(0)
    factors = {}
    for name, width in (("a", 12), ("b", 7), ("c", 9)):
        x = torch.randn(40, width)
        factors[name] = Factors(x.T @ x, torch.eye(5) + torch.ones(5, 5), 40)
    alone = decompose(factors)
    together(decompose_in_a_group, (factors, str(tmp_path)), tmp_path)
    calls = []
    for rank in range(2):
        header, tensors = storage.read(tmp_path / f"bases-{rank}", "bases")
        calls.append(header["calls"])
        for name, basis in alone.items():
            assert torch.equal(tensors[f"{name}.Q_A"], basis.Q_A) and torch.equal(
                tensors[f"{name}.lambda_G"], basis.lambda_G
            )
    assert sum(calls) == 6 and min(calls) > 0


def decompose_in_a_group(factors, folder):
    calls, real = [], torch.linalg.eigh
    torch.linalg.eigh = lambda x: calls.append(len(x)) or real(x)
    with distributed.processes() as (rank, world):
        bases = decompose(factors)
    tensors = {
        f"{name}.{key}": getattr(basis, key).contiguous()
        for name, basis in bases.items()
        for key in ("Q_A", "Q_G", "lambda_A", "lambda_G")
    }
    storage.write(f"{folder}/bases-{rank}", tensors, {"format": "kfaclib bases 1", "calls": len(calls)})


@pytest.mark.slow
@pytest.mark.long  # chapter 18 starts it, too
def test_torchrun_starts_it(folder, by_two, tmp_path):
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "kfaclib"]
    subprocess.run([*words, *command(folder, tmp_path / "out")], check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert digest(tmp_path / "out") == digest(by_two[0])
