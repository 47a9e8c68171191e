"""Right answers to the exercises of chapter 12 in forms that differ from the course's own."""

import math

import numpy as np
import torch


def by_rank(scores, ratio):
    size = scores.abs().flatten()
    rank = size.argsort().argsort()
    return (rank >= round(ratio * len(rank))).reshape(scores.shape)


def by_topk(scores, ratio):
    keep = np.zeros(scores.numel(), dtype=bool)
    keep[scores.abs().flatten().topk(scores.numel() - round(ratio * scores.numel())).indices.numpy()] = True
    return keep.reshape(scores.shape)


def by_autograd(W, scores, a, g):
    pretended = scores.clone().requires_grad_()
    ((a @ (W * pretended.abs()).T) * g).sum().backward()
    return pretended.grad


def token_by_token(W, scores, a, g):
    total = sum(torch.outer(g_t, a_t) for a_t, g_t in zip(a, g, strict=True))
    return torch.where(scores < 0, -total * W, total * W)


def by_numpy(clean, memorized, weight, bound):
    up = np.minimum(memorized.numpy(), bound).mean()
    return clean.numpy().mean() * (1 - weight) - up * weight


def by_where(clean, memorized, weight, bound):
    capped = torch.where(memorized > bound, torch.full_like(memorized, bound), memorized)
    return torch.lerp(clean.mean(), -capped.mean(), weight)


def by_adam(W, memorized, clean, ratio):
    """Autograd through a straight-through mask, and another optimizer."""
    scores = torch.rand(W.shape, generator=torch.Generator().manual_seed(3), dtype=W.dtype).requires_grad_()
    optimizer = torch.optim.Adam([scores], lr=0.02)
    error = lambda weights, pairs: (pairs[0] @ weights.T - pairs[1]).square().mean()
    for _ in range(300):
        mask = by_rank(scores.detach(), ratio) + scores.abs() - scores.abs().detach()
        loss = error(W * mask, clean) - error(W * mask, memorized)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return by_rank(scores.detach(), ratio)


def one_weight_at_a_time(W, memorized, clean, ratio):
    """Greedy: always drop the weight whose absence helps most."""
    mask = torch.ones(W.shape, dtype=W.dtype)
    for _ in range(round(ratio * W.numel())):
        gain = torch.zeros_like(W)
        for (inputs, outputs), sign in ((memorized, 1), (clean, -1)):
            error = inputs @ (W * mask).T - outputs  # [N, O]; without W_ij it falls by W_ij a_j in output i
            cut = -2 * (error.T @ inputs) * W + W.square() * inputs.square().sum(0)
            gain += sign * cut / outputs.numel()
        best = gain.masked_fill(mask == 0, -math.inf).argmax()
        mask.view(-1)[best] = 0
    return mask.bool()


def by_flood(quotes, n):
    """Neighbours first, then one flood for each group."""
    runs = [{tuple(words[k : k + n]) for k in range(len(words) + 1 - n)} for words in quotes]
    free, groups = set(range(len(quotes))), []
    while free:
        group, edge = set(), {min(free)}
        while edge:
            group |= edge
            edge = {j for j in free - group if any(runs[i] & runs[j] for i in group)}
        free -= group
        groups.append(group)
    first = set()
    for group in sorted(groups, key=len):
        if len(first) + len(group) <= len(quotes) // 2:
            first |= group
    return first, set(range(len(quotes))) - first


def by_logarithms():
    p = math.exp(48 * math.log(0.9))
    return p, float(math.ceil(math.log(0.5) / math.log1p(-p)))


RIGHT = {
    "12.subnet_mask": [by_rank, by_topk],
    "12.score_gradient": [by_autograd, token_by_token],
    "12.balanced_loss": [by_numpy, by_where],
    "12.train_subnet": [by_adam, one_weight_at_a_time],
    "12.disjoint_halves": [by_flood],
    "12.draws_needed": [by_logarithms],
}
