"""`kfac edit`: the edited model as a folder that loads like the original."""

from dataclasses import dataclass
from pathlib import Path

from kfaclib.commands import shared
from kfaclib.curvature import distributed
from kfaclib.editing.baselines import block_edit
from kfaclib.editing.edit import edit_weights, kept_share
from kfaclib.io import files, folders
from kfaclib.io.options import ModelOptions, option, share
from kfaclib.lm import checkpoint, presets

RECORD = "edit.json"


@dataclass(frozen=True)
class EditConfig(ModelOptions):
    """Which layers of a model are edited, by which factors, and how far."""

    factors: str = option("factors", help="folder or file written by collect")
    layers: str | None = option(help="patterns; default: all layers in the factor file")
    mass: float | None = option(
        read=share, help="share of curvature mass to keep, in (0, 1]; default: the model's preset"
    )
    block: float | None = option(
        read=share,
        help="instead of --mass: delete the block of this share of the flattest output directions times this share of "
        "the flattest input directions",
    )
    out: str = option("edited", help="folder of the edited model")


def edit(config: EditConfig) -> Path | None:
    """Project the layers on the directions of high curvature and write the model into `config.out`; its path.

    With `config.block`, delete the flattest block of each layer instead. ValueError if both are asked for. Started by
    torchrun, the processes share the eigendecompositions; the first one does the rest (the others get None).
    """
    out = Path(config.out)
    if config.mass and config.block:
        raise ValueError("--mass and --block are two edits: give one of them")
    folders.check_apart(out, config.model)
    folders.check_free(out, RECORD)
    with distributed.processes() as (rank, _):
        pinned = presets.load(config.model, config.revision, say=shared.say)
        if config.block:
            names, mass = shared.layers_of(config, pinned.preset), None
        else:
            names, mass = shared.settings_of(config, pinned.preset)
        folder = checkpoint.source(config.model, pinned.commit)
        folders.check_room(out, checkpoint.size(folder), "the edited model's weights")
        chosen, bases = shared.curvature_of(pinned.model, config.factors, names, progress=rank == 0)
        if rank > 0:
            return None
        places = checkpoint.find_tensors(folder, chosen)
        weights = {}
        for name, basis in bases.items():
            if config.block:
                weights[name] = block_edit(chosen[name].weight, basis, config.block)
                left = 1 - config.block**2
            else:
                weights |= edit_weights(chosen, {name: basis}, mass)
                left = kept_share(basis, mass)
            change = (weights[name] - chosen[name].weight).norm() / chosen[name].weight.norm()
            print(f"{name}: {left:.1%} of the pairs kept, weight changed by {change:.1%} of its norm")
        with folders.filled(out, RECORD) as partial:
            checkpoint.write(folder, partial, places, weights)
            pinned.tokenizer.save_pretrained(partial)
            files.write_json(
                partial / RECORD,
                {
                    "model": str(config.model),
                    "commit": pinned.commit,
                    "factors": str(config.factors),
                    "layers": list(chosen),
                    "mass": mass,
                    "block": config.block,
                    "options": config.recorded(),
                    "provenance": files.provenance(),
                },
            )
        print(f"edited model in {out}")
        return out
