"""Several processes, one result: each sums its own share of the windows, and one triangle of every sum is added up at
the end.

Started by `torchrun --nproc-per-node N -m kfaclib collect ...`; without torchrun there is one process and nothing here
does anything. Nothing is exchanged in between, so processes may be at different places when they are killed, and each
goes on from its own checkpoint.
"""

import datetime
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

if TYPE_CHECKING:
    from kfaclib.curvature.factors import Sums

PATIENCE = datetime.timedelta(
    hours=12
)  # one process packs the corpus, or decomposes the largest matrix, while others wait


@contextmanager
def processes() -> Iterator[tuple[int, int]]:
    """Inside the block, the process group that torchrun asks for: nccl on GPUs, gloo otherwise.

    Yields (rank, number of processes); (0, 1) and no group without torchrun.
    """
    world = int(os.environ.get("WORLD_SIZE", 1))
    if world == 1:
        yield 0, 1
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE)
    try:
        yield dist.get_rank(), world
    finally:
        dist.destroy_process_group()


def active() -> bool:
    return dist.is_available() and dist.is_initialized()


def _device():
    return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")  # what the group can talk about


def place() -> tuple[int, int]:
    """(rank, number of processes) of this process now."""
    return (dist.get_rank(), dist.get_world_size()) if active() else (0, 1)


def wait_for_all() -> None:
    if active():
        dist.barrier()


def share(count: int, rank: int, world: int) -> tuple[int, int]:
    """(start, stop) of the windows, out of `count`, that belong to this rank: contiguous, with sizes that differ by at
    most one.
    """
    return count * rank // world, count * (rank + 1) // world


def pack(matrix: torch.Tensor, block: int = 512) -> torch.Tensor:
    """The lower triangle of a matrix [d, d] as one vector: blocks of rows, each up to the end of its diagonal block.

    That is d (d + block) / 2 numbers, and no index of as many is needed.
    """
    return torch.cat([matrix[i : i + block, : i + block].flatten() for i in range(0, len(matrix), block)])


def unpack_(matrix: torch.Tensor, packed: torch.Tensor, block: int = 512) -> torch.Tensor:
    """Put the vector of `pack` back into the lower triangle of matrix [d, d], in place; returns the matrix.

    Above the diagonal blocks nothing changes.
    """
    at = 0
    for i in range(0, len(matrix), block):
        part = matrix[i : i + block, : i + block]
        part.copy_(packed[at : at + part.numel()].view_as(part))
        at += part.numel()
    return matrix


def add_up_(sums: "Sums") -> "Sums":
    """Add the `Sums` of all processes, in place: afterwards each process has the total, in the lower triangles.

    One all-reduce for each triangle, of d (d + 512) / 2 numbers instead of d^2. The additions have another order than
    in a single process, so the two agree to rounding; with the same number of processes the bits are the same.
    """
    if not active():
        return sums
    device, names = _device(), sorted(sums.tokens)
    for key in sorted(sums.total):  # not in the order they were made: one that was read from a checkpoint has another
        triangle = pack(sums.total[key]).to(device)
        dist.all_reduce(triangle)
        unpack_(sums.total[key], triangle)
    tokens = torch.tensor([sums.tokens[name] for name in names], device=device)
    dist.all_reduce(tokens)
    sums.tokens = dict(zip(names, tokens.tolist()))
    return sums


def assign(costs: Sequence[float], world: int) -> list[int]:
    """The rank of each job: jobs in order of falling cost, each to the process that has least to do (Graham 1969).

    The heaviest load is at most 4/3 of the best possible.
    """
    load, ranks = [0] * world, [0] * len(costs)
    for job in sorted(range(len(costs)), key=lambda job: -costs[job]):
        ranks[job] = load.index(min(load))
        load[ranks[job]] += costs[job]
    return ranks


def shared_out(
    sizes: Sequence[int],
    compute: Callable[[int], tuple[torch.Tensor, ...]],
    empty: Callable[[int], tuple[torch.Tensor, ...]],
) -> list[tuple[torch.Tensor, ...]]:
    """[compute(job) for every job], each computed by one process only and sent to all; a job costs the cube of its
    size.

    compute(job) and empty(job) return tuples of tensors of the same shapes and dtypes; the values of empty do not
    matter.
    """
    rank, world = place()
    owner = assign([size**3 for size in sizes], world)
    results = [compute(job) if owner[job] == rank else empty(job) for job in range(len(sizes))]
    if world > 1:
        for result, source in zip(results, owner):
            for x in result:
                sent = x.to(
                    _device()
                ).contiguous()  # eigenvectors come column by column: without this they would arrive transposed
                dist.broadcast(sent, source)
                x.copy_(sent)
    return results
