"""Time to select the kept pairs: by one threshold over two sorted spectra, and by a heap that takes pairs one by
one."""

import heapq
from collections.abc import Callable, Sequence

import torch

from kfaclib.bench.measure import once
from kfaclib.editing.edit import keep_prefix

SHAPE = (8192, 2048)  # a projection of OLMo-2-1B
MASS = 0.6  # the paper's


def spectrum(n: int, generator: torch.Generator) -> torch.Tensor:
    """A made-up spectrum: float64 [n], descending as a power law, as those of language models do, with jitter so that
    few products tie."""
    power = torch.arange(1, n + 1, dtype=torch.float64).pow(-0.75)
    return (power * (0.95 + 0.1 * torch.rand(n, generator=generator, dtype=torch.float64))).sort(descending=True).values


def heap_prefix(
    lambda_G: Sequence, lambda_A: Sequence, mass: float, number: Callable[[object], float] = float
) -> torch.Tensor:
    """The result of `keep_prefix`, int64 [O], found by a heap in Python that starts at the largest product and pushes
    the two neighbours of each pair that it takes.

    lambda_G [O], lambda_A [I]: descending. number: makes a Python number of an element: `float` for lists,
    `torch.Tensor.item` for tensors.
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


def run(say: Callable[[str], object], shape: tuple[int, int] = SHAPE) -> dict[str, object]:
    """Measure CPU seconds of both at spectra of `shape` (O, I), and whether they keep the same set."""
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
