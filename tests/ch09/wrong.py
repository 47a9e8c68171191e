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


def one_pair():
    return [[2, 2], [0, 0]], 0.5 * (8 * 18 + 6 * 2 + 2 * 2)


def three_pairs():
    return [[3, 1], [3, 3]], 2


def entries_of_w():
    return [[3, 0], [2, 0]], 8


def without_the_half():
    return [[2, 2], [3, 3]], 16


def still_in_the_eigenvectors():
    return [[4 / 2**0.5, 0], [6 / 2**0.5, 0]], 8


def _prefix(keep):
    return keep.sum(1)


def all_pairs_listed(lambda_G, lambda_A, mass):
    values = torch.outer(lambda_G, lambda_A).flatten()
    order = values.argsort(descending=True, stable=True)
    keep = torch.zeros_like(values, dtype=torch.bool)
    keep[order[values[order].cumsum(0) - values[order] < mass * values.sum()]] = True
    return _prefix(keep.view(len(lambda_G), -1))


def the_same_in_every_row(lambda_G, lambda_A, mass):
    enough = int((lambda_A.cumsum(0) < mass * lambda_A.sum()).sum()) + 1
    return torch.full((len(lambda_G),), enough)


def on_the_wrong_side(lambda_G, lambda_A, mass):
    below = torch.cat([lambda_A.new_zeros(1), lambda_A.cumsum(0)])
    low, high = 0.0, 2 * (lambda_G[0] * lambda_A[0]).item()
    for _ in range(100):
        t = (low + high) / 2
        count = torch.searchsorted(-lambda_A, -(t / lambda_G), right=True)
        low, high = (t, high) if (lambda_G * below[count]).sum() >= mass * lambda_G.sum() * below[-1] else (low, t)
    return torch.searchsorted(-lambda_A, -(high / lambda_G), right=True)


def eight_steps(lambda_G, lambda_A, mass):
    below = torch.cat([lambda_A.new_zeros(1), lambda_A.cumsum(0)])
    low, high = 0.0, 2 * (lambda_G[0] * lambda_A[0]).item()
    count = torch.full((len(lambda_G),), len(lambda_A))
    for _ in range(8):
        t = (low + high) / 2
        passing = torch.searchsorted(-lambda_A, -(t / lambda_G), right=True)
        if (lambda_G * below[passing]).sum() >= mass * lambda_G.sum() * below[-1]:
            low, count = t, passing
        else:
            high = t
    return count


def _orthogonal(n, generator):
    return torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))[0]


def single_weights(W, keep, generator):
    return W * keep.flatten()[torch.randperm(keep.numel(), generator=generator)].view_as(keep)


def not_orthogonal(W, keep, generator):
    R, S = (torch.randn(n, n, generator=generator, dtype=W.dtype) for n in W.shape)
    return R @ ((R.T @ W @ S) * keep) @ S.T


def always_the_same(W, keep, generator):
    generator = torch.Generator().manual_seed(0)
    Q, R = (_orthogonal(n, generator) for n in W.shape)
    return Q @ ((Q.T @ W @ R) * keep) @ R.T


def half_of_them(W, keep, generator):
    Q, R = (_orthogonal(n, generator) for n in W.shape)
    drawn = torch.rand(keep.shape, generator=generator) < 0.5
    return Q @ ((Q.T @ W @ R) * (keep & drawn)) @ R.T


def scattered(W, keep, generator):
    Q, R = (_orthogonal(n, generator) for n in W.shape)
    mixed = keep.flatten()[torch.randperm(keep.numel(), generator=generator)].view_as(keep)
    return Q @ ((Q.T @ W @ R) * mixed) @ R.T


def its_own_singular_vectors(W, keep, generator):
    U, _, V = torch.linalg.svd(W)
    Q = _orthogonal(len(W), generator)
    return U @ ((U.T @ W @ V.T) * keep) @ V + 0 * Q[0, 0]


def no_half_in_the_logits(p, dz):
    return ((p * dz**2).sum(-1) - (p * dz).sum(-1) ** 2).mean().item()


def no_mean_subtracted(p, dz):
    return 0.5 * (p * dz**2).sum(-1).mean().item()


def all_words_alike(p, dz):
    return 0.5 * dz.var(-1).mean().item()


def over_the_tokens(p, dz):
    return 0.5 * ((p * dz**2).sum(-1) - (p * dz).sum(-1) ** 2).sum().item()


WRONG = {
    "09.by_hand": [
        (one_pair, "one more pair"),
        (three_pairs, "two hold enough"),
        (entries_of_w, "entries of W itself"),
        (without_the_half, "factor 1/2"),
        (still_in_the_eigenvectors, "the way back"),
    ],
    "09.stairs": [
        (all_pairs_listed, "all pairs were listed"),
        (the_same_in_every_row, "flatter than a dropped one"),
        (on_the_wrong_side, "wrong side"),
        (eight_steps, "not the smallest"),
    ],
    "09.control": [
        (single_weights, "single entries"),
        (not_orthogonal, "right angles"),
        (always_the_same, "from `generator`"),
        (half_of_them, "directions are kept"),
        (scattered, "same shape"),
        (its_own_singular_vectors, "may not depend on W"),
    ],
    "09.price_of_change": [
        (no_half_in_the_logits, "factor 1/2"),
        (no_mean_subtracted, "subtract the mean"),
        (all_words_alike, "probabilities p"),
        (over_the_tokens, "sum over the tokens"),
    ],
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
