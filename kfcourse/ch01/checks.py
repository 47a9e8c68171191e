"""Exercises of chapter 01: a slice, its curvature, matching rows, the same function with other weights, a walk in a
plane."""

import math

import torch

from kfaclib.curvature import landscape
from kfcourse import Exercise


def _tensor(result):
    """A result as a float64 tensor, whether it came as a tensor, an array or lists; None if it is none of them."""
    try:
        return (
            torch.stack(list(result)).double()
            if isinstance(result, (list, tuple)) and torch.is_tensor(result[0])
            else torch.as_tensor(result, dtype=torch.float64).detach()
        )
    except (TypeError, ValueError, RuntimeError, IndexError):
        return None


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
    point = {"w": torch.tensor([1.0, 1.0], dtype=torch.float64)}
    way = {"w": torch.tensor([1.0, 2.0], dtype=torch.float64)}
    value, right, length = float(function(bowl, point, way, 0.01)), 3 * 1 + 5 * 4, 5
    close = lambda other: math.isclose(value, other, rel_tol=1e-3)
    assert not close(right * 0.01**2), "divide by the square of the step h"
    assert not close(right * 0.01), "divide by h squared, not by h"
    assert not close(right / length) and not close(right / math.sqrt(length)), (
        "you have divided by the length of v as well: here t counts steps of v itself, however long it is"
    )
    assert not close(2 * right) and not close(right / 2), (
        "a factor of two is off: compare your formula with the sum of the two series, term by term"
    )
    slope = (3 * 1 + 1) * 1 + 5 * 1 * 2
    assert not math.isclose(value, slope, rel_tol=1e-2), (
        "this is the slope along v, a first difference: a curvature needs the loss in the middle as well"
    )
    assert close(right), (
        f"on 3/2 x^2 + 5/2 y^2 + x the curvature along (1, 2) is 3 + 4 * 5 = {right}, and yours is {value:.4g}"
    )


def check_valley_and_saddle(function):
    for t in (6.0, 2.25):
        result = function(t)
        assert hasattr(result, "__len__") and len(result) == 2, (
            "two pairs are wanted: the eigenvalues in the valley, then those at the origin"
        )
        valley, origin = (sorted(float(x) for x in pair) for pair in result)
        assert len(valley) == len(origin) == 2, "a Hessian of two weights has two eigenvalues, also if one of them is 0"
        near = lambda a, b: all(math.isclose(x, y, rel_tol=1e-6, abs_tol=1e-9) for x, y in zip(a, b))
        assert not near(valley, sorted((2 * t * t, 0.0))), (
            "in the middle of the valley both weights are the square root of t, not t itself"
        )
        assert not (near(valley, sorted((t, -t))) and near(origin, sorted((2 * t, 0.0)))), (
            "the two pairs are swapped: the valley comes first"
        )
        assert near(valley, (0.0, 2 * t)), (
            f"for t = {t:g}, in the valley at (sqrt t, sqrt t): along the valley the loss stays 0 and does not bend; "
            f"across it the eigenvalue is the squared length of (w2, w1). Yours are {valley}"
        )
        assert not near(origin, (0.0, 0.0)), (
            "at the origin both weights are 0, but the residual is not: it stands beside w1 w2 off the diagonal"
        )
        assert not near(origin, (t, t)), (
            "both signs are the same, but the diagonal of this Hessian is 0, so its eigenvalues must add up to 0"
        )
        assert near(origin, (-t, t)), (
            f"for t = {t:g}, at the origin: the Hessian has zeros on its diagonal and the residual twice beside it. "
            f"Yours are {origin}"
        )


