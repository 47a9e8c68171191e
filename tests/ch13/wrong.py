"""Plausible wrong answers to the exercises of chapter 13, with a fragment of what their check must say."""

import torch


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


def of_all_inputs(x, Q_A, share):
    energy = (x @ Q_A) ** 2
    return energy[:, -round(share * len(Q_A)) :].sum(1) / energy.sum()


def sharp_ones():
    return 0.75, 0.6


def a_count():
    return 0.6, 0.6


def same_in_every_basis():
    return 0.25, 0.25


def two_of_five():
    return 0.125, 0.6


def ties_lose(positive, negative):
    return (positive[:, None] > negative).double().mean()


def ties_win(positive, negative):
    return (positive[:, None] >= negative).double().mean()


def turned_round(positive, negative):
    return ((positive[:, None] < negative).double() + (positive[:, None] == negative).double() / 2).mean()


def means_compared(positive, negative):
    return float(positive.mean() > negative.mean())


def a_count_of_pairs(positive, negative):
    return ((positive[:, None] > negative).double() + (positive[:, None] == negative).double() / 2).sum()


def _energy(x, Q_A, share):
    energy = (x @ Q_A) ** 2
    return energy[..., -round(share * len(Q_A)) :].sum(-1) / energy.sum(-1)


def _seen(model, layer, ids, outputs=False, tidy=True):
    seen = []
    if outputs:
        handle = layer.register_forward_hook(lambda _, inputs, output: seen.append(output.detach()))
    else:
        handle = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    with torch.no_grad():
        model(input_ids=ids)
    if tidy:
        handle.remove()
    return seen[0]


def hook_left(model, layer, Q_A, share, ids, first):
    return _energy(_seen(model, layer, ids, tidy=False), Q_A, share)[:, first - 1 : -1].mean(1)


def hook_left_on_failure(model, layer, Q_A, share, ids, first):
    return _energy(_seen(model, layer, ids), Q_A, share)[:, first - 1 : -1].mean(1)


def every_place(model, layer, Q_A, share, ids, first):
    return _energy(_seen(model, layer, ids), Q_A, share).mean(1)


def one_late(model, layer, Q_A, share, ids, first):
    return _energy(_seen(model, layer, ids), Q_A, share)[:, first:].mean(1)


def with_the_last(model, layer, Q_A, share, ids, first):
    return _energy(_seen(model, layer, ids), Q_A, share)[:, first - 1 :].mean(1)


def of_outputs(model, layer, Q_A, share, ids, first):
    return _energy(_seen(model, layer, ids, outputs=True), Q_A, share)[:, first - 1 : -1].mean(1)


def of_the_mean(model, layer, Q_A, share, ids, first):
    return _energy(_seen(model, layer, ids)[:, first - 1 : -1].mean(1), Q_A, share)


def _right_area(positive, negative):
    return ((positive[:, None] > negative).double() + (positive[:, None] == negative).double() / 2).mean().item()


def all_pairs(positive, negative, positive_by, negative_by, edges):
    return _right_area(positive, negative)


def _by_stratum(positive, negative, positive_by, negative_by, edges, weight):
    borders = torch.tensor(edges, dtype=torch.float64)
    first, second = (torch.bucketize(by, borders, right=True) for by in (positive_by, negative_by))
    total = weights = 0
    for k in range(len(edges) + 1):
        p, n = positive[first == k], negative[second == k]
        if len(p) and len(n):
            total += _right_area(p, n) * weight(p, n)
            weights += weight(p, n)
    return total / weights


def strata_alike(*arguments):
    return _by_stratum(*arguments, weight=lambda p, n: 1)


def weight_of_positives(*arguments):
    return _by_stratum(*arguments, weight=lambda p, n: len(p))


def negatives_win(*arguments):
    return 1 - _by_stratum(*arguments, weight=lambda p, n: len(p) * len(n))


WRONG = {
    "13.energy_in_flat_directions": [
        (energy_not_share, "divided by the whole"),
        (sharpest_columns, "sharpest"),
        (rows_of_Q, "took its rows"),
        (absolute_values, "square"),
        (of_all_inputs, "of its own"),
    ],
    "13.expected_share": [
        (sharp_ones, "sharp directions"),
        (a_count, "up to the eigenvalues"),
        (same_in_every_basis, "knows nothing of A"),
        (two_of_five, "three of the five"),
    ],
    "13.area": [
        (ties_lose, "counts nothing"),
        (ties_win, "counts a whole"),
        (turned_round, "a negative has the larger"),
        (means_compared, "*every*"),
        (a_count_of_pairs, "divide by the number of pairs"),
    ],
    "13.watch": [
        (hook_left, "still on the layer"),
        (hook_left_on_failure, "`finally`"),
        (every_place, "are predicted count"),
        (one_late, "one earlier"),
        (with_the_last, "leave it out"),
        (of_outputs, "the layer's outputs"),
        (of_the_mean, "averaged the inputs first"),
    ],
    "13.area_among_equals": [
        (all_pairs, "all pairs are compared"),
        (strata_alike, "weight of its pairs"),
        (weight_of_positives, "number of *pairs*"),
        (negatives_win, "a negative has the larger"),
    ],
}
