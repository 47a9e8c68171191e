"""Choosing linear layers by patterns, and the memory that their factors need."""

import re
import sys
from collections.abc import Iterable
from fnmatch import fnmatchcase

from torch import nn


def patterns_of(patterns: str | Iterable[str]) -> list[str]:
    """The shell patterns of a list, or of a text in which they are joined by commas.

    Raises ValueError, with the mend, for a pattern that cannot mean what it says: an empty one, one with an open
    bracket or a brace, and one like [10-15], which the shell reads as 0, 1 or 5.
    """
    found = [p.strip() for p in (patterns.split(",") if isinstance(patterns, str) else patterns)]
    if not all(found) or not found:
        raise ValueError(f"the layers {patterns!r} have an empty pattern: separate patterns by single commas")
    for pattern in found:
        if pattern.count("[") != pattern.count("]") or set(pattern) & set("{}"):
            raise ValueError(
                f"the pattern {pattern!r} has an open bracket or a brace: a comma separates patterns, so write [345] "
                "for 3, 4 or 5, and several patterns instead of {...}"
            )
        wrong = re.search(r"\[[^\]]*(\d\d-\d|\d-\d\d)[^\]]*\]", pattern)
        if wrong:
            raise ValueError(
                f"the pattern {pattern!r} has {wrong[0]}: brackets stand for one character, not for a range of "
                "numbers; write [345] or [3-5] for one digit, and 1[0-5] for 10 to 15"
            )
    return found


def linear_layers(model: nn.Module, patterns: str | Iterable[str] = "*.mlp.*") -> dict[str, nn.Linear]:
    """{name: nn.Linear} of the layers that match `patterns`, in the model's order.

    patterns: shell patterns, as a list or joined by commas:
    "model.layers.[345].mlp.gate_proj,model.layers.[345].mlp.up_proj". Raises ValueError, naming the layer and the mend,
    if nothing matches a pattern, if a match is a transposed `Conv1D`, or if its weight is tied to another one, packed
    by quantization or computed from other parameters."""
    patterns = patterns_of(patterns)
    modules = dict(model.named_modules(remove_duplicate=False))
    linear = [name for name, module in modules.items() if isinstance(module, nn.Linear)]
    Conv1D = getattr(sys.modules.get("transformers.pytorch_utils"), "Conv1D", ())  # a model that has one has loaded it
    owners = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        owners.setdefault(id(parameter), []).append(name)
    for pattern in patterns:
        matched = [name for name in modules if name and fnmatchcase(name, pattern)]
        transposed = [name for name in matched if isinstance(modules[name], Conv1D)]
        if transposed:
            raise ValueError(
                f"layer {transposed[0]!r} is a transformers Conv1D, whose weight is transposed: K-FAC here is "
                "for nn.Linear only; convert the model, or take one of the Llama family"
            )
        if not any(isinstance(modules[name], nn.Linear) for name in matched):
            other = f" (only {matched[0]!r}, of the kind {type(modules[matched[0]]).__name__})" if matched else ""
            raise ValueError(
                f"no linear layer matches {pattern!r}{other}; this model has, for example, "
                f"{', '.join(linear[:3] + linear[-2:]) or 'no linear layer at all'}"
            )
    chosen = {name: modules[name] for name in linear if any(fnmatchcase(name, p) for p in patterns)}
    for name, module in chosen.items():
        if module._parameters.get("weight") is None:
            raise ValueError(
                f"layer {name!r} computes its weight from other parameters (weight normalization, or another "
                "parametrization): an edited weight would not stay; remove it first, with "
                "torch.nn.utils.parametrize.remove_parametrizations(layer, 'weight') or "
                "torch.nn.utils.remove_weight_norm(layer)"
            )
        if tuple(module.weight.shape) != (module.out_features, module.in_features):
            raise ValueError(
                f"layer {name!r} keeps its weight packed as {tuple(module.weight.shape)} ({module.weight.dtype}): load "
                "the model without quantization"
            )
        tied = [n for n in owners[id(module.weight)] if n != f"{name}.weight"]
        if tied:
            raise ValueError(
                f"layer {name!r} shares its weight with {tied[0]!r}: an edit would change both, and its "
                "curvature is not one Kronecker product; choose layers with a weight of their own"
            )
    return chosen


def summary(names: Iterable[str]) -> str:
    """Layer names in short: those that differ only in their first number are joined, as in
    model.layers.{0-3,7}.mlp.up_proj."""
    found = {}
    for name in names:
        number = re.search(r"\.(\d+)\.", name)
        key = (name[: number.start(1)], name[number.end(1) :]) if number else (name, None)
        found.setdefault(key, []).append(int(number[1]) if number else None)
    said = []
    for (before, after), numbers in found.items():
        if after is None or len(numbers) == 1:
            said.append(before + (f"{numbers[0]}{after}" if after is not None else ""))
            continue
        runs = []
        for number in sorted(numbers):
            if runs and number == runs[-1][1] + 1:
                runs[-1][1] = number
            else:
                runs.append([number, number])
        spans = ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in runs)
        said.append(f"{before}{{{spans}}}{after}")
    return ", ".join(said)


def factor_bytes(layers: dict[str, nn.Linear], owner: dict[str, str] | None = None) -> int:
    """Bytes that the float32 factors A [I, I] and G [O, O] of these layers take.

    owner: {name: the layer whose A it shares} from `passes.shared_inputs`, so that a shared A counts once; None counts
    an A for every layer.
    """
    return sum(
        4 * (layer.out_features**2 + (layer.in_features**2 if owner is None or owner[name] == name else 0))
        for name, layer in layers.items()
    )


def check_memory(layers: dict[str, nn.Linear], available: int, owner: dict[str, str] | None = None) -> None:
    """Raise MemoryError, saying what to do, if the factors of these layers do not fit into `available` bytes; owner: as
    for `factor_bytes`."""
    need = factor_bytes(layers, owner)
    if need > available:
        raise MemoryError(
            f"the factors of {len(layers)} layers need {need / 2**30:.2f} GiB and {max(available, 0) / 2**30:.2f} GiB "
            "are free beside the model and a batch: choose fewer layers per pass (--passes), a smaller --batch, or "
            "sums on the CPU (--sums cpu)"
        )
