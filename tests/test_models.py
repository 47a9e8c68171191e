"""The small models: loaded like any other, compared with their checksums, their world regenerated from its seed."""

import json
import shutil

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from kfaclib.io import files
from kfaclib.lm import models
from kfaclib.toy import small_olmo2
from kfaclib.toy import world as w
from kfcourse.paths import DATA

TINY = DATA / "olmo2-tiny"


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(TINY, tmp_path / "model")
    return tmp_path / "model"


def test_the_shipped_model_is_an_olmo2_within_its_budget_and_loads_as_any_model_of_the_hub():
    model, tokenizer = AutoModelForCausalLM.from_pretrained(TINY), AutoTokenizer.from_pretrained(TINY)
    assert type(model).__name__ == "Olmo2ForCausalLM"
    assert sum(p.numel() for p in model.parameters()) <= 8e6
    assert sum(p.stat().st_size for p in TINY.iterdir()) <= 16e6
    text = "the capital of belgor is"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == "<s> " + text
    assert tokenizer(text)["input_ids"] == [w.BOS] + w.encode(text)


def test_an_unknown_word_is_the_unknown_token():
    assert small_olmo2.make_tokenizer()("ada elephantine")["input_ids"] == [w.BOS, *w.encode("ada"), w.UNK]


def test_its_world_is_the_one_it_was_trained_on():
    world = small_olmo2.load_world(TINY)
    assert len(world.quotes) == 128 and w.digest(world) == files.read_json(TINY / "world.json")["digest"]


