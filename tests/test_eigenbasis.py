"""Eigenvectors of A and G, and what EK-FAC's eigenvalues are worth."""

import pytest
import torch
from torch import nn

from kfaclib.curvature.eigenbasis import Eigenbasis, collect_eigenvalues, decompose, eigenvalue_product
from kfaclib.curvature.exact import block, curvature_distance
from kfaclib.curvature.factors import Factors, collect_factors
from kfaclib.curvature.layers import linear_layers


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def orthogonal(n, seed=0):
    return torch.linalg.qr(normal(n, n, seed=seed)).Q


def both(model, batches, patterns="*.mlp.*", unit="token", labels="data", seed=0):
    """Bases (float64) and EK-FAC eigenvalues of a model on the same batches and, if sampled, the same labels."""
    layers = linear_layers(model, patterns)
    options = dict(labels=labels, progress=False)
    bases = decompose(
        collect_factors(model, batches, layers, generator=torch.Generator().manual_seed(seed), **options), torch.float64
    )
    found = collect_eigenvalues(
        model, batches, layers, bases, unit=unit, generator=torch.Generator().manual_seed(seed), **options
    )
    return bases, found


@pytest.fixture
def ids():
    return torch.randint(3, 37, (4, 8), generator=torch.Generator().manual_seed(0))


def per_token(model, ids, name):
    """a [B, S - 1, I] and g [B, S - 1, O] of one layer, by plain autograd."""
    seen = {}

    def keep(module, inputs, output):
        output.retain_grad()
        seen.update(a=inputs[0].detach(), out=output)

    hook = model.get_submodule(name).register_forward_hook(keep)
    logits = model(input_ids=ids).logits[:, :-1]
    nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="sum").backward()
    hook.remove()
    return seen["a"][:, :-1], seen["out"].grad[:, :-1]


# decompose


def test_eigenvalues_descend_and_give_the_factor_back():
    A, G = (x @ x.T for x in (normal(6, 9), normal(4, 9, seed=1)))
    basis = decompose({"layer": Factors(A, G, 9)}, torch.float64)["layer"]
    for Q, values, matrix in ((basis.Q_A, basis.lambda_A, A), (basis.Q_G, basis.lambda_G, G)):
        assert (values.diff() <= 0).all() and (values > 0).all()
        torch.testing.assert_close((Q * values) @ Q.T, matrix, rtol=0, atol=1e-12)
        torch.testing.assert_close(Q.T @ Q, torch.eye(len(Q), dtype=torch.float64), rtol=0, atol=1e-13)


def test_eigenvalues_that_rounding_made_negative_become_zero():
    x = normal(50, 1).float()
    matrix = x @ x.T
    assert torch.linalg.eigvalsh(matrix.double()).min() < 0
    basis = decompose({"layer": Factors(matrix, matrix, 1)})["layer"]
    assert basis.lambda_A.min() == 0 and basis.lambda_G.min() == 0


def test_float32_factors_are_decomposed_in_float64_and_eigenvectors_kept_in_float32():
    A = torch.diag(torch.logspace(0, -12, 13)).float()
    basis = decompose({"layer": Factors(A, A, 1)})["layer"]
    assert basis.lambda_A.dtype == torch.float64 and basis.Q_A.dtype == torch.float32
    torch.testing.assert_close(basis.lambda_A, A.diagonal().double(), rtol=1e-12, atol=0)


def test_a_shared_A_is_decomposed_once_and_stays_shared(monkeypatch):
    calls, eigh = [], torch.linalg.eigh
    monkeypatch.setattr(torch.linalg, "eigh", lambda m: calls.append(len(m)) or eigh(m))
    A = torch.eye(5)
    bases = decompose(
        {"gate": Factors(A, torch.eye(3), 1), "up": Factors(A, torch.eye(3), 1), "down": Factors(torch.eye(3), A, 1)}
    )
    assert sorted(calls) == [3, 3, 3, 5, 5]
    assert bases["gate"].Q_A is bases["up"].Q_A


@pytest.mark.parametrize("side", ["A", "G"])
def test_a_factor_with_nan_is_refused_by_name(side):
    sides = {"A": torch.eye(2), "G": torch.eye(2)}
    sides[side][0, 1] = torch.nan
    with pytest.raises(
        FloatingPointError, match=f"{side} of layer 'model.up' has values that are not finite.*collect it again"
    ):
        decompose({"model.up": Factors(**sides, tokens=1)})


def test_kfacs_eigenvalues_are_the_products_with_the_output_side_in_rows():
    basis = Eigenbasis(torch.eye(3), torch.eye(2), torch.tensor([3.0, 2.0, 1.0]), torch.tensor([10.0, 1.0]))
    assert eigenvalue_product(basis).tolist() == [[30.0, 20.0, 10.0], [3.0, 2.0, 1.0]]


