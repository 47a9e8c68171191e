"""Chapter 10: fresh inputs for every exercise, and a question of one's own for every student."""

import math

import torch

from kfcourse.grading.variants import Variant, falling_spectrum, one_of, orthogonal, real, share, tenths, whole


def _weighted_columns(g):
    c = tenths(g, 0.2, 1)
    return (
        f"Sort by Pi after column number j (counted from 0) was multiplied by 1 + {c} j.",
        lambda ref: lambda Pi, edges: ref(Pi * (1 + c * torch.arange(Pi.shape[1], dtype=Pi.dtype)), edges),
    )


def _bands(g):
    Pi = falling_spectrum(g)
    Q_A = orthogonal(g, Pi.shape[1])
    pairs = torch.randint(0, 3, Pi.shape, generator=g)
    pairs[0, :3] = torch.arange(3)
    return real(g, whole(g, 5, 9), Pi.shape[1]), Q_A, pairs


def _mean_of_powers(g):
    c = tenths(g, 1.5, 3)

    def band_activity(x, Q_A, pairs):
        a = (x @ Q_A).abs().pow(c).mean(0).expand(pairs.shape)
        return torch.stack([a[pairs == band].mean() for band in range(int(pairs.max()) + 1)])

    return f"Take the mean of the absolute values to the power {c}.", lambda ref: band_activity


def _other_z(g):
    z = tenths(g, 1, 1.8)

    def wilson(k, n):
        p, scale = k / n, 1 + z * z / n
        centre, half = (p + z * z / (2 * n)) / scale, z / scale * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return centre - half, centre + half

    return f"Use {z} instead of 1.96.", lambda ref: wilson


def _rows(g):
    tasks = [f"task {n}" for n in range(10)]
    rows = {t: {"baseline": share(g, 0.3, 1), **{m: share(g, 0.1, 1) for m in ("one", "two", "three")}} for t in tasks}
    return {t: share(g, 0.2, 1.2) for t in tasks}, rows


def _raised(g):
    c = tenths(g, 0.3, 1.5)
    return (
        f"Add {c} to every accuracy, the baseline's too, before you divide.",
        lambda ref: lambda bars, rows: ref(bars, {t: {m: v + c for m, v in row.items()} for t, row in rows.items()}),
    )


def _longer(g):
    c = whole(g, 1, 6)
    return (
        f"By length: divide by the length plus {c}.",
        lambda ref: lambda scores, lengths: (ref(scores, lengths)[0], ref(scores, lengths + c)[1]),
    )


def _choices(g):
    lengths = torch.randint(1, 9, (whole(g, 5, 12),), generator=g)
    return -lengths * (2 + real(g, len(lengths)).abs()) - 3, lengths


VARIANTS = {
    "10.bands": Variant(
        lambda g: (falling_spectrum(g), one_of(g, (0.1, 0.3, 0.6), (0.2, 0.5), (0.15, 0.4, 0.8))), _weighted_columns
    ),
    "10.band_activity": Variant(_bands, _mean_of_powers),
    "10.wilson": Variant(lambda g: (whole(g, 0, 40), whole(g, 40, 300)), _other_z),
    "10.whose_bars": Variant(_rows, _raised),
    "10.choose": Variant(_choices, _longer),
}
