"""Which linear layers are meant, and how much memory their factors need."""

from fnmatch import fnmatchcase

from torch import nn
from transformers.pytorch_utils import Conv1D


def linear_layers(model, patterns="*.mlp.*"):
    """{name: nn.Linear} of the layers that match `patterns`, in the model's order.

    patterns: shell patterns, as a list or joined by commas:
    "model.layers.[345].mlp.gate_proj,model.layers.[345].mlp.up_proj". Raises ValueError, naming the layer and the mend,
    if nothing matches a pattern, if a match is a transposed `Conv1D`, or if its weight is tied to another one.
    """
    patterns = [p.strip() for p in (patterns.split(",") if isinstance(patterns, str) else patterns)]
    modules = dict(model.named_modules(remove_duplicate=False))
    linear = [name for name, module in modules.items() if isinstance(module, nn.Linear)]
    owners = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        owners.setdefault(id(parameter), []).append(name)
    for pattern in patterns:
        transposed = [n for n, m in modules.items() if isinstance(m, Conv1D) and fnmatchcase(n, pattern)]
        if transposed:
            raise ValueError(
                f"layer {transposed[0]!r} is a transformers Conv1D, whose weight is transposed: K-FAC here is "
                "for nn.Linear only; convert the model, or take one of the Llama family"
            )
        if not any(fnmatchcase(name, pattern) for name in linear):
            raise ValueError(
                f"no linear layer matches {pattern!r}; this model has, for example, "
                f"{', '.join(linear[:3] + linear[-2:]) or 'no linear layer at all'}"
            )
    chosen = {name: modules[name] for name in linear if any(fnmatchcase(name, p) for p in patterns)}
    for name, module in chosen.items():
        tied = [n for n in owners[id(module.weight)] if n != f"{name}.weight"]
        if tied:
            raise ValueError(
                f"layer {name!r} shares its weight with {tied[0]!r}: an edit would change both, and its "
                "curvature is not one Kronecker product; choose layers with a weight of their own"
            )
    return chosen


def factor_bytes(layers, owner=None):
    """Bytes that the float32 factors A [I, I] and G [O, O] of these layers take; owner {name: the layer whose A it
    shares} (from `factors.shared_inputs`) counts a shared A once, without it no input is taken to be shared."""
    return sum(
        4 * (layer.out_features**2 + (layer.in_features**2 if owner is None or owner[name] == name else 0))
        for name, layer in layers.items()
    )


def check_memory(layers, available, owner=None):
    """Raise MemoryError, with what to do, if the factors do not fit into `available` bytes."""
    need = factor_bytes(layers, owner)
    if need > available:
        raise MemoryError(
            f"the factors of {len(layers)} layers need {need / 2**30:.2f} GiB and {max(available, 0) / 2**30:.2f} GiB "
            "are free beside the model and a batch: choose fewer layers per pass (--passes), a smaller --batch, or "
            "sums on the CPU (--sums cpu)"
        )
