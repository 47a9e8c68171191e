"""Chapter 16: fresh inputs for every exercise, and a question of one's own for every student."""

import math

import torch

from kfcourse.grading.variants import Variant, real, tenths, whole


def _texts(g):
    tokens, words = whole(g, 5, 9), whole(g, 4, 8)
    ids = torch.randint(words, (tokens,), generator=g)
    return 3 * real(g, tokens, words), ids, whole(g, 1, 4)


def _cooler(g):
    c = tenths(g, 1.2, 3)
    return (f"Divide all logits by {c} first.", lambda ref: lambda logits, ids, start: ref(logits / c, ids, start))


def _hits(g):
    return (torch.rand(whole(g, 5, 12), generator=g) < 0.7,)


def _of_wrong_tokens(g):
    c = whole(g, 2, 9)
    return f"Return {c} times the longest run of *wrong* tokens.", lambda ref: lambda hit: c * ref(~hit)


def _differences(g):
    return (real(g, whole(g, 80, 120)) * 10.0 ** -whole(g, 0, 3),)


def _lost(codes, scale, d):
    codes = torch.as_tensor(codes, dtype=torch.float64)
    return ((float(scale) * codes - d).square().sum() / d.square().sum()).item()


def _as_good(a, b, arguments):
    """Codes that lose as little as the course's own, or less; for the question, the share that it asks for."""
    if isinstance(a, float):
        return abs(float(b) - a) < 5e-3 * max(1.0, abs(a))
    (d,) = arguments
    codes = set(torch.as_tensor(b[0], dtype=torch.float64).tolist())
    return codes <= {-3.0, -1.0, 1.0, 3.0} and _lost(*b, d) < _lost(*a, d) + 5e-3


def _share_lost(g):
    c = whole(g, 2, 9)
    return (
        f"Return {c} times the share of the sum of squares that is lost, as one float, in the place of the pair.",
        lambda ref: lambda d: c * _lost(*ref(d), d),
    )


def _curve(g):
    power, height = tenths(g, 0.5, 3), whole(g, 2, 6)
    return (lambda strength: height * (1 - strength) ** power), height * tenths(g, 0.1, 0.9), 0.01


def _brings_it_there(a, b, arguments):
    damage, target, tolerance = arguments
    if abs(damage(a) - target) <= tolerance:
        return 0 <= float(b) <= 1 and abs(damage(float(b)) - target) <= tolerance
    return abs(float(b) - a) < 0.05 * max(1.0, abs(a))


def _price_there(g):
    c = whole(g, 10, 19)
    return (
        f"Return the strength plus {c}, in the place of the strength.",
        lambda ref: lambda damage, target, tolerance: c + ref(damage, target, tolerance),
    )


def _losses(g):
    before = {kind: 1 + real(g, 1).abs().item() for kind in ("taught", "like", "other")}
    return before, {kind: value + tenths(g, 0.1, 2) for kind, value in before.items()}


def _inverted(g):
    c = whole(g, 2, 9)
    return (
        f"Return {c} times the damage to each kind over that to the taught text, so the inverse of the ratios.",
        lambda ref: lambda before, after: {kind: c / value for kind, value in ref(before, after).items()},
    )


def _other_blocks(g):
    c = whole(g, 2, 9)
    return f"Return {c} times the number of bytes.", lambda ref: lambda: c * ref()


VARIANTS = {
    "16.nats_per_token": Variant(_texts, _cooler, lambda a, b, _: math.isclose(float(a), float(b), rel_tol=1e-6)),
    "16.longest_run": Variant(_hits, _of_wrong_tokens),
    "16.shipped_bytes": Variant(lambda g: (), _other_blocks),
    "16.four_steps": Variant(_differences, _share_lost, _as_good),
    "16.equal_damage": Variant(_curve, _price_there, _brings_it_there),
    "16.selectivity": Variant(_losses, _inverted),
}
