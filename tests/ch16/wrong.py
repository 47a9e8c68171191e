"""Plausible wrong answers to the exercises of chapter 16, with a fragment of what their check must say."""

import torch


def not_shifted(logits, ids, start):
    return -logits.log_softmax(-1).gather(1, ids[:, None])[start:].mean().item()


def in_bits(logits, ids, start):
    return right(logits, ids, start) / torch.tensor(2.0).log().item()


def right(logits, ids, start):
    log_p = logits.log_softmax(-1)[start - 1 : -1]
    return -log_p.gather(1, ids[start:, None]).mean().item()


def all_tokens(logits, ids, start):
    return right(logits, ids, 1)


def summed(logits, ids, start):
    return right(logits, ids, start) * (len(ids) - start)


def counted(hit):
    return int(hit.sum())


def ends_lost(hit):
    longest = run = 0
    for token in hit.tolist():
        if token:
            run += 1
        else:
            longest, run = max(longest, run), 0
    return longest


def first_scale(d):
    scale = d.abs().mean() / 3
    steps = torch.tensor([-3.0, -1.0, 1.0, 3.0], dtype=d.dtype)
    return steps[(d[:, None] / scale - steps).abs().argmin(1)], scale.item()


def one_bit(d):
    return d.sign(), d.abs().mean().item()


def zero_is_a_step(d):
    scale = d.abs().mean().item()
    return (d / scale).round().clamp(-3, 3), scale


def upside_down(damage, target, tolerance):
    low, high = 0.0, 1.0
    for _ in range(25):
        middle = (low + high) / 2
        low, high = (low, middle) if damage(middle) > target else (middle, high)
    return middle


def by_grid(damage, target, tolerance):
    grid = [i / 1000 for i in range(1001)]
    return min(grid, key=lambda s: abs(damage(s) - target))


def losses(before, after):
    return {kind: after["taught"] / after[kind] for kind in before if kind != "taught"}


def inverse(before, after):
    gone = after["taught"] - before["taught"]
    return {kind: (after[kind] - before[kind]) / gone for kind in before if kind != "taught"}


def codes_alone():
    return 26_542_080


def in_bits_too():
    return 212_336_640


def float32_scales():
    return 26_542_080 + 4 * 155_520


WRONG = {
    "16.nats_per_token": [
        (not_shifted, "predict the token at t + 1"),
        (in_bits, "natural logarithm"),
        (all_tokens, "you count the tokens before it"),
        (summed, "take the mean"),
    ],
    "16.longest_run": [(counted, "a run ends at the first wrong one"), (ends_lost, "reaches the end")],
    "16.shipped_bytes": [
        (codes_alone, "every row has a scale"),
        (in_bits_too, "eight of them make a byte"),
        (float32_scales, "two bytes, not four"),
    ],
    "16.four_steps": [
        (first_scale, "can be reached"),
        (one_bit, "nearest of the four steps"),
        (zero_is_a_step, "a code is -3, -1, 1 or 3"),
    ],
    "16.equal_damage": [(upside_down, "damage falls as the strength rises"), (by_grid, "costs minutes")],
    "16.selectivity": [(losses, "subtract what the unedited model had"), (inverse, "the other way round")],
}
