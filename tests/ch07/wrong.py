"""Plausible wrong answers to the exercises of chapter 07, with a fragment of what their check must say."""

import torch


def _mean(mask):
    return mask.double().mean().item()


def _rates(before, after, given, true, wrong, learned, recovered):
    return {
        "memorized_before": _mean((before == given)[wrong]),
        "memorized_after": _mean((after == given)[wrong]),
        "recovered": _mean(recovered[wrong]),
        "recovered_of_memorized": _mean(recovered[learned]),
    }


def over_everything(before, after, given, true):
    every = torch.ones_like(given, dtype=torch.bool)
    return _rates(before, after, given, true, every, before == given, after == true)


def another_label_counts_as_recovered(before, after, given, true):
    wrong = given != true
    return _rates(before, after, given, true, wrong, wrong & (before == given), after != given)


def never_memorized_counted(before, after, given, true):
    wrong = given != true
    return _rates(before, after, given, true, wrong, wrong, after == true)


def memorized_after_the_edit(before, after, given, true):
    wrong = given != true
    return _rates(before, after, given, true, wrong, wrong & (after == given), after == true)


def a_pair(before, after, given, true):
    return 0.5, 0.5


def unweighted(logits):
    p, G = torch.softmax(logits, -1), 0
    for c in range(p.shape[1]):
        r = p - torch.eye(p.shape[1], dtype=p.dtype)[c]
        G = G + r.T @ r / len(p)
    return G


def summed(logits):
    p = torch.softmax(logits, -1)
    return torch.diag(p.sum(0)) - p.T @ p


def favourite_only(logits):
    p = torch.softmax(logits, -1)
    r = p - torch.nn.functional.one_hot(p.argmax(-1), p.shape[1]).to(p)
    return r.T @ r / len(p)


def no_unit_vector(logits):
    p = torch.softmax(logits, -1)
    return p.T @ p / len(p)


def a_share(logits, temperature=1.0):
    return (1 - torch.softmax(logits / temperature, -1).max(-1)[0]).mean().item()


def favourites(logits, temperature=1.0):
    return torch.softmax(logits / temperature, -1).max(-1)[0].sum().item()


def times_temperature(logits, temperature=1.0):
    return (1 - torch.softmax(logits * temperature, -1).max(-1)[0]).sum().item()


def no_temperature(logits, temperature=1.0):
    return (1 - torch.softmax(logits, -1).max(-1)[0]).sum().item()


def peeks(trials, floor):
    return max((t for t in trials if t["choose"]["clean"] >= floor), key=lambda t: t["report"]["recovered"])


def ignores_the_floor(trials, floor):
    return max(trials, key=lambda t: t["choose"]["recovered"])


def cleanest(trials, floor):
    return max(trials, key=lambda t: t["choose"]["clean"])


def above_the_floor(trials, floor):
    return max((t for t in trials if t["choose"]["clean"] > floor), key=lambda t: t["choose"]["recovered"])


def norm_of_the_weight(W, W_edited, generator):
    noise = torch.randn(W.shape, generator=generator, dtype=W.dtype)
    return W + noise * W_edited.norm() / noise.norm()


def not_scaled(W, W_edited, generator):
    return W + torch.randn(W.shape, generator=generator, dtype=W.dtype)


def the_mirror_image(W, W_edited, generator):
    return 2 * W - W_edited


def noise_alone(W, W_edited, generator):
    noise = torch.randn(W.shape, generator=generator, dtype=W.dtype)
    return noise * (W_edited - W).norm() / noise.norm()


def mean_of_the_two():
    return 0.82, 0.9


def how_often_it_is_drawn():
    return 0.18, 0.1


def its_part_alone():
    return 0.18, 0.162


def every_strength(measure, grid, target):
    found = [measure(s) for s in grid]
    return min(found, key=lambda m: abs(m["clean"] - target))


def _neighbours(measure, grid, target):
    low, high = 0, len(grid) - 1
    below, above = measure(grid[0]), measure(grid[-1])
    while high - low > 1:
        middle = (low + high) // 2
        found = measure(grid[middle])
        if found["clean"] < target:
            low, below = middle, found
        else:
            high, above = middle, found
    return below, above


def the_nearest(measure, grid, target):
    return min(_neighbours(measure, grid, target), key=lambda m: abs(m["clean"] - target))


def half_and_half(measure, grid, target):
    below, above = _neighbours(measure, grid, target)
    return {k: (below[k] + above[k]) / 2 for k in below}


def shares_exchanged(measure, grid, target):
    below, above = _neighbours(measure, grid, target)
    part = (target - below["clean"]) / (above["clean"] - below["clean"])
    return {k: part * below[k] + (1 - part) * above[k] for k in below}


def beyond_the_ends(measure, grid, target):
    below, above = _neighbours(measure, grid, target)
    part = (target - below["clean"]) / (above["clean"] - below["clean"])
    return {k: (1 - part) * below[k] + part * above[k] for k in below}


def between_the_ranks(measure, grid, target):
    low, high = grid[0], grid[-1]
    for _ in range(len(grid).bit_length()):
        middle = (low + high) / 2
        low, high = (middle, high) if measure(middle)["clean"] < target else (low, middle)
    return measure(high)


WRONG = {
    "07.rare_label": [
        (mean_of_the_two, "its own probability"),
        (how_often_it_is_drawn, "not that of the draws"),
        (its_part_alone, "divide it by the whole"),
    ],
    "07.at_one_price": [
        (every_strength, "times for a grid"),
        (the_nearest, "mix the two neighbours"),
        (half_and_half, "half and half"),
        (shares_exchanged, "exchanged"),
        (beyond_the_ends, "no mixing beyond"),
        (between_the_ranks, "not on the grid"),
    ],
    "07.healing": [
        (over_everything, "counts every image"),
        (another_label_counts_as_recovered, "must be the *true* label"),
        (never_memorized_counted, "divides by all mislabelled"),
        (memorized_after_the_edit, "*before* the edit"),
        (a_pair, "a dict"),
    ],
    "07.exact_g": [
        (unweighted, "by its probability"),
        (summed, "divide by their number"),
        (favourite_only, "favourite class"),
        (no_unit_vector, "unit vector"),
    ],
    "07.expected_surprises": [
        (a_share, "add the chances up"),
        (favourites, "one minus that"),
        (times_temperature, "divides the logits"),
        (no_temperature, "temperature is not used"),
    ],
    "07.choose_edit": [
        (peeks, "*reporting* half"),
        (ignores_the_floor, "damages too many"),
        (cleanest, "a condition, not the goal"),
        (above_the_floor, "equal to the floor"),
    ],
    "07.equal_norm": [
        (norm_of_the_weight, "that of the *change*"),
        (not_scaled, "scale the noise"),
        (the_mirror_image, "must be random"),
        (noise_alone, "add it to W"),
    ],
}
