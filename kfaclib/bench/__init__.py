"""`kfac bench`: speed and memory of the library on this machine; everything that is compared is measured in one run."""

from collections.abc import Callable, Collection

import psutil
import torch

from kfaclib.bench import collection, kernels, selection
from kfaclib.io import files

PARTS = ("kernels", "collection", "selection", "growth")
NEEDS_GPU = (
    "syrk_ against addmm(out_dtype=float32) at d = 8192 and 11008, T = 16384",
    "labels and output gradient over 100352 words against the reference",
    "tokens per second at OLMo-2-1B's shapes against the plain collector, and the share of the possible speed",
    "growth and peak memory on a GPU",
)


def run(
    parts: Collection[str] = PARTS, device: str | None = None, say: Callable[[str], object] = print
) -> dict[str, object]:
    """Measure `parts` on `device` ("cuda" or "cpu", by default a GPU if there is one) and return all figures as a dict.

    A GPU is measured at OLMo-2-1B's shapes; a CPU at small ones, and "missing" lists the figures that need a GPU.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    load, cores = psutil.getloadavg()[0], psutil.cpu_count()
    if device == "cpu" and load > cores / 2:
        say(
            f"other work runs here (load average {load:.1f} on {cores} cores): of the figures below only CPU seconds "
            "count, and ratios of them"
        )
    result = {
        "device": torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads",
        "load_average_before": load,
        "provenance": files.provenance(0),
        "missing": [] if device == "cuda" else list(NEEDS_GPU),
    }
    if "kernels" in parts:
        result["kernels"] = kernels.run(say, device)
    if "collection" in parts:
        rate = kernels.matmul_rate(device, torch.bfloat16 if device == "cuda" else torch.float32)
        result["collection"] = collection.against_plain(say, device, rate)
    if "selection" in parts:
        result["selection"] = selection.run(say)
    if "growth" in parts:
        result["growth"] = collection.growth(say, device)
    if result["missing"]:
        say("missing, because there is no GPU here: " + "; ".join(result["missing"]))
    return result