def check_match_rows(function):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 6, generator=generator, dtype=torch.float64) * torch.tensor(
        [[0.1], [1.0], [5.0], [2.0]], dtype=torch.float64
    )
    direction = torch.randn(4, 6, generator=generator, dtype=torch.float64)
    result = _tensor(function(direction.clone(), weight.clone()))
    assert result is not None and result.shape == weight.shape, (
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


def check_wrong_by_a_rule(function):
    true = torch.tensor([3, 0, 4, 1, 2, 2, 4, 0, 3, 1, 0, 4])
    result = _tensor(function(true.clone(), 5))
    assert result is not None and result.shape == true.shape, f"one label for each image is wanted: {len(true)} of them"
    given = [int(x) for x in result]
    assert all(0 <= x < 5 for x in given), (
        f"the classes are 0 to 4: {sorted(set(given) - set(range(5)))} is none of them"
    )
    right = sum(a == b for a, b in zip(given, true.tolist()))
    assert right == 0, f"{right} of {len(true)} labels are still the true ones: every label must be wrong"
    rule = {}
    for a, b in zip(true.tolist(), given):
        assert rule.setdefault(a, b) == b, (
            f"images of class {a} get different labels: then there is no rule to learn, and the control is gone"
        )
    assert len(set(rule.values())) == 5, (
        "two classes get the same label, so there is less to learn than with the true labels: keep five classes apart"
    )


def check_bend(function):
    turn = lambda degrees: torch.tensor(
        [math.cos(math.radians(degrees)), math.sin(math.radians(degrees))], dtype=torch.float64
    )
    rest = torch.zeros(1, 2, dtype=torch.float64)
    first, second = ({"ring": turn(degrees), "rest": rest.clone()} for degrees in (20, 140))
    before = [{name: p.clone() for name, p in end.items()} for end in (first, second)]
    loss = lambda p: (p["ring"].square().sum() - 1).square() + p["rest"].square().sum()
    middle = function(loss, first, second, 200, 0.05, 0)
    for end, old in zip((first, second), before):
        assert all(torch.equal(end[name].detach(), old[name]) for name in old), (
            "the two ends were moved: only the middle may change, so make it a tensor of its own"
        )
    assert isinstance(middle, dict) and set(middle) == set(first), (
        f"a dict with all the names of the ends is wanted: {', '.join(first)}"
    )
    middle = {name: torch.as_tensor(p).detach().double() for name, p in middle.items()}
    assert all(middle[name].shape == first[name].shape for name in first), (
        "every tensor of the middle has its end's shape"
    )
    half = {name: (first[name] + second[name]) / 2 for name in first}
    places = torch.linspace(0, 1, 21).tolist()
    straight, bent = (landscape.path_losses(loss, first, m, second, places).max().item() for m in (half, middle))
    assert not torch.allclose(middle["ring"], half["ring"], atol=1e-3), (
        "the middle is still halfway, so the path is the straight line: does a gradient reach it, and is a step taken?"
    )
    own = float(loss(middle))
    assert bent < 0.1 * straight or own > 0.05 * straight, (
        "the middle itself lies low, but the path does not pass through it: descend on the loss at a point of the path"
    )
    assert bent < 0.1 * straight, (
        f"the highest loss on your path is {bent:.3f}, against {straight:.3f} on the straight line: it should fall far "
        "below that with the 200 steps of 0.05 that were asked for"
    )


def check_in_plane(function):
    generator = torch.Generator().manual_seed(0)
    points, origin = (torch.randn(n, 6, generator=generator, dtype=torch.float64) for n in (5, 1))
    plane = torch.linalg.qr(torch.randn(6, 2, generator=generator, dtype=torch.float64))[0].T
    result = _tensor(function(points.clone(), origin[0].clone(), plane.clone()))
    assert result is not None and result.shape == (5, 2), (
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
    "01.valley_and_saddle": Exercise(
        "Valley and saddle",
        2,
        12,
        (
            "Put the two places into the Hessian (01.3), with the residual r = w1 w2 - t.",
            "In the valley r = 0, and the matrix is the vector (w2, w1) times its own transpose. At the origin only r "
            "is left.",
            "A matrix u u^T has the eigenvalue |u|^2 and otherwise zeros. For a matrix with zeros on the diagonal try "
            "the vectors (1, 1) and (1, -1).",
        ),
        check_valley_and_saddle,
        "In the valley one eigenvalue is 0: the loss is flat along it. At the origin one is negative: a saddle, from "
        "which the loss falls along (1, 1) and rises along (1, -1).",
    ),
    "01.loss_along": Exercise(
        "Cut a slice",
        1,
        8,
        (
            "For each step make new parameters, and ask for the loss there.",
            "New parameters are a new dict: for every name, the old tensor plus the step times the direction's tensor.",
            "A dict comprehension over `params.items()` makes them in one line. Collect `float(loss(...))` for every "
            "step in a list.",
        ),
        check_loss_along,
        "Nothing is trained and nothing is changed in place: a slice only asks what the loss would be elsewhere.",
    ),
    "01.curvature_along": Exercise(
        "Curvature from three points",
        2,
        10,
        (
            "Equation (01.5) has the losses at -h, 0 and h in it. `loss_along` gives you all three at once.",
            "The slope just before the middle is (middle - low) / h, and just after it (high - middle) / h.",
            "The curvature is the difference of these two slopes, divided by h once more.",
        ),
        check_curvature_along,
        "In the limit of small h this is $v^\\top H v$, the Hessian seen along v. Three losses give it, without any "
        "derivative.",
    ),
    "01.rescale": Exercise(
        "Same function, other weights",
        2,
        10,
        (
            "relu(alpha z) = alpha relu(z) for alpha > 0. What has to happen in the next layer?",
            "z is W x + b, so both tensors of the first layer grow. The second weight shrinks.",
            "The second bias is added at the very end. Ask yourself whether the output before it has changed.",
        ),
        check_rescale,
        "The function is the same up to rounding, so a measure that changes here does not measure the function.",
    ),
    "01.match_rows": Exercise(
        "Filter normalization",
        2,
        10,
        (
            "Each row of the direction is stretched or shrunk by a factor of its own.",
            "`weight.norm(dim=1, keepdim=True)` holds the norm of every row, with shape [O, 1], ready to multiply.",
            "A row's factor is the length it should have over the length it has.",
        ),
        check_match_rows,
        "A step of 1 now changes every neuron's weights by as much as they are long, in any net.",
    ),
    "01.wrong_by_a_rule": Exercise(
        "Wrong, but by a rule",
        2,
        10,
        (
            "The control must share the suspected cause (every label is wrong) and lack the other one (there is no "
            "rule).",
            "The same digit must always get the same wrong label, and two digits never the same one.",
            "Think of a circle of classes, on which every class hands its label on to a neighbor.",
        ),
        check_wrong_by_a_rule,
        "Any permutation of the classes that leaves none in its place will do. For the net it is the old task under "
        "new names.",
    ),
    "01.bend": Exercise(
        "Bend a path",
        4,
        25,
        (
            "Begin with the middle halfway between the ends: `{name: ((p + second[name]) / 2).requires_grad_() ...}`. "
            "Give its tensors, and nothing else, to an optimizer.",
            "In each step draw t = `torch.rand(()).item()`, take the point (01.8) of the path at t, and compute the "
            "loss there.",
            "The rest is what every training loop does: clear the gradients, call `backward()` on that loss, let the "
            "optimizer step. Detach the tensors when you return them.",
        ),
        check_bend,
        "The ends stay, and only the middle is trained: a training loop whose parameters are a place to pass near.",
    ),
    "01.in_plane": Exercise(
        "A walk seen in a plane",
        2,
        8,
        (
            "How far is a point from the origin, along each of the two directions?",
            "The directions are orthonormal rows, so a coordinate is a dot product.",
            "A matrix product gives the dot products of all points with both directions at once. Mind its shape: [n, "
            "2].",
        ),
        check_in_plane,
        "For directions that are not orthonormal one solves a small least-squares problem instead, as "
        "`landscape.coordinates` does.",
    ),
}
