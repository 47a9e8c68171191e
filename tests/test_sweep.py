"""Choosing layers: what is predicted from the factors alone, what is measured, and the same commands on a model without
a world.
"""

import json
from types import SimpleNamespace

import pytest
import torch

from kfaclib.commands.shared import settings_of
from kfaclib.curvature.eigenbasis import decompose
from kfaclib.curvature.factors import collect_factors
from kfaclib.curvature.layers import linear_layers
from kfaclib.curvature.price import exact_price
from kfaclib.editing.edit import edit_weights
from kfaclib.lm import models, presets, recitation, sweep
from kfaclib.toy import small_olmo2
from kfaclib.toy import world as w
from shared import kfac


def collected(model):
    """(model, its layers, ids [6, 9], bases of the layers on these ids)."""
    layers, generator = linear_layers(model), torch.Generator().manual_seed(0)
    ids = torch.randint(3, 37, (6, 9), generator=torch.Generator().manual_seed(0))
    found = collect_factors(model, [ids], layers, generator=generator, progress=False)
    return model, layers, ids, decompose(found, torch.float64)


def test_candidates_are_all_runs_of_neighbouring_blocks_up_to_the_width():
    names = [f"model.layers.{i}.mlp.{p}_proj" for i in (0, 1, 3) for p in ("gate", "up")]
    found = sweep.candidates(names)
    assert set(found) == {(0, 0), (1, 1), (3, 3), (0, 1)}  # block 2 is missing: nothing runs across it
    assert found[0, 1] == names[:4]
    assert set(sweep.candidates(names, width=1)) == {(0, 0), (1, 1), (3, 3)}
    with pytest.raises(ValueError, match="'lm_head' has no block number"):
        sweep.candidates(["lm_head"])


def test_the_predicted_cost_is_half_the_quadratic_form_of_the_change_in_the_kfac_curvature(tiny_olmo):
    model = tiny_olmo()
    layers = linear_layers(model, "*.1.mlp.*")
    ids = torch.randint(3, 37, (6, 9), generator=torch.Generator().manual_seed(0))
    factors = collect_factors(model, [ids], layers, generator=torch.Generator().manual_seed(0), progress=False)
    bases = decompose(factors, torch.float64)
    for name, weight in edit_weights(layers, bases, 0.7).items():
        change = weight - layers[name].weight.detach()
        cost, removed = sweep.prediction(layers[name].weight, bases[name], 0.7)
        assert cost == pytest.approx(
            0.5 * torch.trace(factors[name].G @ change @ factors[name].A @ change.T).item(), rel=1e-9
        )
        assert removed == pytest.approx((change.square().sum() / layers[name].weight.square().sum()).item(), rel=1e-9)
    assert sweep.prediction(layers[name].weight, bases[name], 1)[0] == 0


def test_a_larger_mass_costs_less_and_removes_less_and_costs_add_up(tiny_olmo):
    _, layers, _, bases = collected(tiny_olmo())
    rows = {(tuple(r["blocks"]), r["mass"]): r for r in sweep.without_labels(layers, bases, (0.6, 0.9))}
    for span in ((0, 0), (1, 1), (0, 1)):
        assert (
            rows[span, 0.6]["cost"] > rows[span, 0.9]["cost"]
            and rows[span, 0.6]["removed"] > rows[span, 0.9]["removed"]
        )
    assert rows[(0, 1), 0.6]["cost"] == pytest.approx(rows[(0, 0), 0.6]["cost"] + rows[(1, 1), 0.6]["cost"])


def test_the_exact_price_of_a_candidate_counts_its_layers_together_and_alone(tiny_olmo):
    model, layers, ids, bases = collected(tiny_olmo())
    predicted = sweep.without_labels(layers, bases, (0.6, 0.9))
    rows = sweep.exactly(model, [ids], layers, bases, predicted)
    assert [{k: v for k, v in row.items() if k not in ("exact", "alone")} for row in rows] == predicted
    for row in rows:
        names = [n for n in bases if row["blocks"][0] <= int(n.split(".")[2]) <= row["blocks"][1]]
        weights = edit_weights(layers, {n: bases[n] for n in names}, row["mass"])
        assert row["exact"] == pytest.approx(exact_price(model, [ids], layers, weights), rel=1e-4)
        alone = sum(exact_price(model, [ids], layers, {n: weights[n]}) for n in names)
        assert row["alone"] == pytest.approx(alone, rel=1e-4) and row["alone"] != pytest.approx(row["exact"], rel=1e-3)
    by = {key: sweep.cheapest(rows, 0, key) for key in ("cost", "exact", "alone")}
    assert all(by[key][key] == min(row[key] for row in rows) for key in by)


def test_what_is_chosen_is_the_best_of_those_that_forget_enough_or_nothing():
    rows = [
        dict(strict=s, perplexity=p, removed=r, cost=c)
        for s, p, r, c in ((1.0, 5.0, 0.0, 0.0), (0.04, 9.0, 0.3, 0.2), (0.02, 7.0, 0.5, 0.3))
    ]
    assert sweep.best(rows, 0.05) is rows[2] and sweep.best(rows, 0.01) is None
    assert sweep.cheapest(rows, 0.3) is rows[1] and sweep.cheapest(rows, 0.6) is None


