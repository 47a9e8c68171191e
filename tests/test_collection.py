"""A long collection: planned, killed, gone on with, out of memory, on a full disk; never a wrong factor."""

import errno
import itertools
import json
import os
import random
import shutil
import time

import pytest
import torch

from children import finish, start
from kfaclib.collecting import resumable
from kfaclib.commands import cli
from kfaclib.curvature.factor_file import load_factors
from kfaclib.curvature.factors import collect_factors
from kfaclib.curvature.layers import factor_bytes, linear_layers
from kfaclib.curvature.passes import shared_inputs
from kfaclib.io import folders, storage

SETTINGS = {"labels": "sampled", "seed": 3, "model": "a test"}


@pytest.fixture
def windows():
    return torch.randint(3, 37, (11, 9), generator=torch.Generator().manual_seed(0))


def quiet(text):
    pass


def collected(model, windows, out, patterns="*.mlp.*", passes=1, batch=4, every=600.0, say=quiet, **settings):
    """{name: Factors} of `resumable.collect` into the folder `out`."""
    layers = linear_layers(model, patterns)
    owner = shared_inputs(model, layers)
    settings = SETTINGS | {"passes": resumable.plan(layers, owner, 10**9, passes)} | settings
    resumable.collect(model, layers, windows, out, settings, batch=batch, every=every, progress=False, say=say)
    return load_factors(out, layers)


def apart(one, other):
    """Largest relative difference between two sets of factors of the same layers."""
    assert set(one) == set(other)
    return max(
        ((getattr(one[n], s) - getattr(other[n], s)).norm() / getattr(one[n], s).norm()).item()
        for n in one
        for s in "AG"
    )


# the plan


