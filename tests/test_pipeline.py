"""The experiment's own machinery, on a model too small to know anything."""

import math

import pytest
import torch

from children import where_it_runs
from kfaclib.curvature.layers import linear_layers
from kfaclib.editing import matching
from kfaclib.editing.edit import edited
from kfaclib.io import report
from kfaclib.toy import pipeline, small_olmo2
from kfaclib.toy import world as w
from kfcourse.experiments import seeds

METHODS = ["baseline", "K-FAC", "EK-FAC", "SVD", "random basis"]


@pytest.fixture(scope="module")
def small():
    return small_olmo2.make_model("olmo2-mini", seed=1).eval(), w.make_world(1, quotes=8, rare=8, rung=1)


@pytest.fixture(scope="module")
def curvature(small):
    return pipeline.curvature(*small, patterns="model.layers.3.mlp.gate_proj", rows=8, batch=4, progress=False)


def test_each_seed_is_measured_in_a_process_with_one_thread():
    assert list(seeds.each(where_it_runs, 2).items()) == [
        (seed, (seed**2, 1, "SpawnProcess")) for seed in seeds.CHECKPOINTS
    ]


def test_the_bisection_finds_the_strength_where_a_score_reaches_its_target(small, curvature):
    """With a score that is the share of weight left by a scaling edit, the answer is the target itself."""
    layers = curvature.layers
    norm = {n: layer.weight.detach().clone() for n, layer in layers.items()}
    name = next(iter(layers))
    left = lambda: (layers[name].weight.double().norm() / norm[name].double().norm()).item()
    find = lambda target: matching.bring_to(
        target, lambda s: {n: s * x.double() for n, x in norm.items()}, layers, left, steps=16
    )
    for target in (0.3, 0.86, 0.995, 0.99999):
        strength, reached = find(target)
        assert abs(strength - target) < min(2e-3, 0.005 * (1 - target)) and abs(reached - target) < 2e-3
    assert find(2.0)[0] > 1 - 1e-11  # what cannot be reached ends the search


def test_every_method_at_full_strength_is_the_identity_and_weaker_ones_move_the_weights(curvature):
    """But for SVD, whose strength counts numbers: a low rank with as many numbers as W is not yet W."""
    for name, edit in pipeline.methods(curvature).items():
        for layer, weight in edit(1.0).items():
            assert name == "SVD" or torch.allclose(weight, curvature.layers[layer].weight, atol=1e-5), name
        for layer, weight in edit(0.5).items():
            assert (weight - curvature.layers[layer].weight).norm() > 1e-3 * weight.norm(), name


def test_the_random_basis_is_the_same_for_every_strength(curvature):
    """Otherwise bisecting on strength would compare different bases."""
    edit = pipeline.methods(curvature, seed=4)["random basis"]
    assert all(torch.equal(edit(0.7)[n], edit(0.7)[n]) for n in curvature.bases)


def test_the_experiment_has_the_promised_form_and_leaves_the_model_as_it_was(small, monkeypatch):
    model, world = small
    before = {k: v.clone() for k, v in model.state_dict().items()}
    monkeypatch.setattr(
        pipeline, "make_exam", lambda m, x, half, count=0, _make=pipeline.make_exam: _make(m, x, half, count=4)
    )
    result = pipeline.reproduce(model, world, "model.layers.3.mlp.gate_proj", rows=8, staircase=(0.9,))
    assert [row["method"] for row in result["rows"]] == METHODS
    for row in result["rows"] + result["staircase"]:
        assert {"strict", "loose", "levenshtein", "perplexity", "ndcg", "tasks"} <= row.keys()
        assert set(report.TASKS) == set(row["tasks"]) and all(math.isfinite(v) for v in row["tasks"].values())
    assert result["rows"][0]["ndcg"] == pytest.approx(1)
    assert set(result["settings"]["strength"]) == set(METHODS[1:])
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    text = report.results_text({"model": "test", "paper": report.paper()["rows"], **result})
    assert all(method in text for method in METHODS) and "OLMo-2-1124-7B" in text


def test_the_exam_measures_the_edited_weights(small):
    """nDCG against the unedited model falls as soon as the weights are others."""
    model, world = small
    exam = pipeline.make_exam(model, world, "report", count=2)
    layers = linear_layers(model, "model.layers.*.mlp.down_proj")
    with edited(layers, {n: torch.zeros_like(layer.weight) for n, layer in layers.items()}):
        assert pipeline.take(model, exam)["ndcg"] < 0.9
    assert pipeline.take(model, exam)["ndcg"] == pytest.approx(1)
