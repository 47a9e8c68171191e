"""Speed of the kernels against PyTorch's own `addmm` with float32 output and its softmax in several steps."""

from collections.abc import Callable

import torch

from kfaclib.bench.measure import CLOCK, compare
from kfaclib.curvature import labels
from kfaclib.kernels import has_triton, syrk

SIZES = {"cuda": ((2048, 4096, 8192, 11008), (4096, 16384)), "cpu": ((192, 768, 2048), (2048,))}  # widths, rows
VOCABULARY = {"cuda": (1024, 100_352), "cpu": (512, 4096)}  # rows, words
# other tiles for `triton_syrk.CONFIGS`: should one of them win, it belongs there
TRIALS = {
    "128x128x64, 4 stages": dict(BLOCK_I=128, BLOCK_J=128, BLOCK_T=64, num_warps=8, num_stages=4),
    "128x256x64, 3 stages": dict(BLOCK_I=128, BLOCK_J=256, BLOCK_T=64, num_warps=8, num_stages=3),
    "128x256x32, 4 stages": dict(BLOCK_I=128, BLOCK_J=256, BLOCK_T=32, num_warps=8, num_stages=4),
    "128x128x32, 4 warps": dict(BLOCK_I=128, BLOCK_J=128, BLOCK_T=32, num_warps=4, num_stages=4),
}


def matmul_rate(device: str, dtype: torch.dtype) -> float:
    """Floating-point operations per second of a large square product, as measured (per CPU second on a CPU)."""
    n = 8192 if device == "cuda" else 1024
    X = torch.randn(n, n, device=device, dtype=dtype)
    taken = compare({"matmul": lambda: X @ X}, device, rounds=5, number=5)["matmul"]
    return 2 * n**3 / taken[CLOCK[device]]


def _triton_trials(C, X):
    """{name: work} for those of TRIALS that this GPU has the shared memory for."""
    from triton.runtime.errors import OutOfResources  # not at the top: Triton may be missing

    from kfaclib.kernels import triton_syrk

    works = {}
    for name, options in TRIALS.items():
        try:
            triton_syrk.launch(C, X, **options)
        except OutOfResources:
            continue
        works[f"triton {name}"] = lambda options=options: triton_syrk.launch(C, X, **options)
    return works


def _syrk_case(device, dtype, d, T, say):
    X, C = torch.randn(T, d, device=device).to(dtype), torch.zeros(d, d, device=device)
    mask = torch.arange(T, device=device) % 512 != 511  # the last position of each sequence does not count
    works = {
        "addmm": lambda: syrk.full_(C, X),
        "panels": lambda: syrk.panels_(C, X),
        "chosen": lambda: syrk.syrk_(C, X),
        "chosen, masked": lambda: syrk.syrk_(C, X, mask=mask),
    }
    if has_triton(X) and dtype != torch.float32:
        works["triton"] = lambda: syrk.triton_(C, X)
        works |= _triton_trials(C, X)
    number = 10 if device == "cuda" else min(100, max(1, int(4e9 / (T * d * d))))  # more repetitions add nothing
    taken = compare(works, device, rounds=5, number=number)
    clock = CLOCK[device]
    best = min((name for name in taken if "masked" not in name), key=lambda name: taken[name][clock])
    times = {name: taken["addmm"][clock] / t[clock] for name, t in taken.items()}
    chosen = syrk.choose(d, T, dtype, X.is_cuda, has_triton(X)).__name__.strip("_")
    say(
        f"syrk_ d = {d}, T = {T}: {chosen} is {times['chosen']:.2f} times as fast as addmm "
        f"({times['chosen, masked']:.2f} with masked rows); "
        f"best {best}, {times[best]:.2f} times"
    )
    return {
        "d": d,
        "T": T,
        "dtype": str(dtype).removeprefix("torch."),
        "chosen": chosen,
        "best": best,
        "times_addmm": times,
        "taken": taken,
    }


def _label_case(device, dtype, say):
    T, V = VOCABULARY[device]
    logits, uniform = torch.randn(T, V, device=device).to(dtype), torch.rand(T, device=device, dtype=torch.float64)
    works = {"reference": lambda: labels.logit_gradient(logits, labels.sample_labels(logits, uniform)).to(dtype)}
    if has_triton(logits):
        from kfaclib.kernels import triton_labels  # not at the top: Triton may be missing

        works["triton"] = lambda: triton_labels.launch(
            logits, uniform=uniform
        )  # in place: logits stay numbers of the same kind
    taken = compare(works, device, rounds=3, number=5 if device == "cuda" else 1)
    result = {"T": T, "V": V, "dtype": str(dtype).removeprefix("torch."), "taken": taken}
    if "triton" in taken:
        result["times_reference"] = taken["reference"]["seconds"] / taken["triton"]["seconds"]
        result["bytes_per_second"] = 4 * logits.nbytes / taken["triton"]["seconds"]  # three reads, one write
        say(f"labels and gradient over {V} words: {result['times_reference']:.1f} times as fast as the reference")
    return result


def run(say: Callable[[str], object], device: str) -> dict[str, object]:
    """Measure the kernels at every width and number of rows of SIZES. A CPU has small ones, and there the choice is
    between two ways of PyTorch's own."""
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    widths, rows = SIZES[device]
    rate = matmul_rate(device, dtype)
    say(f"matmul: {rate / 1e12:.3g} TFLOP/s in {dtype}")
    return {
        "matmul_flops": rate,
        "syrk": [_syrk_case(device, dtype, d, T, say) for d in widths for T in rows],
        "labels": _label_case(device, dtype, say),
    }
