"""Models as the hub gives them: other families by pattern, revisions, an edited model that loads again, and clear
refusals.
"""

import json
import shutil

import huggingface_hub.constants
import pytest
import torch
import transformers
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from kfaclib.curvature.factor_file import load_factors
from kfaclib.lm import presets
from kfaclib.toy import small_olmo2
from kfaclib.toy import world as w
from shared import kfac

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SHAPE = dict(
    vocab_size=-(-len(w.VOCABULARY) // 8) * 8,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=64,
    pad_token_id=w.PAD,
    bos_token_id=w.BOS,
    eos_token_id=w.EOS,
)


def make(folder, family, **changes):
    """A random model of a family of transformers, with a tokenizer, in a folder of the hub's format, bfloat16."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**(SHAPE | changes))
    getattr(transformers, "GPT2LMHeadModel" if family == "GPT2" else f"{family}ForCausalLM")(
        config
    ).bfloat16().save_pretrained(folder)
    small_olmo2.make_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.jsonl"
    path.write_text("\n".join(json.dumps({"text": "ada gave the anchor to ben . " * 9}) for _ in range(8)))
    return path


@pytest.mark.parametrize("family", ["Llama", "Mistral", "Qwen2", "Qwen3", "Olmo2"])
def test_other_llama_shaped_models_are_collected_on_edited_and_loaded_again(family, tmp_path, text):
    folder = make(tmp_path / "model", family)
    layers = "*.1.mlp.gate_proj,*.1.mlp.up_proj"
    assert (
        kfac(
            "collect",
            "--model",
            folder,
            "--layers",
            layers,
            "--corpus",
            text,
            "--rows",
            6,
            "--length",
            16,
            "--out",
            tmp_path / "f",
        )
        == 0
    )
    assert {f.tokens for f in load_factors(tmp_path / "f").values()} == {6 * 15}
    assert kfac("edit", "--model", folder, "--factors", tmp_path / "f", "--mass", 0.7, "--out", tmp_path / "e") == 0
    before, after = load_file(folder / "model.safetensors"), load_file(tmp_path / "e" / "model.safetensors")
    assert {k for k in before if not torch.equal(before[k], after[k])} == {
        f"model.layers.1.mlp.{p}_proj.weight" for p in ("gate", "up")
    }
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "e")
    assert again.dtype == torch.bfloat16 and type(again).__name__ == f"{family}ForCausalLM"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An offline hub whose cache holds acme/tiny, one commit."""
    cache = tmp_path / "cache"
    repository = cache / "models--acme--tiny"
    make(repository / "snapshots" / COMMIT, "Llama")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return repository


def test_a_model_by_its_name_on_the_hub_records_the_commit_and_asks_to_pin_it(hub, tmp_path, text, capsys):
    words = ("collect", "--model", "acme/tiny", "--layers", "*.mlp.*", "--corpus", text, "--rows", 4, "--length", 16)
    assert kfac(*words, "--out", tmp_path / "f") == 0
    assert f"commit {COMMIT}" in capsys.readouterr().err
    assert kfac(*words, "--revision", COMMIT, "--out", tmp_path / "g") == 0
    assert "--revision" not in capsys.readouterr().err
    for out in ("f", "g"):
        record = json.loads((tmp_path / out / "collection.json").read_text())
        assert (
            record["commit"] == COMMIT
            and record["model"] == "acme/tiny"
            and list(record["corpus"]["files"]) == [str(text)]
        )
    assert (
        kfac(
            "edit",
            "--model",
            "acme/tiny",
            "--revision",
            COMMIT,
            "--factors",
            tmp_path / "f",
            "--mass",
            0.7,
            "--out",
            tmp_path / "e",
        )
        == 0
    )
    assert json.loads((tmp_path / "e" / "edit.json").read_text())["commit"] == COMMIT


def test_names_and_revisions_that_the_hub_does_not_give_are_refused(hub, tmp_path, capsys):
    for words in (["--model", "acme/absent"], ["--model", "acme/tiny", "--revision", "f" * 40]):
        assert kfac("collect", *words, "--corpus", "x.jsonl", "--out", tmp_path / "f") == 1
        said = capsys.readouterr().err
        assert "neither a model folder here nor a model that the hub could give" in said and "Traceback" not in said


def test_code_from_the_hub_is_not_executed(hub, tmp_path, capsys):
    folder = tmp_path / "remote"
    shutil.copytree(hub / "snapshots" / COMMIT, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "surprise",
        "auto_map": {"AutoModelForCausalLM": "surprise.Model", "AutoConfig": "surprise.Config"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "surprise.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')\n")
    assert kfac("collect", "--model", folder, "--corpus", "x.jsonl", "--out", tmp_path / "f") == 1
    assert "never executed" in capsys.readouterr().err and not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("family", "changes", "layers", "word"),
    [
        ("Gemma2", dict(head_dim=8), "*.mlp.*", "does something to its logits"),
        ("GPT2", dict(n_embd=32, n_head=4, n_layer=1), "*.mlp.*", "Conv1D"),
        ("Llama", dict(tie_word_embeddings=True), "lm_head", "shares its weight"),
        ("Llama", {}, "lm_head", "takes no part in the model's decoder"),
        ("Mixtral", dict(num_local_experts=2), "*.experts.*", "no linear layer matches"),
    ],
)
def test_where_the_method_does_not_apply_it_says_why_before_any_work(
    family, changes, layers, word, tmp_path, text, capsys
):
    folder = make(tmp_path / "model", family, **changes)
    assert kfac("collect", "--model", folder, "--layers", layers, "--corpus", text, "--out", tmp_path / "f") == 1
    said = capsys.readouterr().err
    assert word in said and "Traceback" not in said and not (tmp_path / "f").exists()


def test_factors_collected_in_another_precision_belong_to_the_same_model_and_other_weights_do_not(
    tmp_path, text, capsys
):
    folder, other = make(tmp_path / "model", "Llama"), make(tmp_path / "other", "Llama", rms_norm_eps=1e-5)
    words = ("collect", "--layers", "*.1.mlp.*", "--corpus", text, "--rows", 4, "--length", 16)
    assert kfac(*words, "--model", folder, "--dtype", "bfloat16", "--out", tmp_path / "f") == 0
    assert kfac("edit", "--model", folder, "--factors", tmp_path / "f", "--mass", 0.7, "--out", tmp_path / "e") == 0
    torch.manual_seed(9)
    model = AutoModelForCausalLM.from_pretrained(other)
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[0, 0] += 1
    model.save_pretrained(other)
    assert kfac("edit", "--model", other, "--factors", tmp_path / "f", "--mass", 0.7, "--out", tmp_path / "e2") == 1
    assert "another model: layer 'model.layers.1.mlp.up_proj'" in capsys.readouterr().err


def test_the_presets_are_the_papers_or_say_whose_they_are():
    seven = presets.preset("allenai/OLMo-2-1124-7B")
    assert seven.mass == 0.6 and seven.corpus == "dolmino" and len(seven.revision) == 40
    names = [f"model.layers.{i}.mlp.{p}_proj" for i in range(32) for p in ("gate", "up", "down")]
    from fnmatch import fnmatchcase

    edited = [n for n in names if any(fnmatchcase(n, p) for p in seven.edited.split(","))]
    assert edited == [f"model.layers.{i}.mlp.{p}_proj" for i in (23, 24, 25) for p in ("gate", "up")]
    one = presets.preset("allenai/OLMo-2-0425-1B")
    edited = [n for n in names if any(fnmatchcase(n, p) for p in one.edited.split(","))]
    assert edited == [f"model.layers.{i}.mlp.{p}_proj" for i in (11, 12, 13) for p in ("gate", "up")]
    assert one.mass is None and "not the paper's" in one.whose  # the paper publishes neither for this model
    assert presets.preset("acme/tiny") is None
