"""What chapter 09 and the README say, held against the records and against a live run on the shipped model."""

import pytest
import torch

from kfaclib.editing import matching
from kfaclib.editing.edit import edit_weights, edited
from kfaclib.io import report
from kfaclib.io.files import read_json
from kfaclib.lm import models
from kfaclib.lm.recitation import split_windows, token_accuracy
from kfaclib.toy import pipeline, small_olmo2, tasks
from kfcourse.paths import DATA

SHIPPED = read_json(DATA / "results" / "reproduce-olmo2-tiny.json")
SEEDS = read_json(DATA / "results" / "seeds.json")["seeds"]
RUNS = {"shipped": SHIPPED, **{f"seed {s}": r for s, r in SEEDS.items()}}
every_run = pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)


def row(run, method):
    return next(r for r in run["rows"] if r["method"] == method)


def kept(run, method="K-FAC"):
    return report.relative(row(run, method), run["rows"][0])


def price(run, method):
    return row(run, method)["perplexity"] / run["rows"][0]["perplexity"]


def test_three_seeds_are_recorded_with_where_they_come_from():
    assert len(SEEDS) >= 3
    for record in (SHIPPED, read_json(DATA / "results" / "seeds.json")):
        assert {"command", "commit", "machine", "date", "seed", "versions"} <= record["provenance"].keys()


@every_run
def test_before_the_edit_the_model_recites(run):
    assert run["rows"][0]["strict"] > 0.95


def test_before_the_edit_the_shipped_model_can_do_every_task():
    assert all(accuracy >= 0.95 for accuracy in SHIPPED["rows"][0]["tasks"].values()), SHIPPED["rows"][0]["tasks"]


def test_a_seed_that_had_not_learned_everything_is_named_where_the_reader_sees_it():
    for seed, run in SEEDS.items():
        assert (f"seed {seed}:" in report.unlearned(SEEDS)) == (min(run["rows"][0]["tasks"].values()) < 0.95)


@every_run
def test_after_the_edit_recitation_is_gone_and_fresh_text_is_as_easy_as_before(run):
    assert row(run, "K-FAC")["strict"] <= 0.05
    assert price(run, "K-FAC") <= 1.05


@every_run
def test_what_works_from_the_context_survives(run):
    after = kept(run)
    assert after["open_book"] >= 0.97 and after["deduction"] >= 0.97 and after["boolean"] >= 0.95


@every_run
def test_the_order_is_the_papers(run):
    """Recitation, then rare facts and sums, then frequent facts and what works from the context."""
    after = kept(run)
    for middle in ("facts_rare", "arithmetic"):
        assert after["recitation"] + 0.1 < after[middle] < after["open_book"]
    assert after["facts_frequent"] > after["facts_rare"]


@every_run
def test_all_methods_were_brought_to_the_same_forgetting(run):
    reached = [s["token_accuracy"] for s in run["settings"]["strength"].values()]
    assert max(reached) - min(reached) < 0.03


@every_run
def test_curvature_forgets_at_the_smallest_general_price(run):
    for control in ("SVD", "random basis"):
        assert price(run, "K-FAC") - 1 < 0.5 * (price(run, control) - 1)
    assert abs(price(run, "EK-FAC") - price(run, "K-FAC")) < 0.05


@every_run
def test_lookups_do_not_separate_the_methods(run):
    """The chapter says it plainly: open book survives the controls too."""
    for control in ("SVD", "random basis"):
        assert kept(run, control)["open_book"] > 0.9
    assert kept(run, "SVD")["facts_rare"] > kept(run)["facts_rare"] - 0.05


@every_run
def test_keeping_more_curvature_never_makes_recitation_much_worse(run):
    stairs = [s["token_accuracy"] for s in sorted(run["staircase"], key=lambda s: s["mass"])]
    assert all(b > a - 0.02 for a, b in zip(stairs, stairs[1:])) and stairs[-1] > 0.99


@pytest.mark.long
@pytest.mark.slow
def test_the_shipped_model_does_it_again_with_another_sample_of_curvature():
    model, _ = models.load(DATA / "olmo2-tiny")
    world = small_olmo2.load_world(DATA / "olmo2-tiny")
    exam = pipeline.make_exam(model, world, "report", count=60)
    before = pipeline.take(model, exam)
    c = pipeline.curvature(model, world, rows=pipeline.ROWS, seed=123, progress=False)
    choosing = split_windows(tasks.quote_windows(world, "choose"))
    strength, _ = matching.bring_to(
        pipeline.FORGOTTEN,
        lambda m: edit_weights(c.layers, c.bases, m),
        c.layers,
        lambda: token_accuracy(model, choosing),
    )
    with edited(c.layers, edit_weights(c.layers, c.bases, strength)):
        after = pipeline.take(model, exam)
    assert before["strict"] > 0.95 and after["strict"] <= 0.05
    assert after["perplexity"] <= 1.05 * before["perplexity"]
    assert report.relative(after, before)["open_book"] >= 0.95
    assert torch.isfinite(torch.tensor(after["levenshtein"]))
