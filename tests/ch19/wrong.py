"""Plausible wrong answers to the exercises of chapter 19, with a fragment of what their check must say."""

import torch


def ties_lost(planted, decoys):
    return (planted[:, None] > decoys[None]).float().mean()


def decoys_above(planted, decoys):
    above = (decoys[:, None] > planted[None]).float() + 0.5 * (decoys[:, None] == planted[None]).float()
    return above.mean()


def means_compared(planted, decoys):
    return float(planted.mean() > decoys.mean())


def observed_not_counted(a, b, draws, generator):
    both, observed, count = torch.cat([a, b]), (a.mean() - b.mean()).abs(), 0
    for _ in range(draws):
        shuffled = both[torch.randperm(len(both), generator=generator)]
        count += int((shuffled[: len(a)].mean() - shuffled[len(a) :].mean()).abs() >= observed)
    return count / draws


def one_sided(a, b, draws, generator):
    both, observed, count = torch.cat([a, b]), a.mean() - b.mean(), 1
    for _ in range(draws):
        shuffled = both[torch.randperm(len(both), generator=generator)]
        count += int(shuffled[: len(a)].mean() - shuffled[len(a) :].mean() >= observed)
    return count / (draws + 1)


def each_group_alone(a, b, draws, generator):
    observed, count = (a.mean() - b.mean()).abs(), 1
    for _ in range(draws):
        x, y = a[torch.randint(len(a), (len(a),), generator=generator)], b[torch.randperm(len(b), generator=generator)]
        count += int((x.mean() - y.mean()).abs() > 2 * observed)
    return count / (draws + 1)


def any_difference(runs):
    return [(i, j) for i in range(len(runs)) for j in range(i + 1, len(runs)) if runs[i] != runs[j]]


def at_most_one(runs):
    differ = lambda a, b: sum(a.get(k) != b.get(k) for k in a | b)
    return [(i, j) for i in range(len(runs)) for j in range(i + 1, len(runs)) if differ(runs[i], runs[j]) <= 1]


def next_to_each_other(runs):
    differ = lambda a, b: sum(a.get(k) != b.get(k) for k in a | b)
    return [(i, i + 1) for i in range(len(runs) - 1) if differ(runs[i], runs[i + 1]) == 1]


WRONG = {
    "19.above_decoys": [
        (ties_lost, "a tie counts half"),
        (decoys_above, "turned round"),
        (means_compared, "forgets the spread"),
    ],
    "19.p_value": [
        (observed_not_counted, "count it too"),
        (one_sided, "other direction"),
        (each_group_alone, "shuffled together"),
    ],
    "19.one_change": [
        (any_difference, "two settings"),
        (at_most_one, "a repetition"),
        (next_to_each_other, "are missing"),
    ],
}
