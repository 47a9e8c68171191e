"""What a collection will take, before anything is downloaded or started: from shapes alone."""

from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from kfaclib.collecting import costs, resumable
from kfaclib.curvature.layers import factor_bytes


@dataclass(frozen=True)
class Plan:
    """Bytes and operations of a collection; how long it takes follows from a machine's rate (`seconds`)."""

    parameters: int
    weights: int  # bytes of the model
    layers: int
    sums: int  # bytes of the float32 sums A and G of all layers
    passes: list  # the names of each pass's layers
    at_a_time: int  # bytes of the sums in the largest pass
    disk: int  # bytes: the factors, a checkpoint and the one that follows it
    flops: int  # operations a token, all passes together


def available_memory(device: str) -> int:
    """Free bytes on the device ("cpu" or "cuda") that the factors will be on."""
    return torch.cuda.mem_get_info()[0] if device == "cuda" else psutil.virtual_memory().available


def outline(name: str, revision: str | None = None, dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    """A model on the meta device: shapes without numbers.

    name: of the hub, a folder, or one of `costs.SHAPES`, for which nothing is read; otherwise only the configuration
    is. Raises ValueError for a name without a configuration of a causal language model.
    """
    if Path(str(name)).name in costs.SHAPES and not Path(str(name)).exists():
        return costs.meta_model(Path(str(name)).name).to(dtype)
    try:
        config = AutoConfig.from_pretrained(
            name, trust_remote_code=False, **(dict(revision=revision) if revision else {})
        )
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{name!r} has no configuration of a causal language model that can be read: {str(error)[:300]}"
        ) from None


def room(model: torch.nn.Module, memory: float, share: float = 0.9) -> int:
    """Bytes that the float32 sums can have in `memory` bytes beside the model's weights. share: how much of the memory
    is used at all; the rest is for activations, logits and the allocator."""
    return int(share * memory) - sum(p.numel() * p.element_size() for p in model.parameters())


def make(model: torch.nn.Module, layers: dict, room: int, passes: int | None = None) -> Plan:
    """The `Plan` of collecting factors, from shapes alone.

    model: may be on the meta device. layers: {name: nn.Linear}. room: bytes for the sums. passes: at most so many.
    Raises MemoryError, which says what to do, if the sums do not fit.
    """
    owner = costs.owners(layers)
    parts = resumable.plan(layers, owner, room, passes)
    groups = [{name: layers[name] for name in names} for names in parts]
    sums, weights = factor_bytes(layers, owner), sum(p.numel() * p.element_size() for p in model.parameters())
    return Plan(
        parameters=sum(p.numel() for p in model.parameters()),
        weights=weights,
        layers=len(layers),
        sums=sums,
        passes=parts,
        at_a_time=max(factor_bytes(group, owner) for group in groups),
        disk=3 * sums,
        flops=sum(sum(costs.flops_per_token(model, group).values()) for group in groups),
    )


def seconds(plan: Plan, tokens: int, rate: float) -> float:
    """Seconds for `tokens` tokens at `rate` operations a second."""
    return plan.flops * tokens / rate


def duration(seconds: float) -> str:
    """A duration in words, such as "3 hours"."""
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def text(name: str, plan: Plan, tokens: int, rates: dict[str, float]) -> str:
    """The plan in words. rates: {label: operations a second}."""
    gib = lambda x: f"{x / 2**30:.1f} GiB" if x >= 2**30 else f"{x / 2**20:.1f} MiB"
    count = len(plan.passes)
    lines = [
        f"{name}: {plan.parameters / 1e9:.2f} billion parameters, {gib(plan.weights)} in memory",
        f"{plan.layers} layers; the sums of their factors take {gib(plan.sums)} in float32",
        f"{'one pass' if count == 1 else f'{count} passes'} over the corpus, {gib(plan.at_a_time)} of sums at a time; "
        f"{gib(plan.disk)} of disk for factors and checkpoints",
        f"{plan.flops / 1e9:.3g} GFLOP a token in all, {tokens / 1e6:g} million tokens",
    ]
    return "\n".join(lines + [f"{label}: {duration(seconds(plan, tokens, rate))}" for label, rate in rates.items()])
