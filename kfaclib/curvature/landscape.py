"""The loss as terrain: directions to look along, slices and grids of the loss, and walks on them.

`Params` is a dict of tensors; a loss is any function of it (`torch.func.functional_call` makes one of a model).  A
direction has the names and shapes of the parameters.
"""

from collections.abc import Callable, Iterable, Sequence

import torch

from kfaclib.curvature.products import Params, check_direction, flatten, unflatten


def random_direction(params: Params, generator: torch.Generator) -> Params:
    """A direction of independent standard normal entries, with the names, shapes and dtypes of `params`."""
    return {name: torch.randn(p.shape, generator=generator, dtype=p.dtype) for name, p in params.items()}


def filter_normalise(direction: Params, params: Params) -> Params:
    """Rescale each row of a direction to the norm of the same row of the parameters (Li et al. 2018, arXiv 1712.09913).

    A row is what feeds one neuron or one filter: the first axis of a weight. Vectors (biases, gains) become zero.
    Raises ValueError, naming the parameter, if the direction does not fit params.
    """
    check_direction(params, direction)

    def rescaled(d, p):
        if p.ndim < 2:
            return torch.zeros_like(p)
        over = tuple(range(1, p.ndim))
        size = torch.linalg.vector_norm(d, dim=over, keepdim=True)
        return d * torch.where(size > 0, torch.linalg.vector_norm(p, dim=over, keepdim=True) / size, 0)

    return {name: rescaled(d, params[name]) for name, d in direction.items()}


def move(params: Params, directions: Sequence[Params], steps: Sequence[float] | torch.Tensor) -> Params:
    """params + steps[0] directions[0] + steps[1] directions[1] + ...; steps may be numbers or a tensor."""
    return {name: p + sum(t * d[name] for t, d in zip(steps, directions, strict=True)) for name, p in params.items()}


@torch.no_grad()
def loss_slice(
    loss: Callable[[Params], torch.Tensor], params: Params, direction: Params, steps: Sequence[float] | torch.Tensor
) -> torch.Tensor:
    """The loss along a direction: loss(params + t direction) for each t in steps [n]. Returns float64 [n]."""
    check_direction(params, direction)
    return torch.tensor([float(loss(move(params, [direction], [t]))) for t in steps], dtype=torch.float64)


@torch.no_grad()
def loss_grid(
    loss: Callable[[Params], torch.Tensor],
    params: Params,
    directions: Sequence[Params],
    x: Sequence[float] | torch.Tensor,
    y: Sequence[float] | torch.Tensor,
) -> torch.Tensor:
    """The loss over a plane: loss(params + x directions[0] + y directions[1]) over x [n_x] and y [n_y].

    Returns float64 [n_y, n_x], a row for each y.
    """
    for direction in directions:
        check_direction(params, direction)
    return torch.stack([loss_slice(loss, move(params, [directions[1]], [t]), directions[0], x) for t in y])


def coordinates(points: Sequence[Params], origin: Params, directions: Sequence[Params]) -> tuple[torch.Tensor, float]:
    """Where points lie in the plane through `origin`, by least squares, and how much of them the plane shows.

    Returns (float64 [n, len(directions)], the share of the points' squared distance from the origin that lies in the
    plane).
    """
    away = torch.stack([flatten(p).double() - flatten(origin).double() for p in points])
    plane = torch.stack([flatten(d).double() for d in directions], 1)
    found = torch.linalg.lstsq(plane, away.T).solution.T
    total = away.square().sum()
    return found, ((found @ plane.T).square().sum() / total).item() if total > 0 else 1.0


def walk_plane(points: Sequence[Params]) -> list[Params]:
    """Two orthonormal directions that hold most of a walk around its last point: its first two principal components.

    points: Params along the walk. Raises ValueError for fewer than three points, or for points on one line.
    """
    away = torch.stack([flatten(p).double() - flatten(points[-1]).double() for p in points])
    if len(points) < 3 or torch.linalg.matrix_rank(away) < 2:
        raise ValueError("a plane needs a walk of at least three points that do not lie on one line")
    two = torch.linalg.svd(away, full_matrices=False)[2][:2]
    return [unflatten(row.to(flatten(points[-1]).dtype), points[-1]) for row in two]


def on_path(first: Params, middle: Params, second: Params, t: float) -> Params:
    """The point at `t`, from 0 to 1, of a quadratic Bezier curve from `first` to `second`, pulled towards `middle`."""
    return {name: (1 - t) ** 2 * first[name] + 2 * t * (1 - t) * middle[name] + t**2 * second[name] for name in first}


@torch.no_grad()
def path_losses(
    loss: Callable[[Params], torch.Tensor], first: Params, middle: Params, second: Params, places: Iterable[float]
) -> torch.Tensor:
    """The loss at each place [n], from 0 to 1, of the curve `on_path`: [n] float64."""
    return torch.tensor([float(loss(on_path(first, middle, second, t))) for t in places], dtype=torch.float64)


def bend(
    loss: Callable[[Params], torch.Tensor],
    first: Params,
    second: Params,
    *,
    steps: int,
    rate: float,
    generator: torch.Generator,
) -> Params:
    """The middle of a curve between two points along which the loss stays low (Garipov et al. 2018, arXiv 1802.10026).

    It starts halfway, where the curve is a straight line, and descends with Adam, whose learning rate is `rate`, on the
    loss at a random place of the curve in every step.  Only the middle moves.
    """
    check_direction(first, second)
    middle = {name: ((p + second[name]) / 2).requires_grad_() for name, p in first.items()}
    optimizer = torch.optim.Adam(list(middle.values()), lr=rate)
    for _ in range(steps):
        place = torch.rand((), generator=generator).item()
        optimizer.zero_grad()
        loss(on_path(first, middle, second, place)).backward()
        optimizer.step()
    return {name: p.detach() for name, p in middle.items()}


def descend(
    loss: Callable[[Params], torch.Tensor],
    params: Params,
    directions: Sequence[Params],
    start: Sequence[float],
    rate: float,
    steps: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradient descent that stays on a plane, from `start`, one number for each direction.

    Returns (positions [steps + 1, len(directions)], losses [steps + 1]), both float64; shorter where the loss is no
    longer finite.
    """
    position, path, heights = torch.tensor(start, dtype=torch.float64), [], []
    dtype = flatten(params).dtype
    for _ in range(steps + 1):
        position.requires_grad_()
        height = loss(move(params, directions, position.to(dtype)))
        if not torch.isfinite(height):
            break
        path.append(position.detach())
        heights.append(height.item())
        position = (position - rate * torch.autograd.grad(height, position)[0]).detach()
    return torch.stack(path) if path else torch.empty(0, len(directions)), torch.tensor(heights, dtype=torch.float64)
