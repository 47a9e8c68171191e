"""Time and memory of a piece of work, on a CPU or a GPU."""

import gc
import itertools
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from kfaclib.io import files

CLOCK = {
    "cuda": "seconds",
    "cpu": "cpu_seconds",
}  # what is compared: a CPU may be shared, and then only CPU time says anything


def _wait(device):
    if device == "cuda":
        torch.cuda.synchronize()


def once(work: Callable[[], object], device: str, number: int = 1) -> tuple[float, float]:
    """(wall seconds, CPU seconds of the process) per call of work(), over `number` calls in a row."""
    _wait(device)
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(number):
        work()
    _wait(device)
    return (time.perf_counter() - wall) / number, (time.process_time() - cpu) / number


def compare(
    works: dict[str, Callable[[], object]], device: str, rounds: int = 3, number: int = 1
) -> dict[str, dict[str, float]]:
    """Time {name: work}: {name: {"seconds", "cpu_seconds"}} per call, the least of `rounds`.

    All works take turns, so that other load on the machine affects all of them; a first call of each is not counted.
    """
    for work in works.values():
        work()
    taken = [{name: once(work, device, number) for name, work in works.items()} for _ in range(rounds)]
    return {
        name: {"seconds": min(t[name][0] for t in taken), "cpu_seconds": min(t[name][1] for t in taken)}
        for name in works
    }


def peak_bytes(work: Callable[[], object], device: str) -> int:
    """The most memory that tensors made by work() held at once, in bytes, as the caching allocator counts it on a GPU
    and the profiler on a CPU."""
    if device == "cuda":
        gc.collect()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        work()
        return torch.cuda.max_memory_allocated() - before
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler would say on stderr that it starts and stops
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        work()
    with tempfile.TemporaryDirectory() as folder:
        profile.export_chrome_trace(str(Path(folder) / "trace.json"))
        events = files.read_json(Path(folder) / "trace.json")["traceEvents"]
    changes = sorted((e["ts"], e["args"]["Bytes"]) for e in events if e.get("name") == "[memory]")
    return max(itertools.accumulate((change for _, change in changes), initial=0))
