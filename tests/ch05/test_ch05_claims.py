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


@pytest.fixture(scope="module")
def trained():
    """(inputs a [200, 16], gradients g [200, 10, 10] for every label) of the last layer, untrained and trained, on a
    seed that was not recorded."""
    d, found = digits.load(), []
    for epochs in (0, 40):
        net = digits.make_net(11, kfac_error.WIDTHS)
        if epochs:
            digits.train(net, d.x, d.y, epochs, seed=11)
        net = net.double()
        with torch.no_grad():
            a = net[:4](d.x[:200].double())
            p = torch.softmax(net[4](a), 1)
        found.append((a, p.sqrt()[:, :, None] * (p[:, None, :] - torch.eye(10))))
    return found


def exact_block(a, g):
    per_image = torch.einsum("nyo,nyp->nop", g, g).flatten(1)
    block = per_image.T @ (a[:, :, None] * a[:, None, :]).flatten(1) / len(a)  # [10 * 10, 16 * 16]
    return block.view(10, 10, 16, 16).transpose(1, 2).reshape(160, 160)


def error_of_kfac(a, g, block):
    product = torch.kron(torch.einsum("nyo,nyp->op", g, g) / len(a), a.T @ a / len(a))
    return ((product - block).norm() / block.norm()).item()


def test_random_pairing_takes_the_error_away_and_only_in_the_mean(trained):
    """The claim (pairing makes the error) and its control (the same factors, paired at random)."""
    a, g = trained[1]
    generator = torch.Generator().manual_seed(1)
    blocks = [exact_block(a, g[torch.randperm(len(g), generator=generator)]) for _ in range(50)]
    true, one, mean = (error_of_kfac(a, g, b) for b in (exact_block(a, g), blocks[0], sum(blocks) / 50))
    assert true > 0.3 and mean < 0.25 * true and mean < one < true


def test_a_tenth_of_the_images_holds_half_of_the_doubt_only_after_training(trained):
    shares = []
    for _, g in trained:
        doubt = g.square().sum((1, 2)).sort(descending=True)[0]
        shares.append((doubt[:20].sum() / doubt.sum()).item())
    assert shares[0] < 0.11 and shares[1] > 0.4


def test_ekfac_repairs_only_a_little_of_the_error(rows):
    for r in find(rows, layer=2, epoch=40, centred=False):
        assert 0.8 * r["K-FAC"] < r["EK-FAC"] < r["K-FAC"]


def test_a_random_basis_holds_far_less_than_kfacs(trained):
    a, g = trained[1]
    F, generator = exact_block(a, g), torch.Generator().manual_seed(2)
    top = lambda values: values.sort(descending=True)[0][:16].sum() / F.trace()
    (lam, U), (mu, Q) = (torch.linalg.eigh(M) for M in (torch.einsum("nyo,nyp->op", g, g), a.T @ a))
    basis = torch.kron(U, Q)
    along = (basis.T @ F @ basis).diagonal()[torch.kron(lam, mu).argsort(descending=True)[:16]].sum() / F.trace()
    random = torch.linalg.qr(torch.randn(160, 160, generator=generator, dtype=torch.float64))[0]
    assert along > 0.7 and top(F.diagonal()) < 0.6 and top((random.T @ F @ random).diagonal()) < 0.3


def rank_correlation(x, y):
    return torch.corrcoef(torch.stack([x.flatten(), y.flatten()]).argsort().argsort().double())[0, 1]


def test_the_units_order_pairs_alike_because_the_product_does(rows):
    """Control: K-FAC's product, which knows no unit, orders the pairs as well; the corrections do not agree."""
    name = "model.layers.3.mlp.up_proj"
    model, _ = models.load(DATA / "olmo2-tiny")
    ids = [world_rows(small_olmo2.load_world(DATA / "olmo2-tiny"), 16, seed=5)]
    layers, rng = linear_layers(model, name), lambda: torch.Generator().manual_seed(0)
    bases = decompose(collect_factors(model, ids, layers, generator=rng(), progress=False))
    token, sequence = (
        collect_eigenvalues(model, ids, layers, bases, unit=u, generator=rng(), progress=False)[name].double()
        for u in ("token", "sequence")
    )
    product = torch.outer(bases[name].lambda_G, bases[name].lambda_A)
    assert 0.9 < sequence.sum() / token.sum() < 1.1
    assert rank_correlation(token, sequence) > 0.95
    assert rank_correlation(token, product) > rank_correlation(token, sequence)
    assert rank_correlation(token / product, sequence / product) < 0.6
