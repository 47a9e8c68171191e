"""`kfac` as a user meets it: the commands in a row, and what bad input gets."""

import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from kfaclib.collecting import planning
from kfaclib.lm import models
from kfaclib.toy import small_olmo2, training
from kfaclib.toy import world as w
from shared import kfac

LAYER = "model.layers.3.mlp.gate_proj"


def test_collect_edit_and_evaluate_in_a_row(folder, tmp_path, capsys):
    assert (
        kfac("collect", "--model", folder, "--layers", LAYER, "--rows", 8, "--batch", 4, "--out", tmp_path / "f") == 0
    )
    said = capsys.readouterr().out
    assert "1 layers; their factors need 1.1 MiB" in said and "1016 tokens" in said
    assert kfac("edit", "--model", folder, "--factors", tmp_path / "f", "--mass", 0.8, "--out", tmp_path / "e") == 0
    assert LAYER in capsys.readouterr().out
    before, after = load_file(folder / "model.safetensors"), load_file(tmp_path / "e" / "model.safetensors")
    changed = [k for k in before if not torch.equal(before[k], after[k])]
    assert changed == [f"{LAYER}.weight"] and after[changed[0]].dtype == torch.bfloat16
    AutoModelForCausalLM.from_pretrained(tmp_path / "e")
    quotes = [
        {"prefix_ids": [1, *w.encode(q[:63])], "suffix_ids": w.encode(q[63:])}
        for q in small_olmo2.load_world(folder).quotes
    ]
    rows = tmp_path / "quotes.jsonl"
    rows.write_text("\n".join(map(json.dumps, quotes)))
    assert kfac("evaluate", "--model", tmp_path / "e", "--sequences", rows, "--json", tmp_path / "r.json") == 0
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["sequences"]["windows"] == 6 and result["provenance"]["versions"]["torch"]
    assert kfac("evaluate", "--model", tmp_path / "e", "--json", tmp_path / "w.json") == 0
    assert "deduction" in json.loads((tmp_path / "w.json").read_text())["row"]["tasks"]


def test_text_of_ones_own_can_be_collected_on_and_measured(folder, tmp_path):
    text = tmp_path / "text.jsonl"
    text.write_text("\n".join(json.dumps({"text": "ada gave the anchor to ben . " * 20}) for _ in range(3)))
    assert (
        kfac("collect", "--model", folder, "--layers", LAYER, "--corpus", text, "--length", 32, "--out", tmp_path / "f")
        == 0
    )
    assert kfac("evaluate", "--model", folder, "--text", text, "--length", 32, "--json", tmp_path / "r.json") == 0
    whole = json.loads((tmp_path / "r.json").read_text())["text"]["corpus"]
    words = ("evaluate", "--model", folder, "--text", text, "--length", 32, "--limit", 1, "--json", tmp_path / "r.json")
    assert kfac(*words) == 0
    assert whole > 1 and json.loads((tmp_path / "r.json").read_text())["text"]["corpus"] != whole


