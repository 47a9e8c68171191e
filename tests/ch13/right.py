"""Right answers to the exercises of chapter 13 in forms that differ from the course's own."""

import contextlib

import numpy as np
import torch
from scipy.stats import rankdata


def one_minus_the_sharp(x, Q_A, share):
    keep = len(Q_A) - round(share * len(Q_A))
    return 1 - ((x @ Q_A)[:, :keep] ** 2).sum(1) / (x**2).sum(1)


def by_projection(x, Q_A, share):
    flat = Q_A[:, len(Q_A) - round(share * len(Q_A)) :]
    return ((x @ flat @ flat.T).norm(dim=1) / x.norm(dim=1)).numpy() ** 2


def as_fractions():
    return [4 / 16, 3 / 5]


def by_ranks(positive, negative):
    ranks = rankdata(np.concatenate([positive, negative]))[: len(positive)]
    return (ranks.sum() - len(positive) * (len(positive) + 1) / 2) / (len(positive) * len(negative))


def by_signs(positive, negative):
    return ((positive[:, None] - negative[None, :]).sign().mean() + 1) / 2


def _energy(x, Q_A, share):
    return ((x @ Q_A)[..., -round(share * len(Q_A)) :] ** 2).sum(-1) / (x**2).sum(-1)


def row_by_row(model, layer, Q_A, share, ids, first):
    found = []
    for row in ids:
        with contextlib.ExitStack() as stack, torch.inference_mode():
            handle = layer.register_forward_hook(lambda _, inputs, output: found.append(inputs[0][0].clone()))
            stack.callback(handle.remove)
            model(input_ids=row[None])
    return [float(_energy(x[first - 1 : -1], Q_A, share).mean()) for x in found]


def by_a_new_forward(model, layer, Q_A, share, ids, first):
    seen, forward = [], layer.forward

    def watching(x):
        seen.append(x.detach())
        return forward(x)

    layer.forward = watching
    try:
        model(input_ids=ids)
    finally:
        del layer.forward
    return _energy(seen[0], Q_A, share)[:, first - 1 : ids.shape[1] - 1].mean(-1)


def pair_by_pair(positive, negative, positive_by, negative_by, edges):
    stratum = lambda value: sum(value >= edge for edge in edges)
    won = [
        (p > n) + 0.5 * (p == n)
        for p, a in zip(positive.tolist(), positive_by.tolist(), strict=True)
        for n, b in zip(negative.tolist(), negative_by.tolist(), strict=True)
        if stratum(a) == stratum(b)
    ]
    return np.mean(won)


def by_a_mask(positive, negative, positive_by, negative_by, edges):
    borders = torch.tensor(edges, dtype=torch.float64)
    same = torch.bucketize(positive_by, borders, right=True)[:, None] == torch.bucketize(
        negative_by, borders, right=True
    )
    return ((positive[:, None] - negative).sign()[same].mean() + 1) / 2


RIGHT = {
    "13.energy_in_flat_directions": [one_minus_the_sharp, by_projection],
    "13.expected_share": [as_fractions],
    "13.area": [by_ranks, by_signs],
    "13.watch": [row_by_row, by_a_new_forward],
    "13.area_among_equals": [pair_by_pair, by_a_mask],
}
