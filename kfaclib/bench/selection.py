"""Which pairs to keep: one threshold over two sorted spectra, against a heap that takes pairs one by one."""

import heapq

import torch

from kfaclib.bench.measure import once
from kfaclib.editing.edit import keep_prefix

SHAPE = (8192, 2048)  # a projection of OLMo-2-1B
MASS = 0.6  # the paper's


def spectrum(n, generator):
    """float64 [n], descending: falls as a power law, as the spectra of language models do, jagged so that few products
    tie.
    """
    power = torch.arange(1, n + 1, dtype=torch.float64).pow(-0.75)
    return (power * (0.95 + 0.1 * torch.rand(n, generator=generator, dtype=torch.float64))).sort(descending=True).values


def heap_prefix(lambda_G, lambda_A, mass, number=float):
    """What `keep_prefix` finds, by a heap in Python that begins at the largest product and goes on to the two next to
    it.

    number: what makes a Python number of an element; `float` on plain lists, `torch.Tensor.item` where spectra stay
    tensors.
    """
    O, I = len(lambda_G), len(lambda_A)
    goal = mass * float(sum(lambda_G)) * float(sum(lambda_A))
    heap, seen, kept, total = [(-number(lambda_G[0] * lambda_A[0]), 0, 0)], {(0, 0)}, [], 0.0
    while total < goal * (1 - 1e-12) and heap:
        value, i, j = heapq.heappop(heap)
        kept.append((i, j))
        total -= value
        for pair in ((i + 1, j), (i, j + 1)):
            if pair[0] < O and pair[1] < I and pair not in seen:
                seen.add(pair)
                heapq.heappush(heap, (-number(lambda_G[pair[0]] * lambda_A[pair[1]]), *pair))
    rows = torch.tensor([i for i, _ in kept])
    return torch.bincount(rows, minlength=O)


def run(say, shape=SHAPE):
    """Seconds of both on the CPU, and whether they keep the same set."""
    generator = torch.Generator().manual_seed(0)
    G, A = (spectrum(n, generator) for n in shape)
    prefix = keep_prefix(G, A, MASS)
    kept = int(prefix.sum())
    ours = min(once(lambda: keep_prefix(G, A, MASS), "cpu")[1] for _ in range(20))
    say(f"{shape[0]} x {shape[1]}, mass {MASS}: {kept} pairs kept, {ours * 1e3:.1f} ms; now a heap ...")
    result = {"shape": list(shape), "mass": MASS, "kept": kept, "cpu_seconds": ours, "heaps": {}}
    for name, spectra, number in (
        ("Python numbers", (G.tolist(), A.tolist()), float),
        ("tensor elements and .item()", (G, A), torch.Tensor.item),
    ):
        found = []
        _, seconds = once(lambda: found.append(heap_prefix(*spectra, MASS, number)), "cpu")
        result["heaps"][name] = {
            "cpu_seconds": seconds,
            "times": seconds / ours,
            "same_set": bool(torch.equal(found[0], prefix)),
        }
        say(
            f"heap of {name}: {seconds:.1f} s, {seconds / ours:.0f} times as long; same set: "
            f"{result['heaps'][name]['same_set']}"
        )
    return result
