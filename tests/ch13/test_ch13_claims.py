"""What the second half of chapter 12 says (detector, rankings, relearning), held against the records of three seeds."""

import re
from statistics import mean

import pytest

from kfaclib.io.files import read_json
from kfaclib.lm import relearning
from kfaclib.toy import pipeline
from kfcourse.ch12 import later_figures
from kfcourse.paths import DATA

RECORDS = {name: read_json(DATA / "results" / f"{name}.json") for name in ("variants", "detector", "relearning")}
VARIANTS, DETECTOR, BACK = (record["seeds"] for record in RECORDS.values())
each = lambda seeds: pytest.mark.parametrize("run", seeds.values(), ids=[f"seed {s}" for s in seeds])


def row(run, name):
    return next(r for r in run["rows"] if r["variant"] == name)


def kept(run, name, task):
    return row(run, name)["tasks"][task] / row(run, "before")["tasks"][task]


def price(run, name):
    return row(run, name)["perplexity"] / row(run, "before")["perplexity"]


@pytest.mark.parametrize("name", RECORDS)
def test_three_seeds_are_recorded_with_where_they_come_from(name):
    assert len(RECORDS[name]["seeds"]) == 3
    assert {"command", "commit", "machine", "date", "seed", "versions"} <= RECORDS[name]["provenance"].keys()


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
def test_one_side_alone_costs_more_and_the_output_side_saves_no_sums(run):
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


# what is left


@each(VARIANTS)
def test_the_true_words_stay_near_the_top_and_patience_finds_some_quotes(run):
    before, after, never = (run["remains"][k] for k in ("before", "edited", "never trained"))
    assert row(run, "K-FAC")["strict"] == 0 and after["windows"]["1"] == 0
    assert after["windows"]["5"] > 0.5 and never["windows"]["10"] == 0
    assert never["log_p"] + 1 < after["log_p"] < before["log_p"]
    assert after["sampled"]["10000"] > 0.01 and never["sampled"]["10000"] < 1e-9


# the detector


@each(DETECTOR)
def test_flat_energy_tells_quotes_from_fresh_text_in_late_blocks_only(run):
    assert run["auc"]["0"] < 0.7 and min(run["auc"]["4"], run["auc"]["5"]) > 0.99
    assert run["caught"]["5"] > 0.95 and run["false alarms"]["5"] < 0.05


@each(DETECTOR)
def test_it_is_not_mere_certainty_but_facts_and_copied_names_look_like_memory(run):
    last = {kind: run["tokens"][kind]["auc"]["5"] for kind in run["tokens"]}
    assert last["sure by grammar"] > 0.9
    assert last["sure by copying"] < 0.7 and last["facts_rare"] < 0.5


def test_the_models_own_probability_is_no_worse():
    for repeats in ("8", "16", "32"):
        assert (
            mean(r["ladder, probability"][repeats] for r in DETECTOR.values())
            >= mean(r["ladder"][repeats]["4"] for r in DETECTOR.values()) - 0.01
        )
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


def test_nothing_without_labels_orders_the_blocks_clearly_better_than_their_depth():
    from scipy.stats import spearmanr

    def order(what):
        rho = [
            spearmanr(
                list(r["without labels"][what].values()), [x["token_accuracy"] for x in r["with labels"].values()]
            )[0]
            for r in DETECTOR.values()
        ]
        return abs(mean(rho))

    assert (
        max(order(what) for what in DETECTOR["0"]["without labels"] if what != "block number")
        < order("block number") + 0.1
    )


# relearning


@each(BACK)
def test_the_other_half_returns_in_the_edited_model_and_not_in_one_that_was_never_trained(run):
    for start in ("shallow", "deep"):
        found = {
            r["edit"]: [x["watched"]["token_accuracy"] for x in r["rows"]]
            for r in run
            if r["start"] == start and r["trained on"] != "fresh text"
        }
        assert abs(found["K-FAC"][0] - found["never trained"][0]) < 0.03, "the starts are to be matched"
        assert max(found["K-FAC"]) > found["K-FAC"][0] + 0.02
        assert max(found["never trained"]) < found["never trained"][0] + 0.02
        if start == "shallow":  # the other control: a random basis has hidden the quotes as well
            assert max(found["random basis"]) > found["random basis"][0] + 0.02


@each(BACK)
def test_training_on_other_text_does_not_bring_them_back(run):
    other = next(r for r in run if r["trained on"] == "fresh text")["rows"]
    assert max(x["watched"]["token_accuracy"] for x in other) < other[0]["watched"]["token_accuracy"] + 0.01


@each(BACK)
def test_what_was_edited_out_is_learned_again_sooner_than_what_is_new(run):
    def tokens(start, edit):
        found = next(r for r in run if (r["start"], r["edit"]) == (start, edit) and r["trained on"] != "fresh text")[
            "rows"
        ]
        return relearning.tokens_to(
            [{"tokens": x["tokens"], "strict": x["trained"]["strict"]} for x in found], "strict"
        )

    assert tokens("shallow", "K-FAC") < 20_000
    unmatched = tokens("unmatched", "never trained")
    assert unmatched is None or unmatched > 3 * tokens("shallow", "K-FAC")
    assert later_figures.runs({"0": run}, "shallow", "K-FAC")
