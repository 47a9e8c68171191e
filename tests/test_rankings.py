"""Rankings: which pairs they keep, and that mixed factors are those of mixed text."""

import pytest
import torch

from kfaclib.curvature.eigenbasis import decompose
from kfaclib.curvature.factors import Factors, collect_factors
from kfaclib.curvature.layers import linear_layers
from kfaclib.editing.edit import edit_weights, keep_mask, keep_prefix, prefix_mask
from kfaclib.editing.rankings import KINDS, mixed, scores

draw = lambda *shape, seed=0: torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
W = draw(6, 4)


def basis():
    a, g = draw(50, 4, seed=1) @ draw(4, 4, seed=2), draw(50, 6, seed=3) @ draw(6, 6, seed=4)
    return decompose({"x": Factors(a.T @ a / 50, g.T @ g / 50, 50)}, torch.float64)["x"]


def test_kfac_by_scores_is_kfac_by_the_staircase():
    b = basis()
    for mass in (0.5, 0.9, 0.99):
        assert keep_mask(scores("K-FAC", W, b), mass).equal(prefix_mask(keep_prefix(b.lambda_G, b.lambda_A, mass), 4))


@pytest.mark.parametrize("kind", KINDS)
def test_scores_have_the_weights_shape_are_not_negative_and_can_be_edited_by(kind):
    b, layer = basis(), torch.nn.Linear(4, 6, bias=False).double()
    found = scores(kind, W, b)
    assert found.shape == W.shape and (found >= 0).all() and found.dtype == torch.float64
    edited = edit_weights({"x": layer}, {"x": b}, 0.8, {"x": scores(kind, layer.weight, b)})["x"]
    assert edited.norm() <= layer.weight.norm()


def test_one_side_keeps_whole_directions_of_that_side():
    """All pairs of a direction tie, so every row (G) or column (A) is kept or dropped whole, but for the one at the
    edge.
    """
    b = basis()
    rows, columns = keep_mask(scores("G only", W, b), 0.9).sum(1), keep_mask(scores("A only", W, b), 0.9).sum(0)
    assert ((rows > 0) & (rows < 4)).sum() <= 1 and rows.diff().le(0).all()
    assert ((columns > 0) & (columns < 6)).sum() <= 1 and columns.diff().le(0).all()


def test_one_side_does_not_see_the_other():
    b = basis()
    from dataclasses import replace

    assert scores("G only", W, replace(b, lambda_A=b.lambda_A.flip(0))).equal(scores("G only", W, b))
    assert scores("A only", W, replace(b, lambda_G=b.lambda_G.flip(0))).equal(scores("A only", W, b))


def test_the_coefficients_own_ranking_drops_the_least_of_the_weight():
    """Of all sets of as many pairs, none with less of |W|^2 is dropped; with curvature, none with less predicted
    cost.
    """
    b = basis()
    C2 = (b.Q_G.T @ W @ b.Q_A).square()
    assert scores("C^2 only", W, b).sum().item() == pytest.approx(W.square().sum().item())
    for kind, price in (("C^2 only", C2), ("K-FAC x C^2", C2 * torch.outer(b.lambda_G, b.lambda_A))):
        drop = ~keep_mask(scores(kind, W, b), 0.9)
        assert price[drop].sum().item() == pytest.approx(price.flatten().sort()[0][: int(drop.sum())].sum().item())


def test_mixed_factors_are_those_of_mixed_text(tiny_olmo):
    """Three batches of one text and one of another: alpha = 1/4, with the data's own labels, so that no chance is in
    it.
    """
    model = tiny_olmo()
    layers = linear_layers(model, "*.gate_proj,*.up_proj")
    ids = torch.randint(3, 37, (16, 9), generator=torch.Generator().manual_seed(0))
    collect = lambda rows: collect_factors(model, rows.split(4), layers, labels="data", generator=None, progress=False)
    both, blend = collect(ids), mixed(collect(ids[:12]), collect(ids[12:]), 0.25)
    for name, f in both.items():
        assert (
            torch.allclose(blend[name].A, f.A) and torch.allclose(blend[name].G, f.G) and blend[name].tokens == f.tokens
        )
    assert blend["model.layers.0.mlp.gate_proj"].A is blend["model.layers.0.mlp.up_proj"].A  # decomposed once


def test_the_ends_of_a_mixture_are_its_parts():
    one, other = ({"x": Factors(torch.eye(3) * s, torch.eye(2) * s, 5)} for s in (1.0, 3.0))
    assert mixed(one, other, 0)["x"].A.equal(one["x"].A) and mixed(one, other, 1)["x"].G.equal(other["x"].G)


def test_what_does_not_fit_is_named():
    f = Factors(torch.eye(3), torch.eye(2), 5)
    with pytest.raises(ValueError, match="alpha=2"):
        mixed({"x": f}, {"x": f}, 2)
    with pytest.raises(ValueError, match="'y'"):
        mixed({"x": f}, {"x": f, "y": f}, 0.5)
    with pytest.raises(ValueError, match="different layers"):
        mixed({"x": f}, {"x": Factors(torch.eye(4), torch.eye(2), 5)}, 0.5)
    with pytest.raises(ValueError, match="one of"):
        scores("SVD", W, basis())
