"""What chapter 14 says, held against the record of three seeds, each claim beside its control."""

from statistics import mean

import pytest
import torch

from kfaclib.io.files import read_json
from kfcourse.ch14 import figures
from kfcourse.paths import DATA

RECORD = read_json(DATA / "results" / "relearning.json")
STARTS = ("shallow", "deep")


def last(which, key):
    return [run["rows"][-1]["watched"][key] for run in figures.runs(RECORD, *which)]


def test_three_seeds_are_recorded_with_where_they_come_from():
    assert len(RECORD["seeds"]) == 3
    assert {"command", "commit", "machine", "date", "seed", "versions"} <= RECORD["provenance"].keys()


@pytest.mark.parametrize("start", STARTS)
def test_edited_model_and_control_start_alike(start):
    first = lambda edit: [run["rows"][0]["watched"]["token_accuracy"] for run in figures.runs(RECORD, start, edit)]
    assert all(abs(a - b) < 0.03 for a, b in zip(first("K-FAC"), first("never trained"), strict=True))


@pytest.mark.parametrize("start", STARTS)
def test_the_watched_half_gains_after_the_edit_and_not_in_a_model_that_never_knew(start):
    assert min(figures.gains(RECORD, start, "K-FAC")) > 0.03
    assert max(figures.gains(RECORD, start, "never trained")) < 0


def test_the_deeper_edit_gives_back_more():
    deep, shallow = (mean(figures.gains(RECORD, start, "K-FAC")) for start in ("deep", "shallow"))
    control = mean(figures.gains(RECORD, "deep", "never trained"))
    assert deep > shallow + 0.03 > 0 > control


def test_a_random_basis_gives_back_as_much_as_curvature():
    """So it is not curvature that hides badly: whatever cuts a few shared directions can be undone from a part."""
    stray, k_fac = (figures.gains(RECORD, "shallow", edit) for edit in ("random basis", "K-FAC"))
    assert min(stray) > 0.03 and abs(mean(stray) - mean(k_fac)) < 0.02


def test_training_on_fresh_text_brings_nothing_back():
    assert max(figures.gains(RECORD, "shallow", "K-FAC", figures.FRESH)) < 0.01
    assert min(figures.gains(RECORD, "shallow", "K-FAC")) > 0.03


def test_only_a_part_returns_strict_recall_of_the_watched_half_stays_low():
    for edit in ("K-FAC", "random basis"):
        assert max(last(("shallow", edit), "strict")) < 0.2
    trained = [run["rows"][-1]["trained"]["strict"] for run in figures.runs(RECORD, "shallow", "K-FAC")]
    assert min(trained) > 0.95  # what is trained on returns as a whole


def test_what_was_edited_out_is_learned_again_sooner_than_what_is_new():
    k_fac = figures.tokens_until(RECORD, "shallow", "K-FAC")
    stray = figures.tokens_until(RECORD, "shallow", "random basis")
    matched = figures.tokens_until(RECORD, "shallow", "never trained")
    nothing = figures.tokens_until(RECORD, *figures.UNMATCHED)
    for fast, other, same, slow in zip(k_fac, stray, matched, nothing, strict=True):
        assert other < fast < 6_000  # curvature hides no less than its control
        assert same > 2 * fast and slow > 10 * fast
    assert figures.speed_ratio(RECORD) > 10


def test_the_matched_control_has_paid_for_its_start_and_the_deep_one_less():
    def rise(start):
        ends = zip(figures.runs(RECORD, start, "never trained"), figures.runs(RECORD, *figures.UNMATCHED), strict=True)
        return [run["rows"][0]["perplexity"] / fresh["rows"][0]["perplexity"] for run, fresh in ends]

    assert min(rise("shallow")) > 1.5 > max(rise("deep"))
    before = [[run["before"] for run in figures.runs(RECORD, s, "never trained")] for s in ("deep", "shallow")]
    assert all(deep < shallow for deep, shallow in zip(*before, strict=True))


def test_in_the_linear_memory_a_step_helps_the_watched_pairs_only_if_the_residuals_have_one_cause():
    """(14.3) on many draws, against the same residuals dealt to other pairs."""
    for seed in range(20):
        draw = torch.Generator().manual_seed(seed)
        keys = torch.randn(200, 12, generator=draw)
        hidden = keys[:, :1] * torch.randn(1, 12, generator=draw)
        ratios = []
        for residuals in (hidden, hidden[torch.randperm(200, generator=draw)]):
            step = 0.006 * residuals[:100].T @ keys[:100]
            ratios.append(((residuals[100:] - keys[100:] @ step.T).norm() / residuals[100:].norm()).item())
        assert ratios[0] < 0.75 and ratios[1] > 0.9
