"""Plausible wrong answers to the exercises of chapter 10, with a fragment of what their check must say."""

import math

import torch


def _cut(order, ends):
    rank = torch.empty(len(order), dtype=torch.int64)
    rank[order] = torch.arange(len(order))
    return sum((rank >= end).long() for end in ends)


def bands_of_mass(Pi, edges):
    values = Pi.flatten()
    order = values.argsort(descending=True)
    before = values[order].cumsum(0) - values[order]
    ends = [int((before < e * values.sum()).sum()) for e in edges]
    return _cut(order, ends).view_as(Pi)


def flattest_first(Pi, edges):
    return _cut(Pi.flatten().argsort(), [round(e * Pi.numel()) for e in edges]).view_as(Pi)


def edges_as_widths(Pi, edges):
    ends = torch.tensor([round(e * Pi.numel()) for e in edges]).cumsum(0).tolist()
    return _cut(Pi.flatten().argsort(descending=True), ends).view_as(Pi)


def _along(size, pairs):
    return torch.stack([size.expand(len(pairs), -1)[pairs == b].mean() for b in range(int(pairs.max()) + 1)])


def rows_as_eigenvectors(x, Q_A, pairs):
    return _along((x @ Q_A.T).abs().mean(0), pairs)


def mean_then_abs(x, Q_A, pairs):
    return _along((x @ Q_A).mean(0).abs(), pairs)


def squares(x, Q_A, pairs):
    return _along((x @ Q_A).square().mean(0), pairs)


def once_a_band(x, Q_A, pairs):
    size = (x @ Q_A).abs().mean(0)
    return torch.stack([size[(pairs == b).any(0)].mean() for b in range(int(pairs.max()) + 1)])


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


WRONG = {
    "10.bands": [
        (bands_of_mass, "not of the mass"),
        (flattest_first, "band 0 is the sharpest"),
        (edges_as_widths, "each counts from the sharpest"),
    ],
    "10.band_activity": [
        (rows_as_eigenvectors, "columns of Q_A"),
        (mean_then_abs, "cancel"),
        (squares, "mean of squares"),
        (once_a_band, "once for every *pair*"),
    ],
    "10.wilson": [(wald, "moves its centre"), (upper_half_only, "half as wide"), (no_denominator, "the interval is")],
    "10.whose_bars": [(not_relative, "over the baseline's"), (farthest, "*nearest*"), (one_for_all, "its own task")],
}
