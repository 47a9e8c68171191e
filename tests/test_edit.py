"""The staircase, the projection, and that an edit can be undone."""

import math
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kfaclib.curvature.eigenbasis import Eigenbasis, eigenvalue_product
from kfaclib.curvature.layers import linear_layers
from kfaclib.editing.edit import edit_weights, edited, keep_mask, keep_prefix, kept_share, prefix_mask, project


def orthogonal(n, seed=0):
    return torch.linalg.qr(torch.randn(n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)).Q


def a_basis(O=6, I=9, seed=0, lambda_G=None, lambda_A=None):
    g = torch.Generator().manual_seed(seed)
    draw = lambda n: torch.rand(n, generator=g, dtype=torch.float64).square().sort(descending=True).values
    return Eigenbasis(
        orthogonal(I, seed),
        orthogonal(O, seed + 1),
        draw(I) if lambda_A is None else lambda_A,
        draw(O) if lambda_G is None else lambda_G,
    )


def spectrum(kind, n, seed):
    """A descending spectrum of one kind."""
    g = torch.Generator().manual_seed(seed)
    values = (
        {
            "random": lambda: torch.rand(n, generator=g, dtype=torch.float64),
            "normal": lambda: torch.randn(n, generator=g, dtype=torch.float64).exp().pow(3),
            "tied": lambda: torch.randint(0, 4, (n,), generator=g).double(),
            "equal": lambda: torch.full((n,), 0.1, dtype=torch.float64),
            "equal but for rounding": lambda: 0.1 * (1 + torch.randint(0, 3, (n,), generator=g).double() * 2**-52),
            "geometric": lambda: 2.0 ** -torch.arange(n, dtype=torch.float64),
            "geometric, inexact": lambda: 0.7 ** torch.arange(n, dtype=torch.float64),
            "rank-deficient": lambda: (
                torch.rand(n, generator=g, dtype=torch.float64) * (torch.arange(n) < max(1, n // 3))
            ),
            "float32": lambda: torch.rand(n, generator=g).pow(4).double(),
        }[kind]()
        .sort(descending=True)
        .values
    )
    if values.sum() == 0:
        values[0] = 1
    return values


KINDS = ["random", "normal", "tied", "equal", "equal but for rounding", "geometric", "geometric, inexact"]
KINDS += ["rank-deficient", "float32"]
spectra = st.tuples(st.sampled_from(KINDS), st.sampled_from([1, 2, 3, 7, 20, 45, 64]), st.integers(0, 10**6))
masses = st.one_of(
    st.floats(0.001, 1, exclude_max=True), st.sampled_from([0.25, 0.5, 0.6, 0.75, 0.9, 0.99, 1 - 1e-9, 1e-9])
)


@settings(deadline=None, max_examples=300)
@given(spectra, spectra, masses)
def test_the_staircase_is_the_smallest_set_that_a_full_sort_finds(of_G, of_A, mass):
    G, A = spectrum(*of_G), spectrum(*of_A)
    pi = torch.outer(G, A)
    prefix = keep_prefix(G, A, mass)
    mask = prefix_mask(prefix, len(A))
    assert torch.equal(mask, keep_mask(pi, mass))
    assert (prefix.diff() <= 0).all()  # a staircase
    kept, goal = pi[mask].sum(), mass * pi.sum()
    assert kept >= goal * (1 - 1e-9)  # it holds the mass
    assert kept - pi[mask].min() < goal * (1 + 1e-9)  # and without its least pair it does not
    if not mask.all():
        assert pi[mask].min() >= pi[~mask].max()


@settings(deadline=None, max_examples=60)
@given(spectra, spectra, st.lists(masses, min_size=2, max_size=4))
def test_a_larger_mass_keeps_everything_a_smaller_one_keeps(of_G, of_A, several):
    prefixes = [keep_prefix(spectrum(*of_G), spectrum(*of_A), mass) for mass in [*sorted(several), 1]]
    assert all((small <= large).all() for small, large in zip(prefixes, prefixes[1:]))


def test_ties_are_split_row_by_row_and_only_as_far_as_needed():
    ones = torch.ones(4, dtype=torch.float64)
    assert keep_prefix(ones, ones, 0.5).tolist() == [4, 4, 0, 0]
    assert keep_prefix(ones, ones, 0.51).tolist() == [4, 4, 1, 0]
    assert keep_mask(torch.ones(4, 4), 0.51).sum(1).tolist() == [4, 4, 1, 0]
    many = torch.ones(100, dtype=torch.float64)  # more pairs than are sorted at once
    assert keep_prefix(many, many, 0.123).tolist() == [100] * 12 + [30] + [0] * 87


def test_a_hand_computed_staircase():
    G, A = torch.tensor([4.0, 2.0, 1.0]), torch.tensor([5.0, 3.0, 2.0])  # products 20 12 8 / 10 6 4 / 5 3 2, sum 70
    assert keep_prefix(G, A, 0.6).tolist() == [2, 1, 0]  # 20 + 12 + 10 = 42, exactly the goal
    assert keep_prefix(G, A, 0.61).tolist() == [3, 1, 0]
    assert keep_prefix(G, A, 0.1).tolist() == [1, 0, 0]
    assert kept_share(a_basis(3, 3, lambda_G=G, lambda_A=A), 0.6) == pytest.approx(1 / 3)


def test_any_ranking_may_have_holes_and_is_still_minimal():
    L = torch.tensor([[0.0, 5.0, 1.0], [4.0, 0.0, 2.0]])
    assert keep_mask(L, 0.75).tolist() == [[False, True, False], [True, False, False]]
    assert keep_mask(L, 0.76).tolist() == [[False, True, False], [True, False, True]]


def test_a_7b_layer_takes_less_than_two_seconds():
    G, A = (torch.arange(1, n + 1, dtype=torch.float64) ** -1.1 for n in (11008, 4096))
    start = time.perf_counter()
    prefix = keep_prefix(G, A, 0.6)
    assert time.perf_counter() - start < 2
    below = torch.cat([A.new_zeros(1), A.cumsum(0)])
    kept = (G * below[prefix]).sum() / (G.sum() * A.sum())
    assert 0.6 <= kept < 0.6001 and (prefix.diff() <= 0).all()


@pytest.mark.parametrize("mass", [0, -0.1, 1.0001, math.inf, -math.inf, math.nan])
def test_a_mass_outside_the_half_open_unit_interval_is_an_error(mass):
    ones = torch.ones(2, dtype=torch.float64)
    for keep in (lambda: keep_prefix(ones, ones, mass), lambda: keep_mask(torch.ones(2, 2), mass)):
        with pytest.raises(ValueError, match=r"mass=.*lies in \(0, 1\]"):
            keep()


def test_curvature_that_is_zero_everywhere_is_an_error_that_asks_for_the_gradient():
    zero, one = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    for keep in (
        lambda: keep_prefix(zero, one, 0.5),
        lambda: keep_prefix(one, zero, 0.5),
        lambda: keep_mask(torch.zeros(2, 2), 0.5),
    ):
        with pytest.raises(ValueError, match="all eigenvalues are zero.*gradient"):
            keep()


@pytest.mark.parametrize("bad", [[1.0, 2.0], [1.0, -1.0], [1.0, math.nan], [math.nan, 1.0], [math.inf, 1.0]])
def test_spectra_that_are_not_finite_descending_and_positive_are_refused_by_name(bad):
    good = torch.ones(2, dtype=torch.float64)
    with pytest.raises(ValueError, match="lambda_G must be finite, descending"):
        keep_prefix(torch.tensor(bad), good, 0.5)
    with pytest.raises(ValueError, match="lambda_A must be finite, descending"):
        keep_prefix(good, torch.tensor(bad), 0.5)


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_rankings_that_are_negative_or_not_finite_are_refused(bad):
    with pytest.raises(ValueError, match="finite and not negative"):
        keep_mask(torch.tensor([[1.0, bad]]), 0.5)


# project


@pytest.fixture
def W():
    return torch.randn(6, 9, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_mass_one_is_the_identity_bit_for_bit_even_if_most_eigenvalues_are_zero(W, dtype):
    W = W.to(dtype)
    few = torch.tensor([1.0] + [0.0] * 8, dtype=torch.float64)
    basis = a_basis(lambda_A=few)
    found = project(W, basis, prefix_mask(keep_prefix(basis.lambda_G, few, 1), 9))
    assert torch.equal(found, W) and found.data_ptr() != W.data_ptr()
    assert torch.equal(project(W, basis, keep_mask(eigenvalue_product(basis), 1)), W)


@pytest.mark.parametrize("mass", [0.1, 0.5, 0.9, 0.999])
def test_projecting_twice_is_projecting_once(W, mass):
    basis = a_basis()
    mask = keep_mask(eigenvalue_product(basis), mass)
    once = project(W, basis, mask)
    torch.testing.assert_close(project(once, basis, mask), once, rtol=0, atol=1e-14)
    assert not torch.allclose(once, W)


def test_what_is_kept_and_what_is_dropped_are_orthogonal_and_add_up(W):
    basis = a_basis()
    mask = keep_mask(eigenvalue_product(basis), 0.7)
    kept, dropped = project(W, basis, mask), project(W, basis, ~mask)
    torch.testing.assert_close(kept + dropped, W, rtol=0, atol=1e-13)
    assert (kept * dropped).sum().abs() < 1e-13


def test_the_projection_keeps_exactly_the_masked_coordinates(W):
    basis = a_basis()
    mask = torch.zeros(6, 9, dtype=torch.bool)
    mask[2, 5] = True
    u, v = basis.Q_G[:, 2], basis.Q_A[:, 5]
    torch.testing.assert_close(project(W, basis, mask), (u @ W @ v) * torch.outer(u, v), rtol=0, atol=1e-14)
    assert project(W, basis, torch.zeros_like(mask)).abs().max() == 0


def test_the_projection_does_not_depend_on_the_signs_of_the_eigenvectors(W):
    basis = a_basis()
    mask = keep_mask(eigenvalue_product(basis), 0.6)
    signs = torch.tensor([1.0, -1, 1, -1, -1, 1, 1, -1, 1], dtype=torch.float64)
    flipped = Eigenbasis(basis.Q_A * signs, -basis.Q_G, basis.lambda_A, basis.lambda_G)
    torch.testing.assert_close(project(W, flipped, mask), project(W, basis, mask), rtol=0, atol=1e-14)


def test_the_edit_comes_back_in_the_weights_precision(W):
    basis = a_basis()
    mask = keep_mask(eigenvalue_product(basis), 0.6)
    found = project(W.bfloat16(), basis, mask)
    assert found.dtype == torch.bfloat16
    assert (found - project(W, basis, mask)).norm() < 0.01 * W.norm()


def test_a_basis_of_another_layer_is_refused_with_both_shapes_even_if_everything_is_kept(W):
    for mask in (torch.ones(6, 9, dtype=torch.bool), torch.zeros(6, 9, dtype=torch.bool)):
        with pytest.raises(ValueError, match=r"W is \(6, 9\) and its basis is for \(9, 6\).*another layer"):
            project(W, a_basis(9, 6), mask)


# edit_weights and edited


def bases_for(layers):
    return {
        name: a_basis(layer.out_features, layer.in_features, seed) for seed, (name, layer) in enumerate(layers.items())
    }


def test_edit_weights_takes_one_mass_or_one_for_every_layer_and_any_ranking(tiny_olmo):
    layers = linear_layers(tiny_olmo(), "*.1.mlp.*")
    bases = bases_for(layers)
    mixed = edit_weights(layers, bases, {name: mass for name, mass in zip(layers, (0.5, 1, 0.9))})
    for name, mass in zip(layers, (0.5, 1, 0.9)):
        expected = project(layers[name].weight, bases[name], keep_mask(eigenvalue_product(bases[name]), mass))
        assert torch.equal(mixed[name], expected)
        assert torch.equal(edit_weights(layers, bases, mass)[name], expected)
    ranking = {
        name: torch.rand(layer.weight.shape, generator=torch.Generator().manual_seed(0))
        for name, layer in layers.items()
    }
    for name, weight in edit_weights(layers, bases, 0.5, ranking).items():
        assert torch.equal(weight, project(layers[name].weight, bases[name], keep_mask(ranking[name], 0.5)))


def bits(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one, other):
    return [name for name in one if torch.equal(one[name], other[name])]


def test_inside_the_block_only_the_edited_weights_differ_and_afterwards_none(tiny_olmo):
    model = tiny_olmo()
    layers = linear_layers(model, "*.1.mlp.gate_proj,*.1.mlp.up_proj")
    before, weights = bits(model), edit_weights(layers, bases_for(layers), 0.5)
    with edited(layers, weights):
        now = bits(model)
        assert set(before) - set(same(before, now)) == {f"{name}.weight" for name in layers}
        assert all(torch.equal(now[f"{name}.weight"], weights[name]) for name in layers)
    assert same(before, bits(model)) == list(before)


def test_an_exception_inside_the_block_still_restores_every_bit(tiny_olmo):
    model = tiny_olmo().bfloat16()
    layers = linear_layers(model)
    before = bits(model)
    with pytest.raises(KeyboardInterrupt):
        with edited(layers, edit_weights(layers, bases_for(layers), 0.3)):
            raise KeyboardInterrupt
    assert same(before, bits(model)) == list(before)


def test_edits_nest(tiny_olmo):
    model = tiny_olmo()
    layers = linear_layers(model)
    before = bits(model)
    with edited(layers, edit_weights(layers, bases_for(layers), 0.5)):
        outer = bits(model)
        with edited(layers, edit_weights(layers, bases_for(layers), 0.9)):
            assert len(same(outer, bits(model))) < len(outer)
        assert same(outer, bits(model)) == list(outer)
    assert same(before, bits(model)) == list(before)


def test_a_weight_of_the_wrong_shape_is_refused_before_anything_is_changed(tiny_olmo):
    model = tiny_olmo()
    layers = linear_layers(model)
    before, weights = bits(model), edit_weights(layers, bases_for(layers), 0.5)
    weights["model.layers.1.mlp.down_proj"] = weights["model.layers.1.mlp.up_proj"]
    with pytest.raises(ValueError, match=r"'model\.layers\.1\.mlp\.down_proj' has a weight \(16, 24\), not \(24, 16\)"):
        with edited(layers, weights):
            pass
    assert same(before, bits(model)) == list(before)


def test_the_edited_model_computes_with_the_edited_weights_and_gradients_still_flow(tiny_olmo):
    model, ids = tiny_olmo(), torch.arange(3, 13)[None]
    layers = linear_layers(model, "*.1.mlp.*")
    plain = model(input_ids=ids).logits.detach()
    with edited(layers, edit_weights(layers, bases_for(layers), 0.5)):
        assert not torch.allclose(model(input_ids=ids).logits, plain, atol=1e-3)
    assert torch.equal(model(input_ids=ids).logits, plain)
    assert all(layer.weight.requires_grad and layer.weight.is_leaf for layer in layers.values())


@pytest.mark.parametrize("mass", [1e-300, 5e-324, 1e-12])
@pytest.mark.parametrize("scale", [1.0, 1e-160, 1e-300])
def test_a_tiny_mass_keeps_the_first_pair_however_small_the_eigenvalues_are(mass, scale):
    values = scale * torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64)
    assert keep_prefix(values, values, mass).tolist() == [1, 0, 0]
    assert keep_prefix(values, values, 0.5).tolist() == keep_prefix(values / scale, values / scale, 0.5).tolist()


@pytest.mark.parametrize("scale", [1e-160, 1e-12, 1e160])
def test_the_staircase_does_not_depend_on_the_scale_of_the_curvature(scale):
    G, A = torch.rand(40).double().sort(descending=True).values, torch.rand(70).double().sort(descending=True).values
    power = 2.0 ** round(math.log2(scale))
    for mass in (1e-300, 0.3, 0.95):
        assert torch.equal(keep_prefix(power * G, power * A, mass), keep_prefix(G, A, mass))
    assert keep_prefix(G, A, 1e-300).sum() == 1  # the smallest set with any curvature is one pair


def test_a_weight_that_is_not_finite_is_refused_with_its_layers_name(tiny_olmo):
    model = tiny_olmo()
    layers = linear_layers(model, "*.up_proj")
    name = "model.layers.1.mlp.up_proj"
    bases = {n: a_basis(*layer.weight.shape) for n, layer in layers.items()}
    with torch.no_grad():
        layers[name].weight[2, 3] = math.nan
    with pytest.raises(FloatingPointError, match=f"'{name}' has values that are not finite"):
        edit_weights(layers, bases, 0.5)


def test_a_weight_that_is_not_finite_is_not_projected():
    basis = Eigenbasis(torch.eye(3), torch.eye(2), torch.ones(3), torch.ones(2))
    W, keep = torch.ones(2, 3), torch.ones(2, 3, dtype=torch.bool)
    assert torch.equal(project(W, basis, keep), W)
    W[1, 2] = math.nan
    with pytest.raises(FloatingPointError, match="not finite"):
        project(W, basis, keep)
