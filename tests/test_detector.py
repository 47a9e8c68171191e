"""The detector: what its energy adds up to, and what its figure of merit means."""

import pytest
import torch

from kfaclib.curvature.eigenbasis import decompose
from kfaclib.curvature.factors import Factors
from kfaclib.lm.detector import auc, auc_within, caught, flat_energy, scores

draw = lambda *shape, seed=0: torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def basis_of(x):
    return decompose({"x": Factors(x.T @ x / len(x), torch.eye(3, dtype=torch.float64), len(x))}, torch.float64)["x"]


def test_energy_is_a_share_and_the_rest_is_in_the_sharp_directions():
    x = draw(50, 10)
    basis = basis_of(draw(200, 10, seed=1) * torch.linspace(2, 0.1, 10))
    flat = flat_energy(x, basis, 0.6)
    assert ((flat >= 0) & (flat <= 1)).all()
    sharp = (x @ basis.Q_A[:, :4]).square().sum(1) / x.square().sum(1)
    assert torch.allclose(flat + sharp, torch.ones(50, dtype=torch.float64))


def test_an_eigenvector_has_all_its_energy_or_none_in_the_flat_directions():
    basis = basis_of(draw(200, 10, seed=1) * torch.linspace(2, 0.1, 10))
    assert torch.allclose(flat_energy(basis.Q_A.T, basis, 0.6), (torch.arange(10) >= 4).double())


def test_ordinary_inputs_have_the_flat_share_of_their_own_spectrum():
    """Weighted by length, the mean flat energy of the very text that A comes from is the tail of A's eigenvalues: no
    other text has less.
    """
    x = draw(300, 10, seed=2) @ draw(10, 10, seed=3)
    basis = basis_of(x)
    length = x.square().sum(1)
    mean = (flat_energy(x, basis, 0.5) * length).sum() / length.sum()
    assert mean.item() == pytest.approx((basis.lambda_A[5:].sum() / basis.lambda_A.sum()).item())


def test_energy_does_not_depend_on_length_sign_or_coordinates():
    x, turn = draw(20, 10), torch.linalg.qr(draw(10, 10, seed=5))[0]
    text = draw(200, 10, seed=1) * torch.linspace(2, 0.1, 10)
    want = flat_energy(x, basis_of(text))
    assert torch.allclose(flat_energy(-3 * x, basis_of(text)), want)
    assert torch.allclose(flat_energy(x @ turn.T, basis_of(text @ turn.T)), want)


def test_a_window_has_the_mean_of_its_tokens(tiny_olmo):
    model = tiny_olmo()
    name, layer = "model.layers.1.mlp.up_proj", model.model.layers[1].mlp.up_proj
    items = [([1, 5, 6], [7, 8, 9]), ([1, 9], [3])]
    seen, basis = [], basis_of(draw(100, 16, seed=4))
    handle = layer.register_forward_pre_hook(lambda _, x: seen.append(x[0].detach()))
    for prompt, answer in items:
        model(input_ids=torch.tensor([prompt + answer]))
    handle.remove()
    wanted = [
        flat_energy(x[0, len(p) - 1 : len(p) + len(a) - 1], basis).mean().item() for x, (p, a) in zip(seen, items)
    ]
    assert scores(model, {name: layer}, {name: basis}, items)[name].tolist() == pytest.approx(wanted)


def test_auc_counts_pairs():
    high, low = (10 * draw(30)).round(), (10 * draw(40, seed=1)).round() - 3
    pairs = high[:, None] - low
    assert auc(high, low) == pytest.approx(((pairs > 0).double() + 0.5 * (pairs == 0).double()).mean().item())
    assert auc(high, low) + auc(low, high) == pytest.approx(1) and auc(high, high) == pytest.approx(0.5)
    assert auc(high**3, low**3) == pytest.approx(auc(high, low))  # only the order matters
    assert auc([2, 3], [0, 1]) == 1


def test_a_threshold_from_ordinary_text_lets_its_share_through():
    ordinary = torch.arange(1000.0)
    assert caught(ordinary, ordinary, 0.01) == pytest.approx(0.01)
    assert caught([999.5, 10.0], ordinary) == 0.5


def test_what_does_not_fit_is_named():
    basis = basis_of(draw(100, 10))
    with pytest.raises(ValueError, match="another layer"):
        flat_energy(draw(3, 9), basis)
    with pytest.raises(ValueError, match="share=1"):
        flat_energy(draw(3, 10), basis, 1)
    with pytest.raises(ValueError, match="token 1 "):
        flat_energy(draw(3, 10) * torch.tensor([[1.0], [0.0], [1.0]]), basis)
    with pytest.raises(ValueError, match="at least one of each"):
        auc([], [1.0])


def test_among_alike_pairs_a_score_that_only_repeats_the_second_quantity_says_nothing():
    """Scores that are the stratum's number tell the sides apart overall and not at all within a stratum; scores that
    follow the side do both."""
    generator = torch.Generator().manual_seed(6)
    first, second = torch.randint(1, 4, (400,), generator=generator), torch.randint(0, 3, (300,), generator=generator)
    edges = (0.5, 1.5, 2.5)
    assert auc(first, second) > 0.7 and auc_within(first, second, first, second, edges) == 0.5
    assert auc_within(first + 10, second, first, second, edges) == 1
    assert auc_within(first, second, first, second, ()) == auc(first, second)


def test_strata_without_a_partner_have_no_pairs():
    assert auc_within([1.0, 9.0], [0.0, 2.0], [0, 5], [0, 0], [3]) == 0.5
    with pytest.raises(ValueError, match="no stratum holds"):
        auc_within([1.0], [0.0], [0], [5], [3])
