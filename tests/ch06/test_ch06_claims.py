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


def medians(record, kind, what):
    rows = [r for r in record["language_model"] if r["kind"] == kind]
    assert [r["block"] for r in rows] == list(range(6))
    return torch.tensor([torch.tensor(r[what]).quantile(0.5) for r in rows])


def quotes_over(record, kind, what):
    return medians(record, "quotes", what) / medians(record, kind, what)


def test_quotes_are_flatter_in_the_average_of_every_block(record):
    assert (quotes_over(record, "fresh text", "population") < 0.6).all()
    assert (quotes_over(record, "sure by grammar", "population") < 1).all()
    assert (quotes_over(record, "sure by grammar", "population")[3:] < 0.4).all()


def test_quotes_are_sharper_alone_than_tokens_of_equal_certainty_but_not_than_fresh_text(record):
    assert (quotes_over(record, "sure by grammar", "own") > 1.5).all()
    assert (quotes_over(record, "fresh text", "own") < 1).all()
    for row in record["language_model"]:
        if row["kind"].startswith("sure"):
            assert row["uncertainty"] < 0.015


def test_copied_names_are_sharp_too_and_flat_in_the_last_two_blocks(record):
    copied, grammar = (medians(record, f"sure by {how}", "own") for how in ("copying", "grammar"))
    assert (copied > 1.3 * grammar).all()
    copied, grammar = (medians(record, f"sure by {how}", "population") for how in ("copying", "grammar"))
    assert (copied[4:] < 0.3 * grammar[4:]).all()
    assert (quotes_over(record, "sure by copying", "population")[:4] < 0.6).all()


def test_quotes_share_less_than_fresh_text_only_in_the_last_two_blocks(record):
    shared = {
        kind: torch.tensor([r["shared"] for r in record["language_model"] if r["kind"] == kind])
        for kind in ("quotes", "fresh text")
    }
    assert (shared["quotes"] < shared["fresh text"]).tolist() == [False] * 4 + [True] * 2


def test_quotes_are_not_flat_in_absolute_terms(record):
    assert (quotes_over(record, "random direction", "population") > 3).all()


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
