"""Plausible wrong answers to the exercises of chapter 01, with a fragment of what their check must say."""

import torch


def along_without_start(loss, params, direction, steps):
    return [float(loss({name: t * direction[name] for name in params})) for t in steps]


def along_adding_up(loss, params, direction, steps):
    here, losses = dict(params), []
    for t in steps:
        here = {name: p + t * direction[name] for name, p in here.items()}
        losses.append(float(loss(here)))
    return losses


def along_in_place(loss, params, direction, steps):
    losses = []
    for t in steps:
        for name in params:
            params[name] += t * direction[name]
        losses.append(float(loss(params)))
    return losses


def along_first_tensor_only(loss, params, direction, steps):
    name = next(iter(params))
    return [float(loss(params | {name: params[name] + t * direction[name]})) for t in steps]


def _three(loss, params, direction, h):
    return [float(loss({n: p + t * direction[n] for n, p in params.items()})) for t in (-h, 0.0, h)]


def curvature_not_divided(loss, params, direction, h):
    low, middle, high = _three(loss, params, direction, h)
    return high - 2 * middle + low


def curvature_over_h(loss, params, direction, h):
    low, middle, high = _three(loss, params, direction, h)
    return (high - 2 * middle + low) / h


def curvature_half(loss, params, direction, h):
    low, middle, high = _three(loss, params, direction, h)
    return (high - 2 * middle + low) / (2 * h**2)


def curvature_is_slope(loss, params, direction, h):
    low, _, high = _three(loss, params, direction, h)
    return (high - low) / (2 * h)


def curvature_per_length(loss, params, direction, h):
    low, middle, high = _three(loss, params, direction, h)
    return (high - 2 * middle + low) / h**2 / sum(float(v.square().sum()) for v in direction.values())


def valley_without_root(t):
    return [2 * t * t, 0.0], [t, -t]


def valley_swapped(t):
    return [t, -t], [2 * t, 0.0]


def saddle_without_residual(t):
    return [2 * t, 0.0], [0.0, 0.0]


def saddle_of_one_sign(t):
    return [2 * t, 0.0], [t, t]


def labels_without_a_rule(labels, classes):
    shift = torch.randint(1, classes, labels.shape, generator=torch.Generator().manual_seed(0))
    return (labels + shift) % classes


def labels_next_without_end(labels, classes):
    return labels + 1


def labels_shuffled(labels, classes):
    return labels.flip(0)


def labels_two_alike(labels, classes):
    return torch.where(labels == 0, 1, 0)


def bend_not_at_all(loss, first, second, steps, rate, seed):
    return {name: (p + second[name]) / 2 for name, p in first.items()}


def bend_by_its_own_loss(loss, first, second, steps, rate, seed):
    middle = {name: ((p + second[name]) / 2).requires_grad_() for name, p in first.items()}
    optimizer = torch.optim.Adam(list(middle.values()), lr=rate)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(middle).backward()
        optimizer.step()
    return {name: p.detach() for name, p in middle.items()}


def bend_and_move_the_ends(loss, first, second, steps, rate, seed):
    for p in first.values():
        p += 0.1
    return bend_not_at_all(loss, first, second, steps, rate, seed)


def bend_once(loss, first, second, steps, rate, seed):
    middle = {name: p + 0.1 for name, p in bend_not_at_all(loss, first, second, steps, rate, seed).items()}
    return middle


def rows_all_at_once(direction, weight):
    return direction * weight.norm() / direction.norm()


def rows_are_columns(direction, weight):
    return direction / direction.norm(dim=0, keepdim=True) * weight.norm(dim=0, keepdim=True)


def rows_of_norm_one(direction, weight):
    return direction / direction.norm(dim=1, keepdim=True)


def rows_not_divided(direction, weight):
    return direction * weight.norm(dim=1, keepdim=True)


def rescale_forgets_bias(params, alpha):
    return params | {"0.weight": alpha * params["0.weight"], "2.weight": params["2.weight"] / alpha}


def rescale_divides_last_bias(params, alpha):
    return {
        "0.weight": alpha * params["0.weight"],
        "0.bias": alpha * params["0.bias"],
        "2.weight": params["2.weight"] / alpha,
        "2.bias": params["2.bias"] / alpha,
    }


def rescale_one_side(params, alpha):
    return params | {"0.weight": alpha * params["0.weight"], "0.bias": alpha * params["0.bias"]}


def rescale_in_place(params, alpha):
    params["0.weight"] *= alpha
    params["0.bias"] *= alpha
    params["2.weight"] /= alpha
    return params


def plane_without_origin(points, origin, plane):
    return points @ plane.T


def plane_wrong_sign(points, origin, plane):
    return (origin - points) @ plane.T


def plane_transposed(points, origin, plane):
    return plane @ (points - origin).T


WRONG = {
    "01.valley_and_saddle": [
        (valley_without_root, "square root of t"),
        (valley_swapped, "swapped"),
        (saddle_without_residual, "the residual is not"),
        (saddle_of_one_sign, "add up to 0"),
    ],
    "01.wrong_by_a_rule": [
        (labels_without_a_rule, "no rule to learn"),
        (labels_next_without_end, "none of them"),
        (labels_shuffled, "still the true ones"),
        (labels_two_alike, "the same label"),
    ],
    "01.bend": [
        (bend_not_at_all, "straight line"),
        (bend_by_its_own_loss, "does not pass through it"),
        (bend_and_move_the_ends, "ends were moved"),
        (bend_once, "the highest loss on your path"),
    ],
    "01.loss_along": [
        (along_without_start, "at the origin"),
        (along_adding_up, "the steps add up"),
        (along_in_place, "were changed"),
        (along_first_tensor_only, "only the first parameter"),
    ],
    "01.curvature_along": [
        (curvature_not_divided, "square of the step"),
        (curvature_over_h, "not by h"),
        (curvature_half, "factor of two"),
        (curvature_per_length, "length of v"),
        (curvature_is_slope, "slope"),
    ],
    "01.match_rows": [
        (rows_all_at_once, "its own factor"),
        (rows_are_columns, "columns"),
        (rows_of_norm_one, "norm 1"),
        (rows_not_divided, "divide by the norms"),
    ],
    "01.rescale": [
        (rescale_forgets_bias, "first bias grows"),
        (rescale_divides_last_bias, "stays as it is"),
        (rescale_one_side, "must be divided"),
        (rescale_in_place, "was changed"),
    ],
    "01.in_plane": [
        (plane_without_origin, "origin is missing"),
        (plane_wrong_sign, "sign is wrong"),
        (plane_transposed, "[5, 2]"),
    ],
}
