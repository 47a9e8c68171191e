"""What several commands share: the options of a measurement, the exam, the curvature of some layers, the result."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kfaclib.collecting.collection import say_on_stderr
from kfaclib.curvature import factor_file, layers
from kfaclib.curvature.eigenbasis import decompose
from kfaclib.io import files, folders
from kfaclib.io.options import Options, option, positive
from kfaclib.lm import corpora, harness, recitation
from kfaclib.toy import small_olmo2, tasks

if TYPE_CHECKING:
    import torch
    import transformers

    from kfaclib.lm import presets

say = say_on_stderr
JSON = "also write the result to this file"


@dataclass(frozen=True)
class Exam(Options):
    """Memorized windows and other text, and how many of them are measured."""

    sequences: str | None = option(
        help="memorized windows: rows (.jsonl, .csv, .parquet) with prefix_ids and suffix_ids, or prefix and "
        "target_suffix, or tokens, or a paragraph, whose first half is the prefix"
    )
    text: str | None = option(help="other text, .jsonl or .txt, for perplexity and nDCG")
    length: int | None = option(
        read=positive, help="tokens in a window of --text; default: 512, or as many as the model has positions"
    )
    limit: int | None = option(read=positive, help="windows (and items of a task) of each that are used; default: all")
    batch: int = option(64, read=positive, help="windows at a time")
    json: str | None = option(help=JSON)


@dataclass(frozen=True)
class Downstream(Options):
    """Tasks through lm-evaluation-harness."""

    tasks: str | None = option(
        help="tasks through lm-evaluation-harness, which downloads their data: names joined by commas; real stands for "
        f"{','.join(harness.REAL)}, local for tasks of the small model's world, which need no network"
    )
    task_folder: str | None = option(help="folder with task configurations of your own, in the harness's format")


def curvature_of(
    model: "torch.nn.Module", path: str | Path, names: str | list[str] | None = None, progress: bool = True
) -> tuple[dict, dict]:
    """(layers, bases) of the layers `names` (patterns or names; None: all) from the factors in `path`.

    The eigenvectors are kept beside the factors, in a folder `bases`: another mass needs none of that work again.
    """
    chosen = layers.linear_layers(model, names or list(factor_file.load_factors(path)))
    say(f"layers: {layers.summary(chosen)}")
    found = factor_file.load_factors(path, chosen)
    place, need = Path(path), layers.factor_bytes(chosen)
    folder = (place if place.is_dir() else place.parent) / "bases"
    try:
        files.check_writable(folder)
        folders.check_room(folder, need, "eigenvectors")
    except OSError as error:
        say(f"the eigenvectors are not kept: {error}")
        folder = None
    bases = decompose(
        {name: found[name] for name in chosen}, device=model.device, folder=folder, progress=progress, say=say
    )
    return chosen, bases


def settings_of(config: Options, preset: "presets.Preset | None") -> tuple[str | None, float]:
    """(patterns of the layers to edit or None for all, mass) as asked for, or as the model's preset says."""
    mass = config.mass or (preset and preset.mass)
    if not mass:
        raise ValueError(f"--mass is needed: the paper gives none for {config.model}; `kfac sweep` helps to choose")
    return layers_of(config, preset), mass


def layers_of(config: Options, preset: "presets.Preset | None") -> str | None:
    """The patterns of the layers to edit, as asked for or as the model's preset says; None for all."""
    if preset and not config.layers:
        say(f"layers {preset.edited}: {preset.whose}")
        return preset.edited
    return config.layers


def exam_of(
    config: Options, model: "torch.nn.Module", tokenizer: "transformers.PreTrainedTokenizerBase", half: str
) -> tuple[list, object]:
    """(memorized windows, text [N, S]) from --sequences and --text, or from the small model's world; at most
    `config.limit` of each.
    """
    world = small_olmo2.load_world(config.model)
    if world and not (config.sequences or config.text):
        windows, text = (
            recitation.split_windows(tasks.quote_windows(world, half)),
            tasks.fresh_text(f"{world.seed} {half}", documents=48),
        )
    elif config.sequences and config.text:
        windows, text = (
            recitation.load_sequences(config.sequences, tokenizer, model),
            corpora.text_windows(config.text, tokenizer, config.length, config.limit, model=model),
        )
    else:
        raise ValueError(
            f"{config.model} has no world.json, so there is no ground truth to measure against: give --sequences FILE "
            "(memorized windows) and --text FILE (other text)"
        )
    return windows[: config.limit], text[: config.limit]


def metrics(result: dict) -> dict[str, float]:
    """{label: number} of all that `evaluate` measured."""
    flat = {key: value for part in ("sequences", "text", "row") for key, value in result.get(part, {}).items()}
    flat |= {
        f"{task} {metric}": value for task, row in result.get("tasks", {}).items() for metric, value in row.items()
    }
    return {key: value for key, value in flat.items() if isinstance(value, float)}


def write(config: Options, result: dict) -> None:
    """Write the result and the options that led to it, if --json asks for it."""
    if config.json:
        files.write_json(config.json, {**result, "options": config.recorded()})
        files.renew(config.json)
        print(f"written to {config.json}")