# EK-FAC


@pytest.mark.parametrize("unit", ["token", "sequence"])
def test_eigenvalues_are_what_brute_force_over_the_units_gives(tiny_olmo, ids, unit):
    model = tiny_olmo()
    bases, found = both(model, ids.split([3, 1]), unit=unit)
    for name, basis in bases.items():
        a, g = per_token(model, ids, name)
        gradients = torch.einsum("bso,bsi->bsoi", g, a)
        gradients = gradients.flatten(0, 1) if unit == "token" else gradients.sum(1)
        expected = sum((basis.Q_G.T @ W @ basis.Q_A) ** 2 for W in gradients) / (4 * 7)
        torch.testing.assert_close(found[name], expected, rtol=1e-9, atol=1e-15)


def test_for_sequences_with_one_target_the_units_agree(tiny_olmo, mlp):
    model, pairs = tiny_olmo(), torch.arange(3, 33).view(15, 2)
    images, data = mlp([4, 6, 3]), [{"x": normal(5, 4), "labels": torch.arange(5) % 3}]
    for net, batches, patterns in ((model, [pairs], "*.mlp.*"), (images, data, "*")):
        token, sequence = (both(net, batches, patterns, unit)[1] for unit in ("token", "sequence"))
        for name in token:
            torch.testing.assert_close(token[name], sequence[name], rtol=1e-10, atol=1e-16)


def test_for_longer_sequences_the_units_differ(tiny_olmo, ids):
    token, sequence = (both(tiny_olmo(), [ids], unit=unit)[1] for unit in ("token", "sequence"))
    assert all((token[n] - sequence[n]).norm() > 0.1 * token[n].norm() for n in token)


@pytest.mark.parametrize("unit", ["token", "sequence"])
@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_and_batch_split_do_not_change_the_eigenvalues(tiny_olmo, ids, unit, side):
    model, pad = tiny_olmo(), torch.zeros(4, 3, dtype=torch.int64)
    join = (lambda x, y: [x, y]) if side == "right" else (lambda x, y: [y, x])
    padded = {
        "input_ids": torch.cat(join(ids, pad), 1),
        "attention_mask": torch.cat(join(torch.ones_like(ids), pad), 1),
    }
    layers = linear_layers(model)
    bases, plain = both(model, [ids], unit=unit)
    options = dict(unit=unit, labels="data", generator=None, progress=False)
    for batches, tolerance in (([padded], 1e-10 if side == "right" else 1e-5), (ids.split([1, 3]), 1e-10)):
        found = collect_eigenvalues(model, batches, layers, bases, **options)
        assert all((found[n] - plain[n]).norm() <= tolerance * plain[n].norm() for n in plain)


def test_with_the_same_generator_the_labels_are_the_ones_the_factors_were_collected_with(mlp):
    x = normal(40, 4)
    batches = [
        {"x": rows} for rows in (x / x.norm(dim=1, keepdim=True)).split(7)
    ]  # |a| = 1, so that sum_j Lambda_ij is lambda_G
    bases, found = both(mlp([4, 3]), batches, "*", labels="sampled", seed=3)
    torch.testing.assert_close(found["net.0"].sum(1), bases["net.0"].lambda_G, rtol=1e-12, atol=1e-15)


def test_the_token_eigenvalues_sum_to_the_mean_squared_gradient_in_any_orthogonal_basis(tiny_olmo, ids):
    model = tiny_olmo()
    layers = linear_layers(model, "*.1.mlp.gate_proj")
    ((name, layer),) = layers.items()
    a, g = per_token(model, ids, name)
    expected = (a.square().sum(-1) * g.square().sum(-1)).mean().item()
    for seed in range(3):
        basis = Eigenbasis(orthogonal(layer.in_features, seed), orthogonal(layer.out_features, seed + 10), None, None)
        found = collect_eigenvalues(
            model, [ids], layers, {name: basis}, unit="token", labels="data", generator=None, progress=False
        )
        assert found[name].sum().item() == pytest.approx(expected, rel=1e-12)


def empirical_block(model, x, y, name):
    """mean over rows of vec(g a^T) vec(g a^T)^T, from one backward pass per row."""
    weight, total = model.get_submodule(name).weight, 0
    for row, label in zip(x, y):
        s = torch.autograd.grad(nn.functional.cross_entropy(model(row[None]).logits, label[None]), weight)[0].reshape(
            -1
        )
        total = total + torch.outer(s, s)
    return total / len(x)


