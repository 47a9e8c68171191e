"""Labels drawn from the model, and the gradient at the top without a graph over the logits."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from kfaclib.curvature import labels as fisher
from kfaclib.curvature.labels import logit_gradient, output_gradient, sample_labels

T, D, V = 11, 5, 23
INF = math.inf


@pytest.fixture
def head():
    g = torch.Generator().manual_seed(0)
    hidden = torch.randn(T, D, generator=g, dtype=torch.float64)
    unembedding = torch.randn(V, D, generator=g, dtype=torch.float64)
    labels = torch.randint(V, (T,), generator=g)
    uniform = torch.rand(T, generator=g, dtype=torch.float64)
    mask = torch.rand(T, generator=g) < 0.6
    assert 0 < mask.sum() < T
    return hidden, unembedding, labels, uniform, mask


def autograd_gradient(hidden, unembedding, labels, mask=None):
    """The same gradient through PyTorch's own cross-entropy."""
    hidden = hidden.clone().requires_grad_(True)
    loss = F.cross_entropy(hidden @ unembedding.T, labels, reduction="none")
    (loss if mask is None else loss[mask]).sum().backward()
    return hidden.grad


# sample_labels


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_evenly_spaced_uniforms_give_every_label_its_probability_to_within_one_draw(dtype):
    logits = torch.randn(V, generator=torch.Generator().manual_seed(1), dtype=dtype)
    n = 20_000
    uniform = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    counts = torch.bincount(sample_labels(logits.expand(n, V), uniform), minlength=V)
    expected = torch.softmax(logits.double(), -1) * n
    assert ((counts - expected).abs() <= 1.05).all()


def test_random_uniforms_pass_a_chi_square_test():
    logits = torch.randn(8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    n = 40_000
    uniform = torch.rand(n, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    counts = torch.bincount(sample_labels(logits.expand(n, 8), uniform), minlength=8)
    expected = torch.softmax(logits, -1) * n
    chi_square = ((counts - expected) ** 2 / expected).sum().item()
    assert chi_square < 24.3  # the 0.1 % point at 7 degrees of freedom


def test_every_row_is_drawn_from_its_own_distribution():
    logits = torch.full((V, V), -50.0).fill_diagonal_(50.0)
    assert sample_labels(logits, torch.linspace(0, 0.999, V)).tolist() == list(range(V))


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.sampled_from([-INF, 0.0, 1.0, -3.0]), min_size=1, max_size=9).filter(lambda z: max(z) > -INF),
    st.sampled_from([0.0, 2**-60, 0.3, 0.5, 1 - 2**-24, 1 - 2**-53]),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_an_impossible_label_is_never_drawn_not_even_at_the_ends(z, u, dtype):
    logits = torch.tensor([z], dtype=dtype)
    label = sample_labels(logits, torch.tensor([u], dtype=torch.float64))
    assert logits[0, label.item()] > -INF


# logit_gradient


def test_logit_gradient_is_autograds_gradient_of_the_summed_cross_entropy():
    logits = torch.randn(T, V, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    labels = torch.arange(T)
    F.cross_entropy(logits, labels, reduction="sum").backward()
    torch.testing.assert_close(logit_gradient(logits.detach(), labels), logits.grad, rtol=0, atol=1e-14)


def test_the_expected_outer_product_of_logit_gradients_is_the_hessian_of_cross_entropy():
    z = torch.randn(V, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    p = torch.softmax(z, -1)
    g = logit_gradient(z.expand(V, V), torch.arange(V))
    hessian = torch.autograd.functional.hessian(lambda z: F.cross_entropy(z, torch.tensor(0)), z)
    torch.testing.assert_close(g.T @ (p[:, None] * g), hessian, rtol=0, atol=1e-14)
    assert (p @ g).abs().max() < 1e-15  # and their mean is zero


# output_gradient


@pytest.mark.parametrize("chunk", [1, 2, 3, T - 1, T, 1000])
@pytest.mark.parametrize("masked", [False, True])
def test_the_closed_form_is_autograd_through_cross_entropy_for_every_chunk_size(head, chunk, masked):
    hidden, unembedding, labels, _, mask = head
    mask = mask if masked else None
    found = output_gradient(hidden, unembedding, labels=labels, mask=mask, chunk=chunk)
    torch.testing.assert_close(found, autograd_gradient(hidden, unembedding, labels, mask), rtol=0, atol=1e-13)


@pytest.mark.parametrize("chunk", [1, 2, 3, T - 1, T, 1000])
@pytest.mark.parametrize("masked", [False, True])
def test_sampled_labels_do_not_depend_on_the_chunk_size_nor_on_the_mask(head, chunk, masked):
    hidden, unembedding, _, uniform, mask = head
    mask = mask if masked else None
    drawn = sample_labels(hidden @ unembedding.T, uniform)
    found = output_gradient(hidden, unembedding, uniform=uniform, mask=mask, chunk=chunk)
    torch.testing.assert_close(found, autograd_gradient(hidden, unembedding, drawn, mask), rtol=0, atol=1e-13)


def test_masked_rows_get_exactly_zero_and_their_labels_are_never_read(head):
    hidden, unembedding, labels, _, mask = head
    found = output_gradient(hidden, unembedding, labels=torch.where(mask, labels, -100), mask=mask)
    assert (found[~mask] == 0).all() and (found[mask] != 0).any(1).all()


def test_a_chunk_without_a_single_real_row_is_fine(head):
    hidden, unembedding, labels, uniform, _ = head
    mask = torch.arange(T) == T - 1
    for drawn in (dict(labels=labels), dict(uniform=uniform)):
        assert output_gradient(hidden, unembedding, mask=mask, chunk=2, **drawn)[:-1].eq(0).all()


def test_logits_exist_for_at_most_chunk_rows_at_once(head, monkeypatch):
    hidden, unembedding, labels, *_ = head
    rows = []
    monkeypatch.setattr(fisher, "logit_gradient", lambda z, y: rows.append(len(z)) or logit_gradient(z, y))
    output_gradient(hidden, unembedding, labels=labels, chunk=4)
    assert rows == [4, 4, 3]


def test_half_precision_in_is_half_precision_out_and_close_to_the_exact_gradient(head):
    hidden, unembedding, labels, *_ = head
    found = output_gradient(hidden.bfloat16(), unembedding.bfloat16(), labels=labels)
    assert found.dtype == torch.bfloat16
    exact = autograd_gradient(hidden.bfloat16().double(), unembedding.bfloat16().double(), labels)
    assert (found - exact).norm() < 0.02 * exact.norm()


def test_labels_and_uniform_together_or_neither_is_an_error(head):
    hidden, unembedding, labels, uniform, _ = head
    with pytest.raises(ValueError, match="either labels"):
        output_gradient(hidden, unembedding)
    with pytest.raises(ValueError, match="either labels"):
        output_gradient(hidden, unembedding, labels=labels, uniform=uniform)
