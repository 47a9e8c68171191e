"""K-FAC and EK-FAC against an independent library, curvlinops-for-pytorch, on nets that neither was written for.

Nothing is sampled: the exact expectation over labels (its "type-2" Fisher) and the data's labels (its "empirical" one).
"""

import pytest
import torch
from torch import nn

from kfaclib.curvature.eigenbasis import collect_eigenvalues, decompose, eigenvalue_product
from kfaclib.curvature.exact import block, exact_factors, exact_ggn_block
from kfaclib.curvature.factors import collect_factors
from kfaclib.curvature.layers import linear_layers

curvlinops = pytest.importorskip("curvlinops", reason="curvlinops-for-pytorch is not installed; course.py test does it")

NETS = {  # sizes, activation
    "one layer": ([5, 4], None),
    "wide relu": ([3, 11, 4], nn.ReLU),
    "deep tanh": ([6, 5, 7, 4, 3], nn.Tanh),
    "narrow silu": ([8, 2, 6, 5], nn.SiLU),
    "deep linear": ([4, 6, 2, 3], None),
}


@pytest.fixture(params=[(name, seed) for name in NETS for seed in (0, 1)], ids=lambda p: f"{p[0]}, seed {p[1]}")
def case(request, mlp):
    """(model, x, y, {name: layer}, the same data in two unequal batches)."""
    (sizes, activation), seed = NETS[request.param[0]], request.param[1]
    g = torch.Generator().manual_seed(seed)
    model = mlp(sizes, activation, seed)
    x, y = torch.randn(13, sizes[0], generator=g, dtype=torch.float64), torch.randint(sizes[-1], (13,), generator=g)
    return model, x, y, linear_layers(model, "*"), list(zip(x.split([9, 4]), y.split([9, 4])))


def theirs(operator, model, layer, data, loss, fisher):
    """Their curvature of one layer's weight, written out: [O*I, O*I], row-major."""
    kfac = operator(model.net, loss, [layer.weight], data, fisher_type=fisher, check_deterministic=False)
    return kfac @ torch.eye(layer.weight.numel(), dtype=torch.float64)


def compare(found, expected):
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12 * expected.abs().max().item())


def test_kfac_with_the_exact_expectation_is_their_type_2_kfac(case):
    model, x, _, layers, data = case
    for name, f in exact_factors(model.net, x, layers).items():
        compare(
            torch.kron(f.G, f.A),
            theirs(curvlinops.KFACLinearOperator, model, layers[name], data, nn.CrossEntropyLoss(), "type-2"),
        )


def test_kfac_for_the_squared_loss_is_their_type_2_kfac(case):
    model, x, _, layers, _ = case
    data = [(x, torch.zeros_like(model.net(x).detach()))]
    for name, f in exact_factors(model.net, x, layers, "squared").items():
        kfac = theirs(curvlinops.KFACLinearOperator, model, layers[name], data, nn.MSELoss(reduction="sum"), "type-2")
        compare(2 * len(x) * torch.kron(f.G, f.A), kfac)  # theirs is the sum of |z - y|^2, ours the mean of half of it


def collected(model, data, layers):
    """What `collect_factors` and `collect_eigenvalues` find with the data's labels."""
    batches = [{"x": x, "labels": y} for x, y in data]
    options = dict(labels="data", generator=None, progress=False)
    factors = collect_factors(model, batches, layers, **options)
    bases = decompose(factors, torch.float64)
    return factors, bases, collect_eigenvalues(model, batches, layers, bases, unit="token", **options)


def test_kfac_on_the_datas_labels_is_their_empirical_kfac(case):
    model, _, _, layers, data = case
    for name, f in collected(model, data, layers)[0].items():
        compare(
            torch.kron(f.G, f.A),
            theirs(curvlinops.KFACLinearOperator, model, layers[name], data, nn.CrossEntropyLoss(), "empirical"),
        )


def test_ekfac_on_the_datas_labels_is_their_empirical_ekfac(case):
    model, _, _, layers, data = case
    _, bases, eigenvalues = collected(model, data, layers)
    for name, basis in bases.items():
        ours = block(basis, eigenvalues[name])
        expected = theirs(curvlinops.EKFACLinearOperator, model, layers[name], data, nn.CrossEntropyLoss(), "empirical")
        if decided(basis):
            compare(ours, expected)
        assert ours.trace().item() == pytest.approx(expected.trace().item(), rel=1e-12)


def decided(basis):
    """Whether the eigenbasis is unique up to signs, without which two EK-FACs may honestly differ (K-FACs may not)."""
    return all((-values.diff()).min() > 1e-9 * values[0] for values in (basis.lambda_A, basis.lambda_G))


def test_most_of_these_bases_are_decided(case):
    model, _, _, layers, data = case
    assert any(decided(basis) for basis in collected(model, data, layers)[1].values())


def outputs_of(net, name, x):
    """weight -> outputs of an nn.Sequential when layer `name` has that weight."""
    return lambda weight: torch.func.functional_call(net, {f"{name}.weight": weight}, (x,))


def test_ekfac_with_the_exact_expectation_is_their_type_2_ekfac(case):
    """Ours is the diagonal of the exact block in the eigenbasis: there the labels are enumerated, too."""
    model, x, _, layers, data = case
    bases = decompose(exact_factors(model.net, x, layers), torch.float64)
    for name, basis in bases.items():
        if not decided(basis):
            continue
        W = layers[name].weight.detach()
        Q = torch.kron(basis.Q_G, basis.Q_A)
        exact = (Q * (exact_ggn_block(outputs_of(model.net, name.removeprefix("net."), x), W) @ Q)).sum(0)
        found = theirs(curvlinops.EKFACLinearOperator, model, layers[name], data, nn.CrossEntropyLoss(), "type-2")
        compare(block(basis, exact.view_as(W)), found)


def test_neither_kfac_equals_the_other_ones_ekfac(case):
    """The comparisons above would notice a mix-up."""
    model, _, _, layers, data = case
    _, bases, eigenvalues = collected(model, data, layers)
    gaps = [((eigenvalue_product(b) - eigenvalues[n]).norm() / eigenvalues[n].norm()).item() for n, b in bases.items()]
    assert max(gaps) > 0.05