@pytest.mark.parametrize("activation", [None, nn.Tanh, nn.ReLU])
@pytest.mark.parametrize("seed", range(4))
def test_ekfac_is_never_farther_from_the_block_than_kfac_and_nearer_on_a_relu_net(mlp, activation, seed):
    model, x, y = mlp([4, 7, 5, 3], activation, seed), normal(12, 4, seed=seed), torch.arange(12) % 3
    bases, found = both(model, [{"x": x, "labels": y}], "*")
    gains = []
    for name, basis in bases.items():
        exact = empirical_block(model, x, y, name)
        kfac, ekfac = (torch.linalg.norm(block(basis, L) - exact) for L in (eigenvalue_product(basis), found[name]))
        assert ekfac <= kfac * (1 + 1e-12)
        gains.append(1 - (ekfac / kfac).item())
    if activation is nn.ReLU:
        assert min(gains) > 0.01


def test_no_other_diagonal_in_the_same_basis_is_nearer_than_ekfacs(mlp):
    model, x, y = mlp([4, 7, 3]), normal(12, 4), torch.arange(12) % 3
    bases, found = both(model, [{"x": x, "labels": y}], "*")
    exact = empirical_block(model, x, y, "net.0")
    Q = torch.kron(bases["net.0"].Q_G, bases["net.0"].Q_A)
    best = torch.einsum("pk,pq,qk->k", Q, exact, Q)  # the diagonal of Q^T F Q
    torch.testing.assert_close(found["net.0"].reshape(-1), best, rtol=1e-10, atol=1e-16)


def test_an_unknown_unit_and_an_empty_corpus_are_errors(tiny_olmo):
    model = tiny_olmo()
    layers = linear_layers(model, "*.1.mlp.up_proj")
    options = dict(generator=torch.Generator(), progress=False)
    with pytest.raises(ValueError, match="unit='document'.*token.*sequence"):
        collect_eigenvalues(model, [], layers, {}, unit="document", **options)
    with pytest.raises(ValueError, match="corpus is empty"):
        collect_eigenvalues(model, [], layers, {}, unit="token", **options)


def test_activations_that_are_not_finite_name_the_layer(tiny_olmo, ids):
    model = tiny_olmo().train()
    bases, _ = both(model, [ids], "*.1.mlp.*")
    model.model.layers[1].mlp.act_fn.register_forward_hook(lambda m, i, o: o * torch.inf)
    with pytest.raises(FloatingPointError, match=r"'model\.layers\.1\.mlp\.down_proj': its activations"):
        collect_eigenvalues(
            model,
            [ids],
            linear_layers(model, "*.1.mlp.*"),
            bases,
            unit="token",
            generator=torch.Generator(),
            progress=False,
        )
    assert model.training and all(p.requires_grad for p in model.parameters())


# the gauge-free distance


def a_basis(seed, O=4, I=5):
    return Eigenbasis(orthogonal(I, seed), orthogonal(O, seed + 50), None, None), normal(O, I, seed=seed).square()


def test_the_gauge_free_distance_is_the_distance_of_the_written_out_matrices():
    (b1, L1), (b2, L2) = a_basis(1), a_basis(2)
    F1, F2 = block(b1, L1), block(b2, L2)
    assert curvature_distance(b1, L1, b2, L2) == pytest.approx(
        (torch.linalg.norm(F1 - F2) / torch.linalg.norm(F1)).item(), rel=1e-10
    )


def test_the_gauge_free_distance_does_not_see_signs_orders_or_rotations_within_equal_eigenvalues():
    basis, L = a_basis(1)
    L[:, 1] = L[:, 3]  # two equal columns: any rotation of these two eigenvectors of A is as good
    c, s = 0.6, 0.8
    Q_A = basis.Q_A.clone()
    Q_A[:, 1], Q_A[:, 3] = c * basis.Q_A[:, 1] + s * basis.Q_A[:, 3], c * basis.Q_A[:, 3] - s * basis.Q_A[:, 1]
    order = torch.tensor([2, 0, 3, 1])
    Q_G = -basis.Q_G[:, order]
    assert curvature_distance(basis, L, Eigenbasis(Q_A, Q_G, None, None), L[order]) < 1e-7
    assert (
        curvature_distance(basis, L, Eigenbasis(Q_A, Q_G, None, None), L) > 0.1
    )  # but it sees eigenvalues at the wrong place


def test_the_same_factors_rotated_give_the_same_curvature():
    A, G = (x @ x.T for x in (normal(5, 9), normal(4, 9, seed=1)))
    plain = decompose({"x": Factors(A, G, 9)}, torch.float64)["x"]
    R = orthogonal(5, 7)
    turned = decompose({"x": Factors(R @ A @ R.T, G, 9)}, torch.float64)["x"]
    back = Eigenbasis(R.T @ turned.Q_A, turned.Q_G, turned.lambda_A, turned.lambda_G)
    assert curvature_distance(plain, eigenvalue_product(plain), back, eigenvalue_product(back)) < 1e-7
