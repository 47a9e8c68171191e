"""Right answers of unusual form to the exercises of chapter 01: their checks must accept every one."""

import numpy as np
import torch


def valley_by_numpy(t):
    side = np.sqrt(t)
    hessian = lambda a, b: np.array([[b * b, 2 * a * b - t], [2 * a * b - t, a * a]])
    return np.array([np.linalg.eigvalsh(hessian(side, side)), np.linalg.eigvalsh(hessian(0.0, 0.0))])


def valley_in_other_order(t):
    return (0, 2 * t), (-t, t)


def slice_as_a_tensor(loss, params, direction, steps):
    losses = []
    for t in steps:
        moved = {}
        for name in reversed(list(params)):
            moved[name] = torch.add(params[name], direction[name], alpha=t)
        losses.append(loss(moved))
    return torch.stack(losses)


def slice_as_an_array(loss, params, direction, steps):
    return np.array([loss({n: params[n] - (-t) * direction[n] for n in params}).item() for t in steps])


def curvature_of_slopes(loss, params, direction, h):
    at = lambda t: loss({n: params[n] + t * direction[n] for n in params})
    return ((at(h) - at(0)) / h - (at(0) - at(-h)) / h) / h


def curvature_by_derivatives(loss, params, direction, h):
    along = lambda t: loss({n: params[n] + t * direction[n] for n in params})
    return torch.autograd.functional.hessian(along, torch.zeros((), dtype=torch.float64))


def rows_in_a_loop(direction, weight):
    out = torch.empty_like(weight)
    for i, (d, w) in enumerate(zip(direction, weight)):
        out[i] = d / d.norm() * w.norm()
    return out


def rows_by_numpy(direction, weight):
    d, w = direction.numpy(), weight.numpy()
    return d * (np.linalg.norm(w, axis=1) / np.linalg.norm(d, axis=1))[:, None]


def rows_by_a_diagonal(direction, weight):
    return torch.diag(weight.square().sum(1).sqrt() / direction.square().sum(1).sqrt()) @ direction


def rescale_by_deep_copy(params, alpha):
    out = {name: p.clone() for name, p in params.items()}
    out["0.weight"] *= alpha
    out["0.bias"] *= alpha
    out["2.weight"] /= alpha
    return out


def rescale_neuron_by_neuron(params, alpha):
    a = torch.full_like(params["0.bias"], alpha)
    return {
        "2.bias": params["2.bias"],
        "2.weight": params["2.weight"] @ torch.diag(1 / a),
        "0.bias": a * params["0.bias"],
        "0.weight": torch.diag(a) @ params["0.weight"],
    }


def rule_downwards(labels, classes):
    return (labels - 1) % classes


def rule_from_a_list(labels, classes):
    names = [*range(2, classes), 0, 1]
    return [names[label] for label in labels]


def rule_by_numpy(labels, classes):
    return np.roll(np.arange(classes), 1)[labels.numpy()]


def bend_by_hand(loss, first, second, steps, rate, seed):
    generator = torch.Generator().manual_seed(seed)
    middle = {n: (first[n] + second[n]) / 2 for n in first}
    for _ in range(steps):
        t = torch.rand((), generator=generator).item()
        leaf = {n: p.clone().requires_grad_() for n, p in middle.items()}
        point = {n: (1 - t) ** 2 * first[n] + 2 * t * (1 - t) * leaf[n] + t * t * second[n] for n in first}
        slopes = torch.autograd.grad(loss(point), list(leaf.values()))
        middle = {n: p - 4 * rate * g for (n, p), g in zip(middle.items(), slopes)}
    return middle


def bend_on_a_grid(loss, first, second, steps, rate, seed):
    middle = {n: torch.nn.Parameter((first[n] + second[n]) / 2) for n in first}
    optimizer = torch.optim.Adam(middle.values(), lr=rate)
    for step in range(steps):
        t = 0.1 + 0.8 * (step % 9) / 8
        point = {n: (1 - t) ** 2 * first[n] + 2 * t * (1 - t) * middle[n] + t * t * second[n] for n in first}
        optimizer.zero_grad()
        loss(point).backward()
        optimizer.step()
    return middle


def plane_by_a_loop(points, origin, plane):
    return [[float((point - origin) @ way) for way in plane] for point in points]


def plane_by_least_squares(points, origin, plane):
    return torch.linalg.lstsq(plane.T, (points - origin).T).solution.T


def plane_by_numpy(points, origin, plane):
    return np.einsum("np,kp->nk", (points - origin).numpy(), plane.numpy())


RIGHT = {
    "01.valley_and_saddle": [valley_by_numpy, valley_in_other_order],
    "01.loss_along": [slice_as_a_tensor, slice_as_an_array],
    "01.curvature_along": [curvature_of_slopes, curvature_by_derivatives],
    "01.match_rows": [rows_in_a_loop, rows_by_numpy, rows_by_a_diagonal],
    "01.rescale": [rescale_by_deep_copy, rescale_neuron_by_neuron],
    "01.wrong_by_a_rule": [rule_downwards, rule_from_a_list, rule_by_numpy],
    "01.bend": [bend_by_hand, bend_on_a_grid],
    "01.in_plane": [plane_by_a_loop, plane_by_least_squares, plane_by_numpy],
}