def test_the_plan_takes_the_fewest_passes_that_fit_and_splits_no_shared_input(tiny_olmo):
    model = tiny_olmo(num_hidden_layers=3)
    layers = linear_layers(model, "*_proj")
    owner = shared_inputs(model, layers)
    sizes = [factor_bytes({n: layers[n] for n in g}, owner) for g in resumable.groups(owner)]
    assert sum(sizes) == factor_bytes(layers, owner)
    cuts = range(1, len(sizes))
    for room in (max(sizes), max(sizes) + 4000, sum(sizes) // 2, sum(sizes) - 1, sum(sizes)):
        passes = resumable.plan(layers, owner, room)
        assert list(itertools.chain(*passes)) == list(layers)
        assert all(factor_bytes({n: layers[n] for n in names}, owner) <= room for names in passes)
        assert {owner[n] for n in passes[0]}.isdisjoint({owner[n] for names in passes[1:] for n in names})
        if len(passes) > 1:  # no way to cut into fewer
            for chosen in itertools.combinations(cuts, len(passes) - 2):
                edges = [0, *chosen, len(sizes)]
                assert max(sum(sizes[a:b]) for a, b in itertools.pairwise(edges)) > room


def test_the_plan_can_be_prescribed_and_says_what_to_do_when_nothing_fits(tiny_olmo):
    model = tiny_olmo()
    layers = linear_layers(model)
    owner = shared_inputs(model, layers)
    assert len(resumable.plan(layers, owner, 10**9, passes=2)) == 2
    with pytest.raises(MemoryError, match="--passes.*--batch.*--sums cpu"):
        resumable.plan(layers, owner, 4000)
    with pytest.raises(MemoryError, match="1 passes need .* 2 passes are needed"):
        resumable.plan(layers, owner, factor_bytes(layers, owner) - 1, passes=1)


def test_memory_of_the_sums_is_what_the_plan_says(tiny_olmo, windows, tmp_path):
    model = tiny_olmo().float()
    found = collected(model, windows, tmp_path)
    layers = linear_layers(model)
    distinct = {x.data_ptr(): x.nbytes for f in found.values() for x in (f.A, f.G)}
    assert sum(distinct.values()) == factor_bytes(layers, shared_inputs(model, layers))


# what must not change the factors


def test_passes_batches_and_where_the_sums_live_change_nothing_but_rounding(tiny_olmo, windows, tmp_path):
    model = tiny_olmo()
    one = collected(model, windows, tmp_path / "one")
    assert {f.tokens for f in one.values()} == {11 * 8}
    assert apart(one, collected(model, windows, tmp_path / "many", passes=4)) < 1e-12
    assert apart(one, collected(model, windows, tmp_path / "batches", batch=3)) < 1e-12
    assert apart(one, collected(model, windows, tmp_path / "seed", seed=4)) > 1e-3
    files = sorted(p.name for p in (tmp_path / "many").iterdir())
    assert files == [f"factors-{i}-of-4.safetensors" for i in (1, 2, 3, 4)]


def test_with_the_datas_labels_it_is_the_plain_collection(tiny_olmo, windows, tmp_path):
    model = tiny_olmo()
    plain = collect_factors(model, [windows], linear_layers(model), labels="data", generator=None, progress=False)
    assert apart(plain, collected(model, windows, tmp_path, labels="data")) < 1e-12


def test_the_random_numbers_of_a_window_depend_on_seed_and_number_alone():
    whole = resumable.window_uniform(0, 0, 7, 5)
    assert torch.equal(whole[3:6], resumable.window_uniform(0, 3, 6, 5))
    assert whole.unique().numel() == 35 and not torch.equal(whole, resumable.window_uniform(1, 0, 7, 5))
    assert 0.3 < resumable.window_uniform(2, 0, 50, 40).mean() < 0.7


# interrupted


class Stop(BaseException):
    pass


def interrupt_after(monkeypatch, calls):
    """`collection` stops like a killed process at its calls-th batch."""
    counter = itertools.count(1)
    real = resumable.batch_of

    def batch_of(*arguments):
        if next(counter) == calls:
            raise Stop
        return real(*arguments)

    monkeypatch.setattr(resumable, "batch_of", batch_of)


@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize("every", [0.0, 600.0])
def test_stopped_at_any_batch_it_goes_on_and_ends_with_the_same_bits(
    tiny_olmo, windows, tmp_path, monkeypatch, passes, every
):
    model = tiny_olmo().float()
    whole = collected(model, windows, tmp_path / "whole", passes=passes, batch=2)
    for calls in range(1, 6 * passes + 1):
        out = tmp_path / f"stopped {calls}"
        with monkeypatch.context() as patch:
            interrupt_after(patch, calls)
            with pytest.raises(Stop):
                collected(model, windows, out, passes=passes, batch=2, every=every)
        again = collected(model, windows, out, passes=passes, batch=2, every=every)
        assert apart(whole, again) == 0 and not list(out.glob("checkpoint*"))


def test_it_goes_on_from_the_last_checkpoint_and_does_not_begin_anew(tiny_olmo, windows, tmp_path, monkeypatch):
    said = []
    interrupt_after(monkeypatch, 4)
    with pytest.raises(Stop):
        collected(tiny_olmo(), windows, tmp_path, batch=2, every=0.0)
    collected(tiny_olmo(), windows, tmp_path, batch=2, every=0.0, say=said.append)
    assert said == ["going on from window 6 of 11"]


@pytest.fixture
def stopped(tiny_olmo, windows, tmp_path, monkeypatch):
    """(model, folder with a checkpoint, the checkpoint's path)."""
    model = tiny_olmo()
    with monkeypatch.context() as patch:
        interrupt_after(patch, 3)
        with pytest.raises(Stop):
            collected(model, windows, tmp_path, every=0.0)
    return model, tmp_path, tmp_path / "checkpoint-0.safetensors"


def test_a_damaged_checkpoint_is_refused_wherever_it_is_hit(stopped, windows):
    model, out, path = stopped
    data, rng = path.read_bytes(), random.Random(0)
    for _ in range(60):
        broken = bytearray(data)
        if rng.random() < 0.3:
            broken = broken[: rng.randrange(len(data))]
        else:
            broken[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"checkpoint-0\.safetensors"):
            collected(model, windows, out)
        assert not list(out.glob("factors*"))
    path.write_bytes(data)
    collected(model, windows, out)


def test_a_checkpoint_of_another_collection_is_refused_with_what_differs(stopped, windows):
    model, out, path = stopped
    with pytest.raises(ValueError, match="seed '3' instead of '4'.*another --out.*--restart"):
        collected(model, windows, out, seed=4)
    with pytest.raises(ValueError, match="passes"):
        collected(model, windows, out, passes=2)
    storage.write(path, {"x": torch.ones(2)}, {"format": "kfaclib windows 1"})
    with pytest.raises(ValueError, match="not one of checkpoint"):
        collected(model, windows, out)


@pytest.mark.parametrize("name", ["factors.safetensors", "collection.json", "checkpoint-0.safetensors"])
def test_a_file_that_nobody_can_read_is_not_ours_where_nothing_else_is(tmp_path, name):
    (tmp_path / name).write_text("my notes")
    with pytest.raises(ValueError, match=f"{name} was not written by `kfac collect`"):
        resumable.check_folder(tmp_path)
    storage.write(tmp_path / "windows.safetensors", {"x": torch.ones(2)}, {"format": "kfaclib windows 1"})
    resumable.check_folder(tmp_path)  # beside one of ours it is one of ours, damaged


def test_a_folder_under_a_name_of_ours_is_refused(tmp_path):
    (tmp_path / "windows.safetensors").mkdir()
    with pytest.raises(ValueError, match="was not written by `kfac collect`"):
        resumable.check_folder(tmp_path)


def test_finished_factors_of_another_collection_are_not_taken_over(tiny_olmo, windows, tmp_path):
    collected(tiny_olmo(), windows, tmp_path)
    with pytest.raises(ValueError, match=r"factors\.safetensors belongs to another collection.*seed"):
        collected(tiny_olmo(), windows, tmp_path, seed=9)


# trouble


def limit_memory(model, rows):
    """A forward pass of more than `rows` windows runs out of memory, in the middle of the model."""

    def hook(module, inputs, output):
        if len(inputs[0]) > rows and inputs[0].shape[1] > 2:  # not in the two tokens that ask who shares an input
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    return model.model.layers[1].post_attention_layernorm.register_forward_hook(hook)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_out_of_memory_it_takes_smaller_batches_and_finds_the_same(tiny_olmo, windows, tmp_path, rows):
    model, said = tiny_olmo(), []
    plenty = collected(model, windows, tmp_path / "plenty", batch=8)
    hook = limit_memory(model, rows)
    scarce = collected(model, windows, tmp_path / "scarce", batch=8, say=said.append)
    hook.remove()
    assert apart(plenty, scarce) < 1e-12 and {f.tokens for f in scarce.values()} == {11 * 8}
    assert [int(text.split()[6]) for text in said] == [4, 2, 1][: 3 if rows == 1 else 2]


def test_out_of_memory_on_the_way_back_and_after_a_checkpoint_too(tiny_olmo, windows, tmp_path, monkeypatch):
    model = tiny_olmo()
    plenty = collected(model, windows, tmp_path / "plenty", batch=6)
    real, counter = torch.Tensor.backward, itertools.count()

    def backward(self, *arguments, **options):
        if next(counter) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, *arguments, **options)

    monkeypatch.setattr(torch.Tensor, "backward", backward)
    assert apart(plenty, collected(model, windows, tmp_path / "scarce", batch=6, every=0.0)) < 1e-12


