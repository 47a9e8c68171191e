"""Chapter 18: fresh inputs for every exercise, and a question of one's own for every student."""

import math

import torch

from kfcourse.grading.variants import Variant, alike, real, share, shuffled, tenths, whole


def _shards(g):
    d, counts = whole(g, 2, 5), [whole(g, 1, 9) for _ in range(whole(g, 2, 4))] + [whole(g, 10, 20)]
    rows = [real(g, n, d) for n in counts]
    return [x.T @ x / len(x) for x in rows], counts


def _diagonal_up(g):
    c = tenths(g, 0.2, 3)
    return (
        f"Add {c} to every entry of the diagonal of the merged factor.",
        lambda ref: lambda means, counts: ref(means, counts) + c * torch.eye(len(means[0]), dtype=means[0].dtype),
    )


def _triangle(g):
    return (real(g, (d := whole(g, 3, 8)) * (d + 1) // 2),)


def _below_times(g):
    c = tenths(g, 1.5, 4)

    def function(ref):
        def from_triangle(packed):
            M = ref(packed)
            return M.tril() + c * M.triu(1)

        return from_triangle

    return f"Every entry above the diagonal is {c} times the one below it.", function


def _ring(g):
    processes = whole(g, 2, 4)
    width = processes * whole(g, 1, 4)
    return ([real(g, width) for _ in range(processes)],)


def _counted_twice(g):
    c = tenths(g, 1.5, 4)
    return (
        f"The vector of process 0 enters the sum {c} times.",
        lambda ref: lambda vectors: ref([c * vectors[0], *vectors[1:]]),
    )


def _same_ring(expected, got, _):
    """Equal sums, and as many messages of the same lengths: which chunk goes first is a matter of choice."""
    lengths = lambda steps: [[len(message) for message in messages] for messages in steps]
    return alike(expected[0], got[0]) and lengths(expected[1]) == lengths(got[1])


def _busy_first(g):
    c = whole(g, 6, 40)

    def function(ref):
        def share_out(costs, processes):
            load, ranks = [c] + [0] * (processes - 1), [0] * len(costs)
            for job in sorted(range(len(costs)), key=lambda job: -costs[job]):
                ranks[job] = load.index(min(load))
                load[ranks[job]] += costs[job]
            return ranks

        return share_out

    return f"Process 0 is busy: it begins with a load of {c}.", function


def _costs(g):
    return [whole(g, 1, 30) for _ in range(whole(g, 5, 12))], whole(g, 2, 4)


def _with_reduction(g):
    c = tenths(g, 0.5, 4)

    def function(ref):
        def efficiency(collect, jobs, processes):
            alone = collect + sum(jobs)
            together = alone / (processes * ref(collect, jobs, processes)) + c * (processes > 1)
            return alone / (processes * together)

        return efficiency

    return f"With more than one process, {c} seconds go by for adding up the factors.", function


def _times(g):
    return 5 + 50 * share(g), [1 + 20 * share(g) for _ in range(whole(g, 3, 9))], whole(g, 2, 5)


def _tip(g):
    return 1e9 * whole(g, 5, 900), 1e12 * whole(g, 20, 400), float(whole(g, 10, 4000)), whole(g, 2, 16)


def _with_restarts(g):
    c = whole(g, 20, 600)
    return (
        f"Before it collects, every process loads the model for {c} seconds, which count as collecting. "
        "No answer is below 0.",
        lambda ref: lambda flops, rate, busiest, processes: ref(flops, rate, max(0.0, busiest - c), processes),
    )


def _prices(g):
    n = whole(g, 5, 9)
    prices = [1 + 1.5 / 2**i * (0.4 + 1.2 * share(g, 0, 1)) for i in range(n)]
    order = shuffled(g, n).tolist()
    return [100 * 2**i for i in order], [prices[i] for i in order], sorted(prices)[whole(g, 1, n - 2)]


def _in_hundreds(g):
    c = whole(g, 2, 9)
    return (
        f"To be safe, ask for {c} times as many tokens as that (None stays None).",
        lambda ref: lambda *args: None if (n := ref(*args)) is None else c * n,
    )


VARIANTS = {
    "18.merged": Variant(_shards, _diagonal_up),
    "18.from_triangle": Variant(_triangle, _below_times),
    "18.ring": Variant(_ring, _counted_twice, _same_ring),
    "18.share_out": Variant(_costs, _busy_first),
    "18.efficiency": Variant(_times, _with_reduction, lambda a, b, _: math.isclose(float(a), float(b), rel_tol=1e-6)),
    "18.tokens_to_tip": Variant(_tip, _with_restarts),
    "18.tokens_needed": Variant(_prices, _in_hundreds),
}
