"""What chapter 04 says about curvature, as one-sided tests over the recorded seeds, each with a small live
measurement.
"""

import pytest
import torch

from kfaclib.curvature.spectrum import lanczos, random_signs, ritz
from kfaclib.io import files
from kfaclib.toy import digits
from kfcourse.experiments import fisher_labels, spectra
from kfcourse.paths import DATA


@pytest.fixture(scope="module")
def rows():
    return {
        kind: [r for r in files.read_json(DATA / "results" / "spectra.json")["rows"] if r["labels"] == kind]
        for kind in spectra.NETS
    }


@pytest.fixture(scope="module")
def labels():
    return files.read_json(DATA / "results" / "fisher_labels.json")["rows"]


def step(row):
    return row["top"][8] / row["top"][9]


def test_nine_eigenvalues_stand_out_on_clean_labels_only(rows):
    assert all(r["gap"] == 9 and step(r) > 2 for r in rows["clean"])
    for kind in ("clean, centred pixels", "random"):
        assert all(step(r) < 1.6 for r in rows[kind])


def test_the_values_are_converged(rows):
    assert all(max(r["residuals"][:12]) < 1e-3 * r["top"][0] for kind in rows.values() for r in kind)


def test_hessian_and_ggn_agree_at_the_top(rows):
    for kind in rows.values():
        for r in kind:
            assert r["top"][0] == pytest.approx(r["ggn"][0], rel=0.05)
            assert r["smallest"] > -0.1 * r["top"][0]


def test_curvature_shrinks_with_confidence_alone(rows):
    """The same labels, only trained longer: flatter, and for no deeper reason."""
    for short, long in zip(rows["clean"], rows["clean, longer"]):
        assert long["top"][0] < 0.5 * short["top"][0] and long["loss"] < short["loss"]


def test_wrong_labels_dominate_the_empirical_fisher_but_not_the_fisher(labels):
    for r in labels:
        if r["epoch"] in (3, 8, 20):
            assert r["wrong_share_data"] > 0.5 and r["wrong_share_data"] > 2.5 * r["wrong_share"]


def test_sampling_is_fair_and_gets_harder(labels):
    for seed in fisher_labels.SEEDS:
        runs = {r["epoch"]: r for r in labels if r["seed"] == seed}
        assert runs[100]["sampled"]["1"] > 2 * runs[0]["sampled"]["1"]
        assert runs[100]["surprises"] < 0.1 * runs[0]["surprises"]
        for r in runs.values():  # sixteen times the draws, about a quarter of the error
            assert 0.12 < r["sampled"]["64"] / r["sampled"]["4"] < 0.5


def test_the_two_libraries_agree():
    record = files.read_json(DATA / "results" / "crosscheck.json")
    for matrix in ("Hessian", "GGN"):
        assert record[matrix]["product"] < 1e-10 and record[matrix]["eigenvalues"] < 1e-9
    assert record["K-FAC"]["product"] < 1e-10


def _scores(weight, bias, a, labels):
    one = lambda W, a, label: -torch.nn.functional.cross_entropy(W @ a + bias, label)
    return torch.func.vmap(torch.func.grad(one), (None, 0, 0))(weight, a, labels).flatten(1)


def test_drawn_labels_are_noisy_and_the_datas_labels_are_biased():
    """The claim (a bias, which more data do not remove) and its control (drawn labels, whose error falls), on a net
    that the chapter does not use; and that fifty examples could not have shown it."""
    torch.manual_seed(3)
    net = torch.nn.Sequential(torch.nn.Linear(5, 6), torch.nn.Tanh(), torch.nn.Linear(6, 4)).double()
    x = torch.randn(6400, 5, dtype=torch.float64)
    with torch.no_grad():
        a = net[:2](x)
        p = torch.softmax(net[2](a), 1)
    weight, bias = net[2].weight.detach(), net[2].bias.detach()
    H = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    fisher = torch.einsum("ncd,ni,nj->cidj", H, a, a).reshape(24, 24) / len(x)

    def error(labels, n):
        s = _scores(weight, bias, a[:n], labels[:n])
        return ((s.T @ s / n - fisher).norm() / fisher.norm()).item()

    drawn, rule, coins = torch.multinomial(p, 1)[:, 0], x[:, :4].argmax(1), torch.randint(0, 4, (len(x),))
    assert error(drawn, 6400) < 0.3 * error(drawn, 100) and error(drawn, 6400) < 0.06
    for labels in (rule, coins):
        assert error(labels, 6400) > 3 * error(drawn, 6400)
        assert error(labels, 6400) > 0.7 * error(labels, 1600)
    assert error(coins, 50) < 2 * error(drawn, 50)


def test_the_second_term_is_gone_where_the_net_fits_and_only_there():
    x, truth = torch.tensor([-1.0, 0.5, 2.0]).double(), torch.tensor([1.0, 2.0]).double()
    first = lambda w: w[1] * torch.tanh(w[0] * x)
    logits = lambda w: torch.stack([first(w), torch.zeros_like(x)], 1)
    labels = torch.softmax(logits(truth), 1)
    loss = lambda w: -(labels * torch.log_softmax(logits(w), 1)).sum()

    def difference(w):
        p, J = torch.softmax(logits(w), 1), torch.func.jacrev(logits)(w)
        H_z = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
        return torch.func.hessian(loss)(w) - torch.einsum("nck,ncd,ndl->kl", J, H_z, J)

    away = torch.tensor([0.3, -1.0]).double()
    assert difference(truth).abs().max() < 1e-12
    assert torch.linalg.eigvalsh(torch.func.hessian(loss)(away))[0] < 0 and difference(away).abs().max() > 0.1


def test_ghosts_come_back_only_without_right_angles():
    spiky = torch.cat([torch.linspace(0, 1, 57), torch.tensor([2.0, 3.0, 4.0])])
    start = random_signs(60, torch.Generator().manual_seed(1))
    counts = {
        keep: (ritz(lanczos(lambda v: spiky * v, start, 50, reorthogonalize=keep))[0] > 1.5).sum().item()
        for keep in (True, False)
    }
    assert counts[True] == 3 < counts[False]


def test_live_nine_outliers_on_a_seed_that_was_not_recorded():
    d = digits.load()
    net = digits.train(digits.make_net(7), d.x, d.y, epochs=8, seed=7)
    matvec, size = spectra.curvature(net, d.x, d.y, "GGN")
    values = ritz(lanczos(matvec, random_signs(size, torch.Generator().manual_seed(7)), 30))[0]
    assert spectra.largest_gap(values)[0] == 9
