"""Chapter 07: fresh inputs for every exercise, and a question of one's own for every student."""

import math

import torch

from kfcourse.grading.variants import Variant, alike, real, share, some_labels, tenths, whole


def _partly_recovered(g):
    before, *rest = some_labels(g)
    return before, torch.where(torch.rand(len(before), generator=g) < 0.5, rest[1], before), *rest


def _without_a_class(g):
    c = whole(g, 0, 5)
    return (
        f"Leave out every image whose true label is {c}.",
        lambda ref: lambda before, after, given, true: ref(*(x[true != c] for x in (before, after, given, true))),
    )


def _softer(g):
    c = tenths(g, 1.2, 4)
    return f"Use softmax(logits / {c}) wherever there was softmax(logits).", lambda ref: lambda logits: ref(logits / c)


def _trials(g):
    half = lambda: {"clean": share(g, 0.9, 1), "recovered": share(g)}
    return [{"name": str(n), "choose": half(), "report": half()} for n in range(whole(g, 8, 14))], 0.93


def _price_of_damage(g):
    c = whole(g, 8, 30)

    def choose_edit(trials, floor):
        good = [t for t in trials if t["choose"]["clean"] >= floor]
        return max(good, key=lambda t: t["choose"]["recovered"] + c * t["choose"]["clean"])

    return f"Among those that are clean enough take the largest recovered + {c} clean.", lambda ref: choose_edit


def _further(g):
    c = tenths(g, 1.5, 4)
    return (
        f"The result is {c} times as far from W as W_edited is.",
        lambda ref: lambda W, W_edited, generator: W + c * (ref(W, W_edited, generator) - W),
    )


def _as_far(a, b, args):
    W, W_edited, _ = args
    ours, yours, edit = a - W, b - W, W_edited - W
    angle = (yours * edit).sum() / yours.norm() / edit.norm()
    return a.shape == b.shape and alike(ours.norm(), yours.norm()) and bool(angle.abs() < 0.99)


def _first_class(g):
    c = tenths(g, 1, 3)
    return (
        f"Add {c} to the first class's logit before anything else.",
        lambda ref: lambda logits, temperature=1.0: ref(logits + c * (torch.arange(logits.shape[1]) == 0), temperature),
    )


def _another_probability(g):
    p = tenths(g, 0.2, 0.4)
    common, rare = 2 * p**2, 2 * (1 - p) ** 2
    expected = (1 - p) * common + p * rare
    return f"Answer for p = ({1 - p:.1f}, {p:.1f}).", lambda ref: lambda: (expected, p * rare / expected)


def _priced(g):
    power, slope = share(g, 0.5, 3), share(g, 0.3, 0.9)
    grid = [(k + 1) / 30 for k in range(whole(g, 12, 30))]
    return (lambda s: {"clean": 0.4 + 0.6 * s**power, "recovered": 1 - slope * s}), grid, share(g, 0.5, 0.95)


def _price_plus(g):
    c = tenths(g, 1.1, 3)
    return (
        f"Return the mixed dict with every value multiplied by {c}.",
        lambda ref: lambda measure, grid, target: {k: c * v for k, v in ref(measure, grid, target).items()},
    )


VARIANTS = {
    "07.rare_label": Variant(lambda g: (), _another_probability),
    "07.at_one_price": Variant(_priced, _price_plus),
    "07.healing": Variant(_partly_recovered, _without_a_class),
    "07.exact_g": Variant(lambda g: (2 * real(g, whole(g, 4, 9), whole(g, 3, 5)),), _softer),
    "07.choose_edit": Variant(_trials, _price_of_damage),
    "07.equal_norm": Variant(
        lambda g: (*real(g, 2, whole(g, 4, 6), 5), torch.Generator().manual_seed(whole(g, 0, 999))), _further, _as_far
    ),
    "07.expected_surprises": Variant(
        lambda g: (2 * real(g, whole(g, 3, 7), whole(g, 3, 5)), 0.5 + 3 * share(g)),
        _first_class,
        lambda a, b, _: math.isclose(float(a), float(b), rel_tol=1e-6),
    ),
}
