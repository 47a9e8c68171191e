"""Exercises of chapter 01: a slice, its curvature, matching rows, the same function with other weights, a walk in a
plane."""

import math

import torch

from kfaclib.curvature import landscape
from kfcourse import Exercise


def _valley():
    params = {"a": torch.tensor([1.0, -2.0], dtype=torch.float64), "b": torch.tensor([[0.5]], dtype=torch.float64)}
    way = {"a": torch.tensor([3.0, 0.0], dtype=torch.float64), "b": torch.tensor([[4.0]], dtype=torch.float64)}
    loss = lambda p: p["a"].square().sum() + 10 * p["b"].square().sum() + p["a"].sum() ** 3
    return loss, params, way


def check_loss_along(function):
    loss, params, way = _valley()
    steps = [-0.5, 0.0, 0.25, 1.0]
    before = {k: v.clone() for k, v in params.items()}
    result = function(loss, params, way, steps)
    assert len(result) == len(steps), f"one loss per step is wanted: {len(steps)}, not {len(result)}"
    values = [float(x) for x in result]
    assert all(torch.equal(params[k], before[k]) for k in params), (
        "the parameters were changed: make new ones for every step instead of adding in place"
    )
    right = landscape.loss_slice(loss, params, way, steps).tolist()
    assert not math.isclose(values[1], float(loss({k: 0 * v for k, v in params.items()}))), (
        "at step 0 you are at the origin: start from params and add step * direction"
    )
    walked = [float(loss({k: params[k] + sum(steps[: i + 1]) * way[k] for k in params})) for i in range(len(steps))]
    assert not all(map(math.isclose, values, walked)), (
        "the steps add up: every one starts from params, not from where the last one ended"
    )
    assert math.isclose(values[1], right[1]), "at step 0 the loss must be that of the parameters themselves"
    first = [float(loss(params | {"a": params["a"] + t * way["a"]})) for t in steps]
    assert not all(map(math.isclose, values, first)), (
        "only the first parameter moves: every tensor of the dict takes part"
    )
    assert all(map(math.isclose, values, right)), (
        f"at step {steps[-1]} the loss is {right[-1]:.3f}, yours is {values[-1]:.3f}"
    )


def check_curvature_along(function):
    bowl = lambda p: 0.5 * (3 * p["w"][0] ** 2 + 5 * p["w"][1] ** 2) + p["w"][0]
    point = {"w": torch.tensor([1.0, 2.0], dtype=torch.float64)}
    way = {"w": torch.tensor([1.0, 1.0], dtype=torch.float64)}
    value = float(function(bowl, point, way, 0.01))
    assert not math.isclose(value, 8 * 0.01**2, rel_tol=1e-3), "divide by the square of the step h"
    assert not math.isclose(value, 8 * 0.01, rel_tol=1e-3), "divide by h squared, not by h"
    assert not math.isclose(value, 2 * 8, rel_tol=1e-3) and not math.isclose(value, 4, rel_tol=1e-3), (
        "a factor two is off: (high - 2 middle + low) / h^2, without a half"
    )
    slope = 3 * 1 + 1 + 5 * 2
    assert not math.isclose(value, slope, rel_tol=1e-2), (
        "this is the slope: the first difference. The curvature needs the middle as well"
    )
    assert math.isclose(value, 8, rel_tol=1e-3), (
        f"on 3/2 x^2 + 5/2 y^2 + x along (1, 1) the curvature is 3 + 5 = 8, yours is {value:.4g}"
    )


def check_match_rows(function):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 6, generator=generator, dtype=torch.float64) * torch.tensor(
        [[0.1], [1.0], [5.0], [2.0]], dtype=torch.float64
    )
    direction = torch.randn(4, 6, generator=generator, dtype=torch.float64)
    result = function(direction, weight)
    assert torch.is_tensor(result) and result.shape == weight.shape, (
        f"the result must have the weight's shape {list(weight.shape)}, not {list(getattr(result, 'shape', []))}"
    )
    whole = direction * weight.norm() / direction.norm()
    assert not torch.allclose(result, whole), (
        "the whole matrix was rescaled at once: every row gets its own factor (dim=1, keepdim=True)"
    )
    columns = direction * weight.norm(dim=0, keepdim=True) / direction.norm(dim=0, keepdim=True)
    assert not torch.allclose(result, columns), (
        "these are columns: a row of the weight feeds one neuron, so the norms are over dim=1"
    )
    assert not torch.allclose(result, direction / direction.norm(dim=1, keepdim=True)), (
        "the rows have norm 1: multiply by the norms of the weight's rows"
    )
    assert not torch.allclose(result, direction * weight.norm(dim=1, keepdim=True)), (
        "divide by the norms of the direction's own rows as well"
    )
    assert torch.allclose(result.norm(dim=1), weight.norm(dim=1)), "row by row the norms must be those of the weight"
    assert torch.allclose(result, landscape.filter_normalise({"w": direction}, {"w": weight})["w"]), (
        "the norms are right, but the rows point elsewhere: only their length may change"
    )


