"""Right answers to the exercises of chapter 08 in forms that differ from the course's own."""

import functools
import math

import numpy as np
import torch


def by_recursion(a, b):
    @functools.cache
    def distance(i, j):
        if not i or not j:
            return i + j
        if a[i - 1] == b[j - 1]:
            return distance(i - 1, j - 1)
        return 1 + min(distance(i - 1, j), distance(i, j - 1), distance(i - 1, j - 1))

    return [[distance(i, j) for j in range(len(b) + 1)] for i in range(len(a) + 1)]


def as_an_array(a, b):
    table = np.add.outer(np.arange(len(a) + 1), np.arange(len(b) + 1))
    for i, j in np.ndindex(len(a), len(b)):
        table[i + 1, j + 1] = min(table[i, j + 1] + 1, table[i + 1, j] + 1, table[i, j] + (a[i] != b[j]))
    return table


def computed():
    suffix, said = "the fox ran to the old barn today".split(), "the fox ran to an old red barn".split()
    distance = by_recursion(suffix, said)[-1][-1]
    return [distance, distance == 0, 1 - distance / len(suffix) >= 0.75]


def by_counting_right_guesses(logits, ids, prefix):
    right = logits[:, :-1].argmax(2).eq(ids[:, 1:])[:, prefix - 1 :]
    return right.sum(1) == ids.shape[1] - prefix


def with_a_dictionary(windows, threshold, n=5):
    kept = {}
    for i, x in enumerate(windows):
        runs = frozenset(zip(*(x[k:] for k in range(n)), strict=False))
        similar = (len(runs & other) / max(1, len(runs | other)) >= threshold for other in kept.values())
        if not any(similar):
            kept[i] = runs
    return list(kept)


def from_the_end(quotes, pool, n):
    joined = [" ".join(map(str, q)) + " " for q in quotes]
    allowed = []
    for i, text in enumerate(pool):
        runs = [" ".join(map(str, text[k : k + n])) + " " for k in range(len(text) - n + 1)]
        if not any(run in quote for run in runs for quote in joined):
            allowed.append(i)
    partners = []
    for quote in quotes:
        fitting = [i for i in allowed if len(pool[i]) == len(quote) and i not in partners]
        if not fitting:
            raise ValueError("the pool is too small")
        partners.append(fitting[-1])
    return np.array(partners)


def with_numpy(nll, batch):
    x = nll.numpy()
    parts = [np.exp(x[k : k + batch].mean()) for k in range(0, len(x), batch)]
    return np.exp(x.mean()), np.mean(parts)


def by_loops(now, before):
    K, scores = before.shape[1], []
    for a, b in zip(now.tolist(), before.tolist(), strict=True):
        gain = sum((K - b.index(t)) / math.log2(k + 2) for k, t in enumerate(a) if t in b)
        scores.append(gain / sum((K - k) / math.log2(k + 2) for k in range(K)))
    return sum(scores) / len(scores)


def filled_in(prompts, pad):
    width = max(len(p) for p in prompts)
    ids = torch.full((len(prompts), width), pad)
    mask, positions = torch.zeros_like(ids), torch.zeros_like(ids)
    for row, p in enumerate(prompts):
        ids[row, width - len(p) :] = torch.tensor(p)
        mask[row, width - len(p) :] = 1
        positions[row, width - len(p) :] = torch.arange(len(p))
    return ids, mask, positions


RIGHT = {
    "08.edit_table": [by_recursion, as_an_array],
    "08.verdicts": [computed],
    "08.memorized": [by_counting_right_guesses],
    "08.deduplicate": [with_a_dictionary],
    "08.never_read": [from_the_end],
    "08.two_perplexities": [with_numpy],
    "08.ndcg": [by_loops],
    "08.left_pad": [filled_in],
}
