"""Right answers to the exercises of chapter 09 in forms that differ from the course's own."""

import heapq
import math

import numpy as np
import torch


def one_at_a_time(Pi, mass):
    keep, held, goal = np.zeros(Pi.shape, dtype=bool), 0.0, mass * Pi.sum().item() * (1 - 1e-12)
    places = sorted(np.ndindex(*Pi.shape), key=lambda place: -Pi[place].item())
    for place in places:
        if held >= goal:
            break
        keep[place], held = True, held + Pi[place].item()
    return torch.from_numpy(keep)


def pair_by_pair(W, Q_G, Q_A, keep):
    total = torch.zeros_like(W)
    for i, j in keep.nonzero().tolist():
        u, v = Q_G[:, i], Q_A[:, j]
        total = total + (u @ W @ v) * torch.outer(u, v)
    return total


def what_is_dropped_taken_off(W, Q_G, Q_A, keep):
    return W - torch.einsum("oi,ij,kj->ok", Q_G, (Q_G.T @ W @ Q_A) * ~keep, Q_A)


def as_arrays():
    W = np.array([[3.0, 1.0], [2.0, 4.0]])
    return np.repeat(W.mean(1, keepdims=True), 2, axis=1), np.float64(8)


def as_a_list_of_tensors():
    return [torch.tensor([[2, 2], [3, 3]]), torch.tensor(8.0)]


def by_a_heap(lambda_G, lambda_A, mass):
    """The largest pairs one after the other, with one candidate a row."""
    G, A = lambda_G.tolist(), lambda_A.tolist()
    goal = mass * math.fsum(G) * math.fsum(A) * (1 - 1e-12)
    heap, counts, held = [(-g * A[0], i) for i, g in enumerate(G)], [0] * len(G), 0.0
    heapq.heapify(heap)
    while held < goal and heap:
        value, i = heapq.heappop(heap)
        held, counts[i] = held - value, counts[i] + 1
        if counts[i] < len(A):
            heapq.heappush(heap, (-G[i] * A[counts[i]], i))
    return counts


def row_by_row_on_a_logarithmic_scale(lambda_G, lambda_A, mass):
    G, A = lambda_G.numpy(), lambda_A.numpy()
    below = np.concatenate([[0], A.cumsum()])
    low, high = math.log(G[-1] * A[-1]) - 1, math.log(G[0] * A[0]) + 1
    count = np.full(len(G), len(A))
    for _ in range(80):
        t = math.exp((low + high) / 2)
        passing = np.array([np.searchsorted(-A, -t / g, side="right") for g in G])
        if (G * below[passing]).sum() >= mass * G.sum() * A.sum():
            low, count = (low + high) / 2, passing
        else:
            high = (low + high) / 2
    return count


def by_trace(C, Pi, keep):
    dropped = C.masked_fill(keep, 0)
    return float(torch.trace(dropped.T @ (Pi * dropped)) / 2)


def with_a_while_loop(score, target, steps=8):
    ends, n, s = [0, 12], 0, 0.0
    while n < steps:
        s = 1 - math.exp(-sum(ends) / 2)
        ends[0 if score(s) < target else 1] = sum(ends) / 2
        n += 1
    return s


def by_singular_vectors_of_noise(W, keep, generator):
    Q, R = (
        torch.linalg.svd(torch.randn(n, n, generator=generator, dtype=torch.float64))[0].to(W.dtype) for n in W.shape
    )
    return torch.einsum("ai,ij,bj->ab", Q, torch.einsum("ai,ab,bj->ij", Q, W, R) * keep, R)


def by_symmetric_noise(W, keep, generator):
    bases = []
    for n in W.shape:
        noise = torch.randn(n, n, generator=generator, dtype=W.dtype)
        bases.append(torch.linalg.eigh(noise + noise.T)[1])
    Q, R = bases
    return W - Q @ ((Q.T @ W @ R) * ~keep) @ R.T


def centred_first(p, dz):
    centred = dz - (p * dz).sum(-1, keepdim=True)
    return (p * centred.square()).sum(-1).mean() / 2


def by_the_matrix(p, dz):
    return np.mean([(z @ (torch.diag(q) - torch.outer(q, q)) @ z).item() / 2 for q, z in zip(p, dz)])


RIGHT = {
    "09.kept_pairs": [one_at_a_time],
    "09.projected": [pair_by_pair, what_is_dropped_taken_off],
    "09.by_hand": [as_arrays, as_a_list_of_tensors],
    "09.stairs": [by_a_heap, row_by_row_on_a_logarithmic_scale],
    "09.predicted_cost": [by_trace],
    "09.find_strength": [with_a_while_loop],
    "09.control": [by_singular_vectors_of_noise, by_symmetric_noise],
    "09.price_of_change": [centred_first, by_the_matrix],
}
