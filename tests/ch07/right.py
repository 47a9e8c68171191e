"""Right answers to the exercises of chapter 07 in forms that differ from the course's own."""

import bisect

import numpy as np
import torch


def by_counting(before, after, given, true):
    rows = [r for r in zip(*(x.tolist() for x in (before, after, given, true)), strict=True) if r[2] != r[3]]
    known = [r for r in rows if r[0] == r[2]]
    return {
        "memorized_before": len(known) / len(rows),
        "memorized_after": sum(r[1] == r[2] for r in rows) / len(rows),
        "recovered": np.mean([r[1] == r[3] for r in rows]),
        "recovered_of_memorized": torch.tensor([float(r[1] == r[3]) for r in known]).mean(),
    }


def as_a_list():
    return [0.18, torch.tensor(0.9)]


def closed_form(logits):
    p = torch.softmax(logits, -1)
    return torch.diag(p.mean(0)) - p.T @ p / len(p)


def by_outer_products(logits):
    total = 0
    for z in logits:
        p = torch.softmax(z, 0)
        for c in range(len(p)):
            e = torch.zeros_like(p)
            e[c] = 1
            total = total + p[c] * torch.outer(p - e, p - e)
    return total / len(logits)


def all_but_the_favourite(logits, temperature=1.0):
    p = torch.softmax(logits / temperature, 1).sort(1)[0]
    return float(p[:, :-1].sum())


def by_a_loop(trials, floor):
    best = None
    for trial in trials:
        half = trial["choose"]
        if half["clean"] >= floor and (best is None or half["recovered"] > best["choose"]["recovered"]):
            best = trial
    return best


def uniform_noise(W, W_edited, generator):
    noise = torch.rand(W.shape, generator=generator, dtype=W.dtype) - 0.5
    return W + noise / noise.square().sum().sqrt() * (W - W_edited).square().sum().sqrt()


def with_bisect(measure, grid, target):
    known = {}

    class Clean:
        def __len__(self):
            return len(grid)

        def __getitem__(self, k):
            if k not in known:
                known[k] = measure(grid[k])
            return known[k]["clean"]

    clean = Clean()
    k = bisect.bisect_left(clean, target)
    if k in (0, len(grid)):
        k = min(k, len(grid) - 1)
        clean[k]
        return known[k]
    share = np.interp(target, [clean[k - 1], clean[k]], [0, 1])
    return {key: (1 - share) * known[k - 1][key] + share * known[k][key] for key in known[k]}


RIGHT = {
    "07.healing": [by_counting],
    "07.rare_label": [as_a_list],
    "07.exact_g": [closed_form, by_outer_products],
    "07.expected_surprises": [all_but_the_favourite],
    "07.choose_edit": [by_a_loop],
    "07.equal_norm": [uniform_noise],
    "07.at_one_price": [with_bisect],
}
