"""The plan of a collection: from shapes alone, and the same as what the collection then takes."""

import json

import pytest
import torch

from kfaclib.collecting import costs, planning, resumable
from kfaclib.curvature.eigenbasis import decompose
from kfaclib.curvature.factors import Factors
from kfaclib.curvature.layers import factor_bytes, linear_layers
from kfaclib.curvature.passes import shared_inputs
from kfaclib.editing.edit import kept_share
from kfaclib.lm import presets
from shared import kfac


def test_a_plan_from_a_configuration_is_that_of_the_model_itself(folder, tiny_olmo):
    assert all(p.is_meta for p in planning.outline(folder).parameters())
    small = tiny_olmo().float()
    layers = linear_layers(small)
    owner = shared_inputs(small, layers)
    plan = planning.make(small, layers, 10**9)
    assert plan.parameters == sum(p.numel() for p in small.parameters()) and plan.weights == 4 * plan.parameters
    assert plan.sums == plan.at_a_time == factor_bytes(layers, owner) and plan.passes == [list(layers)]
    assert plan.flops == sum(costs.flops_per_token(small, layers).values())
    halved = planning.make(small, layers, 0.6 * plan.sums)
    assert halved.passes == resumable.plan(layers, owner, 0.6 * plan.sums) and len(halved.passes) == 2
    assert plan.flops < halved.flops < 2 * plan.flops and halved.at_a_time <= 0.6 * plan.sums


def test_the_factors_of_the_1b_are_three_times_its_weights():
    model = planning.outline("allenai/OLMo-2-0425-1B", dtype=torch.bfloat16)  # no file, no network
    plan = planning.make(model, linear_layers(model, presets.GATE_AND_UP), 64 * 2**30)
    assert plan.sums == 16 * 4 * (2048**2 + 2 * 8192**2) and 2.5 < plan.sums / plan.weights < 3.5
    assert planning.seconds(plan, 100, plan.flops) == 100


def test_too_little_memory_is_an_error_that_says_what_to_do():
    model = planning.outline("OLMo-2-0425-1B")
    with pytest.raises(MemoryError, match="--sums cpu"):
        planning.make(model, linear_layers(model), 2**20)


def test_a_span_of_time_is_said_in_its_unit():
    assert [planning.duration(s) for s in (90, 150, 7200, 200_000)] == ["90 seconds", "2 minutes", "2 hours", "2 days"]


def test_the_command_prints_and_writes_the_plan(folder, tmp_path, capsys):
    assert (
        kfac("plan", "--model", folder, "--memory", 8, "--passes", 2, "--tokens", 1000, "--json", tmp_path / "p.json")
        == 0
    )
    said, plan = capsys.readouterr().out, json.loads((tmp_path / "p.json").read_text())
    assert "2 passes" in said and "GFLOP a token" in said and plan["tokens"] == 1000 and len(plan["passes"]) == 2
    assert kfac("plan", "--model", tmp_path / "nothing") == 1
    assert "no configuration" in capsys.readouterr().err


def test_a_batch_that_leaves_no_room_is_halved_until_the_sums_fit(folder, tmp_path, capsys):
    """As on 24 GB with the 1B's shapes: the plan names a batch that fits instead of ending."""
    layers = linear_layers(planning.outline("OLMo-2-0425-1B"), "*.mlp.*")
    owner, need = costs.owners(layers), 2**30
    batch, passes = resumable.plan_with_batch(layers, owner, lambda n: need * (9 - n), 32)
    assert batch == 8 and sum(map(len, passes)) == len(layers)
    assert resumable.plan_with_batch(layers, owner, lambda n: need * 100, 32)[0] == 32
    with pytest.raises(MemoryError, match="smaller --batch"):
        resumable.plan_with_batch(layers, owner, lambda n: 0, 32)
    assert kfac("plan", "--model", "OLMo-2-0425-1B", "--memory", 12, "--json", tmp_path / "p.json") == 0
    said, plan = capsys.readouterr().out, json.loads((tmp_path / "p.json").read_text())
    assert plan["batch"] < 32 and f"batches of {plan['batch']} x 512 tokens (32 x 512 do not fit" in said


def normal_factors(T, width):
    """Factors of `T` tokens whose true curvature is the same in every direction."""
    draw = torch.Generator().manual_seed(0)
    a, g = (torch.randn(T, width, generator=draw, dtype=torch.float64) for _ in range(2))
    return Factors(a.T @ a / T, g.T @ g / T, T)


def test_too_few_tokens_are_told_with_how_many_would_do(folder, capsys):
    """A mean of T outer products has no more than T directions."""
    layers = {"up": torch.nn.Linear(8, 40), "down": torch.nn.Linear(40, 8)}
    assert resumable.too_few(layers, 400) is None
    assert resumable.too_few(layers, 40).startswith("40 tokens are few for a factor of 40 directions (up)")
    said = resumable.too_few(layers, 30)
    assert said.startswith("30 tokens cannot fill a factor of 40 directions (up)") and "at least 10 of" in said
    assert "400 tokens or more" in said
    rows = torch.randn(30, 40, dtype=torch.float64)
    assert (torch.linalg.eigvalsh(rows.T @ rows / 30) < 1e-12).sum() == 10
    pairs = lambda T: kept_share(decompose({"up": normal_factors(T, 40)}, torch.float64)["up"], 0.9)
    assert pairs(40) < 0.7 * pairs(400) < pairs(400) < pairs(4000)
    assert kfac("plan", "--model", folder, "--tokens", 100) == 0
    said = capsys.readouterr()
    assert "warning: 100 tokens cannot fill" in said.out + said.err
