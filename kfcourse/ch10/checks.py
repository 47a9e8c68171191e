"""Exercises of chapter 10: bands of pairs, activity in a band, an interval for a share, whose bars these are."""

import math

import torch

from kfcourse import Exercise


def _layer(seed, rows=6, columns=4, tokens=9):
    generator = torch.Generator().manual_seed(seed)
    draw = lambda n: (-3 * torch.rand(n, generator=generator, dtype=torch.float64)).exp().sort(descending=True)[0]
    Q_A = torch.linalg.qr(torch.randn(columns, columns, generator=generator, dtype=torch.float64))[0]
    return (
        torch.outer(draw(rows), draw(columns)),
        Q_A,
        torch.randn(tokens, columns, generator=generator, dtype=torch.float64),
    )


def check_bands(function):
    for seed in range(3):
        Pi = _layer(seed, 8, 5)[0]
        for edges in ((0.1, 0.25, 0.5), (0.5,)):
            found = function(Pi, edges)
            assert torch.is_tensor(found) and not found.is_floating_point(), (
                "a tensor of whole numbers is wanted, the band of each pair"
            )
            assert found.shape == Pi.shape, f"the result has shape {list(found.shape)}, but Pi has {list(Pi.shape)}"
            assert found.min() == 0 and found.max() <= len(edges), (
                f"with edges {edges} the bands are numbered from 0 to {len(edges)}, yours are "
                f"{sorted(found.unique().tolist())}"
            )
            sizes = [int((found <= band).sum()) for band in range(len(edges))]
            wanted = [round(e * Pi.numel()) for e in edges]
            assert sizes == wanted, (
                f"up to the ends of the bands there should be {wanted} pairs, yours has {sizes}: edges are shares of "
                "the "
                "*number* of pairs, not of the mass, and each counts from the sharpest pair"
            )
            for band in range(len(edges)):
                assert Pi[found == band].min() >= Pi[found > band].max(), (
                    "a pair in a later band has more curvature: band 0 is the sharpest"
                )


def check_band_activity(function):
    for seed in range(3):
        Pi, Q_A, x = _layer(seed)
        order = Pi.flatten().argsort(descending=True)
        pairs = torch.empty(Pi.numel(), dtype=torch.int64)
        pairs[order] = torch.bucketize(torch.arange(Pi.numel()), torch.tensor([3, 10]), right=True)
        pairs = pairs.view_as(Pi)
        found = function(x, Q_A, pairs)
        assert torch.is_tensor(found) and found.shape == (3,), (
            f"one number a band is wanted, [3], yours has shape {list(getattr(found, 'shape', []))}"
        )
        along = lambda y: torch.stack([y.expand(len(Pi), -1)[pairs == b].mean() for b in range(3)])
        right = along((x @ Q_A).abs().mean(0))
        assert not torch.allclose(found, along((x @ Q_A.T).abs().mean(0))), (
            "eigenvectors are the columns of Q_A: coordinates are x @ Q_A"
        )
        assert not torch.allclose(found, along((x @ Q_A).mean(0))) and not torch.allclose(
            found, along((x @ Q_A).mean(0).abs())
        ), "positive and negative cancel: take the absolute value at every token, then the mean"
        assert not torch.allclose(found, along((x @ Q_A).square().mean(0))), (
            "this is the mean of squares; an activity is the mean of absolute values"
        )
        once = torch.stack([(x @ Q_A).abs().mean(0)[(pairs == b).any(0)].mean() for b in range(3)])
        assert not torch.allclose(found, once), (
            "an input direction counts once for every *pair* of the band it is in, not once a band"
        )
        assert torch.allclose(found, right), (
            f"the activities should be {right.numpy().round(3)}, yours are {found.detach().numpy().round(3)}"
        )


