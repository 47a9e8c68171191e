"""Products with curvature: against analytic matrices, against each other, against a public library."""

import pytest
import torch
from torch import nn
from torch.func import functional_call

from kfaclib.curvature.products import cross_entropy_hvp, flatten, ggnvp, hvp, unflatten

torch.manual_seed(0)
CLASSES, INPUTS, EXAMPLES = 4, 5, 7


def network(seed=0, hidden=6):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(INPUTS, hidden), nn.Tanh(), nn.Linear(hidden, CLASSES)).double()


def problem(seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(EXAMPLES, INPUTS, generator=generator, dtype=torch.float64)
    return x, torch.randint(0, CLASSES, (EXAMPLES,), generator=generator)


def functions(model, x, y):
    params = {n: p.detach() for n, p in model.named_parameters()}
    outputs = lambda p: functional_call(model, p, (x,))
    return params, outputs, lambda p: nn.functional.cross_entropy(outputs(p), y, reduction="sum")


def as_matrix(product, params):
    """The whole matrix, one unit vector at a time."""
    size = sum(p.numel() for p in params.values())
    return torch.stack([flatten(product(unflatten(e, params))) for e in torch.eye(size, dtype=torch.float64)], 1)


def test_softmax_regression_has_its_analytic_hessian():
    x, y = problem()
    params = {"W": torch.randn(CLASSES, INPUTS, dtype=torch.float64)}
    loss = lambda p: nn.functional.cross_entropy(x @ p["W"].T, y, reduction="sum")
    probabilities = torch.softmax(x @ params["W"].T, -1)
    exact = sum(torch.kron(torch.diag(p) - torch.outer(p, p), torch.outer(a, a)) for p, a in zip(probabilities, x))
    assert torch.allclose(as_matrix(lambda v: hvp(loss, params, v), params), exact, atol=1e-12)


@pytest.mark.parametrize("loss", ["cross entropy", "squared error"])
def test_ggn_is_the_hessian_where_the_network_is_linear(loss):
    x, y = problem(1)
    model = nn.Sequential(nn.Linear(INPUTS, CLASSES)).double()
    params, outputs, _ = functions(model, x, y)
    target = torch.randn(EXAMPLES, CLASSES, dtype=torch.float64)
    value, output_hvp = {
        "cross entropy": (lambda p: nn.functional.cross_entropy(outputs(p), y, reduction="sum"), cross_entropy_hvp),
        "squared error": (lambda p: (outputs(p) - target).square().sum() / 2, lambda _, u: u),
    }[loss]
    H = as_matrix(lambda v: hvp(value, params, v), params)
    G = as_matrix(lambda v: ggnvp(outputs, output_hvp, params, v), params)
    assert torch.allclose(H, G, atol=1e-11)


def test_they_differ_where_the_network_is_not_linear():
    params, outputs, loss = functions(network(), *problem())
    H = as_matrix(lambda v: hvp(loss, params, v), params)
    G = as_matrix(lambda v: ggnvp(outputs, cross_entropy_hvp, params, v), params)
    assert (H - G).norm() > 0.05 * G.norm()


@pytest.mark.parametrize("seed", range(3))
def test_both_are_symmetric_and_the_ggn_has_no_negative_eigenvalue(seed):
    params, outputs, loss = functions(network(seed), *problem(seed))
    H = as_matrix(lambda v: hvp(loss, params, v), params)
    G = as_matrix(lambda v: ggnvp(outputs, cross_entropy_hvp, params, v), params)
    for M in (H, G):
        assert torch.allclose(M, M.T, atol=1e-11)
    assert torch.linalg.eigvalsh(G)[0] > -1e-11 * G.norm()
    assert torch.linalg.eigvalsh(H)[0] < 0  # these nets are not at a minimum


def test_the_ggn_is_the_fisher_summed_over_all_labels():
    x, _ = problem()
    model = network()
    params, outputs, _ = functions(model, x, torch.zeros(EXAMPLES, dtype=torch.long))
    fisher = 0
    for one in x:
        log_p = lambda p: torch.log_softmax(functional_call(model, p, (one[None],))[0], -1)
        jacobian = torch.func.jacrev(log_p)(params)
        J = torch.cat([j.reshape(CLASSES, -1) for j in jacobian.values()], 1)  # [C, P]: a gradient per label
        fisher = fisher + J.T @ (log_p(params).exp()[:, None] * J)
    assert torch.allclose(as_matrix(lambda v: ggnvp(outputs, cross_entropy_hvp, params, v), params), fisher, atol=1e-11)


def test_hvp_is_the_slope_of_the_gradient():
    params, _, loss = functions(network(), *problem())
    v = {n: torch.randn_like(p) for n, p in params.items()}
    step = 1e-5
    slope = [torch.func.grad(loss)({n: p + s * step * v[n] for n, p in params.items()}) for s in (1, -1)]
    for name, product in hvp(loss, params, v).items():
        assert torch.allclose(product, (slope[0][name] - slope[1][name]) / (2 * step), rtol=1e-5, atol=1e-7)


def test_cross_entropy_hvp_is_the_hessian_in_the_logits_whatever_the_label():
    logits, u = torch.randn(CLASSES, dtype=torch.float64), torch.randn(CLASSES, dtype=torch.float64)
    for label in range(CLASSES):
        H = torch.func.hessian(lambda z: nn.functional.cross_entropy(z, torch.tensor(label)))(logits)
        assert torch.allclose(H @ u, cross_entropy_hvp(logits, u), atol=1e-12)


def test_a_direction_of_the_wrong_shape_is_named():
    params, _, loss = functions(network(), *problem())
    v = dict(params)
    v["2.weight"] = v["2.weight"].T
    with pytest.raises(ValueError, match="2.weight"):
        hvp(loss, params, v)
    with pytest.raises(ValueError, match="0.bias"):
        hvp(loss, params, {n: p for n, p in params.items() if n != "0.bias"})


def test_flatten_and_unflatten_are_inverse():
    params = dict(network().named_parameters())
    back = unflatten(flatten(params), params)
    assert all(torch.equal(back[n], p) for n, p in params.items())
    with pytest.raises(ValueError, match="numbers"):
        unflatten(torch.zeros(3), params)


def test_agrees_with_curvlinops():
    curvlinops = pytest.importorskip("curvlinops")
    x, y = problem()
    model = network()
    params, outputs, loss = functions(model, x, y)
    trainable = list(model.parameters())
    common = (model, nn.CrossEntropyLoss(reduction="sum"), trainable, [(x, y)])
    v = torch.randn(len(flatten(params)), dtype=torch.float64)
    for operator, product in (
        (curvlinops.HessianLinearOperator, lambda d: hvp(loss, params, d)),
        (curvlinops.GGNLinearOperator, lambda d: ggnvp(outputs, cross_entropy_hvp, params, d)),
    ):
        theirs = torch.as_tensor(operator(*common) @ v)
        assert torch.allclose(flatten(product(unflatten(v, params))), theirs, rtol=1e-10, atol=1e-10)
