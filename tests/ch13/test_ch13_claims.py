"""What chapter 13 says, held against the records of three seeds, each claim beside its control."""

import re
from statistics import mean

import pytest
import torch

from kfaclib.curvature.eigenbasis import decompose
from kfaclib.curvature.factors import collect_factors
from kfaclib.curvature.layers import linear_layers
from kfaclib.io.files import read_json
from kfaclib.lm import detector, models, relearning
from kfaclib.lm.recitation import split_windows
from kfaclib.toy import pipeline, small_olmo2, tasks
from kfaclib.toy.rows import world_rows
from kfcourse.ch13 import figures
from kfcourse.experiments import detector_controls, evidence
from kfcourse.paths import DATA

NAMES = ("variants", "detector", "detector_controls", "evidence")
RECORDS = {name: read_json(DATA / "results" / f"{name}.json") for name in NAMES}
VARIANTS, DETECTOR, CONTROLS, EVIDENCE = (RECORDS[name]["seeds"] for name in NAMES)
LATE = ("4", "5")
each = lambda seeds: pytest.mark.parametrize("run", seeds.values(), ids=[f"seed {s}" for s in seeds])


def row(run, name):
    return figures.variant(run, name)


def kept(run, name, task):
    return row(run, name)["tasks"][task] / row(run, "before")["tasks"][task]


def price(run, name):
    return row(run, name)["perplexity"] / row(run, "before")["perplexity"]


@pytest.mark.parametrize("name", NAMES)
def test_three_seeds_are_recorded_with_where_they_come_from(name):
    assert len(RECORDS[name]["seeds"]) == 3
    assert {"command", "commit", "machine", "date", "seed", "versions"} <= RECORDS[name]["provenance"].keys()


# the detector


@each(DETECTOR)
def test_flat_energy_tells_quotes_from_fresh_text_in_late_blocks_only(run):
    assert run["auc"]["0"] < 0.7 and min(run["auc"][b] for b in LATE) > 0.99
    assert run["caught"]["5"] > 0.95 and run["false alarms"]["5"] < 0.05


@each(CONTROLS)
def test_the_probability_and_the_length_of_an_input_do_as_well_and_a_random_basis_does_not_know_its_sign(run):
    for block in LATE:
        assert run["flat energy"][block] > 0.98
        assert 1 - run["length of the input"][block] > 0.98  # the inputs of quotes are shorter
        stray = run["random basis"][block]
        assert 0.3 < mean(stray) < 0.7 and max(stray) - min(stray) > 0.7
    assert run["probability"] > 0.99 and run["probability"] > run["flat energy"]["5"] - 0.01
    assert run["flat energy"]["3"] > 1 - run["length of the input"]["3"]  # a block earlier


@each(CONTROLS)
def test_among_tokens_of_equal_probability_late_blocks_still_tell_more_than_a_coin(run):
    assert all(run["equally sure"][b] > 0.85 for b in LATE)
    assert run["equally sure"]["0"] < 0.55  # the control: inputs that have hardly been processed tell nothing


@each(DETECTOR)
def test_it_is_not_mere_certainty_but_facts_and_copied_names_look_like_memory(run):
    last = {kind: run["tokens"][kind]["auc"]["5"] for kind in run["tokens"]}
    assert last["sure by grammar"] > 0.9
    assert last["sure by copying"] < 0.7 and last["facts_rare"] < 0.5


def test_a_passage_must_be_read_sixteen_times_and_the_probability_notices_no_later():
    for repeats in ("8", "16", "32"):
        flat = mean(r["ladder"][repeats]["4"] for r in DETECTOR.values())
        assert mean(r["ladder, probability"][repeats] for r in DETECTOR.values()) >= flat - 0.01
    assert all(r["ladder"]["4"]["4"] < 0.7 < r["ladder"]["32"]["4"] for r in DETECTOR.values())
    assert all(r["auc of probability"] > 0.99 for r in DETECTOR.values())


@each(DETECTOR)
def test_the_edited_model_still_reacts_to_the_quotes_behind_the_edit(run):
    """The control is what the edit cannot touch: the inputs of blocks up to the first edited one say what they said."""
    after, before = run["after the edit"]["auc"], run["auc"]
    edited = sorted(set(re.search(r"\[(\d+)\]", pipeline.LAYERS)[1]))
    behind = [b for b in before if b > edited[0]]
    assert behind == ["4", "5"] and min(after[b] for b in behind) > 0.99
    assert all(after[b] == before[b] for b in before if b not in behind)
    assert run["after the edit"]["mass"] < 0.99


# which layers, without labels


def test_nothing_without_labels_orders_the_blocks_clearly_better_than_their_depth():
    found = {
        what: abs(mean(values))
        for what, values in figures.rank_correlations(RECORDS["detector"], RECORDS["detector_controls"]).items()
    }
    assert "predicted price, exact" in found
    depth = found.pop("block number")
    assert max(found.values()) < depth + 0.1


