"""Plausible wrong answers to the exercises of chapter 12, with a fragment of what their check must say."""

import torch


def _without(order, scores, ratio):
    keep = torch.ones(scores.numel(), dtype=torch.bool)
    keep[order[: round(ratio * scores.numel())]] = False
    return keep.view_as(scores)


def signed(scores, ratio):
    return _without(scores.flatten().argsort(), scores, ratio)


def mask_of_the_dropped(scores, ratio):
    return ~_without(scores.abs().flatten().argsort(), scores, ratio)


def highest_go(scores, ratio):
    return _without(scores.abs().flatten().argsort(descending=True), scores, ratio)


def share_of_the_largest(scores, ratio):
    return scores.abs() > ratio * scores.abs().max()


def row_by_row(scores, ratio):
    order = torch.cat(
        [r * scores.shape[1] + row.abs().argsort()[: round(ratio * scores.shape[1])] for r, row in enumerate(scores)]
    )
    keep = torch.ones(scores.numel(), dtype=torch.bool)
    keep[order] = False
    return keep.view_as(scores)


def at_the_weights(W, scores, a, g):
    return (g.T @ a) * scores.sign()


def no_sign(W, scores, a, g):
    return (g.T @ a) * W


def kept_only(W, scores, a, g):
    return (g.T @ a) * W * scores.sign() * (scores.abs() >= scores.abs().median())


def mean_over_tokens(W, scores, a, g):
    return (g.T @ a) / len(a) * W * scores.sign()


def both_turned(clean, memorized, weight, bound):
    return weight * memorized.clamp(max=bound).mean() - (1 - weight) * clean.mean()


def both_down(clean, memorized, weight, bound):
    return (1 - weight) * clean.mean() + weight * memorized.clamp(max=bound).mean()


def no_cap(clean, memorized, weight, bound):
    return (1 - weight) * clean.mean() - weight * memorized.mean()


def capped_mean(clean, memorized, weight, bound):
    return (1 - weight) * clean.mean() - weight * memorized.mean().clamp(max=bound)


def shares_exchanged(clean, memorized, weight, bound):
    return weight * clean.mean() - (1 - weight) * memorized.clamp(max=bound).mean()


def energy_not_share(x, Q_A, share):
    return ((x @ Q_A) ** 2)[:, -round(share * len(Q_A)) :].sum(1)


def sharpest_columns(x, Q_A, share):
    energy = (x @ Q_A) ** 2
    return energy[:, : round(share * len(Q_A))].sum(1) / energy.sum(1)


def rows_of_Q(x, Q_A, share):
    energy = (x @ Q_A.T) ** 2
    return energy[:, -round(share * len(Q_A)) :].sum(1) / energy.sum(1)


def absolute_values(x, Q_A, share):
    size = (x @ Q_A).abs()
    return size[:, -round(share * len(Q_A)) :].sum(1) / size.sum(1)


WRONG = {
    "12.subnet_mask": [
        (signed, "*absolute*"),
        (mask_of_the_dropped, "*kept*"),
        (highest_go, "the lowest go"),
        (share_of_the_largest, "weights are dropped"),
        (row_by_row, "all its scores together"),
    ],
    "12.score_gradient": [
        (at_the_weights, "*times W*"),
        (no_sign, "the sign turns"),
        (kept_only, "dropped weights get their gradient"),
        (mean_over_tokens, "no mean"),
    ],
    "12.balanced_loss": [
        (both_turned, "both signs"),
        (both_down, "go *up*"),
        (no_cap, "push no further"),
        (capped_mean, "cap each token"),
        (shares_exchanged, "belongs to the memorized"),
    ],
    "12.energy_in_flat_directions": [
        (energy_not_share, "divided by the whole"),
        (sharpest_columns, "sharpest"),
        (rows_of_Q, "columns of Q_A"),
        (absolute_values, "square"),
    ],
}
