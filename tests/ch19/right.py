"""Right answers to the exercises of chapter 19, of unusual form."""

import itertools

import numpy as np
import torch


def by_ranks(planted, decoys):
    from scipy.stats import mannwhitneyu

    return mannwhitneyu(planted.numpy(), decoys.numpy()).statistic / (len(planted) * len(decoys))


def with_masks(a, b, draws, generator):
    both = np.concatenate([a.numpy(), b.numpy()])
    order = torch.rand(draws, len(both), generator=generator).argsort(1).numpy()
    shuffled = both[order]
    apart = np.abs(shuffled[:, : len(a)].mean(1) - shuffled[:, len(a) :].mean(1))
    observed = abs(a.numpy().mean() - b.numpy().mean())
    return (1 + (apart >= observed - 1e-9).sum()) / (1 + draws)


def by_combinations(runs):
    nothing = object()
    found = []
    for (i, a), (j, b) in itertools.combinations(enumerate(runs), 2):
        if sum(a.get(name, nothing) != b.get(name, nothing) for name in {*a, *b}) == 1:
            found.append([j, i])
    return found


RIGHT = {"19.above_decoys": [by_ranks], "19.p_value": [with_masks], "19.one_change": [by_combinations]}
