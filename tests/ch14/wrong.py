"""Plausible wrong answers to the exercises of chapter 14, with a fragment of what their check must say."""

import copy
from itertools import combinations
from statistics import mean

import torch
import torch.nn.functional as F


def first_coordinate_only():
    return 0.5, -1.5


def whole_step():
    return -0.5, -2.5


def uphill():
    return 1.75, -0.25


def control_recovers():
    return 0.25, -0.25


def control_like_the_edit():
    return 0.25, 0.25


def first_look_above(rows, level):
    return next((tokens for tokens, value in rows if value >= level), None)


def last_time(rows, level):
    found = None
    for (t0, v0), (t1, v1) in zip(rows, rows[1:]):
        if v0 < level <= v1:
            found = t0 + (level - v0) / (v1 - v0) * (t1 - t0)
    return rows[0][0] if found is None and rows[0][1] >= level else found


def never_is_infinite(rows, level):
    if rows[0][1] >= level:
        return 0
    for (t0, v0), (t1, v1) in zip(rows, rows[1:]):
        if v0 < level <= v1:
            return t0 + (level - v0) / (v1 - v0) * (t1 - t0)
    return float("inf")


def _attack(model, ids, looks, measure, rate, batch, copied=True, steps=False, shuffled=True, late=False, trains=True):
    trained = copy.deepcopy(model) if copied else model
    optimizer = torch.optim.AdamW(trained.parameters(), lr=rate, weight_decay=0.0)
    order, rows, tokens = torch.arange(0), [], 0
    for step in range(looks[-1] + 1):
        if step in looks and not late:
            rows.append((step if steps else tokens, measure(trained)))
        if step == looks[-1]:
            break
        while len(order) < batch:
            new = torch.randperm(len(ids)) if shuffled else torch.arange(len(ids))
            order = torch.cat([order, new])
        taken, order = ids[order[:batch]], order[batch:]
        logits = trained(input_ids=taken).logits[:, :-1]
        loss = F.cross_entropy(logits.flatten(0, 1), taken[:, 1:].flatten())
        optimizer.zero_grad()
        (loss if trains else -loss).backward()
        optimizer.step()
        tokens += taken.numel()
        if step in looks and late:
            rows.append((tokens, measure(trained)))
    return rows


def in_place(*arguments):
    return _attack(*arguments, copied=False)


def in_steps(*arguments):
    return _attack(*arguments, steps=True)


def same_order(*arguments):
    return _attack(*arguments, shuffled=False)


def upwards(*arguments):
    return _attack(*arguments, trains=False)


def looks_afterwards(*arguments):
    return _attack(*arguments, late=True)


def drawn_with_replacement(model, ids, looks, measure, rate, batch):
    picked = torch.randint(0, 4, (len(ids),), generator=torch.Generator().manual_seed(0))
    return _attack(model, ids[picked], looks, measure, rate, batch)


def measures_the_original(model, ids, looks, measure, rate, batch):
    return _attack(model, ids, looks, lambda m: measure(model), rate, batch)


def _splits(edited, control, better):
    pool, n = [*edited, *control], len(edited)
    seen, found = mean(edited) - mean(control), []
    for chosen in combinations(range(len(pool)), n):
        rest = [pool[i] for i in range(len(pool)) if i not in chosen]
        found.append(better(mean(pool[i] for i in chosen) - mean(rest), seen))
    return sum(found) / len(found)


def strictly_larger(edited, control):
    return _splits(edited, control, lambda found, seen: found > seen + 1e-9)


def both_directions(edited, control):
    return _splits(edited, control, lambda found, seen: abs(found) >= abs(seen) - 1e-9)


def of_a_smaller_one(edited, control):
    return 1 - _splits(edited, control, lambda found, seen: found >= seen - 1e-9)


def pairs_won(edited, control):
    return mean(a <= b for a in edited for b in control)


WRONG = {
    "14.one_step": [
        (first_coordinate_only, "multiply as vectors"),
        (whole_step, "one half"),
        (uphill, "mind the sign"),
        (control_recovers, "*down*"),
        (control_like_the_edit, "the other sign"),
    ],
    "14.tokens_until": [
        (first_look_above, "straight line"),
        (last_time, "*first* time"),
        (never_is_infinite, "return None"),
    ],
    "14.attack": [
        (in_place, "has changed"),
        (in_steps, "these are steps"),
        (same_order, "shuffle anew"),
        (upwards, "has not fallen"),
        (looks_afterwards, "one row for each look"),
        (drawn_with_replacement, "go through all of them"),
        (measures_the_original, "measure the trained copy"),
    ],
    "14.by_chance": [
        (strictly_larger, "at least as large"),
        (both_directions, "other direction"),
        (of_a_smaller_one, "smaller difference"),
        (pairs_won, "*every* way"),
    ],
}