@pytest.fixture(scope="module")
def factors(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("factors")
    assert kfac("collect", "--model", folder, "--layers", LAYER, "--rows", 4, "--out", path) == 0
    return path / "factors.safetensors"


def fails(capsys, *words):
    assert kfac(*words) == 1
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said


def test_the_text_that_is_measured_is_not_written_over(folder, tmp_path, capsys):
    text = tmp_path / "text.jsonl"
    text.write_text('{"text": "ada gave the anchor to ben ."}\n')
    said = fails(capsys, "evaluate", "--model", folder, "--text", text, "--json", text)
    assert "is there already and is no result of a command" in said and "ada" in text.read_text()


def test_a_file_that_is_not_there_is_named_first(folder, tmp_path, capsys):
    said = fails(capsys, "evaluate", "--model", folder, "--text", tmp_path / "none.jsonl")
    assert said.startswith(f"kfac: {tmp_path / 'none.jsonl'}: ") and "Errno" not in said


def test_an_unknown_layer_names_some_that_exist(folder, tmp_path, capsys):
    said = fails(capsys, "collect", "--model", folder, "--layers", "transformer.h.*.mlp.c_fc", "--out", tmp_path)
    assert "transformer.h.*.mlp.c_fc" in said and "model.layers.0" in said


def test_factors_of_another_model_are_refused_before_anything_is_written(factors, tmp_path, capsys):
    other = tmp_path / "other"
    small_olmo2.save(small_olmo2.make_model("olmo2-mini", seed=6), other, w.make_world(6, quotes=4, rare=4, rung=1))
    said = fails(capsys, "edit", "--model", other, "--factors", factors, "--mass", 0.5, "--out", tmp_path / "e")
    assert "another model" in said and LAYER in said and not (tmp_path / "e").exists()


def test_a_damaged_factor_file_is_refused(folder, factors, tmp_path, capsys):
    data = bytearray(factors.read_bytes())
    data[-5] ^= 4
    (tmp_path / "factors.safetensors").write_bytes(data)
    assert "SHA-256" in fails(
        capsys, "edit", "--model", folder, "--factors", tmp_path, "--mass", 0.5, "--out", tmp_path / "e"
    )
    (tmp_path / "factors.safetensors").write_bytes(data[:-100])
    assert "cut short" in fails(
        capsys, "edit", "--model", folder, "--factors", tmp_path, "--mass", 0.5, "--out", tmp_path / "e"
    )


@pytest.mark.parametrize("mass", ["0", "1.2", "-1", "nan"])
def test_a_mass_outside_its_range_is_refused(mass, capsys):
    with pytest.raises(SystemExit):
        kfac("edit", "--mass", mass)
    assert "(0, 1]" in capsys.readouterr().err


def test_too_little_memory_is_said_before_the_work(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(planning, "available_memory", lambda device: 1000)
    said = fails(capsys, "collect", "--model", folder, "--layers", "*.mlp.*", "--out", tmp_path / "f")
    assert "GiB" in said and "fewer layers" in said and not (tmp_path / "f").exists()


def test_a_model_without_a_world_wants_a_corpus_and_sequences(folder, tmp_path, capsys):
    bare = tmp_path / "bare"
    AutoModelForCausalLM.from_pretrained(folder).save_pretrained(bare)
    small_olmo2.make_tokenizer().save_pretrained(bare)
    assert "--corpus" in fails(capsys, "collect", "--model", bare, "--layers", LAYER, "--out", tmp_path / "f")
    assert "--sequences" in fails(capsys, "evaluate", "--model", bare)
    assert "world.json" in fails(capsys, "reproduce", "--model", bare)


def test_a_damaged_model_and_a_bad_row_are_named(folder, tmp_path, capsys):
    assert "nowhere" in fails(capsys, "evaluate", "--model", tmp_path / "nowhere")
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prefix_ids": [1, 2], "suffix_ids": [999999]}\n')
    assert "line 1" in fails(capsys, "evaluate", "--model", folder, "--sequences", rows)


def test_doctor_is_content_here_and_names_a_damaged_checkpoint(folder, tmp_path, capsys):
    assert kfac("doctor") == 0
    assert "MEND" not in capsys.readouterr().out
    assert kfac("doctor", "--model", tmp_path / "nowhere") == 1
    assert "nowhere" in capsys.readouterr().out


def test_a_small_model_trains_logs_and_loads_and_the_same_seed_gives_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.setitem(training.WORLDS, "olmo2-mini", dict(quotes=2, rare=4, ladder=(1,), rung=1, quote_repeats=3))
    for out in ("a", "b"):
        assert kfac("train", "--size", "olmo2-mini", "--steps", 3, "--out", tmp_path / out) == 0
    log = [json.loads(line) for line in (tmp_path / "a" / "training.jsonl").read_text().splitlines()]
    assert log[-1]["step"] == 3 and {"loss", "strict", "arithmetic"} <= log[-1].keys()
    first, second = (models.load(tmp_path / out)[0].state_dict() for out in ("a", "b"))
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert small_olmo2.load_world(tmp_path / "a").quote_repeats == 3
