"""Which layers are meant: found by name, refused with a name and a mend where K-FAC does not apply."""

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from kfaclib.curvature.factors import collect_factors
from kfaclib.curvature.layers import check_memory, factor_bytes, linear_layers, summary


@pytest.fixture
def gpt2():
    return GPT2LMHeadModel(GPT2Config(vocab_size=37, n_positions=16, n_embd=8, n_layer=1, n_head=2))


def test_layers_come_in_the_models_order_whatever_the_order_of_the_patterns(tiny_olmo):
    model = tiny_olmo()
    names = [f"model.layers.{i}.mlp.{p}_proj" for i in range(2) for p in ("gate", "up", "down")]
    assert list(linear_layers(model)) == names
    assert list(linear_layers(model, ["*.mlp.down_proj", "*.mlp.gate_proj"])) == [n for n in names if "up" not in n]


def test_patterns_joined_by_commas_are_the_list_of_patterns_and_select_blocks_by_number(tiny_olmo):
    model = tiny_olmo()
    found = linear_layers(model, "model.layers.[1].mlp.gate_proj, *.0.self_attn.q_proj")
    assert list(found) == ["model.layers.0.self_attn.q_proj", "model.layers.1.mlp.gate_proj"]
    assert found["model.layers.1.mlp.gate_proj"] is model.model.layers[1].mlp.gate_proj


@pytest.mark.parametrize("patterns", ["*.experts.*", "*.mlp.*,*.experts.*"])
def test_a_pattern_that_matches_nothing_is_an_error_that_shows_names_which_exist(tiny_olmo, patterns):
    with pytest.raises(
        ValueError, match=r"no linear layer matches '\*\.experts\.\*'.*model\.layers\.0\.self_attn\.q_proj"
    ):
        linear_layers(tiny_olmo(), patterns)


@pytest.mark.parametrize("pattern", ["*.mlp.*", "*"])
def test_conv1d_is_refused_by_name_also_where_the_pattern_matches_linear_layers_too(gpt2, pattern):
    with pytest.raises(ValueError, match=r"'transformer\.h\.0\..*Conv1D.*convert"):
        linear_layers(gpt2, pattern)


def test_a_weight_tied_to_the_embedding_is_refused_with_both_names(tiny_olmo):
    model = tiny_olmo(tie_word_embeddings=True)
    with pytest.raises(ValueError, match=r"'lm_head' shares its weight with 'model\.embed_tokens\.weight'.*choose"):
        linear_layers(model, "lm_head")
    assert list(linear_layers(tiny_olmo(), "lm_head")) == ["lm_head"]


def test_one_module_under_two_names_is_refused():
    shared = nn.Linear(3, 3)
    with pytest.raises(ValueError, match="shares its weight"):
        linear_layers(nn.ModuleDict({"first": shared, "second": shared}), "first")


def test_factor_bytes_are_the_bytes_of_the_collected_float32_factors(tiny_olmo):
    model = tiny_olmo().float()
    layers = linear_layers(model, "*.gate_proj,*.down_proj")  # no two of them share an input
    factors = collect_factors(model, [torch.arange(5, 13)[None]], layers, generator=torch.Generator(), progress=False)
    assert factor_bytes(layers) == sum(f.A.nbytes + f.G.nbytes for f in factors.values())


def test_too_little_memory_is_an_error_before_the_work_and_just_enough_is_none(tiny_olmo):
    layers = linear_layers(tiny_olmo())
    need = factor_bytes(layers)
    check_memory(layers, need)
    with pytest.raises(MemoryError, match="fewer layers per pass"):
        check_memory(layers, need - 1)


@pytest.mark.parametrize("patterns", ["", "*.mlp.*,", "*.mlp.*,,*.q_proj", []])
def test_an_empty_pattern_is_refused(tiny_olmo, patterns):
    with pytest.raises(ValueError, match="empty pattern"):
        linear_layers(tiny_olmo(), patterns)


@pytest.mark.parametrize("pattern", ["model.layers.[10-15].mlp.*", "*.[8-11].*", "*.[0,1].*", "*.{0,1}.mlp.*"])
def test_a_pattern_that_does_not_mean_what_it_seems_to_say_is_refused_with_the_right_spelling(tiny_olmo, pattern):
    with pytest.raises(ValueError, match=r"write \[345\]"):
        linear_layers(tiny_olmo(), pattern)


def test_a_pattern_of_other_modules_names_one_and_its_kind(tiny_olmo):
    with pytest.raises(ValueError, match=r"no linear layer matches.*only 'model\.norm', of the kind Olmo2RMSNorm"):
        linear_layers(tiny_olmo(), "model.norm")


def test_layer_names_are_summarized():
    names = [f"model.layers.{i}.mlp.up_proj" for i in (0, 1, 2, 7)] + ["lm_head", "model.layers.3.mlp.down_proj"]
    assert summary(names) == "model.layers.{0-2,7}.mlp.up_proj, lm_head, model.layers.3.mlp.down_proj"


@pytest.mark.parametrize("norm", [nn.utils.parametrizations.weight_norm, nn.utils.weight_norm])
def test_a_weight_that_is_computed_from_others_is_refused_with_the_layer_and_the_mend(tiny_olmo, norm):
    model = tiny_olmo()
    norm(model.model.layers[1].mlp.up_proj)
    with pytest.raises(ValueError, match=r"'model\.layers\.1\.mlp\.up_proj' computes its weight .*remove"):
        linear_layers(model)
    assert len(linear_layers(model, "*.0.mlp.*")) == 3
