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


def ringed(vectors, complete=True, add=True, replace=True):
    """The ring of the worked notebook, with one thing done in another way."""
    P = len(vectors)
    held, steps = [list(v.clone().chunk(P)) for v in vectors], []
    for step in range((2 if complete else 1) * (P - 1)):
        messages = [held[rank][(rank - step) % P].clone() for rank in range(P)]
        for rank in range(P):
            place, arrived = (rank - 1 - step) % P, messages[rank - 1]
            adding = add if step < P - 1 else not replace
            held[rank][place] = held[rank][place] + arrived if adding else arrived
        steps.append(messages)
    return [torch.cat(chunks) for chunks in held], steps


def nobody_sends(vectors):
    return [sum(vectors) for _ in vectors], []


def whole_vectors(vectors):
    P, total, steps = len(vectors), [v.clone() for v in vectors], []
    moving = list(vectors)
    for _ in range(P - 1):
        steps.append(moving)
        moving = [moving[rank - 1] for rank in range(P)]
        total = [t + m for t, m in zip(total, moving)]
    return total, steps


def first_half_only(vectors):
    return ringed(vectors, complete=False)


def handed_on_only(vectors):
    return ringed(vectors, add=False)


def added_in_both_halves(vectors):
    return ringed(vectors, replace=False)


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


def one_process(flops, rate, busiest, processes):
    return rate * busiest / flops


def fewer_with_more(flops, rate, busiest, processes):
    return rate * busiest / (flops * processes)


def upside_down(flops, rate, busiest, processes):
    return flops / (rate * busiest * processes)


def in_a_second(flops, rate, busiest, processes):
    return processes * rate / flops


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
    "18.ring": [
        (nobody_sends, "no message was sent"),
        (whole_vectors, "whole vectors travel"),
        (first_half_only, "one process only"),
        (handed_on_only, "nothing of its own"),
        (added_in_both_halves, "replaces what was there"),
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
    "18.tokens_to_tip": [
        (one_process, "for one process"),
        (fewer_with_more, "not fewer"),
        (upside_down, "upside down"),
        (in_a_second, "in a second"),
    ],
    "18.tokens_needed": [
        (first_success, "lucky"),
        (in_given_order, "in any order"),
        (strictly_less, "exactly the limit"),
        (always_the_largest, "400"),
    ],
}