def test_with_six_blocks_even_the_depth_stays_below_what_luck_reaches_and_the_exact_price_is_no_better():
    assert 0.8 < figures.by_luck(6) < 0.95
    found = figures.rank_correlations(RECORDS["detector"], RECORDS["detector_controls"])
    assert max(map(abs, found["block number"])) < figures.by_luck(6)
    assert abs(mean(found["predicted price, exact"])) < abs(mean(found["predicted cost"]))


# other rankings, other text


@each(VARIANTS)
def test_all_variants_are_at_the_same_forgetting(run):
    assert max(abs(r["chosen_at"] - pipeline.FORGOTTEN) for r in run["rows"][1:]) < 0.01


@each(VARIANTS)
def test_a_quarter_of_arithmetic_in_the_sample_keeps_the_sums_at_no_other_price(run):
    for name in ("25% arithmetic", "50% arithmetic"):
        assert kept(run, name, "arithmetic") > 0.93
        # the control: another addition to the sample does not keep them beyond what no addition keeps
        assert kept(run, "quotes in the sample", "arithmetic") < kept(run, "K-FAC", "arithmetic")
        assert price(run, name) < price(run, "K-FAC") + 0.01
    assert mean(kept(r, "K-FAC", "arithmetic") for r in VARIANTS.values()) < 0.85


@each(VARIANTS)
def test_arithmetic_only_keeps_facts_best_and_ordinary_text_pays(run):
    others = [r["variant"] for r in run["rows"] if r["variant"] not in ("before", "100% arithmetic")]
    assert kept(run, "100% arithmetic", "arithmetic") > 0.97
    assert kept(run, "100% arithmetic", "facts_rare") > max(kept(run, name, "facts_rare") for name in others)
    assert price(run, "100% arithmetic") > price(run, "25% arithmetic") + 0.05


@each(VARIANTS)
def test_one_side_alone_costs_more_and_the_output_side_saves_no_sums(run):
    """The negative result: in the follow-up work on a 7B model, ranking by G alone kept more arithmetic."""
    assert price(run, "G only") > price(run, "A only") > price(run, "K-FAC")
    assert kept(run, "G only", "arithmetic") <= kept(run, "K-FAC", "arithmetic") + 0.05


@each(VARIANTS)
def test_coefficients_in_the_ranking_halve_the_pairs_and_alone_they_cost_perplexity(run):
    assert row(run, "K-FAC x C^2")["kept"] < 0.6 * row(run, "K-FAC")["kept"]
    assert abs(price(run, "K-FAC x C^2") - price(run, "K-FAC")) < 0.02
    assert price(run, "C^2 only") > price(run, "K-FAC") + 0.04


@each(VARIANTS)
def test_quotes_in_the_sample_do_not_protect_quotes(run):
    other = row(run, "quotes in the sample")
    assert row(run, "before")["strict"] > 0.95  # without an edit they are recited
    assert other["strict"] < 0.1 and other["kept"] < row(run, "K-FAC")["kept"]


@each(EVIDENCE)
def test_curvature_of_a_foreign_corpus_costs_more_than_a_basis_that_knows_no_text(run):
    rows = run["settings"][evidence.MUCH][0]["rows"]
    stray = next(r for r in rows if r["method"] == "random basis")
    sums = lambda r: r["tasks"]["arithmetic"] / run["baseline"]["tasks"]["arithmetic"]
    for corpus in ("stories", "another hand"):
        found = run["corpora"][corpus]
        assert found["text"]["like_the_corpus"] > 2 > 1.5 > stray["text"]["like_the_corpus"]
        assert sums(found) < 0.1 < sums(stray)
    alone = run["corpora"]["tasks"]
    assert sums(alone) > 0.95 and alone["text"]["other"] > 1.3
    own = run["corpora"]["its own samples"]
    assert own["text"]["like_the_corpus"] < stray["text"]["like_the_corpus"]
    assert own["tasks"]["facts_rare"] / run["baseline"]["tasks"]["facts_rare"] < 0.5


@pytest.mark.long
@pytest.mark.slow
def test_a_small_sample_shows_the_detector_and_its_controls_again():
    """Among equally sure tokens of the last block flat energy says more than one half, and a little more than shortness
    does."""
    model, _ = models.load(DATA / "olmo2-tiny")
    world, draw = small_olmo2.load_world(DATA / "olmo2-tiny"), torch.Generator().manual_seed(0)
    layers = linear_layers(model.requires_grad_(False), "model.layers.5.mlp.up_proj")
    rows = world_rows(world, 96, seed=0).split(32)
    ((name, basis),) = decompose(collect_factors(model, rows, layers, generator=draw, progress=False)).items()
    windows = split_windows(tasks.quote_windows(world, "report")[::2]), split_windows(tasks.fresh_text("detector", 32))
    inputs = [detector_controls.inputs_of(model, layers, w)[5].flatten(0, 1) for w in windows]
    sure = [relearning.true_tokens(model, w)[1].flatten() for w in windows]
    among = lambda sides: detector.auc_within(*sides, *sure, detector_controls.BORDERS)
    flat = [detector.flat_energy(x, basis) for x in inputs]
    short = [-x.norm(dim=-1) for x in inputs]
    assert min(detector.auc(*flat), detector.auc(*short)) > 0.97
    assert among(flat) > among(short) + 0.01 > 0.85
