"""Two real processes that collect curvature together, started by torchrun, and how far two results are apart."""

import os
import subprocess
import sys

import torch.distributed as dist

from kfaclib.curvature import factor_file

# the two are on one machine, and need no name service to find each other
LOCAL = {"win32": {"USE_LIBUV": "0"}, "darwin": {"GLOO_SOCKET_IFNAME": "lo0"}}


def start(out, rows, batch):
    """Start `torchrun --nproc-per-node 2 -m kfaclib collect` on the small model; None where PyTorch has no gloo."""
    if not (dist.is_available() and dist.is_gloo_available()):
        return None
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    collect = ["-m", "kfaclib", "collect", "--rows", rows, "--batch", batch, "--checkpoint-minutes", "0", "--out", out]
    environment = os.environ | LOCAL.get(sys.platform, {}) | {"OMP_NUM_THREADS": "1"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([sys.executable, *torchrun, *map(str, collect)], env=environment, **quiet)


def result(running, out, layers):
    """{name: Factors} that `start`'s processes wrote, when they are done; None, and a sentence, if they could not."""
    if running is None or running.wait() != 0:
        print("Two processes could not be started on this machine: the two shards were added up one after the other.")
        return None
    return factor_file.load_factors(out, layers)


def apart(found, other):
    """The largest relative distance between two {name: Factors}, over all A and G; 0 only for equal numbers."""
    far = 0.0
    for name in found:
        for side in "AG":
            u, v = getattr(found[name], side), getattr(other[name], side)
            far = max(far, ((u - v).norm() / v.norm()).item())
    return far


def agreement(far):
    """How two results agree, in the words of the chapter's guess; far: what `apart` found."""
    return "the same bits" if far == 0 else "equal up to rounding" if far < 1e-6 else "clearly different"
