"""What collecting curvature takes on one process and on several, from shapes and three assumed rates alone."""

import torch

from kfaclib.collecting import costs, planning
from kfaclib.curvature import layers
from kfaclib.lm import presets

CASES = {  # label: (a model of costs.SHAPES, its layers)
    "1B, all MLP": ("OLMo-2-0425-1B", "*.mlp.*"),
    "7B, the paper's": ("OLMo-2-1124-7B", presets.LATE_7B),
    "7B, all MLP": ("OLMo-2-1124-7B", "*.mlp.*"),
    "32B, all MLP": ("OLMo-2-0325-32B", "*.mlp.*"),
}
TRAINED_ON = 4e12  # tokens that OLMo-2 7B was trained on (Team OLMo 2025, arXiv 2501.00656)
EIGH = 9  # operations for each d^3: all eigenvectors of a symmetric matrix (Golub and Van Loan, section 8.3)
BLOCK = 512  # rows that `distributed.pack` cuts a triangle into


def widths(name, patterns):
    """The widths of all matrices to decompose, an A that layers share once, in the model's order."""
    return costs.widths(layers.linear_layers(costs.meta_model(name), patterns))


def packed(d):
    """Numbers of a triangle of width d as `distributed.pack` packs it."""
    return sum(min(BLOCK, d - i) * min(i + BLOCK, d) for i in range(0, d, BLOCK))


def traffic(found, processes, batches):
    """{way: bytes that each process sends in a ring} for matrices of the widths `found`, float32, by three ways."""
    ring = 2 * (processes - 1) / processes
    whole, triangles = sum(d * d for d in found), sum(packed(d) for d in found)
    numbers = {"whole, after every batch": batches * whole, "whole, once": whole, "triangles, once": triangles}
    return {way: 4 * ring * count for way, count in numbers.items()}


def in_turn(jobs, processes):
    """The rank of each job, handed round in turn whatever it costs."""
    return [job % processes for job in range(len(jobs))]


def loads(jobs, ranks, processes):
    """What each process has to do: the sum of the costs of its jobs."""
    return [sum(cost for cost, owner in zip(jobs, ranks) if owner == rank) for rank in range(processes)]


def case(name, patterns, device, processes):
    """What collecting from these layers of a model takes, as a dict.

    parameters; room: bytes for sums beside the weights in `device`'s memory; sums: bytes; passes: how many; flops:
    operations a token, all passes together; one_pass: the same with room for all sums; widths; exchanged: bytes that
    each of `processes` sends.
    """
    model = planning.outline(name, dtype=torch.bfloat16)
    chosen = layers.linear_layers(model, patterns)
    room = planning.room(model, device.memory)
    plan = planning.make(model, chosen, room)
    return {
        "parameters": plan.parameters,
        "room": room,
        "sums": plan.sums,
        "passes": len(plan.passes),
        "flops": plan.flops,
        "one_pass": sum(costs.flops_per_token(model, chosen).values()),
        "widths": costs.widths(chosen),
        "exchanged": costs.exchanged(chosen, processes),
    }


def cases(device, processes):
    """{label: `case`} of all CASES."""
    return {label: case(*which, device, processes) for label, which in CASES.items()}


def eigh_seconds(found, rates):
    """Seconds for the decomposition of each matrix of a case. rates: {"eigh": operations a second, ...}."""
    return [EIGH * d**3 / rates["eigh"] for d in found["widths"]]


def collect_seconds(found, tokens, rates):
    """Seconds of one process for collecting a case on `tokens` tokens."""
    return found["flops"] * tokens / rates["products"]


def hours(found, tokens, rates):
    """GPU hours of one process for a case: collecting on `tokens` tokens, then all eigendecompositions."""
    return (collect_seconds(found, tokens, rates) + sum(eigh_seconds(found, rates))) / 3600


def shared(found, tokens, rates, processes, efficiency):
    """Efficiency of a case with the exchange. efficiency: the exercise's function (collect, jobs, processes)."""
    jobs = eigh_seconds(found, rates)
    collect = collect_seconds(found, tokens, rates)
    each = (collect + sum(jobs)) / processes
    return each / (each / efficiency(collect, jobs, processes) + found["exchanged"] / rates["link"])


def by_size(found, samples, rates):
    """{tokens: [(parameters, GPU hours)]} for all MLP layers of three models. samples: numbers of tokens."""
    models = [one for label, one in found.items() if label.endswith("all MLP")]
    lines = {}
    for tokens in samples:
        lines[tokens] = [(one["parameters"], hours(one, tokens, rates)) for one in models]
    return lines
