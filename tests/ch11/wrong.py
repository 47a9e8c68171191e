"""Plausible wrong answers to the exercises of chapter 11, with a fragment of what their check must say."""

import math

import torch


def wald(k, n):
    p = k / n
    half = 1.96 * math.sqrt(p * (1 - p) / n)
    return p - half, p + half


def upper_half_only(k, n):
    z, p = 1.96, k / n
    centre, half = (
        (p + z * z / (2 * n)) / (1 + z * z / n),
        z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)),
    )
    return centre, centre + half


def no_denominator(k, n):
    z, p = 1.96, k / n
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return p + z * z / (2 * n) - half, p + z * z / (2 * n) + half


def not_relative(bars, rows):
    return {t: min((m for m in rows[t] if m != "baseline"), key=lambda m: abs(rows[t][m] - bars[t])) for t in bars}


def farthest(bars, rows):
    return {
        t: max((m for m in rows[t] if m != "baseline"), key=lambda m: abs(rows[t][m] / rows[t]["baseline"] - bars[t]))
        for t in bars
    }


def one_for_all(bars, rows):
    methods = [m for m in next(iter(rows.values())) if m != "baseline"]
    best = min(methods, key=lambda m: sum(abs(rows[t][m] / rows[t]["baseline"] - bars[t]) for t in bars))
    return {t: best for t in bars}


def rule_of_three():
    return 300, 3 / 500


def rounded_down():
    return 380, 3.8416 / 503.8416


def without_z_below():
    return 385, 3.8416 / 500


def none_is_none():
    return 381, 0.0


def in_per_cent():
    return 381, 0.762


def one_in_all():
    return 100, 0.01


def all_joined(hits, k):
    return torch.cat(hits).unfold(0, k, 1).all(1).double().mean().item()


def whole_answers(hits, k):
    kept = [row for row in hits if len(row) >= k]
    return sum(bool(row.all()) for row in kept) / len(kept)


def short_ones_fail(hits, k):
    return sum(row.unfold(0, k, 1).all(1).double().mean().item() for row in hits if len(row) >= k) / len(hits)


def every_place(hits, k):
    return torch.cat([row.unfold(0, k, 1).all(1) for row in hits if len(row) >= k]).double().mean().item()


def in_pieces(hits, k):
    shares = [row[: len(row) // k * k].view(-1, k).all(1).double().mean().item() for row in hits if len(row) >= k]
    return sum(shares) / len(shares)


def _digits(total):
    return list(f"{total:03d}"[::-1])


def by_what_is_right(asked, owner_of, home_of, number_of, said):
    owners = [owner_of[t] for t in asked]
    homes = [home_of[o] for o in owners]
    total = _digits(sum(number_of[c] for c in homes))
    right = said["digits"] == total
    return {"owners": said["owners"] == owners, "homes": said["homes"] == homes, "sum": right, "result": right}


def one_is_enough(asked, owner_of, home_of, number_of, said):
    owners = [owner_of[t] for t in asked]
    homes = [home_of.get(o) for o in said["owners"]]
    numbers = [number_of.get(c) for c in said["homes"]]
    wanted = _digits(sum(number_of[home_of[o]] for o in owners))
    return {
        "owners": any(a == b for a, b in zip(said["owners"], owners)),
        "homes": said["homes"] == homes,
        "sum": None not in numbers and said["digits"] == _digits(sum(numbers)),
        "result": said["digits"] == wanted,
    }


def first_digit_first(asked, owner_of, home_of, number_of, said):
    owners = [owner_of[t] for t in asked]
    homes = [home_of.get(o) for o in said["owners"]]
    numbers = [number_of.get(c) for c in said["homes"]]
    wanted = list(f"{sum(number_of[home_of[o]] for o in owners):03d}")
    return {
        "owners": said["owners"] == owners,
        "homes": said["homes"] == homes,
        "sum": None not in numbers and said["digits"] == list(f"{sum(numbers):03d}"),
        "result": said["digits"] == wanted,
    }


def unknown_is_ten(asked, owner_of, home_of, number_of, said):
    owners = [owner_of[t] for t in asked]
    homes = [home_of.get(o) for o in said["owners"]]
    wanted = _digits(sum(number_of[home_of[o]] for o in owners))
    numbers = [number_of.get(c, 25) for c in said["homes"]]
    return {
        "owners": said["owners"] == owners,
        "homes": said["homes"] == homes,
        "sum": said["digits"] == _digits(sum(numbers)),
        "result": said["digits"] == wanted,
    }


WRONG = {
    "11.wilson": [(wald, "moves its centre"), (upper_half_only, "half as wide"), (no_denominator, "the interval is")],
    "11.enough_items": [
        (rule_of_three, "rule of three"),
        (rounded_down, "still a little above"),
        (without_z_below, "n + z^2"),
        (none_is_none, "does not prove"),
        (in_per_cent, "per cent"),
        (one_in_all, "k = 0"),
    ],
    "11.equal_length": [
        (all_joined, "begin in one answer"),
        (whole_answers, "as a whole"),
        (short_ones_fail, "leave it out"),
        (every_place, "every *place*"),
        (in_pieces, "do not overlap"),
    ],
    "11.whose_bars": [(not_relative, "over the baseline's"), (farthest, "*nearest*"), (one_for_all, "its own task")],
    "11.judge_steps": [
        (by_what_is_right, "judge a step by what it was given"),
        (one_is_enough, "one of the two owners is wrong"),
        (first_digit_first, "last digit first"),
        (unknown_is_ten, "no city has no number"),
    ],
}
