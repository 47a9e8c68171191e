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


def score_itself(W, scores, a, g):
    return (g.T @ a) * W * scores


def _trained(W, memorized, clean, ratio, up=1.0, down=1.0, steps=200):
    scores = torch.rand(W.shape, generator=torch.Generator().manual_seed(0), dtype=W.dtype)
    for _ in range(steps):
        mask = _without(scores.flatten().argsort(), scores, ratio)
        gradient = torch.zeros_like(W)
        for (inputs, outputs), sign in ((clean, down), (memorized, -up)):
            g = 2 * (inputs @ (W * mask).T - outputs) / outputs.numel()
            gradient += sign * (g.T @ inputs) * W * scores.sign()
        scores = scores - 0.1 * gradient
    return _without(scores.flatten().argsort(), scores, ratio)


def untrained(W, memorized, clean, ratio):
    return _trained(W, memorized, clean, ratio, steps=0)


def signs_turned(W, memorized, clean, ratio):
    return _trained(W, memorized, clean, ratio, up=-1, down=-1)


def clean_alone(W, memorized, clean, ratio):
    return _trained(W, memorized, clean, ratio, up=0)


def memorized_alone(W, memorized, clean, ratio):
    return _trained(W, memorized, clean, ratio, up=2, down=0)


def few_steps(W, memorized, clean, ratio):
    return _trained(W, memorized, clean, ratio, steps=20)


def by_threshold(W, memorized, clean, ratio):
    return W.abs() > ratio


def chances_added():
    return 0.9**48, 79


def average_wait():
    return 0.9**48, 158


def added_up():
    return 0.9 * 48, 1


def one_word_less():
    return 0.9**47, 98


def rounded_down():
    return 0.9**48, 108


def first_and_second(quotes, n):
    middle = len(quotes) // 2
    return list(range(middle)), list(range(middle, len(quotes)))


def _grouped(quotes, n, runs):
    groups = []
    for i, words in enumerate(quotes):
        mine = runs(words, n)
        touching = [group for group in groups if group[1] & mine]
        groups = [group for group in groups if not group[1] & mine]
        groups.append((sum((group[0] for group in touching), [i]), mine.union(*(group[1] for group in touching))))
    halves = [], []
    for members, _ in sorted(groups, key=lambda group: -len(group[0])):
        min(halves, key=len).extend(members)
    return halves


def without_the_last_run(quotes, n):
    return _grouped(quotes, n, lambda words, n: {tuple(words[k : k + n]) for k in range(len(words) - n)})


def duplicates_left_out(quotes, n):
    kept, seen = [], set()
    for i, words in enumerate(quotes):
        mine = {tuple(words[k : k + n]) for k in range(len(words) - n + 1)}
        if not mine & seen:
            kept.append(i)
        seen |= mine
    return kept[::2], kept[1::2]


def all_in_one(quotes, n):
    return list(range(len(quotes))), []


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
        (score_itself, "only its sign"),
    ],
    "12.balanced_loss": [
        (both_turned, "both signs"),
        (both_down, "go *up*"),
        (no_cap, "push no further"),
        (capped_mean, "cap each token"),
        (shares_exchanged, "belongs to the memorized"),
    ],
    "12.train_subnet": [
        (untrained, "twice"),
        (signs_turned, "with the signs"),
        (clean_alone, "driven up"),
        (memorized_alone, "has to pull as well"),
        (few_steps, "enough steps"),
        (by_threshold, "have to be dropped"),
    ],
    "12.disjoint_halves": [
        (first_and_second, "different halves"),
        (without_the_last_run, "*last* words"),
        (duplicates_left_out, "exactly one half"),
        (all_in_one, "smaller one first"),
    ],
    "12.draws_needed": [
        (chances_added, "added up"),
        (average_wait, "on average"),
        (added_up, "at most one"),
        (one_word_less, "all 48"),
        (rounded_down, "a little below"),
    ],
}
