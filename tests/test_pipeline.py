"""The experiment's own machinery, on a model too small to know anything."""

import math

import pytest
import torch

from children import where_it_runs
from kfaclib.curvature.layers import linear_layers
from kfaclib.editing import baselines, matching
from kfaclib.editing.edit import edited
from kfaclib.io import report
from kfaclib.lm import recitation
from kfaclib.toy import pipeline, small_olmo2, tasks
from kfaclib.toy import world as w
from kfcourse.experiments import seeds

METHODS = ["baseline", "K-FAC", "EK-FAC", "SVD", "random basis", "noise", "zeroed"]
FIELDS = {"strict", "loose", "levenshtein", "perplexity", "ndcg", "tasks", "text", "right_in_a_row", "interval"}


@pytest.fixture(scope="module")
def small():
    return small_olmo2.make_model("olmo2-mini", seed=1).eval(), w.make_world(1, quotes=8, rare=8, rung=1)


@pytest.fixture(scope="module")
def curvature(small):
    return pipeline.curvature(*small, patterns="model.layers.3.mlp.gate_proj", rows=8, batch=4, progress=False)


def test_each_seed_is_measured_in_a_process_with_one_thread(monkeypatch):
    monkeypatch.setattr(seeds, "CHECKPOINTS", {2: None, 3: None})
    assert list(seeds.each(where_it_runs, 2).items()) == [(seed, (seed**2, 1, "SpawnProcess")) for seed in (2, 3)]


def test_the_bisection_finds_the_strength_where_a_score_reaches_its_target(small, curvature):
    """With a score that is the share of weight left by a scaling edit, the answer is the target itself."""
    layers = curvature.layers
    norm = {n: layer.weight.detach().clone() for n, layer in layers.items()}
    name = next(iter(layers))
    left = lambda: (layers[name].weight.double().norm() / norm[name].double().norm()).item()
    find = lambda target: matching.bring_to(
        target, lambda s: {n: s * x.double() for n, x in norm.items()}, layers, left, tolerance=0.0
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


@pytest.mark.long
def test_the_experiment_has_the_promised_form_and_leaves_the_model_as_it_was(small, monkeypatch):
    model, world = small
    before = {k: v.clone() for k, v in model.state_dict().items()}
    monkeypatch.setattr(
        pipeline, "make_exam", lambda m, x, half, count=0, _make=pipeline.make_exam: _make(m, x, half, count=4)
    )
    result = pipeline.reproduce(model, world, "model.layers.3.mlp.gate_proj", rows=8, staircase=(0.9,))
    assert [row["method"] for row in result["rows"]] == METHODS
    for row in result["rows"] + result["staircase"]:
        assert FIELDS <= row.keys() and set(row["text"]) == {"like_the_corpus", "other"}
        inside = {m: row[m] for m in ("strict", "loose", "levenshtein", "token_accuracy", "perplexity")}
        inside |= row["text"] | {task: value for task, value in row["tasks"].items() if task != "recitation"}
        assert set(row["interval"]) == set(inside)
        for metric, value in inside.items():
            low, high = row["interval"][metric]
            assert low - 1e-9 <= value <= high + 1e-9, metric
        assert set(report.TASKS) == set(row["tasks"]) and all(math.isfinite(v) for v in row["tasks"].values())
    assert result["rows"][0]["ndcg"] == pytest.approx(1)
    assert result["rows"][0]["text"] == {"like_the_corpus": 1, "other": 1}
    assert set(result["settings"]["strength"]) == set(METHODS[1:-1])
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


def test_a_strength_that_goes_in_steps_ends_at_the_target_by_interpolation(curvature):
    """A score that rises in steps has no strength for most targets; the mixture of the two neighbours does."""
    ((name, layer),) = curvature.layers.items()
    grid, whole = [k / 10 for k in range(11)], layer.weight.detach().clone()
    steps = lambda strength: {name: whole * round(10 * strength) / 10}
    score = lambda: (layer.weight.norm() / whole.norm()).item()
    found = pipeline.at_forgetting(0.437, steps, curvature.layers, score, grid)
    assert [strength for strength, _, _ in found] == [0.4, 0.5]
    assert sum(reached * share for _, reached, share in found) == pytest.approx(0.437, abs=1e-5)
    (one,) = pipeline.at_forgetting(0.5005, steps, curvature.layers, score, grid)
    assert one[0] == 0.5 and one[2] == 1


def test_between_two_neighbours_of_a_grid_an_edit_does_not_change(curvature):
    layers = curvature.layers
    for method, grid in (("SVD", baselines.low_ranks), ("flattest block", baselines.block_shares)):
        places = grid(layers)
        assert places == sorted(set(places)) and places[-1] >= 1
        if method == "SVD":
            edit = pipeline.methods(curvature)["SVD"]
            ((name, _),) = layers.items()
            ranks = [torch.linalg.matrix_rank(edit(share)[name]).item() for share in places[:4]]
            assert ranks == [1, 2, 3, 4]


def test_a_mixture_is_the_weighted_mean_of_every_number():
    rows = [{"a": 1.0, "b": {"c": [0.0, 2.0]}}, {"a": 3.0, "b": {"c": [1.0, 4.0]}}]
    assert matching.mixture(rows, [0.25, 0.75]) == {"a": 2.5, "b": {"c": [0.75, 3.5]}}
    assert matching.mixture(rows[:1], [1.0]) == rows[0]


def test_words_in_a_row_are_counted_wherever_they_stand():
    hits = [torch.tensor(x, dtype=torch.bool) for x in ([1, 1, 0, 1], [1], [0, 1])]
    found = recitation.right_in_a_row(hits)
    assert found == pytest.approx({"1": (0.75 + 1 + 0.5) / 3, "2": (1 / 3 + 0) / 2, "3": 0.0})
    assert recitation.right_in_a_row([torch.tensor([True])]) == {"1": 1.0}


def test_text_by_another_hand_has_the_same_words_and_other_habits():
    """Every word and kind of sentence is the corpus's; the common names are its rare ones."""
    usual, strange = tasks.fresh_text("hands", 200), tasks.strange_text("hands", 200)
    assert usual.shape == strange.shape == (200, 112)
    names = torch.tensor(w.encode(w.W["first"]))
    share = lambda ids, some: torch.isin(ids, some).sum() / torch.isin(ids, names).sum()
    assert share(usual, names[:10]) > 1.5 * share(strange, names[:10])
    assert share(strange, names[-10:]) > 1.5 * share(usual, names[-10:])
    sentence = lambda ids: {tuple(row[1:]) for row in ids.tolist()}
    assert not sentence(usual) & sentence(strange)
