"""Right answers to the exercises of chapter 18, of unusual form."""

import heapq
from fractions import Fraction

import torch


def stacked(means, counts):
    weights = torch.tensor(counts, dtype=means[0].dtype)
    return torch.einsum("s,sij->ij", weights / weights.sum(), torch.stack(means))


def row_by_row(packed):
    rows, start = [], 0
    while start < len(packed):
        rows.append(packed[start : start + len(rows) + 1])
        start += len(rows)
    M = torch.stack([torch.nn.functional.pad(row, (0, len(rows) - len(row))) for row in rows])
    return M + M.T - torch.diag(M.diagonal())


def one_tensor(vectors):
    """All chunks of all processes in one tensor [P, P, n / P]; a step is a roll."""
    P = len(vectors)
    held, ranks, steps = torch.stack(vectors).view(P, P, -1).clone(), torch.arange(P), []
    for step in range(2 * P - 2):
        messages = held[ranks, (ranks - step) % P]
        place = (ranks - step - 1) % P
        kept = held[ranks, place] if step < P - 1 else 0
        held[ranks, place] = messages.roll(1, 0) + kept
        steps.append(tuple(messages))
    return list(held.view(P, -1)), steps


def other_chunks_first(vectors):
    """Process r begins with chunk r + 1, so that it ends the first half with another one complete."""
    P = len(vectors)
    held, steps = {(r, k): v.chunk(P)[k] for r, v in enumerate(vectors) for k in range(P)}, []
    for step in range(2 * (P - 1)):
        sent = [held[r, (r + 1 - step) % P] for r in range(P)]
        for r in range(P):
            key = ((r + 1) % P, (r + 1 - step) % P)
            held[key] = sent[r] if step >= P - 1 else sent[r] + held[key]
        steps.append(sent)
    return [torch.cat([held[r, k] for k in range(P)]) for r in range(P)], steps


def with_a_heap(costs, processes):
    free = [(0, rank) for rank in range(processes)]
    ranks = {}
    for cost, job in sorted((-cost, job) for job, cost in enumerate(costs)):
        load, rank = heapq.heappop(free)
        ranks[job] = rank
        heapq.heappush(free, (load - cost, rank))
    return [ranks[job] for job in range(len(costs))]


def by_the_heap(collect, jobs, processes):
    free = [0.0] * processes
    for job in sorted(jobs)[::-1]:
        heapq.heapreplace(free, free[0] + job)
    return (collect + sum(jobs)) / (collect + processes * max(free))


def with_fractions(flops, rate, busiest, processes):
    return float(Fraction(rate) / Fraction(flops) * Fraction(busiest) * processes)


def from_the_end(tokens, prices, limit):
    worst = {}
    for size, price in zip(tokens, prices):
        worst[size] = max(price, worst.get(size, price))
    answer = None
    for size in sorted(worst, reverse=True):
        if worst[size] > limit:
            break
        answer = size
    return answer


RIGHT = {
    "18.merged": [stacked],
    "18.from_triangle": [row_by_row],
    "18.ring": [one_tensor, other_chunks_first],
    "18.share_out": [with_a_heap],
    "18.efficiency": [by_the_heap],
    "18.tokens_to_tip": [with_fractions],
    "18.tokens_needed": [from_the_end],
}
