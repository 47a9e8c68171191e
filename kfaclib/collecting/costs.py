"""What collecting A and G must cost, from shapes alone: operations a token, and the roofline that turns them into
seconds.

Models stand on the meta device here: they have shapes and no numbers, so the largest costs nothing. The memory of the
sums is `layers.factor_bytes(layers, owners(layers))`, the passes they need are `resumable.plan(layers, owners(layers),
room)`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import transformers
from torch import nn

# name: hidden and ffn width, blocks, heads, key-value heads, from each model's config.json on the hub
SHAPES = {
    "OLMo-2-0425-1B": (2048, 8192, 16, 16, 16),
    "OLMo-2-1124-7B": (4096, 11008, 32, 32, 32),
    "OLMo-2-1124-13B": (5120, 13824, 40, 40, 40),
    "OLMo-2-0325-32B": (5120, 27648, 64, 40, 8),
}
VOCABULARY = 100_352  # of all of them


@dataclass(frozen=True)
class Device:
    """What a data sheet promises: bfloat16 products a second on tensor cores (dense, float32 sums), bytes a second to
    and from its memory, bytes of memory, processors."""

    flops: float
    bandwidth: float
    memory: float
    processors: int
    source: str


DEVICES = {
    "A100": Device(312e12, 2.039e12, 80e9, 108, "NVIDIA A100 80GB SXM data sheet"),
    "H100": Device(989e12, 3.35e12, 80e9, 132, "NVIDIA H100 SXM data sheet, half of the figure with sparsity"),
    "H200": Device(989e12, 4.8e12, 141e9, 132, "NVIDIA H200 SXM data sheet, half of the figure with sparsity"),
    "RTX 4090": Device(165e12, 1.008e12, 24e9, 128, "NVIDIA Ada architecture white paper, appendix A"),
}
# bytes a second that a GPU can send to its neighbour in one direction: NVIDIA H100 and H200 SXM data sheets; 100 Gbit
LINKS = {"NVLink 4": 450e9, "100 Gbit Ethernet": 12.5e9}
SHARED = (
    ("q_proj", "k_proj", "v_proj"),
    ("gate_proj", "up_proj"),
)  # siblings that are handed one input, in models of the Llama family


def meta_model(name: str) -> torch.nn.Module:
    """An OLMo-2 of SHAPES on the meta device: its layers can be counted, chosen and planned for, not run."""
    hidden, ffn, blocks, heads, kv_heads = SHAPES[name]
    config = transformers.Olmo2Config(
        hidden_size=hidden,
        intermediate_size=ffn,
        num_hidden_layers=blocks,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        vocab_size=VOCABULARY,
        tie_word_embeddings=False,
    )
    with torch.device("meta"):
        return transformers.Olmo2ForCausalLM(config)


def owners(layers: Iterable[str]) -> dict[str, str]:
    """{name: the first of `layers` with the same input}, by the names of the Llama family; `passes.shared_inputs`
    finds the same by running the model."""
    first = {}

    def place(name):
        parent, _, own = name.rpartition(".")
        return parent, next((group for group in SHARED if own in group), own)

    return {name: first.setdefault(place(name), name) for name in layers}


def decoder_layers(model: torch.nn.Module) -> dict[str, nn.Linear]:
    """{name: layer} of a language model's blocks, in its order: all of its decoder but the unembedding."""
    inside = set(model.get_decoder().modules()) - {model.get_output_embeddings()}
    return {name: m for name, m in model.named_modules() if isinstance(m, nn.Linear) and m in inside}


def flops_per_token(model: torch.nn.Module, layers: dict) -> dict[str, int]:
    """Floating-point operations a token that collecting A and G of `layers` cannot do without: {part: operations}.

    forward: all blocks and the head. backward: to the inputs, from the head down to the first of `layers` and no
    further; no weight gradients. updates: one triangle of each factor, a shared A once. A product of [m, k] and [k, n]
    counts 2 m k n; attention's scores are left out (`attention_flops`), and so is what is done element by element.
    """
    head = 2 * model.get_output_embeddings().weight.numel()
    blocks = decoder_layers(model)
    owner = owners(blocks)
    outside = [name for name in layers if name not in blocks]
    if outside:
        raise ValueError(
            f"layer {outside[0]!r} is outside the model's decoder, which is all that curvature is collected of: leave "
            "it out of --layers"
        )
    first = next(name for name in blocks if name in layers)
    order = list(blocks)
    passed = [
        name for name in order[order.index(first) :] if owner[name] != owner[first]
    ]  # those that a gradient goes through
    ours = owners(layers)
    return {
        "forward": head + sum(2 * layer.weight.numel() for layer in blocks.values()),
        "backward": head + sum(2 * blocks[name].weight.numel() for name in passed),
        "updates": sum(
            layer.out_features**2 + (layer.in_features**2 if ours[name] == name else 0)
            for name, layer in layers.items()
        ),
    }


def attention_flops(model: torch.nn.Module, length: int) -> int:
    """Operations a token of attention's scores and of their product with the values: forward, all blocks, in windows of
    `length` tokens.
    """
    config = model.config.get_text_config()
    return config.num_hidden_layers * config.hidden_size * 2 * (length + 1)


def widths(layers: dict[str, nn.Linear]) -> list[int]:
    """The widths of all matrices A and G, in the layers' order; an A that layers share counts once."""
    owner = owners(layers)
    return [d for n, layer in layers.items() for d in (layer.in_features, layer.out_features)[owner[n] != n :]]


def exchanged(layers: dict[str, nn.Linear], processes: int, block: int = 512) -> float:
    """Bytes that each of several processes sends, once a collection, in float32: the triangles of all sums as
    `distributed.pack` packs them, added up in a ring, and every eigenvector, handed on to the next process."""
    if processes == 1:
        return 0.0
    found = widths(layers)
    triangles = sum(sum(min(block, d - i) * min(i + block, d) for i in range(0, d, block)) for d in found)
    return 4 * (2 * (processes - 1) / processes * triangles + sum(d * d for d in found))


def seconds(flops: float, moved: float, device: Device) -> float:
    """The roofline: the least seconds in which a Device does `flops` operations and moves `moved` bytes (Williams,
    Waterman and Patterson 2009).
    """
    return max(flops / device.flops, moved / device.bandwidth)