def test_out_of_memory_with_a_single_window_says_what_to_do_and_keeps_the_checkpoint(tiny_olmo, windows, tmp_path):
    model = tiny_olmo()
    hook = limit_memory(model, 0)
    with pytest.raises(MemoryError, match="single window.*--passes.*--sums cpu.*--length"):
        collected(model, windows, tmp_path)
    hook.remove()
    assert not list(tmp_path.glob("factors*")) and not any(m._forward_hooks for m in model.modules())


def test_out_of_memory_while_a_batch_is_added_is_an_error_and_the_checkpoint_goes_on(
    tiny_olmo, windows, tmp_path, monkeypatch
):
    from kfaclib.curvature import factors

    model, counter, real = tiny_olmo().float(), itertools.count(), factors.add_
    whole = collected(model, windows, tmp_path / "whole")

    def add_(*arguments):
        if next(counter) == 17:  # ten sums a batch: in the middle of the second one
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(factors, "add_", add_)
        with pytest.raises(MemoryError, match="while a batch was being added.*smaller --batch"):
            collected(model, windows, tmp_path / "out", every=0.0)
    assert apart(whole, collected(model, windows, tmp_path / "out")) == 0


def test_values_that_are_not_finite_name_the_windows_and_leave_no_factors(tiny_olmo, windows, tmp_path):
    model = tiny_olmo()
    with torch.no_grad():
        model.model.embed_tokens.weight[5] = torch.nan
    first = next(i for i in range(0, 11, 2) if (windows[i : i + 2] == 5).any())
    with pytest.raises(FloatingPointError, match=f"windows {first} to {first + 1} of .*gate_proj.*not finite"):
        collected(model, windows, tmp_path, batch=2, every=0.0)
    assert not list(tmp_path.glob("factors*"))