def test_a_world_that_the_seed_no_longer_gives_is_refused(copy):
    record = files.read_json(copy / "world.json")
    record["settings"]["seed"] += 1
    (copy / "world.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="no longer give"):
        small_olmo2.load_world(copy)


@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_a_damaged_checkpoint_is_refused_by_name(copy, damage):
    weights = copy / "model.safetensors"
    data = bytearray(weights.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
        weights.write_bytes(data)
    elif damage == "cut":
        weights.write_bytes(data[: len(data) // 2])
    else:
        weights.unlink()
    with pytest.raises(ValueError, match="model.safetensors"):
        models.load(copy)


def test_a_cut_checkpoint_without_a_manifest_is_refused_too(copy):
    (copy / "manifest.json").unlink()
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ValueError, match="damaged"):
        models.load(copy)


def test_a_folder_without_a_model_and_an_unknown_name_say_so(tmp_path):
    with pytest.raises(ValueError, match="config.json"):
        models.load(tmp_path)
    with pytest.raises(ValueError, match="neither a model folder here"):
        models.load("no-such-model-anywhere/at-all")


def test_saved_and_loaded_weights_agree_to_bfloat16(tmp_path):
    model, world = small_olmo2.make_model("olmo2-mini", seed=3), w.make_world(3, quotes=4, rare=4, rung=1)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    small_olmo2.save(model, tmp_path, world)
    after = models.load(tmp_path)[0].state_dict()
    assert all(torch.equal(after[k].cpu().float(), before[k].bfloat16().float()) for k in before)
    assert small_olmo2.load_world(tmp_path) == world


def stripped(folder):
    """The folder without what notices a change."""
    for name in ("manifest.json", "world.json"):
        (folder / name).unlink(missing_ok=True)
    return folder / "model.safetensors"


RENAMED = {
    "a prefix": (lambda t: {f"_orig_mod.{k}": v for k, v in t.items()}, r"lacks .*_orig_mod\."),
    "a lost tensor": (
        lambda t: {k: v for k, v in t.items() if k != "model.layers.1.mlp.up_proj.weight"},
        r"lacks 'model\.layers\.1\.mlp\.up_proj\.weight'",
    ),
    "no head": (lambda t: {k: v for k, v in t.items() if k != "lm_head.weight"}, r"lacks 'lm_head\.weight'"),
    "a strange tensor": (lambda t: t | {"adapter.lora_A": torch.ones(2, 2)}, r"unknown weight 'adapter\.lora_A'"),
    "another size": (lambda t: t | {"lm_head.weight": t["lm_head.weight"][:-8].clone()}, r"lm_head\.weight"),
}


@pytest.mark.parametrize("change", RENAMED)
def test_a_checkpoint_of_other_weights_is_refused_with_the_first_of_their_names(copy, change):
    path = stripped(copy)
    rename, message = RENAMED[change]
    save_file(rename(load_file(path)), path, {"format": "pt"})
    with pytest.raises(ValueError, match=message):
        models.load(copy)


def test_weights_that_are_tied_or_computed_are_no_missing_ones(tmp_path, tiny_olmo):
    model = tiny_olmo(tie_word_embeddings=True)
    model.save_pretrained(tmp_path)
    shutil.copy(TINY / "tokenizer.json", tmp_path), shutil.copy(TINY / "tokenizer_config.json", tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    assert "lm_head.weight" not in tensors
    save_file(tensors | {"model.rotary_emb.inv_freq": torch.ones(4)}, tmp_path / "model.safetensors", {"format": "pt"})
    loaded, _ = models.load(tmp_path)
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight


def test_a_model_that_sees_what_follows_is_refused_when_it_is_loaded(tmp_path):
    sizes = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    transformers.BertLMHeadModel(transformers.BertConfig(vocab_size=40, **sizes)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="BertLMHeadModel lets a token see those that follow"):
        models.load(tmp_path)


def rewritten(folder, name, **changes):
    """A JSON file of a model with some of its entries changed."""
    record = files.read_json(folder / name)
    (folder / name).write_text(json.dumps(record | changes))


STRANGE = {
    "no object": (lambda m: (m / "config.json").write_text("null"), r"config\.json is not a JSON object"),
    "no JSON": (lambda m: (m / "tokenizer_config.json").write_text("{"), r"tokenizer_config\.json is not valid JSON"),
    "a byte-order mark": (
        lambda m: (m / "config.json").write_bytes(b"\xef\xbb\xbf" + (m / "config.json").read_bytes()),
        r"config\.json is not valid JSON.*BOM",
    ),
    "no heads": (lambda m: rewritten(m, "config.json", num_attention_heads=0), "cannot be loaded"),
    "a size in words": (lambda m: rewritten(m, "config.json", hidden_size="128"), "configuration cannot be loaded"),
    "a strange activation": (lambda m: rewritten(m, "config.json", hidden_act="none such"), "model cannot be loaded"),
    "an unknown family": (lambda m: rewritten(m, "config.json", model_type="x"), "not a causal language model"),
    "an empty tokenizer": (lambda m: (m / "tokenizer.json").write_text("{}"), "tokenizer cannot be loaded"),
    "an empty index": (
        lambda m: ((m / "model.safetensors").unlink(), (m / "model.safetensors.index.json").write_text("{}")),
        "model cannot be loaded.*weight_map",
    ),
    "no weights": (lambda m: (m / "model.safetensors").unlink(), "Only safetensors are read"),
}


@pytest.mark.parametrize("change", STRANGE)
def test_a_strange_file_of_a_model_is_one_sentence_that_says_which(copy, change):
    stripped(copy)
    spoil, message = STRANGE[change]
    spoil(copy)
    with pytest.raises(ValueError, match=message):
        models.load(copy)


@pytest.mark.parametrize("method", ["gptq", "bitsandbytes", "fp8", "none such"])
def test_a_quantized_checkpoint_is_refused_before_its_weights_are_read(copy, method):
    stripped(copy).unlink()
    rewritten(copy, "config.json", quantization_config={"quant_method": method})
    with pytest.raises(ValueError, match=f"is quantized \\({method}.*unquantized checkpoint"):
        models.load(copy)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("weight", ["model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"])
def test_a_single_weight_that_is_not_finite_is_named(copy, weight, value):
    path = stripped(copy)
    tensors = load_file(path)
    tensors[weight].view(-1)[-1] = value
    save_file(tensors, path, {"format": "pt"})
    with pytest.raises(FloatingPointError, match=f"{weight}.*not finite"):
        models.load(copy)


def test_a_world_of_somebody_else_is_named(copy):
    for content in ("{}", '{"settings": {"seed": 1}, "digest": "x"}', '{"settings": {"none such": 1}}'):
        (copy / "world.json").write_text(content)
        with pytest.raises(ValueError, match=r"world\.json"):
            small_olmo2.load_world(copy)