def check_rescale(function):
    generator = torch.Generator().manual_seed(0)
    shapes = {"0.weight": (5, 3), "0.bias": (5,), "2.weight": (2, 5), "2.bias": (2,)}
    params = {k: torch.randn(s, generator=generator, dtype=torch.float64) for k, s in shapes.items()}
    x = torch.randn(8, 3, generator=generator, dtype=torch.float64)
    run = lambda p: (x @ p["0.weight"].T + p["0.bias"]).relu() @ p["2.weight"].T + p["2.bias"]
    before = {k: v.clone() for k, v in params.items()}
    other = function(params, 3.0)
    assert all(torch.equal(params[k], before[k]) for k in params), (
        "params itself was changed: return a new dict (params | {...} makes one)"
    )
    assert isinstance(other, dict) and set(other) == set(params), f"a dict with all of {', '.join(shapes)} is wanted"
    assert torch.allclose(other["0.weight"], 3 * params["0.weight"]), (
        "the first layer's weight must be alpha times itself"
    )
    assert not torch.allclose(other["0.bias"], params["0.bias"]), (
        "relu(alpha z) = alpha relu(z) needs the whole z: the first bias grows by alpha too"
    )
    assert not torch.allclose(other["2.bias"], params["2.bias"] / 3), (
        "the last bias is added after everything: it stays as it is"
    )
    assert torch.allclose(run(other), run(params)), (
        "the function has changed: the second layer's weight must be divided by alpha, and nothing else touched"
    )


def check_in_plane(function):
    generator = torch.Generator().manual_seed(0)
    points, origin = (torch.randn(n, 6, generator=generator, dtype=torch.float64) for n in (5, 1))
    plane = torch.linalg.qr(torch.randn(6, 2, generator=generator, dtype=torch.float64))[0].T
    result = function(points, origin[0], plane)
    assert torch.is_tensor(result) and result.shape == (5, 2), (
        f"two coordinates per point are wanted, [5, 2], not {list(getattr(result, 'shape', []))}"
    )
    assert not torch.allclose(result, points @ plane.T), (
        "the origin is missing: coordinates are measured from it, points - origin"
    )
    assert not torch.allclose(result, (origin - points) @ plane.T), (
        "the sign is wrong: points - origin, not the other way round"
    )
    assert torch.allclose(result, (points - origin) @ plane.T), (
        "entry [n, k] must be the dot product of points[n] - origin with plane[k]"
    )


EXERCISES = {
    "01.loss_along": Exercise(
        "Cut a slice",
        1,
        8,
        (
            "For each step make new parameters and ask the loss.",
            "A dict comprehension: `{name: p + t * direction[name] for name, p in params.items()}`.",
            "`[float(loss({name: p + t * direction[name] for name, p in params.items()})) for t in steps]`",
        ),
        check_loss_along,
        "Nothing is trained and nothing is changed in place: a slice only asks what the loss would be elsewhere.",
    ),
    "01.curvature_along": Exercise(
        "Curvature from three points",
        2,
        10,
        (
            "A parabola through three points at -h, 0 and h: how strongly is it bent?",
            "The slope before the middle is (middle - low) / h, after it (high - middle) / h. The curvature is their "
            "difference over h.",
            "`low, middle, high = loss_along(loss, params, direction, [-h, 0.0, h])`, then "
            "`(high - 2 * middle + low) / h**2`.",
        ),
        check_curvature_along,
        "In the limit of small h this is $v^\\top H v$, the Hessian seen along v. Three losses tell it, without any "
        "derivative.",
    ),
    "01.match_rows": Exercise(
        "Filter normalisation",
        2,
        10,
        (
            "Each row of the direction is stretched or shrunk by a factor of its own.",
            "`weight.norm(dim=1, keepdim=True)` is the norm of every row, of shape [O, 1], ready to multiply.",
            "`direction / direction.norm(dim=1, keepdim=True) * weight.norm(dim=1, keepdim=True)`",
        ),
        check_match_rows,
        "A step of 1 now means: every neuron's weights are changed by as much as they are long. That is comparable "
        "between networks.",
    ),
    "01.rescale": Exercise(
        "Same function, other weights",
        2,
        10,
        (
            "relu(alpha z) = alpha relu(z) for alpha > 0. What has to happen in the next layer?",
            "z is W x + b: both of the first layer's tensors grow. The second weight shrinks; the second bias comes "
            "after it.",
            '`params | {"0.weight": alpha * params["0.weight"], "0.bias": ..., "2.weight": ...}`',
        ),
        check_rescale,
        "The function is the same to the last digit that rounding leaves, and any measure that changes here does not "
        "measure the function.",
    ),
    "01.in_plane": Exercise(
        "A walk seen in a plane",
        2,
        8,
        (
            "How far is a point from the origin, along each of the two directions?",
            "The directions are orthonormal rows, so a coordinate is a dot product.",
            "`(points - origin) @ plane.T`",
        ),
        check_in_plane,
        "For directions that are not orthonormal one solves a small least-squares problem instead, as "
        "`landscape.coordinates` does.",
    ),
}
