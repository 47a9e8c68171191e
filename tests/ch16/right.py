"""Right answers to the exercises of chapter 16, of unusual form."""

import math

import torch


def by_cross_entropy(logits, ids, start):
    return torch.nn.functional.cross_entropy(logits[start - 1 : -1], ids[start:])


def by_groups(hit):
    return max(map(len, "".join("x" if h else " " for h in hit).split()), default=0)


def by_search(d):
    steps = torch.tensor([-3.0, -1.0, 1.0, 3.0], dtype=d.dtype)
    tried = []
    for k in range(1, 400):
        scale = d.abs().max() * k / 400
        codes = steps[(d[:, None] / scale - steps).abs().argmin(1)]
        tried.append(((scale * codes - d).square().sum().item(), codes, scale.item()))
    return min(tried, key=lambda one: one[0])[1:]


def by_secant(damage, target, tolerance):
    from scipy.optimize import brentq

    return brentq(lambda s: damage(s) - target, 0, 1, xtol=1e-4)


def with_a_loop(before, after):
    found = {}
    for kind in before.keys() - {"taught"}:
        harm = after[kind] - before[kind]
        found[kind] = (after["taught"] - before["taught"]) / harm if harm > 0 else math.inf
    return found


def matrix_by_matrix():
    shapes = [(576, 576)] * 2 + [(192, 576)] * 2 + [(1536, 576)] * 2 + [(576, 1536)]
    return sum(30 * (O * I / 4 + 2 * O) for O, I in shapes)


RIGHT = {
    "16.nats_per_token": [by_cross_entropy],
    "16.longest_run": [by_groups],
    "16.shipped_bytes": [matrix_by_matrix],
    "16.four_steps": [by_search],
    "16.equal_damage": [by_secant],
    "16.selectivity": [with_a_loop],
}
