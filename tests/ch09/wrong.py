"""Plausible wrong answers to the exercises of chapter 09, with a fragment of what their check must say."""

import math

import torch


def by_coefficient_count(Pi, mass):
    keep = torch.zeros(Pi.numel(), dtype=torch.bool)
    keep[Pi.flatten().argsort(descending=True)[: math.ceil(mass * Pi.numel())]] = True
    return keep.view_as(Pi)


def one_too_few(Pi, mass):
    values = Pi.flatten()
    order = values.argsort(descending=True, stable=True)
    keep = torch.zeros_like(values, dtype=torch.bool)
    keep[order[values[order].cumsum(0) <= mass * values.sum()]] = True
    return keep.view_as(Pi)


def smallest_first(Pi, mass):
    values = Pi.flatten()
    order = values.argsort(stable=True)
    keep = torch.zeros_like(values, dtype=torch.bool)
    keep[order[values[order].cumsum(0) - values[order] < mass * values.sum()]] = True
    return keep.view_as(Pi)


def a_list(Pi, mass):
    return [True] * Pi.numel()


def bases_swapped(W, Q_G, Q_A, keep):
    return Q_G.T @ ((Q_G @ W @ Q_A.T) * keep) @ Q_A


def mask_on_w(W, Q_G, Q_A, keep):
    return W * keep


def not_back(W, Q_G, Q_A, keep):
    return (Q_G.T @ W @ Q_A) * keep


def no_half(C, Pi, keep):
    return (Pi * (C * ~keep) ** 2).sum().item()


def cost_of_the_kept(C, Pi, keep):
    return 0.5 * (Pi * (C * keep) ** 2).sum().item()


def not_squared(C, Pi, keep):
    return 0.5 * (Pi * (C * ~keep).abs()).sum().item()


def no_curvature(C, Pi, keep):
    return 0.5 * ((C * ~keep) ** 2).sum().item()


def bisect_strength(score, target, steps=8):
    low, high = 0.0, 1.0
    for _ in range(steps):
        s = (low + high) / 2
        low, high = (s, high) if score(s) < target else (low, s)
    return s


def wrong_way(score, target, steps=8):
    low, high = 0.0, 12.0
    for _ in range(steps):
        x = (low + high) / 2
        s = 1 - math.exp(-x)
        low, high = (low, x) if score(s) < target else (x, high)
    return s


def fixed_steps(score, target, steps=8):
    low, high = 0.0, 12.0
    for _ in range(14):
        x = (low + high) / 2
        s = 1 - math.exp(-x)
        low, high = (x, high) if score(s) < target else (low, x)
    return s


WRONG = {
    "09.kept_pairs": [
        (by_coefficient_count, "not the smallest"),
        (one_too_few, "one more pair is needed"),
        (smallest_first, "from the largest down"),
        (a_list, "boolean mask"),
    ],
    "09.projected": [(bases_swapped, "wrong way round"), (mask_on_w, "in the eigenbasis"), (not_back, "get W back")],
    "09.predicted_cost": [
        (no_half, "factor 1/2"),
        (cost_of_the_kept, "*not* kept"),
        (not_squared, "square"),
        (no_curvature, "curvature Pi"),
    ],
    "09.find_strength": [(bisect_strength, "halve x"), (wrong_way, "keep more"), (fixed_steps, "argument `steps`")],
}
