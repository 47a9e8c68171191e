"""Chapter 01: fresh inputs for every exercise, and a question of one's own for every student."""

import math

import torch

from kfcourse.grading.variants import Variant, one_of, orthogonal, real, share, tenths, whole


def _loss(g):
    c = real(g, 4).tolist()
    return lambda p: sum(
        (c[i % 4] + 2) * (v - c[i % 3]).square().sum() + c[i % 2] * v.sum() ** 3 for i, v in enumerate(p.values())
    )


def _two_dicts(g):
    shapes = {name: [whole(g, 1, 4) for _ in range(whole(g, 1, 2))] for name in ("u", "v", "w")}
    return [{name: real(g, *shape) for name, shape in shapes.items()} for _ in range(2)]


def _quadratic_walk(g):
    c = tenths(g, 0.5, 3)
    return (
        f"At step t the parameters are params + {c} t² direction, instead of params + t direction.",
        lambda ref: lambda loss, params, direction, steps: ref(loss, params, direction, [c * t * t for t in steps]),
    )


def _per_length(g):
    c = tenths(g, 0.5, 3)
    return (
        f"Divide the result by {c} plus the squared length of the direction (all its tensors together).",
        lambda ref: (
            lambda loss, params, direction, h: (
                ref(loss, params, direction, h) / (c + sum(float(v.square().sum()) for v in direction.values()))
            )
        ),
    )


def _norm_to_a_power(g):
    c = one_of(g, 0.5, 0.75, 1.25, 1.5, 2.0, 3.0)
    return (
        f"Each row of the result is as long as the weight's row *to the power {c}*.",
        lambda ref: lambda direction, weight: ref(direction, weight) * weight.norm(dim=1, keepdim=True) ** (c - 1),
    )


def _some_neurons(g):
    k, r = one_of(g, (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))

    def function(ref):
        def rescale(params, alpha):
            a = torch.ones_like(params["0.bias"])
            a[r::k] = alpha
            return params | {
                "0.weight": a[:, None] * params["0.weight"],
                "0.bias": a * params["0.bias"],
                "2.weight": params["2.weight"] / a,
            }

        return rescale

    return (
        f"Rescale only the hidden neurons number {r}, {r + k}, {r + 2 * k} and so on (counted from 0); the others "
        "stay. "
        "The function stays the same.",
        function,
    )


def _net(g):
    width, inputs, outputs = whole(g, 4, 7), whole(g, 2, 4), whole(g, 1, 3)
    shapes = {"0.weight": (width, inputs), "0.bias": (width,), "2.weight": (outputs, width), "2.bias": (outputs,)}
    return {name: real(g, *shape) for name, shape in shapes.items()}, 0.3 + 4 * share(g)


def _plane(g):
    size = whole(g, 4, 9)
    return real(g, whole(g, 3, 8), size), real(g, size), orthogonal(g, size)[:2].clone()


def _turned(g):
    degrees = one_of(g, *range(20, 80, 5), *range(100, 170, 5))
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return (
        f"Turn the picture by {degrees} degrees counter-clockwise around the origin: (x, y) becomes (c x - s y, s x "
        "+ c y), "
        f"where c and s are the cosine and sine of {degrees} degrees.",
        lambda ref: lambda *args: ref(*args) @ torch.tensor([[c, s], [-s, c]], dtype=torch.float64),
    )


def _scaled_pairs(g):
    c = tenths(g, 0.5, 3)
    return (
        f"The loss is {c} (w1 w2 - t)^2 / 2 instead of (w1 w2 - t)^2 / 2.",
        lambda ref: lambda t: [[c * float(x) for x in pair] for pair in ref(t)],
    )


def _pairs(a, b, _):
    rows = [[sorted(float(x) for x in pair) for pair in result] for result in (a, b)]
    return len(rows[1]) == 2 and all(
        math.isclose(x, y, rel_tol=1e-6, abs_tol=1e-9)
        for ours, yours in zip(*rows)
        for x, y in zip(ours, yours, strict=True)
    )


def _classes(g):
    classes = whole(g, 6, 12)
    return torch.cat([torch.arange(classes), torch.randint(0, classes, (whole(g, 5, 30),), generator=g)]), classes


def _one_stays(g):
    c = whole(g, 0, 5)

    def function(ref):
        def wrong_by_a_rule(labels, classes):
            others = torch.where(labels > c, labels - 1, labels)
            moved = (others + 1) % (classes - 1)
            return torch.where(labels == c, c, torch.where(moved >= c, moved + 1, moved))

        return wrong_by_a_rule

    return f"Class {c} keeps its true label; every other label is wrong by a rule.", function


def _same_kind_of_rule(expected, got, arguments):
    """A one-to-one map of the classes that keeps just those classes that the course's own keeps."""
    labels, classes = arguments
    rules = []
    for result in (expected, got):
        pairs = set(zip(labels.tolist(), torch.as_tensor(result).tolist(), strict=True))
        assert len(pairs) == classes == len({new for _, new in pairs}) and all(0 <= new < classes for _, new in pairs)
        rules.append({old for old, new in pairs if old == new})
    return rules[0] == rules[1]


def _ring(g):
    """A circular valley with two ends on it, less than half a turn apart."""
    start, radius = 2 * math.pi * share(g), 0.8 + 0.4 * share(g)
    ends = [
        {"place": radius * torch.tensor([math.cos(a), math.sin(a)], dtype=torch.float64)}
        for a in (start, start + math.radians(whole(g, 100, 140)))
    ]
    return (lambda p: (p["place"].square().sum() - radius**2).square()), *ends, 150, 0.05, whole(g, 0, 99)


def _pull(g):
    c = tenths(g, 1.5, 4)

    def function(ref):
        def bend(loss, first, second, *more):
            middle = ref(loss, first, second, *more)
            return {name: c * (m - (first[name] + second[name]) / 2) for name, m in middle.items()}

        return bend

    return f"Return {c} times the pull instead: {c} times (the middle minus the point halfway).", function


def _nearly(expected, got, _):
    assert set(got) == set(expected)
    return all((torch.as_tensor(got[k]) - v).norm() <= 0.15 * v.norm() + 0.05 for k, v in expected.items())


VARIANTS = {
    "01.valley_and_saddle": Variant(lambda g: (tenths(g, 0.3, 8),), _scaled_pairs, _pairs),
    "01.wrong_by_a_rule": Variant(_classes, _one_stays, _same_kind_of_rule),
    "01.bend": Variant(_ring, _pull, _nearly),
    "01.loss_along": Variant(lambda g: (_loss(g), *_two_dicts(g), real(g, whole(g, 2, 6)).tolist()), _quadratic_walk),
    "01.curvature_along": Variant(
        lambda g: (_loss(g), *_two_dicts(g), 0.01),
        _per_length,
        lambda a, b, _: math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-4),
    ),
    "01.match_rows": Variant(
        lambda g: tuple(2 * x for x in real(g, 2, whole(g, 2, 5), whole(g, 2, 7))), _norm_to_a_power
    ),
    "01.rescale": Variant(_net, _some_neurons),
    "01.in_plane": Variant(_plane, _turned),
}
