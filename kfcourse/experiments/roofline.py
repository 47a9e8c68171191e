"""What this machine's processor reaches, beside what its memory and its arithmetic allow: chapter 15's roofline."""

import torch

from kfaclib.bench import measure
from kfaclib.io import files
from kfaclib.kernels import syrk

NUMBERS = 2**24  # of float32, in each long tensor: more than most caches hold
WIDTH, ROWS = 2048, (4, 16, 64, 256)  # of the updates
SIDE = 1024  # of the matrices in a product that arithmetic limits


def works():
    """{what: (function of no arguments, operations, bytes that must move)}, all in float32."""
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, NUMBERS, generator=g)
    rows, P = x.view(4096, -1), torch.randn(SIDE, SIDE, generator=g)
    out, C = torch.empty_like(P), torch.zeros(WIDTH, WIDTH)
    found = {
        "copy": (lambda: y.copy_(x), 0, 8 * NUMBERS),
        "matrix product": (lambda: torch.mm(P, P, out=out), 2 * SIDE**3, 12 * SIDE**2),
        "sum of each row": (lambda: rows.sum(1), NUMBERS, 4 * NUMBERS),
        "y += 2 x": (lambda: y.add_(x, alpha=2), 2 * NUMBERS, 12 * NUMBERS),
    }
    for T in ROWS:
        X = torch.randn(T, WIDTH, generator=g)
        moved = 4 * T * WIDTH + 8 * WIDTH**2  # X is read; C is read and written
        found[f"update, {T} rows"] = (lambda X=X: syrk.full_(C, X), 2 * T * WIDTH**2, moved)
    return found


def points(rounds=3):
    """{what: {"flops", "bytes", "seconds"}}, the least CPU seconds of `rounds`, all works by turns."""
    todo = works()
    taken = measure.compare({name: work for name, (work, _, _) in todo.items()}, "cpu", rounds)
    return {
        name: {"flops": flops, "bytes": moved, "seconds": taken[name]["cpu_seconds"]}
        for name, (_, flops, moved) in todo.items()
    }


def roofs(found):
    """(operations a second, bytes a second): the most that any of the works reached."""
    reached = lambda what: max(work[what] / work["seconds"] for work in found.values())
    return reached("flops"), reached("bytes")


def share(found, name):
    """What part of the speed that the two roofs allow a work reached."""
    (rate, bandwidth), work = roofs(found), found[name]
    return max(work["flops"] / rate, work["bytes"] / bandwidth) / work["seconds"]


def run(out):
    """On one thread, ten rounds: a few seconds."""
    torch.set_num_threads(1)
    files.write_json(out, {"provenance": files.provenance(0), "width": WIDTH, "points": points(10)})
