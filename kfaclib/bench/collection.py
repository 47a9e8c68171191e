"""Tokens per second of our collector and of the plain one, and how its time and memory grow."""

from __future__ import annotations  # naming a model's class must not load it

from collections.abc import Callable

import torch
import transformers

from kfaclib.bench import plain
from kfaclib.bench.measure import CLOCK, compare, once, peak_bytes
from kfaclib.collecting import costs
from kfaclib.curvature.factors import Factors, collect_factors
from kfaclib.curvature.layers import linear_layers
from kfaclib.io.paths import data
from kfaclib.lm import models
from kfaclib.toy import small_olmo2
from kfaclib.toy.rows import world_rows

SEQUENCE = 512
ROWS = {"cuda": 32, "cpu": 16}  # sequences in a batch
BATCHES = 2  # of a measurement: what is done once at the end is spread over some work
WIDTHS = {"cuda": (512, 1024, 2048, 4096), "cpu": (64, 128, 256)}


def olmo2(hidden: int, blocks: int, device: str, vocabulary: int = 100_352) -> transformers.Olmo2ForCausalLM:
    """An OLMo-2 with random weights and the proportions of the 1B: a feed-forward width of four times `hidden`, heads
    of width 128 (64 below a width of 1024); bfloat16 on a GPU, float32 on a CPU."""
    heads = max(1, hidden // (128 if hidden >= 1024 else 64))
    config = transformers.Olmo2Config(
        hidden_size=hidden,
        intermediate_size=4 * hidden,
        num_hidden_layers=blocks,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        vocab_size=vocabulary,
        max_position_embeddings=4096,
        pad_token_id=1,
        bos_token_id=None,
        eos_token_id=2,
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    with torch.device(device):
        return transformers.Olmo2ForCausalLM._from_config(
            config, dtype=torch.bfloat16 if device == "cuda" else torch.float32
        ).eval()


def subject(device: str) -> tuple[str, torch.nn.Module, torch.Tensor]:
    """(name, model, one batch of token ids): OLMo-2-1B's shapes on a GPU, the shipped small model on a CPU."""
    if device == "cuda":
        model = olmo2(2048, 16, device)
        ids = torch.randint(
            model.config.vocab_size, (ROWS[device], SEQUENCE), generator=torch.Generator().manual_seed(0)
        )
        return "OLMo-2-1B's shapes, random weights", model, ids.to(device)
    folder = data("olmo2-tiny")
    model, _ = models.load(folder, device=device)
    return "olmo2-tiny", model, world_rows(small_olmo2.load_world(folder), ROWS[device], 0)


def in_groups(layers: dict[str, torch.nn.Linear], blocks: int) -> list[dict[str, torch.nn.Linear]]:
    """The layers split into groups of `blocks` consecutive blocks each; the last group may have fewer."""
    block_of = {name: next(int(part) for part in name.split(".") if part.isdigit()) for name in layers}
    order = sorted(set(block_of.values()))
    return [
        {n: m for n, m in layers.items() if block_of[n] in order[i : i + blocks]} for i in range(0, len(order), blocks)
    ]


def necessary_flops(model: torch.nn.Module, layers: dict[str, torch.nn.Linear]) -> dict[str, float]:
    """{part: floating-point operations per token}, as the targets count them: with a backward pass through the whole
    model."""
    flops = costs.flops_per_token(model, layers)
    return flops | {"backward": flops["forward"]}


def ours(
    model: torch.nn.Module,
    ids: torch.Tensor,
    layers: dict[str, torch.nn.Linear],
    batches: int = 1,
    labels: str = "sampled",
) -> dict[str, Factors]:
    """Our collector's factors on the batch ids [B, S], taken `batches` times: {name: Factors}."""
    return collect_factors(
        model, [ids] * batches, layers, labels=labels, generator=torch.Generator().manual_seed(0), progress=False
    )


def agreement(model: torch.nn.Module, ids: torch.Tensor, layers: dict[str, torch.nn.Linear]) -> float:
    """Largest relative difference (Frobenius norm) between our factors and the plain collector's, with the data's
    labels."""
    mine, theirs = (
        ours(model, ids, layers, labels="data"),
        plain.collect(model, [ids], [layers], checkpointing=False, labels="data"),
    )
    return max(
        ((getattr(mine[n], side) - x).norm() / x.norm()).item()
        for n, pair in theirs.items()
        for side, x in zip("AG", pair)
    )


def against_plain(say: Callable[[str], object], device: str, rate: float) -> dict[str, object]:
    """Time our collector and the plain one's settings, in turns, on the same batch.

    rate: floating-point operations per second of a large product, for the share of the possible speed. A setting that
    runs out of memory is listed under "refused".
    """
    name, model, ids = subject(device)
    layers = linear_layers(model, "*.mlp.*")
    blocks = model.config.num_hidden_layers
    settings = {
        "4 blocks a pass, checkpointing": (4, True),
        "one pass, checkpointing": (blocks, True),
        "one pass, no checkpointing": (blocks, False),
    }
    say(f"{name}: {len(layers)} layers, batches of {len(ids)} x {ids.shape[1]} tokens")
    result = {
        "model": name,
        "layers": len(layers),
        "rows": len(ids),
        "length": ids.shape[1],
        "agreement": agreement(model, ids, layers),
    }
    works = {"ours": lambda: ours(model, ids, layers, BATCHES)}
    tf32 = torch.backends.cuda.matmul.allow_tf32
    memory, refused = {}, {}

    def plainly(blocks, checkpointing):
        torch.backends.cuda.matmul.allow_tf32 = True  # for the float32 copies, as the released code has it
        try:
            plain.collect(
                model,
                [ids] * BATCHES,
                in_groups(layers, blocks),
                checkpointing=checkpointing,
                generator=torch.Generator(device=model.device).manual_seed(0),
            )
        finally:
            torch.backends.cuda.matmul.allow_tf32 = tf32

    works |= {f"plain, {setting}": lambda choice=choice: plainly(*choice) for setting, choice in settings.items()}
    for setting, work in list(works.items()):
        try:
            memory[setting] = peak_bytes(work, device)
        except torch.OutOfMemoryError:
            refused[setting] = "out of memory"
            del works[setting]
            torch.cuda.empty_cache()
    taken = compare(works, device)
    tokens = BATCHES * ids.numel()
    for setting, t in taken.items():
        t |= {
            "tokens_per_second": tokens / t["seconds"],
            "tokens_per_cpu_second": tokens / t["cpu_seconds"],
            "peak_bytes": memory[setting],
        }
        say(
            f"{setting}: {t['tokens_per_second']:.0f} tokens/s ({t['tokens_per_cpu_second']:.0f} a CPU second), "
            f"{memory[setting] / 2**20:.0f} MiB at the peak"
        )
    clock = CLOCK[device]
    plain_times = {setting: t[clock] / taken["ours"][clock] for setting, t in taken.items() if setting != "ours"}
    first, best = next(iter(plain_times.values())), min(plain_times.values())
    flops = necessary_flops(model, layers)
    share = sum(flops.values()) * tokens / taken["ours"][clock] / rate
    say(
        f"ours is {first:.2f} times as fast as 4 blocks a pass, {best:.2f} times as the plain collector at its best; "
        f"{share:.0%} of the "
        f"speed that {sum(flops.values()) / 1e9:.3g} GFLOP a token allow; factors differ by {result['agreement']:.1e}"
    )
    return result | {
        "taken": taken,
        "refused": refused,
        "times_plain": plain_times,
        "flops_per_token": flops,
        "share_of_possible_speed": share,
    }


def growth(say: Callable[[str], object], device: str) -> dict[str, list[dict]]:
    """Measure seconds and peak memory of our collector against the number of tokens, of layers, and the width."""
    _, model, ids = subject(device)
    layers = linear_layers(model, "*.mlp.*")
    result = {"tokens": [], "layers": [], "width": []}

    def measure(kind, size, model, ids, layers, batches=1):
        taken = [once(lambda: ours(model, ids, layers, batches), device) for _ in range(2)]
        wall, cpu = map(min, zip(*taken))
        peak = peak_bytes(lambda: ours(model, ids, layers, batches), device)
        result[kind].append({"size": size, "seconds": wall, "cpu_seconds": cpu, "peak_bytes": peak})
        say(f"{kind} {size}: {wall:.3g} s ({cpu:.3g} CPU s), {peak / 2**20:.0f} MiB")

    for batches in (1, 2, 4, 8):
        measure("tokens", batches * ids.numel(), model, ids, layers, batches)
    blocks = in_groups(layers, 1)
    for count in sorted({1, len(blocks) // 2, len(blocks)}):
        chosen = {n: m for group in blocks[-count:] for n, m in group.items()}
        measure("layers", len(chosen), model, ids, chosen)
    del model, layers, blocks
    for width in WIDTHS[device]:
        model = olmo2(width, 2, device, vocabulary=4096)
        measure("width", width, model, ids % 4096, linear_layers(model, "*.mlp.*"))
    return result