def check_wilson(function):
    for k, n in ((17, 500), (0, 60), (60, 60), (143, 200)):
        low, high = (float(v) for v in function(k, n))
        z, p = 1.96, k / n
        centre, half = (
            (p + z * z / (2 * n)) / (1 + z * z / n),
            z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)),
        )
        assert low <= high, "return the lower end first"
        assert not (0 < k < n and math.isclose(low, p - z * math.sqrt(p * (1 - p) / n), abs_tol=1e-9)), (
            "this is p plus or minus 1.96 standard errors; Wilson's interval moves its centre towards 1/2 and is not "
            "empty at 0 and 1"
        )
        assert high > low, f"for {k} of {n} the interval is empty: nobody is that sure after {n} items"
        assert not math.isclose(high - low, half, rel_tol=1e-6), (
            "the interval is half as wide as it should be: centre minus *and* plus the half width"
        )
        assert -1e-12 <= low and high <= 1 + 1e-12, f"an end lies outside 0 and 1 for {k} of {n}"
        assert math.isclose(low, centre - half, abs_tol=1e-9) and math.isclose(high, centre + half, abs_tol=1e-9), (
            f"for {k} of {n} the interval is {centre - half:.4f} to {centre + half:.4f}, yours is {low:.4f} to "
            f"{high:.4f}"
        )


def check_whose_bars(function):
    rows = {
        "a": {"baseline": 0.8, "one": 0.4, "two": 0.6},
        "b": {"baseline": 0.5, "one": 0.45, "two": 0.5},
        "c": {"baseline": 0.9, "one": 0.9, "two": 0.81},
    }
    bars = {"a": 0.751, "b": 0.899, "c": 0.9}
    found = function(bars, rows)
    assert isinstance(found, dict) and set(found) == set(bars), "return a dict with one entry a bar: {task: method}"
    absolute = {t: min((m for m in rows[t] if m != "baseline"), key=lambda m: abs(rows[t][m] - bars[t])) for t in bars}
    assert found != absolute, "a bar is accuracy *over the baseline's*: divide before you compare"
    assert "baseline" not in found.values(), "the baseline over itself is 1 and no method: leave it out"
    wanted = {"a": "two", "b": "one", "c": "two"}
    assert found != {t: ("one" if wanted[t] == "two" else "two") for t in bars}, (
        "the *nearest* ratio is wanted: take the smallest distance"
    )
    assert found == wanted, f"the bars belong to {wanted}, yours says {found}: judge each bar by its own task"


EXERCISES = {
    "10.bands": Exercise(
        "Bands of pairs",
        2,
        8,
        (
            "A pair's rank decides: sort all of them, then ask which edges its rank has passed.",
            "`rank[order] = torch.arange(n)` turns an order into ranks. The first band ends after `round(edges[0] * "
            "n)` pairs.",
            "A pair of rank r lies in band number `sum(r >= end for end in ends)`. For all pairs at once: add up "
            "`(rank >= end)` for every end.",
        ),
        check_bands,
        "Bands are shares of the number of pairs. The first tenth of the pairs holds most of the curvature mass.",
    ),
    "10.band_activity": Exercise(
        "Activity in a band",
        3,
        10,
        (
            "The size of u v^T x is |v^T x|: only the input direction of a pair matters, so first find |v_j^T x| for "
            "every token and j.",
            "Average over tokens, which leaves a vector [I]. A band's pairs are (i, j); each contributes the entry j.",
            "`size = (x @ Q_A).abs().mean(0)`, then for every band b: `size.expand(len(pairs), -1)[pairs == "
            "b].mean()`.",
        ),
        check_band_activity,
        "A direction that is in a band with many output directions counts for each of them, as a random pair of the "
        "band would.",
    ),
    "10.wilson": Exercise(
        "An interval for a share",
        2,
        8,
        (
            "It is a formula; the work is in transcribing it. Compute p, the common denominator, the centre and the "
            "half width.",
            "The denominator of both is 1 + z^2/n. The centre's numerator is p + z^2/(2n).",
            "`half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))`; return centre - half, "
            "centre + half.",
        ),
        check_wilson,
        "At 0 of 60 it still reaches up to some per cent: sixty failures do not prove that it never happens.",
    ),
    "10.whose_bars": Exercise(
        "Whose bars are these?",
        2,
        6,
        (
            "For every bar compute what each method's bar would be, and see which is closest.",
            "A method's bar for a task is `rows[task][method] / rows[task]['baseline']`.",
            "`min(methods, key=lambda m: abs(rows[task][m] / rows[task]['baseline'] - bar))`, with the methods of "
            "that task without the baseline.",
        ),
        check_whose_bars,
        "Three numbers with four digits each agree with one row of the table: that is no accident.",
    ),
}
