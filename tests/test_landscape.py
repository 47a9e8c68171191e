"""Slices of the loss as theorems: what a slice knows of gradient and Hessian, and what filter normalisation does and
does not undo."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, grad

from kfaclib.curvature import landscape as ls
from kfaclib.curvature.products import flatten, hvp, unflatten


def net(activation=nn.Tanh, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 6), activation(), nn.Linear(6, 5), activation(), nn.Linear(5, 3)).double()


def task(model, seed=0):
    """(loss of Params, Params) on twenty random examples."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(20, 4, generator=generator, dtype=torch.float64)
    y = torch.randint(0, 3, (20,), generator=generator)
    return (lambda p: F.cross_entropy(functional_call(model, p, (x,)), y)), {
        k: p.detach() for k, p in model.named_parameters()
    }


def direction(params, seed):
    return ls.random_direction(params, torch.Generator().manual_seed(seed))


dot = lambda a, b: (flatten(a) @ flatten(b)).item()


@pytest.mark.parametrize("seed", range(5))
def test_first_and_second_difference_are_gradient_and_hessian(seed):
    loss, params = task(net(seed=seed))
    v, h = direction(params, seed), 1e-3
    low, middle, high = ls.loss_slice(loss, params, v, [-h, 0, h])
    assert (high - low) / (2 * h) == pytest.approx(dot(grad(loss)(params), v), rel=1e-4, abs=1e-5)
    assert (high - 2 * middle + low) / h**2 == pytest.approx(dot(v, hvp(loss, params, v)), rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_rows_have_the_norms_of_the_weights_rows(seed):
    params = {
        "conv": torch.randn(4, 3, 2, 2),
        "linear": torch.randn(5, 7),
        "bias": torch.randn(5),
        "scale": torch.tensor(2.0),
    }
    d = ls.filter_normalise(direction(params, seed), params)
    for name in ("conv", "linear"):
        torch.testing.assert_close(d[name].flatten(1).norm(dim=1), params[name].flatten(1).norm(dim=1))
    assert not d["bias"].any() and not d["scale"].any()


def test_normalising_again_changes_nothing_and_a_zero_row_stays_zero():
    _, params = task(net())
    params["0.weight"][2] = 0
    raw = direction(params, 0)
    raw["2.weight"][1] = 0
    once = ls.filter_normalise(raw, params)
    twice = ls.filter_normalise(once, params)
    assert not once["0.weight"][2].any() and not once["2.weight"][1].any()
    torch.testing.assert_close(twice, once)


def rescaled(params, alpha):
    """The same function of a ReLU net: first layer times alpha, second weight divided by it."""
    return params | {
        "0.weight": alpha * params["0.weight"],
        "0.bias": alpha * params["0.bias"],
        "2.weight": params["2.weight"] / alpha,
    }


@pytest.mark.parametrize("alpha", [0.1, 3.0, 20.0])
def test_reparametrised_relu_net_same_function_other_sharpness_same_normalised_slice(alpha):
    model = net(nn.ReLU)
    loss, params = task(model)
    other, raw, ts = rescaled(params, alpha), direction(params, 1), torch.linspace(-1, 1, 11)
    x = torch.randn(7, 4, dtype=torch.float64)
    torch.testing.assert_close(functional_call(model, other, (x,)), functional_call(model, params, (x,)))
    normalised = [ls.loss_slice(loss, p, ls.filter_normalise(raw, p), ts) for p in (params, other)]
    torch.testing.assert_close(*normalised)
    plain = [ls.loss_slice(loss, p, raw, ts) for p in (params, other)]
    assert (plain[0] - plain[1]).abs().max() > 0.1
    unit = unflatten(flatten(raw) / flatten(raw).norm(), raw)
    curvature = [dot(unit, hvp(loss, p, unit)) for p in (params, other)]
    assert abs(curvature[0] - curvature[1]) > 0.1 * abs(curvature[0])


def test_scaling_single_neurons_is_not_undone():
    """The honest limit: a scale per neuron leaves the function alone, changes rows of the next weight unevenly, and
    shows."""
    model = net(nn.ReLU)
    loss, params = task(model)
    s = torch.tensor([0.1, 0.3, 1.0, 3.0, 10.0, 30.0], dtype=torch.float64)
    other = params | {
        "0.weight": s[:, None] * params["0.weight"],
        "0.bias": s * params["0.bias"],
        "2.weight": params["2.weight"] / s,
    }
    assert loss(other).item() == pytest.approx(loss(params).item())
    raw, ts = direction(params, 1), torch.linspace(-1, 1, 11)
    slices = [ls.loss_slice(loss, p, ls.filter_normalise(raw, p), ts) for p in (params, other)]
    assert (slices[0] - slices[1]).abs().max() > 0.01


def test_grid_holds_the_slices_and_a_row_per_y():
    loss, params = task(net())
    d, e = direction(params, 0), direction(params, 1)
    x, y = torch.linspace(-1, 1, 5), torch.linspace(-0.5, 0.5, 3)
    grid = ls.loss_grid(loss, params, (d, e), x, y)
    assert grid.shape == (3, 5)
    torch.testing.assert_close(grid[1], ls.loss_slice(loss, params, d, x))
    torch.testing.assert_close(grid[:, 2], ls.loss_slice(loss, params, e, y))
    assert grid[0, 4].item() == pytest.approx(loss(ls.move(params, (d, e), (1.0, -0.5))).item())


@pytest.mark.parametrize("seed", range(3))
def test_coordinates_find_the_steps_back(seed):
    _, params = task(net())
    d, e = direction(params, seed), direction(params, seed + 10)
    steps = [(0.3, -0.2), (1.0, 2.0), (0.0, 0.0)]
    found, share = ls.coordinates([ls.move(params, (d, e), s) for s in steps], params, (d, e))
    torch.testing.assert_close(found, torch.tensor(steps, dtype=torch.float64))
    assert share == pytest.approx(1)


def test_a_random_plane_holds_almost_nothing_of_a_walk_and_its_own_plane_most():
    _, params = task(net())
    goal = direction(params, 5)
    walk = [ls.move(params, [goal, direction(params, 6)], [t, t * (1 - t)]) for t in torch.linspace(0, 1, 9).tolist()]
    own = ls.walk_plane(walk)
    assert ls.coordinates(walk, walk[-1], own)[1] == pytest.approx(1)
    gram = torch.stack([flatten(d) for d in own])
    torch.testing.assert_close(gram @ gram.T, torch.eye(2, dtype=torch.float64))
    many = [ls.coordinates(walk, walk[-1], [direction(params, s), direction(params, s + 100)])[1] for s in range(20)]
    assert sum(many) / len(many) < 6 / flatten(params).numel()  # 2 / P in expectation


def test_a_straight_walk_has_no_plane():
    _, params = task(net())
    goal = direction(params, 0)
    with pytest.raises(ValueError, match="one line"):
        ls.walk_plane([ls.move(params, [goal], [t]) for t in (0.0, 0.5, 1.0)])


@pytest.mark.parametrize(
    "curvature, rate, falls", [(4.0, 0.1, True), (4.0, 0.49, True), (4.0, 0.51, False), (1.0, 1.9, True)]
)
def test_descent_on_a_parabola_converges_below_two_over_curvature(curvature, rate, falls):
    loss = lambda p: curvature / 2 * p["w"].square().sum()
    params = {"w": torch.zeros(2, dtype=torch.float64)}
    axes = [{"w": row} for row in torch.eye(2, dtype=torch.float64)]
    path, heights = ls.descend(loss, params, axes, (1.0, -0.5), rate, 30)
    torch.testing.assert_close(path[:, 0], (1 - rate * curvature) ** torch.arange(31, dtype=torch.float64))
    assert (heights[-1] < heights[0]) == falls


def test_descent_on_a_net_goes_down_and_stops_where_the_loss_is_not_finite():
    loss, params = task(net())
    plane = [ls.filter_normalise(direction(params, s), params) for s in (0, 1)]
    path, heights = ls.descend(loss, params, plane, (0.8, -0.6), 0.05, 20)
    assert len(path) == len(heights) == 21 and (heights.diff() < 1e-9).all()
    assert heights[7].item() == pytest.approx(loss(ls.move(params, plane, path[7])).item())
    torn = lambda p: torch.log(p["w"].sum())
    path, heights = ls.descend(torn, {"w": torch.zeros(1)}, [{"w": torch.ones(1)}], (0.5,), 1.0, 10)
    assert len(path) == len(heights) == 1


def test_directions_of_the_wrong_shape_are_named():
    loss, params = task(net())
    with pytest.raises(ValueError, match="'4.bias'"):
        ls.loss_slice(loss, params, {k: v for k, v in params.items() if k != "4.bias"}, [0.0])


@pytest.mark.parametrize("seed", range(2))
def test_a_curve_begins_and_ends_where_it_should_and_halfway_it_is_a_line(seed):
    _, params = task(net(seed=seed))
    first, middle, second = (direction(params, seed + k) for k in range(3))
    assert dot(first, first) == pytest.approx(dot(ls.on_path(first, middle, second, 0), first))
    torch.testing.assert_close(flatten(ls.on_path(first, middle, second, 1)), flatten(second))
    half = {name: (first[name] + second[name]) / 2 for name in first}
    line = flatten(first) + 0.3 * (flatten(second) - flatten(first))
    torch.testing.assert_close(flatten(ls.on_path(first, half, second, 0.3)), line)


def test_a_bent_path_goes_around_a_hill_and_moves_nothing_else():
    first, second = ({"w": torch.tensor(p, dtype=torch.float64)} for p in ([1.0, 0.0], [-0.5, 3**0.5 / 2]))
    ring = lambda p: (p["w"].square().sum() - 1).square()
    kept = [end["w"].clone() for end in (first, second)]
    middle = ls.bend(ring, first, second, steps=300, rate=0.05, generator=torch.Generator().manual_seed(0))
    half = {"w": (first["w"] + second["w"]) / 2}
    places = torch.linspace(0, 1, 21).tolist()
    line, bent = (ls.path_losses(ring, first, m, second, places).max() for m in (half, middle))
    assert line > 0.5 and bent < 0.05
    assert torch.equal(first["w"], kept[0]) and torch.equal(second["w"], kept[1]) and not middle["w"].requires_grad
    with pytest.raises(ValueError):
        ls.bend(ring, first, {"v": second["w"]}, steps=1, rate=0.1, generator=torch.Generator())