@pytest.mark.parametrize("which", ["checkpoint", "factors"])
def test_a_disk_that_fills_up_is_said_and_once_there_is_room_it_goes_on(
    tiny_olmo, windows, tmp_path, monkeypatch, which
):
    model, counter, real = tiny_olmo().float(), itertools.count(), storage.save_file
    whole = collected(model, windows, tmp_path / "whole")

    def save_file(tensors, path, metadata):
        if which in path.name and next(counter) == (2 if which == "checkpoint" else 0):
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(tensors, path, metadata=metadata)

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(storage, "save_file", save_file)
        with pytest.raises(OSError, match="cannot be written.*No space left.*same command"):
            collected(model, windows, out, every=0.0)
    assert [p.name for p in out.iterdir()] == ["checkpoint-0.safetensors"]
    assert apart(whole, collected(model, windows, out)) == 0


def test_too_small_a_disk_is_said_before_the_work(tmp_path, monkeypatch):
    folders.check_room(tmp_path / "to" / "come", 1000, "factors")
    with pytest.raises(OSError, match="need .* GiB and the disk has"):
        folders.check_room(tmp_path / "to" / "come", 2**60, "factors")


# real processes


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
            8,
            "--batch",
            1,
            "--passes",
            2,
            "--checkpoint-minutes",
            0,
            "--out",
            out,
            *more,
        )
    ]


def run_to_the_end(folder, out, log):
    code, said = finish(start(cli.main, command(folder, out), log=log), log)
    assert code == 0, said
    return storage.digest(
        storage.read(out / "factors-1-of-2.safetensors", "factors", 2)[1]
        | storage.read(out / "factors-2-of-2.safetensors", "factors", 2)[1]
    )


def kills(folder, tmp_path, count, seed):
    """Kill the collector at `count` random moments, each time it goes on, and begins anew when it was through; checks
    that the bits at the end are always the same, and that nothing half-written stays."""
    rng, out, log, hit = random.Random(seed), tmp_path / "killed", tmp_path / "log", 0
    finish(start(cli.main, ["plan", "--model", str(folder)], log=log), log)  # imports, caches
    began = time.monotonic()
    whole = run_to_the_end(folder, tmp_path / "whole", log)
    seconds = time.monotonic() - began
    while hit < count:
        process = start(cli.main, command(folder, out), log=log)
        process.join(rng.uniform(0.05, 0.9) * seconds)
        hit += process.exitcode is None
        process.kill()
        process.join()
        if (out / "manifest.json").exists():
            assert run_to_the_end(folder, out, log) == whole
            shutil.rmtree(out)
    assert run_to_the_end(folder, out, log) == whole
    litter = [p.name for p in out.iterdir() if p.name.startswith((".", "checkpoint"))]
    assert not litter, litter


def test_killed_at_a_random_moment_nothing_is_lost(folder, tmp_path):
    kills(folder, tmp_path, 1, seed=1)


@pytest.mark.long
@pytest.mark.slow
def test_killed_fifty_times_nothing_is_lost(folder, tmp_path):
    kills(folder, tmp_path, 50, seed=2)


@pytest.mark.skipif(os.name != "posix", reason="limits on the size of a file are POSIX's")
def test_a_file_that_may_not_grow_is_a_clear_error(folder, tmp_path):
    code, said = finish(start(limited, command(folder, tmp_path / "out"), log=tmp_path / "log"), tmp_path / "log")
    assert code == 1 and "cannot be written" in said and "Traceback" not in said
    assert not list((tmp_path / "out").glob("factors*")) and not list((tmp_path / "out").glob(".*"))


def limited(words):
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    return cli.main(words)


def test_the_folder_says_what_is_in_it(folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert cli.main(command(folder, out)) == 0
    said = capsys.readouterr().out
    assert "2 passes" in said and "8 windows of 128 tokens" in said
    manifest, record = (json.loads((out / name).read_text()) for name in ("manifest.json", "collection.json"))
    assert set(manifest) == {
        "collection.json",
        "windows.safetensors",
        "factors-1-of-2.safetensors",
        "factors-2-of-2.safetensors",
    }
    assert (
        record["settings"]["seed"] == 0 and record["corpus"]["rows"] == 8 and record["provenance"]["versions"]["torch"]
    )
    assert cli.main(command(folder, out)) == 0  # it is all there
    capsys.readouterr()
    assert cli.main(command(folder, out, "--seed", 1)) == 1 and "--restart" in capsys.readouterr().err
    assert cli.main(command(folder, out, "--seed", 1, "--restart", "--rows", 4)) == 0
    capsys.readouterr()
    assert cli.main(["edit", "--model", str(folder), "--factors", str(out), "--out", str(tmp_path / "e")]) == 1
    assert "--mass" in capsys.readouterr().err
    assert (
        cli.main(["edit", "--model", str(folder), "--factors", str(out), "--mass", "0.9", "--out", str(tmp_path / "e")])
        == 0
    )
