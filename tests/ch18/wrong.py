"""Plausible wrong answers to the exercises of chapter 18, with a fragment of what their check must say."""

import math

import torch


def mean_of_means(means, counts):
    return sum(means) / len(means)


def not_divided(means, counts):
    return sum(m * n for m, n in zip(means, counts))


def only_added(means, counts):
    return sum(means)


def weights_by_root(means, counts):
    return sum(m * n**0.5 for m, n in zip(means, counts)) / sum(n**0.5 for n in counts)


def _width(packed):
    return (math.isqrt(8 * len(packed) + 1) - 1) // 2


def lower_only(packed):
    M = packed.new_zeros(_width(packed), _width(packed))
    M[tuple(torch.tril_indices(*M.shape))] = packed
    return M


def diagonal_twice(packed):
    return lower_only(packed) + lower_only(packed).T


def column_by_column(packed):
    M = packed.new_zeros(_width(packed), _width(packed))
    i, j = torch.triu_indices(*M.shape)
    M[i, j] = packed
    M[j, i] = packed
    return M


def square_of_the_width(packed):
    d = round(math.sqrt(len(packed)))
    return packed.new_zeros(d, d)


def round_robin(costs, processes):
    return [job % processes for job in range(len(costs))]


def in_their_order(costs, processes):
    load, ranks = [0] * processes, []
    for cost in costs:
        ranks.append(load.index(min(load)))
        load[ranks[-1]] += cost
    return ranks


def ranks_of_the_sorted(costs, processes):
    load, ranks = [0] * processes, []
    for cost in sorted(costs, reverse=True):
        ranks.append(load.index(min(load)))
        load[ranks[-1]] += cost
    return ranks


def _time(collect, jobs, processes):
    load = [0.0] * processes
    for job in sorted(jobs, reverse=True):
        load[load.index(min(load))] += job
    return collect / processes + max(load)


def speed_up(collect, jobs, processes):
    return _time(collect, jobs, 1) / _time(collect, jobs, processes)


def evenly(collect, jobs, processes):
    return 1.0


def jobs_everywhere(collect, jobs, processes):
    return (collect + sum(jobs)) / (processes * (collect / processes + sum(jobs)))


def tokens_everywhere(collect, jobs, processes):
    return (collect + sum(jobs)) / (processes * (collect + _time(0, jobs, processes)))


def first_success(tokens, prices, limit):
    return min((t for t, p in zip(tokens, prices) if p <= limit), default=None)


def in_given_order(tokens, prices, limit):
    found = None
    for t, p in zip(reversed(tokens), reversed(prices)):
        if p > limit:
            return found
        found = t
    return found


def strictly_less(tokens, prices, limit):
    bad = [t for t, p in zip(tokens, prices) if p >= limit]
    return min((t for t in tokens if t > max(bad, default=0)), default=None)


def always_the_largest(tokens, prices, limit):
    return max(tokens)


WRONG = {
    "18.merged": [
        (mean_of_means, "mean of the means"),
        (not_divided, "divide once"),
        (only_added, "not divided"),
        (weights_by_root, "mean over all tokens"),
    ],
    "18.from_triangle": [
        (lower_only, "upper triangle is still zero"),
        (diagonal_twice, "counted twice"),
        (column_by_column, "wrong places"),
        (square_of_the_width, "solved for d"),
    ],
    "18.share_out": [
        (round_robin, "in turn"),
        (in_their_order, "begin with the most expensive"),
        (ranks_of_the_sorted, "in the order in which the jobs came"),
    ],
    "18.efficiency": [
        (speed_up, "speed-up"),
        (evenly, "busiest process"),
        (jobs_everywhere, "does all eigendecompositions"),
        (tokens_everywhere, "collects on all tokens"),
    ],
    "18.tokens_needed": [
        (first_success, "lucky"),
        (in_given_order, "in any order"),
        (strictly_less, "exactly the limit"),
        (always_the_largest, "400"),
    ],
}
