"""Plausible wrong answers to the exercises of chapter 06, with a fragment of what their check must say."""

import torch


def in_the_outputs(B):
    values, s = torch.linalg.eigh(B @ B.T)
    return values[-1], s[:, -1]


def singular_value(B):
    _, S, V = torch.linalg.svd(B, full_matrices=False)
    return S[0], V[0]


def not_scaled(B):
    values, s = torch.linalg.eigh(B @ B.T)
    return values[-1], B.T @ s[:, -1]


def flattest(B):
    values, s = torch.linalg.eigh(B @ B.T)
    v = B.T @ s[:, 0]
    return values[0], v / v.norm()


def summed(roots, direction):
    return (roots @ direction).square().sum()


def roots_averaged(roots, direction):
    return (roots.mean(0) @ direction).square().sum()


def rows_averaged(roots, direction):
    return (roots @ direction).square().mean()


def average_not_divided(roots):
    rows = roots.flatten(0, 1)
    return torch.linalg.eigvalsh(rows @ rows.T)[-1] / torch.linalg.eigvalsh(roots @ roots.mT)[:, -1].mean()


def over_the_largest(roots):
    rows = roots.flatten(0, 1)
    return torch.linalg.eigvalsh(rows @ rows.T)[-1] / len(roots) / torch.linalg.eigvalsh(roots @ roots.mT)[:, -1].max()


def mean_of_roots(roots):
    mean = roots.mean(0)
    return torch.linalg.eigvalsh(mean @ mean.T)[-1] / torch.linalg.eigvalsh(roots @ roots.mT)[:, -1].mean()


def each_below(unsure, wanted):
    return unsure <= wanted


def one_too_many(unsure, wanted):
    values = unsure.flatten().sort()[0]
    count = int((values.cumsum(0) / torch.arange(1, len(values) + 1) <= wanted).sum())
    return unsure <= values[min(count, len(values) - 1)]


def most_uncertain(unsure, wanted):
    values = unsure.flatten().sort(descending=True)[0]
    return unsure >= values[2]


def own_share_only():
    return 20, 0.5


def forgets_the_others():
    return 21, 0.0


def one_too_few():
    return 26, 0.5


def reuses(memorized, clean, gap):
    pairs = [(i, int((clean - u).abs().argmin())) for i, u in enumerate(memorized)]
    return [(i, j) for i, j in pairs if abs(memorized[i] - clean[j]) < gap]


def ignores_the_gap(memorized, clean, gap):
    return list(zip(range(len(memorized)), range(len(clean)), strict=False))


def too_few_pairs(memorized, clean, gap):
    return [(i, i) for i in range(min(len(memorized), len(clean))) if abs(memorized[i] - clean[i]) < gap]


def not_normalized(product, start, steps):
    v = start
    for _ in range(steps):
        v = product(v)
    return (v * product(v)).sum() / (v * v).sum(), v


def length_of_the_first(product, start, steps):
    v = start
    for _ in range(steps):
        image = product(v)
        value = (v * image).sum()
        v = image / image.norm() * start.norm()
    return value, v / v.norm()


def never_moves(product, start, steps):
    v = start / start.norm()
    return (v * product(v)).sum(), v


WRONG = {
    "06.enough_others": [
        (own_share_only, "add what the others contribute"),
        (forgets_the_others, "along its direction remains"),
        (one_too_few, "still a little above 2"),
    ],
    "06.equal_pairs": [
        (reuses, "used twice"),
        (ignores_the_gap, "the gap is"),
        (too_few_pairs, "partners were wasted"),
    ],
    "06.power_iteration": [
        (not_normalized, "length"),
        (length_of_the_first, "length one"),
        (never_moves, "largest eigenvalue is 3"),
    ],
    "06.sharpest_direction": [
        (in_the_outputs, "lives in the outputs"),
        (singular_value, "singular value"),
        (not_scaled, "scale it to 1"),
        (flattest, "ascending"),
    ],
    "06.curvature_in_company": [
        (summed, "take the mean"),
        (roots_averaged, "opposite signs"),
        (rows_averaged, "added up, not averaged"),
    ],
    "06.shared_share": [
        (average_not_divided, "*average*"),
        (over_the_largest, "*mean*"),
        (mean_of_roots, "different size"),
    ],
    "06.as_certain": [(each_below, "*mean*"), (one_too_many, "too many"), (most_uncertain, "least certain")],
}
