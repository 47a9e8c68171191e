"""Right answers to the exercises of chapter 11, of unusual form."""

import numpy as np
import torch


def by_roots(k, n):
    """The two solutions of the quadratic equation that the interval comes from."""
    p, z2 = k / n, 1.96**2
    return tuple(sorted(np.roots([1 + z2 / n, -(2 * p + z2 / n), p * p]).real))


def by_counting():
    upper = lambda n: 1.96**2 / (n + 1.96**2)
    return next(n for n in range(1, 10_000) if upper(n) < 0.01), upper(500)


def by_slices(hits, k):
    shares = []
    for row in hits:
        words = row.tolist()
        places = [all(words[i : i + k]) for i in range(len(words) - k + 1)]
        if places:
            shares.append(sum(places) / len(places))
    return sum(shares) / len(shares)


def by_convolution(hits, k):
    rows = [np.convolve(row.numpy().astype(int), np.ones(k, dtype=int), "valid") for row in hits if len(row) >= k]
    return torch.tensor([np.mean(row == k) for row in rows]).mean()


def with_a_loop(bars, rows):
    found = {}
    for task, bar in bars.items():
        near = sorted((abs(v / rows[task]["baseline"] - bar), m) for m, v in rows[task].items() if m != "baseline")
        found[task] = near[0][1]
    return found


def as_a_number(asked, owner_of, home_of, number_of, said):
    """The digits read as a number, words that are none as no number."""
    read = lambda digits: int("".join(digits[::-1])) if all(d.isdigit() for d in digits) else None
    named = [number_of[c] for c in said["homes"] if c in number_of]
    true = sum(number_of[home_of[owner_of[thing]]] for thing in asked)
    return {
        "result": read(said["digits"]) == true,
        "sum": len(named) == 2 and read(said["digits"]) == named[0] + named[1],
        "homes": all(o in home_of and home_of[o] == c for o, c in zip(said["owners"], said["homes"])),
        "owners": all(owner_of[thing] == o for thing, o in zip(asked, said["owners"])),
    }


RIGHT = {
    "11.wilson": [by_roots],
    "11.enough_items": [by_counting],
    "11.equal_length": [by_slices, by_convolution],
    "11.whose_bars": [with_a_loop],
    "11.judge_steps": [as_a_number],
}
