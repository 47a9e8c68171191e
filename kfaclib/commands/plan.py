"""`kfac plan`: what a collection will take."""

from dataclasses import asdict, dataclass

import torch

from kfaclib.bench import kernels
from kfaclib.collecting import costs, planning, resumable
from kfaclib.commands import shared
from kfaclib.curvature import layers
from kfaclib.io import files, paths
from kfaclib.io.options import ModelOptions, above_zero, option, positive
from kfaclib.lm import presets


@dataclass(frozen=True)
class PlanConfig(ModelOptions):
    """A collection that has not begun."""

    layers: str | None = option(
        help="patterns of layer names, joined by commas; default: the model's preset, or *.mlp.*"
    )
    tokens: int | None = option(read=positive, help="to collect on; default: the model's preset, or 20 million")
    length: int = option(512, read=positive, help="tokens in a window")
    batch: int = option(32, read=positive, help="windows in a batch; halved until the sums fit beside it")
    memory: float | None = option(
        read=above_zero, help="GiB; default: what is free on this machine (its GPU, if it has one)"
    )
    passes: int | None = option(
        read=positive, help="at most so many passes over the corpus; default: the fewest that fit into memory"
    )
    json: str | None = option(help=shared.JSON)


def plan(config: PlanConfig) -> None:
    """Print how much memory, disk and time the collection will take, from a configuration alone."""
    preset, device = presets.preset(config.model), "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    files.check_result(config.json)
    model = planning.outline(config.model, config.revision or (preset and preset.revision), dtype)
    chosen = layers.linear_layers(model, config.layers or (preset.layers if preset else "*.mlp.*"))
    shared.say(f"layers: {layers.summary(chosen)}")
    tokens = config.tokens or (preset.tokens if preset else 20_000_000)
    owner = costs.owners(chosen)
    free = config.memory * 2**30 if config.memory else planning.available_memory(device)
    room = lambda n: planning.room(model, free) - resumable.batch_bytes(model, chosen, owner, n * config.length)
    batch, _ = resumable.plan_with_batch(chosen, owner, room, config.batch, config.passes)
    made = planning.make(model, chosen, room(batch), config.passes)
    if few := resumable.too_few(chosen, tokens):
        shared.say(f"warning: {few}")
    rate = kernels.matmul_rate(device, dtype) * (torch.get_num_threads() if device == "cpu" else 1)
    rates = {f"at least, at the {rate / 1e12:.3g} TFLOP/s of this machine's products": rate}
    record = paths.found("results", f"bench-{'gpu' if device == 'cuda' else 'cpu'}.json")
    if record:
        share = files.read_json(record)["collection"]["share_of_possible_speed"]
        rates[f"at the {share:.0%} of it that the collector reached in {record.name}"] = share * rate
    smaller = f" ({config.batch} x {config.length} do not fit beside the sums)" if batch < config.batch else ""
    print(f"{free / 2**30:.1f} GiB of memory, batches of {batch} x {config.length} tokens{smaller}")
    print(planning.text(config.model, made, tokens, rates))
    shared.write(
        config,
        {
            "model": str(config.model),
            **asdict(made),
            "batch": batch,
            "tokens": tokens,
            "seconds": {k: planning.seconds(made, tokens, r) for k, r in rates.items()},
            "provenance": files.provenance(),
        },
    )
