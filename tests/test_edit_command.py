"""`kfac edit`: the original is untouched, the result is complete, and no work is done twice."""

import json
import os
import random
import shutil
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

from children import finish, start
from kfaclib.commands import cli
from kfaclib.curvature.eigenbasis import decompose
from kfaclib.curvature.factor_file import load_factors
from kfaclib.editing import baselines
from kfaclib.io import files
from shared import kfac

LAYERS = "*.[23].mlp.up_proj"


@pytest.fixture(scope="module")
def factors(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("collected") / "factors"
    assert kfac("collect", "--model", folder, "--layers", LAYERS, "--rows", 4, "--out", path) == 0
    return path


def weights(folder):
    return load_file(folder / "model.safetensors")


def test_the_model_itself_is_refused_as_out_and_keeps_its_bytes(folder, factors, tmp_path, capsys):
    before = files.sha256(folder / "model.safetensors")
    (tmp_path / "link").symlink_to(folder)
    for out in (folder, f"{folder}/../{folder.name}", tmp_path / "link"):
        assert kfac("edit", "--model", folder, "--factors", factors, "--mass", 0.5, "--out", out) == 1
        assert kfac("collect", "--model", folder, "--layers", LAYERS, "--rows", 4, "--out", out) == 1
        assert capsys.readouterr().err.count("is the model itself") == 2
    assert files.sha256(folder / "model.safetensors") == before
    files.check_manifest(folder)


def test_another_model_is_not_overwritten_either(folder, factors, tmp_path, capsys):
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    assert kfac("edit", "--model", folder, "--factors", factors, "--mass", 0.5, "--out", other) == 1
    assert "edit.json" in capsys.readouterr().err
    files.check_manifest(other)


def test_a_second_mass_decomposes_nothing_and_the_users_card_stays(folder, factors, tmp_path, monkeypatch, capsys):
    words = ("edit", "--model", folder, "--factors", factors, "--out", tmp_path / "e")
    assert kfac(*words, "--mass", 0.5) == 0
    assert "layers: model.layers.{2-3}.mlp.up_proj" in capsys.readouterr().err
    first = weights(tmp_path / "e")
    (tmp_path / "e" / "README.md").write_text("card")

    def fail(*_):
        raise AssertionError("decomposed again")

    with monkeypatch.context() as patch:
        patch.setattr(torch.linalg, "eigh", fail)
        assert kfac(*words, "--mass", 0.6) == 0
        assert any(not torch.equal(first[k], x) for k, x in weights(tmp_path / "e").items())
        assert kfac(*words, "--mass", 0.5) == 0  # from the kept eigenvectors, with the bits of the first time
    assert all(torch.equal(first[k], x) for k, x in weights(tmp_path / "e").items())
    (tmp_path / "e" / "README.md").write_text("card of mass 0.5")
    record = files.read_json(tmp_path / "e" / "edit.json")
    assert "README.md" not in files.read_json(tmp_path / "e" / "manifest.json")
    assert record["mass"] == record["options"]["mass"] == 0.5 and record["options"]["factors"] == str(factors)
    files.check_manifest(tmp_path / "e")


def test_damaged_eigenvectors_are_made_again(folder, factors, tmp_path):
    words = ("edit", "--model", folder, "--factors", factors, "--mass", 0.5)
    assert kfac(*words, "--out", tmp_path / "a") == 0
    for path in (factors / "bases").iterdir():
        data = bytearray(path.read_bytes())
        data[-3] ^= 1
        path.write_bytes(data)
    assert kfac(*words, "--out", tmp_path / "b") == 0
    assert all(torch.equal(x, weights(tmp_path / "b")[k]) for k, x in weights(tmp_path / "a").items())


@pytest.mark.parametrize("said", [None, "float16"])
def test_every_tensor_keeps_the_dtype_it_is_stored_in_whatever_the_configuration_says(folder, tmp_path, said):
    model = tmp_path / "m"
    shutil.copytree(folder, model)
    (model / "manifest.json").unlink()
    config = json.loads((model / "config.json").read_text())
    config.pop("dtype")
    (model / "config.json").write_text(json.dumps(config | ({"dtype": said} if said else {})))
    tensors = weights(model)
    tensors["model.layers.0.self_attn.q_proj.weight"][0, 0] = 1e5  # infinite as a float16
    tensors["model.norm.weight"] = tensors["model.norm.weight"].float()
    save_file(tensors, model / "model.safetensors", {"format": "pt"})
    layer = "model.layers.3.mlp.up_proj"
    assert (
        kfac("collect", "--model", model, "--layers", layer, "--rows", 2, "--dtype", "float32", "--out", tmp_path / "f")
        == 0
    )
    assert kfac("edit", "--model", model, "--factors", tmp_path / "f", "--mass", 0.7, "--out", tmp_path / "e") == 0
    after = weights(tmp_path / "e")
    assert {k: x.dtype for k, x in after.items()} == {k: x.dtype for k, x in tensors.items()}
    assert [k for k, x in tensors.items() if not torch.equal(x, after[k])] == [f"{layer}.weight"]
    assert files.read_json(tmp_path / "e" / "config.json")["dtype"] == "bfloat16"


@pytest.mark.skipif(os.name != "posix", reason="limits on the size of a file are POSIX's")
def test_a_disk_that_fills_up_leaves_no_half_model(folder, factors, tmp_path):
    words = ["edit", "--model", folder, "--factors", factors, "--mass", "0.5", "--out", tmp_path / "e"]
    code, said = finish(start(limited, [str(x) for x in words], log=tmp_path / "log"), tmp_path / "log", 600)
    assert code == 1 and "cannot be written" in said and "Traceback" not in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log"]


def limited(words):
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    return cli.main(words)


def killed(folder, factors, tmp_path, count, seed):
    """Kill `kfac edit` at `count` random moments; each time the next run goes on, and the bits at the end are those of
    a run that was left alone."""
    rng, log, hit = random.Random(seed), tmp_path / "log", 0
    collected = tmp_path / "factors"
    shutil.copytree(factors, collected, ignore=shutil.ignore_patterns("bases"))

    def words(out):
        return [str(x) for x in ("edit", "--model", folder, "--factors", collected, "--mass", 0.5, "--out", out)]

    began = time.monotonic()
    assert finish(start(cli.main, words(tmp_path / "whole"), log=log), log, 600)[0] == 0
    seconds, whole = time.monotonic() - began, weights(tmp_path / "whole")
    while hit < count:
        shutil.rmtree(collected / "bases")
        shutil.rmtree(tmp_path / "e", ignore_errors=True)
        process = start(cli.main, words(tmp_path / "e"), log=log)
        process.join(rng.uniform(0.2, 0.95) * seconds)
        hit += process.exitcode is None
        process.kill()  # SIGKILL: no time to tidy up
        process.join()
        if (tmp_path / "e").exists():
            files.check_manifest(tmp_path / "e")
        (collected / "bases").mkdir(exist_ok=True)
        code, said = finish(start(cli.main, words(tmp_path / "e"), log=log), log, 600)
        assert code == 0, said
        after = weights(tmp_path / "e")
        assert all(torch.equal(x, after[k]) for k, x in whole.items())
        assert not [path.name for path in tmp_path.iterdir() if "partial" in path.name]
        assert not [path.name for path in (collected / "bases").iterdir() if path.name.startswith(".")]


def test_killed_once_it_goes_on_and_ends_with_the_same_bits(folder, factors, tmp_path):
    killed(folder, factors, tmp_path, 1, seed=1)


@pytest.mark.long
@pytest.mark.slow
def test_killed_fifty_times_nothing_is_lost(folder, factors, tmp_path):
    killed(folder, factors, tmp_path, 50, seed=2)


def test_files_of_others_in_the_folder_of_factors_stay(folder, tmp_path, capsys):
    out = tmp_path / "o"
    out.mkdir()
    (out / "factors-old.safetensors").write_text("mine")
    (out / "manifest.json").write_text('{"name": "web app"}')
    words = ("collect", "--model", folder, "--layers", "model.layers.3.mlp.up_proj", "--rows", 2, "--out", out)
    assert kfac(*words) == kfac(*words, "--restart") == 1
    assert capsys.readouterr().err.count("manifest.json does not list an earlier result") == 2
    assert json.loads((out / "manifest.json").read_text()) == {"name": "web app"}
    (out / "manifest.json").unlink()
    assert kfac(*words) == kfac(*words, "--restart") == 0
    assert (out / "factors-old.safetensors").read_text() == "mine"
    assert set(files.read_json(out / "manifest.json")) == {
        "collection.json",
        "factors.safetensors",
        "windows.safetensors",
    }
    assert kfac("edit", "--model", folder, "--factors", out, "--mass", 0.5, "--out", tmp_path / "e") == 0
    save_file({"x": torch.ones(2)}, tmp_path / "factors.safetensors")
    assert kfac(*words[:-1], tmp_path) == 1
    assert "was not written by `kfac collect`" in capsys.readouterr().err


def test_a_block_is_deleted_in_place_of_the_staircase(folder, factors, tmp_path, capsys):
    words = ("edit", "--model", folder, "--factors", factors, "--out", tmp_path / "e")
    assert kfac(*words, "--block", 0.6, "--mass", 0.5) == 1
    assert "give one of them" in capsys.readouterr().err
    assert kfac(*words, "--block", 0.6) == 0
    record = files.read_json(tmp_path / "e" / "edit.json")
    assert record["block"] == 0.6 and record["mass"] is None
    basis = decompose(load_factors(factors))
    before, after = weights(folder), weights(tmp_path / "e")
    for name, one in basis.items():
        key = f"{name}.weight"
        expected = baselines.block_edit(before[key].float(), one, 0.6).to(after[key].dtype)
        assert torch.allclose(after[key].float(), expected.float(), atol=1e-2)
        O, I = (round(0.4 * n) for n in after[key].shape)
        inside = (one.Q_G.T @ after[key].float() @ one.Q_A)[O:, I:]
        assert inside.norm() < 0.02 * before[key].float().norm()  # what bfloat16 leaves of zero
