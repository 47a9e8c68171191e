"""`kfac bench`: what is fast here, and by how much, everything that is compared measured in one run."""

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


def run(parts=PARTS, device=None, say=print):
    """A dict of everything measured; on a GPU OLMo-2-1B's shapes, on a CPU small ones, with the missing figures
    named.
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
