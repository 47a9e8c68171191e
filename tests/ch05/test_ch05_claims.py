"""What chapter 05 says about K-FAC, as one-sided tests over the recorded seeds, and live where it is quick."""

import pytest
import torch

from kfaclib.curvature.eigenbasis import collect_eigenvalues, decompose
from kfaclib.curvature.factors import collect_factors
from kfaclib.curvature.layers import linear_layers
from kfaclib.io import files
from kfaclib.lm import models
from kfaclib.toy import digits, small_olmo2
from kfaclib.toy.rows import world_rows
from kfcourse.experiments import kfac_error
from kfcourse.paths import DATA


@pytest.fixture(scope="module")
def rows():
    return files.read_json(DATA / "results" / "kfac_error.json")["rows"]


def find(rows, **wanted):
    return [r for r in rows if all(r[k] == v for k, v in wanted.items())]


def test_training_makes_kfac_worse_in_every_layer_and_seed(rows):
    for seed in kfac_error.SEEDS:
        for layer in range(3):
            before, after = (find(rows, seed=seed, layer=layer, epoch=e, centred=False)[0]["K-FAC"] for e in (0, 40))
            assert after > 1.2 * before


def test_ekfac_is_never_worse_than_kfac(rows):
    assert all(r["EK-FAC"] <= r["K-FAC"] * (1 + 1e-9) for r in rows)


def test_the_basis_captures_far_more_than_single_weights(rows):
    for r in find(rows, centred=False):
        assert r["captured"]["K-FAC"] > 1.4 * r["captured"]["single weights"]
        assert r["captured"]["K-FAC"] > 0.8 * r["captured"]["the exact eigenvectors"]


def test_centred_pixels_make_the_last_layer_harder(rows):
    for seed in kfac_error.SEEDS:
        plain, centred = (find(rows, seed=seed, layer=2, epoch=40, centred=c)[0]["K-FAC"] for c in (False, True))
        assert centred > plain


def test_live_on_a_seed_that_was_not_recorded():
    d = digits.load()
    errors = []
    for epochs in (0, 10):
        net = digits.make_net(11, kfac_error.WIDTHS)
        if epochs:
            digits.train(net, d.x, d.y, epochs, seed=11)
        errors.append(kfac_error.compare(net.double(), d.x[:100].double(), "4")["K-FAC"])
    assert errors[1] > 2 * errors[0]


def test_the_two_units_rank_alike_on_the_language_model():
    model, _ = models.load(DATA / "olmo2-tiny")
    rows = [world_rows(small_olmo2.load_world(DATA / "olmo2-tiny"), 16, seed=5)]
    layers, rng = linear_layers(model, "model.layers.3.mlp.up_proj"), lambda: torch.Generator().manual_seed(0)
    bases = decompose(collect_factors(model, rows, layers, generator=rng(), progress=False))
    pair = [
        collect_eigenvalues(model, rows, layers, bases, unit=u, generator=rng(), progress=False)[
            "model.layers.3.mlp.up_proj"
        ].flatten()
        for u in ("token", "sequence")
    ]
    assert 0.5 < pair[1].sum() / pair[0].sum() < 2
    assert torch.corrcoef(torch.stack(pair).argsort().argsort().double())[0, 1] > 0.9
