"""Costs from shapes: against an independent count of what a pass really does, and against hand arithmetic."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from kfaclib.collecting import costs, resumable
from kfaclib.curvature.capture import capture
from kfaclib.curvature.layers import factor_bytes, linear_layers
from kfaclib.curvature.passes import shared_inputs

IDS = torch.randint(37, (2, 12), generator=torch.Generator().manual_seed(0))
CHOICES = ["*.mlp.*", "*.layers.1.mlp.*", "*.layers.1.mlp.down_proj", "*.self_attn.*", "*.layers.0.self_attn.v_proj"]


@pytest.mark.parametrize("pattern", CHOICES)
def test_backward_counts_the_products_that_a_pass_really_does(tiny_olmo, pattern):
    model = tiny_olmo().float()
    layers = linear_layers(model, pattern)
    with capture(model, layers, on_input=lambda *_: None, on_output_gradient=lambda *_: None):
        with FlopCounterMode(display=False) as forward:
            logits = model(input_ids=IDS).logits
        with FlopCounterMode(display=False) as backward:
            logits.backward(torch.ones_like(logits))
    products = lambda counter: sum(
        n
        for op, n in counter.get_flop_counts()["Global"].items()
        if "attention" not in str(op) and "bmm" not in str(op)
    )
    expected = costs.flops_per_token(model, layers)
    assert products(forward) == expected["forward"] * IDS.numel()
    assert products(backward) == expected["backward"] * IDS.numel()


@pytest.mark.parametrize("pattern", CHOICES)
def test_owners_by_name_are_those_that_a_forward_pass_finds(tiny_olmo, pattern):
    model = tiny_olmo().float()
    layers = linear_layers(model, pattern)
    assert costs.owners(layers) == shared_inputs(model, layers)


def test_a_token_of_1b_is_eight_and_a_half_gflop_of_which_the_first_block_saves_a_little():
    model = costs.meta_model("OLMo-2-0425-1B")
    layers = linear_layers(model)
    flops = costs.flops_per_token(model, layers)
    assert flops["forward"] == 16 * 2 * (4 * 2048**2 + 3 * 2048 * 8192) + 2 * 2048 * 100_352
    assert flops["forward"] - flops["backward"] == 2 * (
        4 * 2048**2 + 2 * 2048 * 8192
    )  # attention, gate and up of block 0
    assert flops["updates"] == 16 * (2048**2 + 8192**2 + 2 * 8192**2 + 2048**2)
    assert round((2 * flops["forward"] + flops["updates"]) / 1e9, 1) == 8.5
    assert costs.attention_flops(model, 512) < 0.02 * flops["forward"]


def test_sizes_and_passes_of_the_large_models_follow_from_their_shapes():
    parameters = {"OLMo-2-0425-1B": 1.5, "OLMo-2-1124-7B": 7.3, "OLMo-2-1124-13B": 13.7, "OLMo-2-0325-32B": 32.2}
    for name, billions in parameters.items():
        model = costs.meta_model(name)
        assert sum(p.numel() for p in model.parameters()) / 1e9 == pytest.approx(billions, rel=0.02)
    model = costs.meta_model("OLMo-2-1124-7B")
    layers = linear_layers(model)
    assert factor_bytes(layers, costs.owners(layers)) / 32 == 4 * (2 * 4096**2 + 3 * 11008**2)
    assert len(resumable.plan(layers, costs.owners(layers), 20e9)) == 3


def test_the_roofline_is_the_slower_of_two():
    device = costs.Device(100.0, 10.0, 1.0, 1, "")
    assert costs.seconds(1000, 10, device) == 10 and costs.seconds(10, 1000, device) == 100
    assert all(d.flops / d.bandwidth > 100 and d.source for d in costs.DEVICES.values())
