"""Exercises of chapter 18: shards into one mean, a triangle back into a matrix, a ring, eigendecompositions shared out,
efficiency, where collecting begins to matter, tokens needed.
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


def _ring_run(function, processes, width):
    """(vectors, sums, steps) of the ring on float64 vectors, after what can be said of any of them."""
    g = torch.Generator().manual_seed(processes)
    vectors = [torch.randn(width, generator=g, dtype=torch.float64) for _ in range(processes)]
    before = [v.clone() for v in vectors]
    found = function(vectors)
    assert all(torch.equal(v, b) for v, b in zip(vectors, before)), "you changed the vectors: work on copies of them"
    assert isinstance(found, (list, tuple)) and len(found) == 2, (
        "two things are wanted: the list of sums, and the list of steps with the messages of each"
    )
    sums, steps = found
    assert len(sums) == processes, f"{processes} processes need {processes} sums, one for each; there are {len(sums)}"
    return vectors, sums, steps


def _check_messages(vectors, steps):
    """What travels must be what a process can know at that step: first partial sums, then complete chunks."""
    processes = len(vectors)
    for step, messages in enumerate(steps):
        for rank, message in enumerate(messages):
            first = step < processes - 1
            came = [(rank - k) % processes for k in range(step + 1 if first else processes)]
            known = sum(vectors[r] for r in came).view(processes, -1)
            own = vectors[came[-1]].view(processes, -1)
            if any(torch.allclose(message, chunk) for chunk in known):
                continue
            assert not (first and step and any(torch.allclose(message, chunk) for chunk in own)), (
                f"step {step}, process {rank} hands on what it received and nothing of its own: add your own chunk "
                "first"
            )
            assert first, (
                f"step {step}, process {rank}: in the second half complete chunks are handed on, and one that arrives "
                "replaces what was there; adding it counts some vectors twice"
            )
            raise AssertionError(
                f"step {step}, process {rank}: the message should be one chunk, summed over the processes "
                f"{sorted(came)}, since no other vector can have come this far"
            )


def check_ring(function):
    for processes, width in ((3, 6), (2, 4), (4, 8), (5, 15)):
        vectors, sums, steps = _ring_run(function, processes, width)
        assert len(steps) > 0, "no message was sent: how does process 1 know what process 0 holds?"
        for messages in steps:
            assert len(messages) == processes, (
                f"in every step each process sends one message: {processes} messages, not {len(messages)}"
            )
            assert all(m.numel() != width for m in messages), (
                "whole vectors travel here: cut them into as many chunks as there are processes, and send one in each "
                "step"
            )
            assert all(m.shape == (width // processes,) for m in messages), (
                f"a message is one chunk, [{width // processes}] for vectors of {width} and {processes} processes"
            )
        wanted = 2 * (processes - 1)
        assert len(steps) != processes - 1, (
            "after these steps each chunk is complete at one process only: it takes as many steps again to hand the "
            "complete chunks round"
        )
        assert len(steps) == wanted, f"{processes} processes need {wanted} steps, yours takes {len(steps)}"
        _check_messages(vectors, steps)
        total = sum(vectors)
        for rank, found in enumerate(sums):
            assert found.shape == total.shape, f"the sum of process {rank} is {list(found.shape)}, not [{width}]"
            assert torch.allclose(found, total), (
                f"process {rank} of {processes} ends with a wrong sum: in the second half a chunk that arrives "
                "replaces what was there, and every chunk goes back to its place"
            )
    vectors, sums, steps = _ring_run(function, 1, 3)
    assert torch.equal(sums[0], vectors[0]) and not steps, "a single process has nobody to send to, and no steps"


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


def check_tokens_to_tip(function):
    for flops, rate, busiest, processes in ((2.0, 10.0, 3.0, 4), (4e10, 4e14, 1200.0, 1), (1e12, 2e14, 50.0, 8)):
        found, one = float(function(flops, rate, busiest, processes)), rate * busiest / flops
        case = f"{flops:g} operations a token, {rate:g} a second, {busiest:g} s, {processes} processes"
        close = lambda value: math.isclose(found, value, rel_tol=1e-9)
        assert close(processes * one) or not close(one), (
            f"{case}: this is the answer for one process; several collect faster"
        )
        assert close(processes * one) or not close(one / processes), (
            f"{case}: several processes collect faster, so it takes more tokens until that takes longer, not fewer"
        )
        assert close(processes * one) or not close(1 / (processes * one)), (
            f"{case}: this is tokens upside down; operations a token stand below"
        )
        assert close(processes * one) or not close(processes * rate / flops), (
            f"{case}: this is how many tokens are collected in a second, not while the busiest process decomposes"
        )
        assert close(processes * one), f"{case}: should be {processes * one:g} tokens, yours is {found:g}"


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
            "Try it on paper with two means, 4 over three tokens and 0 over one: which sum, and which count?",
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
            "`math.isqrt` takes the root of an integer without rounding. `packed.new_zeros(d, d)` makes the matrix; "
            "with the indices of the lower triangle you can assign to it, and once more with the two swapped.",
        ),
        check_from_triangle,
        "Writing both places instead of adding the transpose spares the diagonal from being counted twice.",
    ),
    "18.ring": Exercise(
        "A ring of processes",
        4,
        25,
        (
            "Draw three processes with three chunks each, and follow one chunk from the process where it starts. "
            "Everyone sends at the same time, so write down all messages of a step before anything is changed.",
            "Let process r send chunk r first, then the chunk that it has just received and added to. So in step s it "
            "sends chunk (r - s) modulo P, and what arrives belongs to chunk (r - 1 - s) modulo P.",
            "The same two formulas hold in both halves. What differs is what is done with the chunk that arrives: "
            "as long as s < P - 1 it is added, afterwards it takes the place of what was there.",
        ),
        check_ring,
        "Each chunk is added up once, along the ring, and then copied. That is why all processes end with the same "
        "bits, and why nobody sends more than twice what it holds, however many take part.",
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
            "Keep a list of loads as in the exercise before, but of seconds; the largest load is what all wait for. "
            "Then put the two times together as in (18.4).",
        ),
        check_efficiency,
        "What does not divide sets the limit: from some number of processes on, the largest single matrix is all "
        "that one waits for.",
    ),
    "18.tokens_to_tip": Exercise(
        "Where tokens begin to matter",
        2,
        8,
        (
            "Write down two times in seconds: collecting n tokens with P processes, and decomposing. Where are they "
            "equal?",
            "P processes collect n tokens in n F / (P R) seconds. The decompositions take as long as the busiest of "
            "them.",
            "Set the two times equal and multiply by P R / F. Then check the direction: what happens to your n when "
            "the processes become more, and when a token becomes more expensive?",
        ),
        check_tokens_to_tip,
        "Below this number the eigendecompositions take longer, and a smaller sample saves less than half of the time.",
    ),
    "18.tokens_needed": Exercise(
        "How many are needed",
        2,
        8,
        (
            "One good value may be luck. What is asked is: from where on is it always good?",
            "Go from the largest size downwards, and stop at the first that fails.",
            "Which is the largest size that failed at least once? Only sizes above it can be the answer.",
        ),
        check_tokens_needed,
        "Looking for the first success would reward noise, the more so the more sizes one tries.",
    ),
}
