"""Exercises of chapter 18: shards into one mean, a triangle back into a matrix, eigendecompositions shared out,
efficiency, tokens needed.
"""

import math

import torch

from kfcourse import Exercise


def _shards(seed, counts=(5, 2, 9), width=4):
    """(means [d, d] of every shard, their counts, the mean over all rows)."""
    rows = torch.randn(sum(counts), width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    parts = rows.split(list(counts))
    return [x.T @ x / len(x) for x in parts], list(counts), rows.T @ rows / len(rows)


def check_merged(function):
    means, counts, right = _shards(0)
    before = [m.clone() for m in means]
    result = function(means, counts)
    assert torch.is_tensor(result) and result.shape == right.shape, f"a tensor {list(right.shape)} is wanted"
    assert all(torch.equal(m, b) for m, b in zip(means, before)), "you changed the shards' own means: make a new tensor"
    total = sum(counts)
    assert not torch.allclose(result, sum(means) / len(means)), (
        "this is the mean of the means: a shard with more tokens must weigh more"
    )
    assert not torch.allclose(result, sum(means)), (
        "the means are added up but not divided: a mean of means is no larger than the largest"
    )
    assert not torch.allclose(result, right * total), (
        "these are the sums; a factor is a mean: divide once, by all tokens together"
    )
    assert torch.allclose(result, right), (
        "the merged factor is not the mean over all tokens: turn every mean back into its sum first"
    )
    one = function(means[:1], counts[:1])
    assert torch.allclose(one, means[0]), "a single shard must come out as it went in"
    empty = function([means[0], torch.zeros_like(means[0])], [counts[0], 0])
    assert torch.allclose(empty, means[0]), "a shard without tokens must change nothing"


def check_from_triangle(function):
    for width in (3, 1, 2, 6):
        x = torch.randn(width, width, generator=torch.Generator().manual_seed(width), dtype=torch.float64)
        full = x @ x.T
        packed = torch.cat([full[i, : i + 1] for i in range(width)])
        before = packed.clone()
        result = function(packed)
        assert torch.equal(packed, before), "the packed vector was changed: make a new matrix"
        assert torch.is_tensor(result) and result.shape == full.shape, (
            f"{len(packed)} numbers are a triangle of width {width}: d (d + 1) / 2 = n has to be solved for d, and "
            f"the result is [{width}, {width}]"
        )
        assert result.dtype == packed.dtype, f"the numbers came as {packed.dtype} and left as {result.dtype}"
        if width > 1:
            assert not torch.allclose(result, full.tril()), "the upper triangle is still zero: the matrix is symmetric"
        assert not torch.allclose(result.diagonal(), 2 * full.diagonal()), (
            "the diagonal is counted twice: it belongs to both triangles"
        )
        assert torch.allclose(result, result.T), "the result is not symmetric"
        assert torch.allclose(result, full), (
            "the entries are in the wrong places: row after row, row i has i + 1 of them"
        )


def _loads(costs, ranks, processes):
    return [sum(c for c, r in zip(costs, ranks) if r == rank) for rank in range(processes)]


def check_share_out(function):
    cases = [
        ([2, 1, 1, 9], 2),
        ([5, 9, 1, 7, 3], 2),
        ([1, 8, 8, 1, 8, 8], 3),
        ([2, 2, 2], 4),
        ([7], 1),
        ([3, 1, 4, 1, 5, 9, 2, 6], 3),
    ]
    wanted = [[1, 1, 1, 0], [1, 0, 0, 1, 0], [1, 0, 1, 2, 2, 0], [0, 1, 2], [0], [1, 1, 2, 2, 2, 0, 0, 1]]
    for (costs, processes), right in zip(cases, wanted):
        given = list(costs)
        ranks = [int(r) for r in function(given, processes)]
        assert given == costs, "the list of costs was changed: work on a copy"
        assert len(ranks) == len(costs), (
            f"{len(costs)} jobs need {len(costs)} ranks, in the order of the jobs; there are {len(ranks)}"
        )
        assert all(0 <= r < processes for r in ranks), (
            f"with {processes} processes the ranks are 0 to {processes - 1}; yours are {ranks}"
        )
        if ranks == right:
            continue
        turns = [job % processes for job in range(len(costs))]
        assert ranks != turns or processes == 1, (
            "this hands the jobs round in turn, whatever they cost: give each to whoever has least to do"
        )
        by_cost = [right[job] for job in sorted(range(len(costs)), key=lambda job: -costs[job])]
        assert ranks != by_cost, (
            "these ranks belong to the jobs sorted by cost: give them back in the order in which the jobs came"
        )
        mine, best = (max(_loads(costs, r, processes)) for r in (ranks, right))
        assert mine <= best, (
            f"the busiest process has {mine} to do where {best} would be possible for costs {costs} and {processes} "
            "processes: begin with the most expensive job"
        )
        raise AssertionError(
            f"for costs {costs} and {processes} processes: {right} is wanted, {ranks} came. Of jobs of "
            "equal cost the earlier goes first, of equally busy processes the one with the lowest rank takes it"
        )


def check_efficiency(function):
    collect, jobs = 100.0, [8.0, 1.0, 8.0, 1.0]
    assert math.isclose(float(function(collect, jobs, 1)), 1.0), "one process is its own measure: efficiency 1"
    alone, four = 118.0, 100 / 4 + 8
    value = float(function(collect, jobs, 4))
    assert not math.isclose(value, alone / four), "this is the speed-up: divide it by the number of processes"
    assert value <= 1 + 1e-12, (
        f"efficiency {value:.3f}: more than 1 would mean that the processes did less than all the work"
    )
    assert not math.isclose(value, 1.0), (
        "the eigendecompositions do not divide evenly: the time is that of the busiest process, not the mean"
    )
    assert not math.isclose(value, alone / (4 * (100 / 4 + 18))), (
        "here every process does all eigendecompositions: they are shared out"
    )
    assert not math.isclose(value, alone / (4 * (100 + 8))), (
        "here every process collects on all tokens: they are shared out, too"
    )
    assert math.isclose(value, alone / (4 * four)), (
        f"time alone {alone:g}, time with four {four:g}: efficiency {alone / 4 / four:.4f}, yours is {value:.4f}"
    )
    assert math.isclose(float(function(collect, jobs, 2)), 1.0), (
        "two processes share these jobs evenly, so nothing is lost"
    )
    assert math.isclose(float(function(0.0, [5.0], 3)), 1 / 3), (
        "a single job cannot be shared: with three processes the efficiency is a third"
    )


def check_tokens_needed(function):
    tokens, prices = [100, 200, 400, 800], [1.9, 1.2, 1.04, 1.01]
    assert function(tokens, prices, 1.05) == 400, (
        f"from 400 tokens on every price is at most 1.05; yours says {function(tokens, prices, 1.05)}"
    )
    assert function(tokens, prices, 1.04) == 400, "a price of exactly the limit is good enough: at most, not less than"
    bumpy = [1.9, 1.03, 1.20, 1.01]
    assert function(tokens, bumpy, 1.05) != 200, (
        "200 tokens were lucky: 400 are above the limit again. Every larger size has to hold, too"
    )
    assert function(tokens, bumpy, 1.05) == 800, (
        f"only 800 tokens and more hold the limit; yours says {function(tokens, bumpy, 1.05)}"
    )
    mixed = [200, 100, 800, 400]
    assert function(mixed, [1.2, 1.9, 1.01, 1.04], 1.05) == 400, (
        "the sizes may come in any order: sort them, with their prices"
    )
    assert mixed == [200, 100, 800, 400], "the list of sizes was changed: sort a copy"
    assert function([100, 100, 200, 200], [1.3, 1.01, 1.02, 1.03], 1.05) == 200, (
        "a size that was measured twice has to hold the limit both times"
    )
    assert function(tokens, prices, 1.001) is None, "where even the largest size is above the limit the answer is None"


EXERCISES = {
    "18.merged": Exercise(
        "Shards into one",
        1,
        5,
        (
            "What you want is one sum over all tokens, divided once. What you have are sums that were divided too "
            "early.",
            "Mean times count is the sum again. Add the sums, add the counts, and only then divide.",
            "`sum(m * n for m, n in zip(means, counts)) / sum(counts)`",
        ),
        check_merged,
        "A mean knows nothing of how many it speaks for. That is why the library exchanges sums and counts and "
        "divides at the very end.",
    ),
    "18.from_triangle": Exercise(
        "A triangle is enough",
        3,
        10,
        (
            "Three steps: the width, the lower triangle, the mirror image.",
            "n = d (d + 1) / 2 gives d = (sqrt(8 n + 1) - 1) / 2. `torch.tril_indices(d, d)` lists the places of the "
            "lower triangle row by row.",
            "`M = packed.new_zeros(d, d)`, `M[i, j] = packed` and `M[j, i] = packed` for `i, j = "
            "torch.tril_indices(d, d)`.",
        ),
        check_from_triangle,
        "Writing both places instead of adding the transpose spares the diagonal from being counted twice.",
    ),
    "18.share_out": Exercise(
        "Who decomposes what",
        2,
        10,
        (
            "Think of porters and suitcases: if the heaviest comes last, someone carries it on top of a full load.",
            "Go through the jobs from the most expensive down. Keep a list of loads, and give each job to the "
            "smallest one.",
            "`sorted(range(len(costs)), key=lambda job: -costs[job])` is stable; `load.index(min(load))` is the "
            "first of the least busy.",
        ),
        check_share_out,
        "It is called longest processing time first, and its heaviest load is at most 4/3 of the best possible.",
    ),
    "18.efficiency": Exercise(
        "What more processes are worth",
        3,
        10,
        (
            "Efficiency is the time of one process over (number of processes times their time together).",
            "Collecting divides evenly. The eigendecompositions take as long as the busiest process needs.",
            "`load = [0.0] * processes`; add each job, the most expensive first, to the smallest entry; the time is "
            "`collect / processes + max(load)`.",
        ),
        check_efficiency,
        "What does not divide sets the limit: from some number of processes on, the largest single matrix is all "
        "that one waits for.",
    ),
    "18.tokens_needed": Exercise(
        "How many are needed",
        2,
        8,
        (
            "One good value may be luck. What is asked is: from where on is it always good?",
            "Go from the largest size downwards, and stop at the first that fails.",
            "`bad = [t for t, p in zip(tokens, prices) if p > limit]`; the answer is the smallest size above "
            "`max(bad)`.",
        ),
        check_tokens_needed,
        "Looking for the first success would reward noise, the more so the more sizes one tries.",
    ),
}
