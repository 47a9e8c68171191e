"""Bands and activities: what must hold whatever the numbers are."""

import pytest
import torch

from kfaclib.curvature.eigenbasis import Eigenbasis, decompose
from kfaclib.curvature.factors import Factors
from kfaclib.lm import activations as act
from kfaclib.lm.activations import activity, bands, ratio


def layer(seed=0, rows=7, columns=5, tokens=11):
    """(basis, inputs x, inputs y, Q) of a random layer in float64, with the orthogonal matrix Q [I, I] for a change of
    coordinates.
    """
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)
    a, g = draw(40, columns) @ draw(columns, columns), draw(40, rows) @ draw(rows, rows)
    basis = decompose({"x": Factors(a.T @ a / 40, g.T @ g / 40, 40)}, torch.float64)["x"]
    return basis, draw(tokens, columns), draw(tokens + 3, columns), torch.linalg.qr(draw(columns, columns))[0]


def test_bands_have_their_sizes_and_are_in_order():
    basis = layer()[0]
    pairs, products = bands(basis), torch.outer(basis.lambda_G, basis.lambda_A)
    assert [(pairs <= b).sum().item() for b in range(3)] == [round(e * 35) for e in act.EDGES]
    for b in range(3):
        assert products[pairs == b].min() >= products[pairs > b].max()


def test_equal_products_are_cut_row_by_row():
    flat = Eigenbasis(
        torch.eye(3), torch.eye(2), torch.ones(3, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    )
    assert bands(flat, (0.5,)).tolist() == [[0, 0, 0], [1, 1, 1]]


def test_activity_is_the_mean_size_of_what_each_pair_makes_of_the_input():
    """By hand: build every u_i v_j^T, apply it, take norms; G's eigenvectors drop out."""
    basis, x, _, _ = layer()
    pairs = bands(basis)
    sizes = torch.stack(
        [
            torch.stack([(x @ torch.outer(basis.Q_G[:, i], basis.Q_A[:, j]).T).norm(dim=1) for j in range(5)])
            for i in range(7)
        ]
    )
    by_hand = torch.stack([sizes[pairs == b].mean(0) for b in range(4)], 1)
    assert torch.allclose(activity(x, basis, pairs), by_hand)


def test_the_bands_share_out_the_whole():
    basis, x, _, _ = layer()
    pairs = bands(basis)
    sizes = torch.bincount(pairs.flatten()).double()
    assert torch.allclose((activity(x, basis, pairs, power=2) * sizes).sum(1), 7 * x.square().sum(1))
    assert torch.allclose((activity(x, basis, pairs) * sizes).sum(1), 7 * (x @ basis.Q_A).abs().sum(1))


def test_ratio_of_a_text_to_itself_is_one_and_scales_with_its_inputs():
    basis, x, y, _ = layer()
    pairs = bands(basis)
    assert torch.allclose(ratio(x, x, basis, pairs), torch.ones(4, dtype=torch.float64))
    assert torch.allclose(ratio(3 * x, y, basis, pairs), 3 * ratio(x, y, basis, pairs))
    assert torch.allclose(ratio(3 * x, 3 * y, basis, pairs), ratio(x, y, basis, pairs))
    assert torch.allclose(ratio(x, y, basis, pairs) * ratio(y, x, basis, pairs), torch.ones(4, dtype=torch.float64))


def test_ratio_does_not_depend_on_coordinates_signs_or_scale_of_curvature():
    basis, x, y, Q = layer()
    want = ratio(x, y, basis, bands(basis))
    turned = Eigenbasis(Q @ basis.Q_A, basis.Q_G, basis.lambda_A, basis.lambda_G)
    assert torch.allclose(ratio(x @ Q.T, y @ Q.T, turned, bands(turned)), want)
    flipped = Eigenbasis(-basis.Q_A, -basis.Q_G, 5 * basis.lambda_A, 7 * basis.lambda_G)
    assert torch.allclose(ratio(x, y, flipped, bands(flipped)), want)


def test_the_order_of_tokens_does_not_matter():
    basis, x, y, _ = layer()
    assert torch.allclose(ratio(x.flip(0), y, basis, bands(basis)), ratio(x, y, basis, bands(basis)))


def test_dropping_every_band_once_takes_the_weight_apart():
    from kfaclib.editing.edit import project

    basis = layer()[0]
    W = torch.randn(7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    pairs = bands(basis)
    assert torch.allclose(sum(W - project(W, basis, pairs != b) for b in range(4)), W)


def test_removed_is_zero_without_an_edit_and_one_when_all_is_gone():
    _, x, _, _ = layer()
    W = torch.randn(7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    assert not act.removed(x, W, W).any() and torch.allclose(
        act.removed(x, W, 0 * W), torch.ones(11, dtype=torch.float64)
    )


def test_inputs_are_those_of_the_layer_at_the_answers_tokens(tiny_olmo):
    model = tiny_olmo()
    name, layer_ = "model.layers.1.mlp.gate_proj", model.model.layers[1].mlp.gate_proj
    items = [([1, 5, 6], [7, 8]), ([1, 9], [3]), ([1, 2, 3, 4], [4, 5])]
    found, owner = act.inputs(model, {name: layer_}, items, batch=2)
    assert owner.tolist() == [0, 0, 1, 2, 2] and found[name].shape == (5, 16)
    seen = []
    handle = layer_.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    for prompt, answer in items:
        model(input_ids=torch.tensor([prompt + answer]))
    handle.remove()
    want = torch.cat([x[0, len(p) - 1 : len(p) + len(a) - 1] for x, (p, a) in zip(seen, items)])
    assert torch.allclose(found[name], want)


def test_what_does_not_fit_is_named():
    basis, x, _, _ = layer()
    with pytest.raises(ValueError, match="increasing shares"):
        bands(basis, (0.5, 0.1))
    with pytest.raises(ValueError, match="another layer"):
        activity(x[:, :4], basis, bands(basis))


def test_shuffled_bands_keep_their_sizes_and_mix_rows_and_columns():
    pairs = torch.arange(4).repeat_interleave(30).view(8, 15).clamp(max=2)
    mixed = act.shuffled(pairs, torch.Generator().manual_seed(0))
    assert mixed.shape == pairs.shape and mixed.flatten().bincount().equal(pairs.flatten().bincount())
    assert all(len(set(row.tolist())) == 3 for row in mixed) and not mixed.equal(pairs)
