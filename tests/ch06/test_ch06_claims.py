"""What chapter 06 says about memorized examples, as one-sided tests over the recorded seeds and blocks, each with a
live slice.
"""

import pytest
import torch

from kfaclib.curvature.per_example import fisher_roots, layer_curvature_along, layer_top_eigenpairs, top_eigenpairs
from kfaclib.io import files
from kfaclib.lm import models
from kfaclib.toy import small_olmo2
from kfaclib.toy.rows import world_rows
from kfcourse.experiments import sharpness
from kfcourse.paths import DATA


@pytest.fixture(scope="module")
def record():
    return files.read_json(DATA / "results" / "sharpness.json")


def digits_rows(record, temperature=1):
    return [r for r in record["digits"] if r["temperature"] == temperature]


def ratios(record, what, temperature=1, suffix=""):
    return [r["memorized" + suffix][what] / r["clean" + suffix][what] for r in digits_rows(record, temperature)]


def test_wrong_labels_are_sharper_alone(record):
    assert len(digits_rows(record)) == 3
    assert min(ratios(record, "top")) > 4 and min(ratios(record, "trace")) > 4


def test_and_ordinary_not_flat_in_the_average(record):
    assert min(ratios(record, "population")) > 0.7
    assert all(r["memorized"]["population"] > 100 * r["random"] for r in digits_rows(record))


def test_so_they_fall_further(record):
    assert min(ratios(record, "own_over_population")) > 8


def test_at_equal_uncertainty_little_of_the_sharpness_is_left(record):
    assert max(abs(q - 1) for q in ratios(record, "uncertainty", suffix=", paired")) < 0.03
    assert max(ratios(record, "top", suffix=", paired")) < 1.5 < min(ratios(record, "top")) / 3
    assert max(abs(q - 1) for q in ratios(record, "top", sharpness.SOFT)) < 0.2
    assert max(abs(q - 1) for q in ratios(record, "jacobian")) < 0.15
    assert max(ratios(record, "population", suffix=", paired")) < 0.9  # what remains: somewhat flatter together
    assert all(r["memorized, paired"]["count"] >= 30 for r in digits_rows(record))


def test_directions_are_diluted_but_share_something(record):
    last = 1 / record["sizes"][-1]
    for r in digits_rows(record):
        assert 3 * last < r["memorized"]["shrinking"][-1] < r["clean"]["shrinking"][-1] < 0.5


def test_softened_they_share_equally(record):
    for r in digits_rows(record, sharpness.SOFT):
        assert abs(r["memorized"]["shrinking"][-1] / r["clean"]["shrinking"][-1] - 1) < 0.2


def quotes_over(record, kind, what):
    """[(ratio of medians, low, high)] of the quotes over another kind, block by block."""
    rows = {k: [r for r in record["language_model"] if r["kind"] == k] for k in ("quotes", kind)}
    assert [r["block"] for r in rows[kind]] == list(range(6))
    return [sharpness.ratio_interval(q[what], o[what]) for q, o in zip(rows["quotes"], rows[kind], strict=True)]


def decided(intervals):
    """For every block: is the whole interval above 1, below 1, or does it cross 1?"""
    return ["above" if low > 1 else "below" if high < 1 else "crosses" for _, low, high in intervals]


def test_in_the_average_quotes_are_flatter_than_fresh_text_everywhere(record):
    assert decided(quotes_over(record, "fresh text", "population")) == ["below"] * 6


def test_in_the_average_grammar_is_decided_in_the_upper_half_and_copied_names_in_the_lower_blocks(record):
    assert decided(quotes_over(record, "sure by grammar", "population")) == ["crosses"] * 3 + ["below"] * 3
    assert decided(quotes_over(record, "sure by copying", "population")) == ["below"] * 4 + ["crosses"] * 2


def test_alone_quotes_are_sharper_than_grammar_but_not_than_the_other_controls(record):
    assert decided(quotes_over(record, "sure by grammar", "own")) == ["above"] * 5 + ["crosses"]
    assert decided(quotes_over(record, "sure by copying", "own")) == ["crosses"] * 6
    assert decided(quotes_over(record, "fresh text", "own")) == ["crosses"] * 5 + ["below"]
    for row in record["language_model"]:
        if row["kind"].startswith("sure"):
            assert row["uncertainty"] < 0.015


def test_quotes_share_less_than_fresh_text_only_in_the_last_two_blocks(record):
    shared = {
        kind: torch.tensor([r["shared"] for r in record["language_model"] if r["kind"] == kind])
        for kind in ("quotes", "fresh text")
    }
    assert (shared["quotes"] < shared["fresh text"]).tolist() == [False] * 4 + [True] * 2
    assert shared["quotes"].argmin() == 5 and shared["quotes"].min() < 2 / 8


def test_quotes_are_not_flat_in_absolute_terms(record):
    assert all(low > 3 for _, low, _ in quotes_over(record, "random direction", "population"))


def test_the_interval_holds_the_ratio_and_narrows_with_more_passages():
    g = torch.Generator().manual_seed(0)
    a, b = (2 * torch.rand(200, generator=g) + 2).tolist(), (torch.rand(200, generator=g) + 1).tolist()
    few, many = sharpness.ratio_interval(a[:8], b[:8]), sharpness.ratio_interval(a, b)
    for ratio, low, high in (few, many):
        assert low <= ratio <= high and low < 2 < high
    assert many[2] - many[1] < few[2] - few[1]
    assert sharpness.ratio_interval([3.0] * 5, [1.5] * 5) == (2, 2, 2)


def test_live_digits_on_a_seed_that_was_not_recorded():
    net, x, groups = sharpness.digit_net(seed=9)
    own, others = {}, {}
    for kind, indices in groups.items():
        own[kind], directions = top_eigenpairs(fisher_roots(net, x[indices[:40]]))
        others[kind], walks = sharpness.in_company(net, x, indices[:40], directions)
        assert torch.allclose(walks[0], own[kind], rtol=1e-3)
        assert torch.allclose(walks[-1] * 1000, own[kind] + 999 * others[kind], rtol=1e-3)
    assert own["memorized"].mean() > 3 * own["clean"].mean()
    assert 0.5 < others["memorized"].mean() / others["clean"].mean() < 1.6


@pytest.mark.long
def test_live_language_model_in_the_last_block():
    model, _ = models.load(DATA / "olmo2-tiny")
    model.set_attn_implementation("eager")
    world, name = small_olmo2.load_world(DATA / "olmo2-tiny"), sharpness.LAYER.format(5)
    texts, average = sharpness.passages(model, world, 3), {}
    for kind in ("quotes", "fresh text", "sure by grammar"):
        ids, counts = texts[kind]
        _, V = layer_top_eigenpairs(model, name, ids, sharpness.PREFIX, steps=4, counts=counts)
        average[kind] = layer_curvature_along(
            model, name, world_rows(world, 24, seed=8), V, torch.Generator().manual_seed(0)
        ).quantile(0.5)
    assert average["quotes"] < 0.5 * average["fresh text"] and average["quotes"] < average["sure by grammar"]
