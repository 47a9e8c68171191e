"""`kfac collect` as a Python call: `run(CollectConfig(model=..., corpus=..., out=...))`."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from tqdm.auto import tqdm

from kfaclib.collecting import planning, resumable
from kfaclib.curvature import distributed, layers
from kfaclib.curvature.passes import check_model, shared_inputs
from kfaclib.io import files, folders, storage
from kfaclib.io.options import ModelOptions, not_negative, option, positive
from kfaclib.lm import corpora, models, presets, snapshot
from kfaclib.toy import pipeline, small_olmo2
from kfaclib.toy.rows import world_rows
from kfaclib.toy.world import ROW

if TYPE_CHECKING:
    import transformers


@dataclass(frozen=True)
class CollectConfig(ModelOptions):
    """What `kfac collect` collects, on what, and where to."""

    layers: str | None = option(
        help=f"patterns of layer names, joined by commas; default: the model's preset, or {pipeline.LAYERS}"
    )
    corpus: str | None = option(
        help="a file (.jsonl with a text in each row, .txt, also .gz), a dataset (owner/name:config@revision), "
        "dolmino, or a mixture (a.jsonl=0.7,b.jsonl=0.3); default: the model's preset, or the small model's own mixture"
    )
    rows: int | None = option(read=positive, help=f"windows of tokens; default: the model's preset, or {pipeline.ROWS}")
    length: int | None = option(
        read=positive, help="tokens in a window of --corpus; default: 512, or as many as the model has positions"
    )
    batch: int = option(32, read=positive, help="windows in a batch; it is halved when memory is short")
    passes: int | None = option(
        read=positive, help="at most so many passes over the corpus; default: the fewest that fit into memory"
    )
    sums: str = option(
        "model", choices=("model", "cpu"), help="where the float32 sums are: with the model, or in the CPU's memory"
    )
    dtype: str | None = option(
        choices=("bfloat16", "float32"), help="of the model; default: float32 on a CPU, bfloat16 on a GPU"
    )
    checkpoint_minutes: float = option(10.0, read=not_negative, help="minutes between checkpoints")
    restart: bool = option(False, help="begin anew instead of going on with what is in --out")
    labels: str = option("sampled", choices=("sampled", "data"), help="sampled from the model (Fisher) or the data's")
    seed: int = option(0, read=int, help="of the windows and their labels")
    out: str = option("factors", help="folder")


def corpus_of(
    config: CollectConfig,
    model: torch.nn.Module,
    tokenizer: "transformers.PreTrainedTokenizerBase",
    preset: presets.Preset | None,
) -> tuple[Callable, dict]:
    """(function that makes the windows, what they depend on)."""
    world, corpus = small_olmo2.load_world(config.model), config.corpus or (preset and preset.corpus)
    longest = models.positions(model) or 512
    length = config.length or min(preset.length if preset else 512, longest)
    rows = config.rows or (preset.tokens // length if preset else pipeline.ROWS)
    if corpus:
        return (
            lambda: corpora.text_windows(corpus, tokenizer, length, rows, progress=True, model=model),
            {
                "corpus": str(corpus),
                "files": corpora.checksums(corpus),
                "length": length,
                "rows": rows,
                "tokenizer": corpora.tokenizer_digest(tokenizer),
            },
        )
    if world:
        return (lambda: world_rows(world, rows, config.seed)), {
            "corpus": f"the model's own mixture, seed {config.seed}",
            "world": world.seed,
            "rows": rows,
        }
    raise ValueError(
        f"--corpus is needed: {config.model} does not come with a world of its own (give a .jsonl or .txt file, or a "
        "dataset's name)"
    )


def passes_of(
    config: CollectConfig, model: torch.nn.Module, chosen: dict, owner: dict, length: int
) -> tuple[int, list, str]:
    """(windows in a batch, passes, device of the sums) that fit the memory, or that were asked for."""
    at, processes = model.device.type, int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    if config.sums == "cpu" and at != "cpu":
        room = int(0.8 * planning.available_memory("cpu") / processes)
        return config.batch, resumable.plan(chosen, owner, room, config.passes), "cpu"
    free = int(0.9 * planning.available_memory(at) / (processes if at == "cpu" else 1))  # GPUs are not shared
    beside = lambda batch: free - resumable.batch_bytes(model, chosen, owner, batch * length)
    return *resumable.plan_with_batch(chosen, owner, beside, config.batch, config.passes), at


def say_on_stderr(text: str) -> None:
    """A remark on stderr, above a progress bar if there is one."""
    tqdm.write(text, file=sys.stderr)


def run(
    config: CollectConfig, *, say: Callable[[str], None] = print, remark: Callable[[str], None] = say_on_stderr
) -> list[Path]:
    """Collect the factors of `config.layers` into the folder `config.out`; the paths of the factor files.

    A folder that holds the beginning of the same collection is gone on with; another one's is refused with a
    ValueError. Started by torchrun, the processes share the windows. say receives the plan and the outcome, remark
    what happens on the way.
    """
    # before the GPU is first used: its products shall be repeatable
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    with distributed.processes() as (rank, world):
        return _run(config, rank, world, say if rank == 0 else lambda text: None, remark)


def _run(config, rank, world, say, remark):
    """`run` as process `rank` of `world`; only the first one packs the corpus."""
    out = Path(config.out)
    folders.check_apart(out, config.model)
    resumable.check_folder(out)
    dtype = getattr(torch, config.dtype) if config.dtype else (torch.bfloat16 if torch.cuda.is_available() else None)
    pinned = presets.load(config.model, config.revision, dtype=dtype, say=remark)
    model, preset, commit = pinned.model, pinned.preset, pinned.commit
    patterns = config.layers or (preset.layers if preset else pipeline.LAYERS)
    chosen = layers.linear_layers(model, patterns)
    if rank == 0:
        remark(f"layers: {layers.summary(chosen)}")
    check_model(model)
    cached = commit and rank == 0 and snapshot.find(config.model, commit)
    if cached and snapshot.check(cached):
        say("the download's files have the checksums that the hub gave them")
    owner = shared_inputs(model, chosen)
    make, wanted = corpus_of(config, model, pinned.tokenizer, preset)
    need = layers.factor_bytes(chosen, owner)
    say(f"{len(chosen)} layers; their factors need {need / 2**20:.1f} MiB in float32")
    batch, passes, at = passes_of(config, model, chosen, owner, wanted.get("length", ROW))
    if batch < config.batch:
        say(f"batches of {batch} windows instead of {config.batch}, so that the sums fit into memory beside them")
    folders.check_room(out, need + (1 + world) * need, "factors and checkpoints")
    notes = {"model": str(config.model), "commit": commit, "patterns": patterns}
    if rank == 0:
        resumable.prepare(out, config.restart)
        windows, digest = resumable.keep_windows(out, make, wanted)
        settings = resumable.record(
            out,
            {
                "model": storage.digest(dict(model.named_parameters())),
                "dtype": str(model.dtype),
                "layers": list(chosen),
                "labels": config.labels,
                "seed": config.seed,
                "windows": digest,
                "passes": passes,
            },
            {**notes, "corpus": wanted, "options": config.recorded(), "provenance": files.provenance(config.seed)},
        )
    distributed.wait_for_all()
    if rank > 0:
        windows, digest = resumable.keep_windows(out, make, wanted)
        settings = files.read_json(out / resumable.RECORD)["settings"]
    passes = settings["passes"]
    at_a_time = max(layers.factor_bytes({n: chosen[n] for n in names}, owner) for names in passes)
    say(
        f"{len(windows)} windows of {windows.shape[1]} tokens in "
        f"{'one pass' if len(passes) == 1 else f'{len(passes)} passes'}"
        f"{f' on {world} processes' if world > 1 else ''}; sums in {'memory' if at == 'cpu' else 'GPU memory'}, "
        f"{at_a_time / 2**20:.1f} MiB at a time"
    )
    few = resumable.too_few(chosen, len(windows) * (windows.shape[1] - 1))
    if few and rank == 0:
        remark(f"warning: {few}")
    if len(windows) < wanted["rows"]:
        say(f"the corpus ended after {len(windows)} of {wanted['rows']} windows")
    paths = resumable.collect(
        model,
        chosen,
        windows,
        out,
        settings,
        batch=batch,
        device=torch.device(at) if at != model.device.type else None,
        every=60 * config.checkpoint_minutes,
        notes={
            **notes,
            "labels": config.labels,
            "corpus": wanted["corpus"],
            "provenance": files.provenance(config.seed),
        },
        say=remark,
    )
    if rank == 0:
        files.write_manifest(out, [resumable.RECORD, resumable.WINDOWS, *(path.name for path in paths)])
        say(
            f"{len(windows) * (windows.shape[1] - 1)} tokens; factors of {len(chosen)} layers in "
            f"{', '.join(map(str, paths))}"
        )
    return paths