def test_the_sweep_measures_every_candidate_and_leaves_the_model_alone(folder, tmp_path, capsys):
    assert (
        kfac("collect", "--model", folder, "--layers", "*.[23].mlp.up_proj", "--rows", 4, "--out", tmp_path / "f") == 0
    )
    assert (
        kfac(
            "sweep",
            "--model",
            folder,
            "--factors",
            tmp_path / "f",
            "--masses",
            "0.7,0.9",
            "--limit",
            2,
            "--json",
            tmp_path / "s.json",
        )
        == 0
    )
    said, result = capsys.readouterr().out, json.loads((tmp_path / "s.json").read_text())
    spans = ([2, 2], [2, 3], [3, 3])
    assert [(r["blocks"], r["mass"]) for r in result["rows"]] == [
        (None, 1.0),
        *((span, mass) for span in spans for mass in (0.7, 0.9)),
    ]
    assert all(r["perplexity"] > 1 and 0 <= r["token_accuracy"] <= 1 for r in result["rows"])
    assert "without labels" in said and "with labels" in said and result["provenance"]["versions"]


def test_a_model_without_a_world_is_reproduced_on_files_and_collected_once(folder, tmp_path, capsys):
    bare, text, quotes = tmp_path / "bare", tmp_path / "text.jsonl", tmp_path / "quotes.jsonl"
    model, tokenizer = models.load(folder)
    model.save_pretrained(bare)
    tokenizer.save_pretrained(bare)
    text.write_text("\n".join(json.dumps({"text": "ada gave the anchor to ben . " * 20}) for _ in range(4)))
    prefixes = [[1, *w.encode(q[:63])] for q in small_olmo2.load_world(folder).quotes[:2]]
    said = recitation.greedy(model, prefixes, 48).tolist()  # what an untrained model says is what it "recites"
    windows = [{"prefix_ids": a, "suffix_ids": b} for a, b in zip(prefixes, said)]
    quotes.write_text("\n".join(map(json.dumps, windows)))
    words = (
        "reproduce",
        "--model",
        bare,
        "--layers",
        "*.3.mlp.up_proj",
        "--corpus",
        text,
        "--rows",
        2,
        "--factors",
        tmp_path / "f",
        "--mass",
        0.7,
        "--sequences",
        quotes,
        "--text",
        text,
        "--length",
        64,
        "--json",
        tmp_path / "r.json",
    )
    assert kfac(*words, "--other", text) == 0
    result = json.loads((tmp_path / "r.json").read_text())
    compared = ["SVD", "random basis", "noise", "flattest block"]
    assert [row["method"] for row in result["rows"]] == ["baseline", "K-FAC", *compared, "zeroed"]
    for row in result["rows"]:
        assert set(row["text"]) == {"like_the_corpus", "other"} <= set(row["interval"])
        assert {"1", "2", "3"} == set(row["right_in_a_row"]["quotes"])
        for metric in ("strict", "loose", "token_accuracy", "like_the_corpus"):
            low, high = row["interval"][metric]
            value = row["text"][metric] if metric in row["text"] else row[metric]
            assert low - 1e-9 <= value <= high + 1e-9, (row["method"], metric)
    assert all(value == pytest.approx(1) for value in result["rows"][0]["text"].values())
    assert set(result["strength"]) == {"K-FAC", *compared}
    capsys.readouterr()
    words += ("--without-controls",)
    assert kfac(*words) == 0
    result = json.loads((tmp_path / "r.json").read_text())
    before, after = result["rows"]
    assert (
        kfac(
            "collect",
            "--model",
            bare,
            "--layers",
            "*.[23].mlp.up_proj",
            "--corpus",
            text,
            "--rows",
            2,
            "--out",
            tmp_path / "g",
        )
        == 0
    )
    assert kfac(*words, "--factors", tmp_path / "g") == 0  # factors of more layers than are edited do as well
    assert json.loads((tmp_path / "r.json").read_text())["layers"] == result["layers"] == ["model.layers.3.mlp.up_proj"]
    assert (
        before["ndcg"] == pytest.approx(1)
        and after["ndcg"] < 1
        and before["perplexity_corpus"] != after["perplexity_corpus"]
    )
    assert "K-FAC" in capsys.readouterr().out
    assert kfac("reproduce", "--model", bare, "--sequences", quotes, "--text", text) == 1
    assert "kfac sweep" in capsys.readouterr().err
    unknown = [row | {"suffix_ids": [(id + 1) % 200 for id in row["suffix_ids"]]} for row in windows]
    quotes.write_text("\n".join(map(json.dumps, unknown)))
    assert kfac(*words, "--factors", tmp_path / "never") == 1
    assert "recites none of the 2 windows" in (said := capsys.readouterr().err) and "kfac mine" in said
    assert not (tmp_path / "never").exists()


def test_what_nobody_says_about_the_1b_has_to_be_said_by_the_user_and_a_follow_ups_blocks_are_named_as_such(capsys):
    name, asked = "allenai/OLMo-2-0425-1B", dict(mass=None, layers=None)
    preset = presets.preset(name)
    for given in ({}, {"layers": "*.13.*"}):
        with pytest.raises(ValueError, match="--mass is needed"):
            settings_of(SimpleNamespace(model=name, **asked | given), preset)
    patterns, mass = settings_of(SimpleNamespace(model=name, **asked | {"mass": 0.6}), preset)
    assert (patterns, mass) == (preset.edited, 0.6) and "a follow-up's" in capsys.readouterr().err
    assert settings_of(SimpleNamespace(model=name, mass=0.6, layers="*.13.*"), preset) == ("*.13.*", 0.6)
