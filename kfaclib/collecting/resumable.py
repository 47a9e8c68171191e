"""A long-running collection: planned before it starts, resumable at any moment, on one process or several.

Everything is in one folder:

    collection.json           the settings, the inputs and the versions; at the end also the course of the run
    windows.safetensors       the tokens, packed once; later steps need neither the network nor the corpus
    checkpoint-0.safetensors  the sums of process 0, while a pass is under way
    factors.safetensors       the result (factors-1-of-2.safetensors ... if it took two passes)
    manifest.json             at the end: size and SHA-256 of these files

Other files in the folder are not the collection's: they are neither read nor listed nor removed.

A run that is killed and resumed ends with the same bits. Windows are added in their order, in batches that the
checkpoint records, to sums that the checkpoint holds in full; and the random numbers that sample a window's labels
depend only on the seed and the window's number. Every file is written whole or not at all, and read with its checksum.
"""

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from tqdm.auto import tqdm

from kfaclib.curvature import distributed
from kfaclib.curvature.factor_file import FACTORS, save_factors
from kfaclib.curvature.factors import Sums, accumulating, means
from kfaclib.curvature.layers import check_memory, factor_bytes
from kfaclib.io import files, folders, storage

WINDOWS, RECORD = "windows.safetensors", "collection.json"


def differs(recorded: dict, wanted: dict) -> str | None:
    """The first difference of `recorded` from `wanted` in words, over the keys of `wanted`; None if all agree."""
    for key, value in wanted.items():
        if recorded.get(key) != value:
            return f"{key} {str(recorded.get(key))[:60]!r} instead of {str(value)[:60]!r}"
    return None


def _same(path, recorded, wanted):
    difference = differs(recorded, wanted)
    if difference:
        raise ValueError(
            f"{path} belongs to another collection: it has {difference}. Choose another --out, or begin anew with "
            "--restart"
        )


# tokens


OURS = re.compile(rf"{re.escape(WINDOWS)}|{re.escape(RECORD)}|{FACTORS.pattern}|checkpoint-\d+\.safetensors")


def _is_ours(path):
    """Whether a file under one of our names was written by a collection; None if it is too damaged to tell."""
    if not path.is_file():
        return False
    try:
        if path.suffix == ".json":
            found = files.read_json(path)
            return isinstance(found, dict) and "settings" in found
        return str(storage.read_header(path).get("format", "")).startswith("kfaclib ")
    except (ValueError, FileNotFoundError):
        return None


def check_folder(out: str | Path) -> None:
    """Check before the work that a collection can be kept in `out`.

    Raises OSError or ValueError if `out` cannot be written, is a file, or has a file that no collection wrote under a
    name that a collection uses. A damaged file of such a name is a collection's if there is a sound one beside it.
    """
    files.check_writable(out)
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file: name a folder")
    finished = bool(folders.ours(out, RECORD))
    named = [path for path in sorted(out.iterdir()) if OURS.fullmatch(path.name)] if out.is_dir() else []
    verdicts = {path: _is_ours(path) for path in named}
    for path, mine in verdicts.items():
        if mine is False or (mine is None and not finished and not any(verdicts.values())):
            raise ValueError(f"{path} was not written by `kfac collect`: move it away or choose another --out")


def prepare(out: str | Path, restart: bool = False) -> None:
    """Remove what killed runs left half-written and, with `restart`, everything that a collection wrote.

    Call `check_folder` first: it makes sure that files of these names are a collection's.
    """
    out = Path(out)
    for path in list(out.iterdir()) if out.is_dir() else []:
        half = re.fullmatch(r"\.(.+)\.[a-z0-9_]{8}", path.name)  # as `files.atomic` calls them
        if half and (OURS.fullmatch(half[1]) or half[1] == "manifest.json"):
            path.unlink()
        elif restart and (OURS.fullmatch(path.name) or path.name == "manifest.json"):
            path.unlink()


def keep_windows(out: str | Path, make: Callable[[], torch.Tensor], wanted: dict) -> tuple[torch.Tensor, str]:
    """The windows kept in `out`, which make() packs if there are none yet: (int32 [N, length], their digest).

    wanted: what they depend on (corpus, tokenizer, length, number, seed), as JSON values. Raises ValueError if the
    windows in `out` were packed from something else.
    """
    path = Path(out) / WINDOWS
    if not path.exists():
        windows = make().to(torch.int32)
        storage.write(path, {"windows": windows}, {"format": "kfaclib windows 1", "settings": wanted})
    header, tensors = storage.read(path, "windows")
    _same(path, header["settings"], wanted)
    return tensors["windows"], storage.digest(tensors)


def window_uniform(seed: int, start: int, stop: int, length: int) -> torch.Tensor:
    """Uniform numbers in [0, 1) to sample labels with: float64 [stop - start, length], where row i depends only on the
    seed and on start + i."""
    rows = []
    for number in range(start, stop):
        key = hashlib.sha256(f"labels {seed} {number}".encode()).digest()
        rows.append(
            torch.rand(
                length,
                dtype=torch.float64,
                generator=torch.Generator().manual_seed(int.from_bytes(key[:8], "big") >> 1),
            )
        )
    return torch.stack(rows)


def batch_of(windows: torch.Tensor, start: int, stop: int, seed: int) -> dict[str, torch.Tensor]:
    """The batch of windows [start, stop) of windows [N, length]: {"input_ids": int64, "uniform": float64}, both
    [stop - start, length]."""
    return {"input_ids": windows[start:stop].long(), "uniform": window_uniform(seed, start, stop, windows.shape[1])}


# the plan


def groups(owner: dict[str, str]) -> list[list[str]]:
    """The layers that share an input, as lists in the model's order; they share an A, so they stay in one pass.

    owner: {name: the layer whose A it shares} from `passes.shared_inputs`.
    """
    found = {}
    for name, first in owner.items():
        found.setdefault(first, []).append(name)
    return list(found.values())


def fill(sizes: list[int], room: int) -> list[list[int]]:
    """Indices of consecutive jobs, put into as few passes as possible of at most `room` each; every size must fit."""
    passes, left = [], -1
    for i, size in enumerate(sizes):
        if size > left:
            passes.append([])
            left = room
        passes[-1].append(i)
        left -= size
    return passes


def plan(
    layers: dict[str, torch.nn.Linear], owner: dict[str, str], room: int, passes: int | None = None
) -> list[list[str]]:
    """The layers to collect in each pass: lists of names, in the model's order.

    room: bytes for the sums. passes: how many at most; by default as few as fit. Passes hold consecutive layers, so
    that a pass over late layers is a short one, and are evenly filled. Raises MemoryError, saying what to do, if the
    layers of one input do not fit, or if `passes` are too few.
    """
    together = groups(owner)
    sizes = [factor_bytes({name: layers[name] for name in group}, owner) for group in together]
    largest = sizes.index(max(sizes))
    check_memory({name: layers[name] for name in together[largest]}, room, owner)
    count = passes or len(fill(sizes, room))
    low, high = max(sizes), sum(sizes)  # the smallest pass of which `count` are enough
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if len(fill(sizes, middle)) <= count else (middle + 1, high)
    if low > room:
        raise MemoryError(
            f"{passes} passes need {low / 2**30:.2f} GiB each for their sums and {room / 2**30:.2f} GiB are free: "
            f"{len(fill(sizes, room))} passes are needed, or sums on the CPU (--sums cpu), or a smaller --batch"
        )
    return [[name for i in part for name in together[i]] for part in fill(sizes, low)]


def batch_bytes(model: torch.nn.Module, layers: dict[str, torch.nn.Linear], owner: dict[str, str], tokens: int) -> int:
    """Estimate the bytes that a batch of `tokens` takes beside the sums.

    Counted are inputs and gradients of the chosen layers, the graph of all blocks (what each of their matrices reads
    and writes), and a chunk of logits. A rough figure is enough: a batch that does not fit is halved.
    """
    size, head = next(model.parameters()).element_size(), model.get_output_embeddings().weight
    seen = sum(layer.out_features + (layer.in_features if owner[name] == name else 0) for name, layer in layers.items())
    tables = {id(m.weight) for m in model.modules() if isinstance(m, torch.nn.Embedding)} | {id(head)}
    matrices = [p for p in model.get_decoder().parameters() if p.ndim > 1 and id(p) not in tables]
    graph = sum(p.shape[-2] + p.shape[-1] for p in matrices)
    return tokens * size * (seen + graph) + min(tokens, 1024) * len(head) * 16


def plan_with_batch(
    layers: dict[str, torch.nn.Linear],
    owner: dict[str, str],
    room: Callable[[int], int],
    batch: int,
    passes: int | None = None,
) -> tuple[int, list[list[str]]]:
    """(windows in a batch, passes from `plan`): the batch asked for, halved until the sums fit beside it.

    room: windows in a batch -> bytes that are left for the sums. Raises `plan`'s MemoryError if no batch is small
    enough.
    """
    while True:
        try:
            return batch, plan(layers, owner, room(batch), passes)
        except MemoryError:
            if batch == 1:
                raise
            batch = (batch + 1) // 2


TOKENS_A_DIRECTION = 10  # see `too_few`


def too_few(layers: dict[str, torch.nn.Linear], tokens: int) -> str | None:
    """A warning if `tokens` cannot fill the widest factor of these layers, or hardly can; None if they do.

    A mean of T outer products has at most T directions: below the width, the rest of the spectrum is zero, and an edit
    takes those directions for flat. With TOKENS_A_DIRECTION times the width, a spectrum that is flat in truth is
    estimated within a factor of (1 + 10 ** -0.5) ** 2 / (1 - 10 ** -0.5) ** 2 = 3.7 (Marchenko and Pastur 1967).
    """
    name, width = max(((n, max(layer.weight.shape)) for n, layer in layers.items()), key=lambda found: found[1])
    enough = TOKENS_A_DIRECTION * width
    if tokens >= enough:
        return None
    if tokens >= width:
        return (
            f"{tokens:,} tokens are few for a factor of {width:,} directions ({name}): its small eigenvalues come out "
            f"too small, so an edit keeps fewer pairs at the same mass. Take {enough:,} tokens or more"
        )
    return (
        f"{tokens:,} tokens cannot fill a factor of {width:,} directions ({name}): at least {width - tokens:,} of its "
        f"eigenvalues will be zero for lack of tokens, and an edit would drop those directions as flat. Take "
        f"{enough:,} tokens or more"
    )


# checkpoints


def checkpoint_path(out: str | Path, rank: int) -> Path:
    """The file in `out` that process `rank` keeps its sums in."""
    return Path(out) / f"checkpoint-{rank}.safetensors"


def save_checkpoint(path: Path, sums: Sums, settings: dict, **position: object) -> None:
    """Write the sums (their lower triangles), the settings they belong to and how far they are (JSON values)."""
    tensors = {f"{name}.{side}": distributed.pack(total) for (name, side), total in sums.total.items()}
    widths = {f"{name}.{side}": len(total) for (name, side), total in sums.total.items()}
    storage.write(
        path,
        {key: x.cpu() for key, x in tensors.items()},
        {
            "format": "kfaclib checkpoint 1",
            "settings": settings,
            "widths": widths,
            "owner": sums.owner,
            "tokens": sums.tokens,
            "position": position,
        },
    )


def load_checkpoint(path: Path, settings: dict, device: torch.device | str) -> tuple[Sums, dict]:
    """Read (sums, position) as `save_checkpoint` wrote them, the sums onto `device`. Raises ValueError if the file is
    damaged or belongs to another collection."""
    header, tensors = storage.read(path, "checkpoint")
    _same(path, header["settings"], settings)
    total = {}
    for key, packed in tensors.items():
        width = header["widths"][key]
        name, _, side = key.rpartition(".")
        total[name, side] = distributed.unpack_(torch.zeros(width, width, dtype=packed.dtype), packed).to(device)
    return Sums(total, header["owner"], header["tokens"]), header["position"]


# the work


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Make the same batch give the same bits each time inside the block.

    On a GPU this takes PyTorch's deterministic algorithms: otherwise attention's backward pass, for one, adds in the
    order in which its threads happen to finish. On a CPU nothing needs to change.
    """
    if device.type != "cuda":
        yield
        return
    before, fill = torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = (
        False  # it costs time, and nothing here reads memory that it did not write
    )
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.utils.deterministic.fill_uninitialized_memory = fill


def sum_up(
    model: torch.nn.Module,
    layers: dict[str, torch.nn.Linear],
    windows: torch.Tensor,
    sums: Sums,
    *,
    start: int,
    stop: int,
    batch: int,
    settings: dict,
    device: torch.device | str | None,
    save: Callable[[Sums, int, int], object],
    bar: tqdm,
    say: Callable[[str], object],
) -> None:
    """Add windows [start, stop) of windows [N, length] to `sums`, in place.

    batch: windows at a time. settings: of the collection ("labels" and "seed" are used). save(sums, done, rows) is
    called after each batch of `rows` windows. bar: is moved on by tokens.

    If memory runs out in a forward or backward pass, the same windows are repeated in batches half as large; nothing of
    the failed batch was added, so the sums are the same up to rounding. Raises MemoryError if a single window does not
    fit, FloatingPointError naming the windows whose values are not finite.
    """
    rows = batch
    while start < stop:
        short = False
        try:
            with accumulating(model, layers, sums, labels=settings["labels"], device=device) as add:
                while start < stop:
                    end = min(start + rows, stop)
                    try:
                        add(batch_of(windows, start, end, settings["seed"]))
                    except FloatingPointError as error:
                        raise FloatingPointError(f"windows {start} to {end - 1} of {WINDOWS}: {error}") from None
                    bar.update((end - start) * windows.shape[1])
                    start = end
                    save(sums, start, rows)
        except torch.OutOfMemoryError:
            short = True  # handled outside, when the failed batch's tensors are gone with the exception
        if short:
            if min(rows, stop - start) == 1:
                raise MemoryError(
                    "out of memory with a single window: choose more --passes, sums on the CPU (--sums cpu) or a "
                    "shorter --length; the last checkpoint remains"
                )
            rows = -(-min(rows, stop - start) // 2)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            say(f"out of memory: going on with {rows} windows in a batch, which changes nothing but rounding")


def collect(
    model: torch.nn.Module,
    layers: dict[str, torch.nn.Linear],
    windows: torch.Tensor,
    out: str | Path,
    settings: dict,
    *,
    batch: int,
    device: torch.device | str | None = None,
    every: float = 600.0,
    notes: dict | None = None,
    progress: bool = True,
    say: Callable[[str], object] = print,
) -> list[Path]:
    """Collect the factors of `settings["passes"]` (lists of names) on windows [N, length] into the folder `out`,
    resuming what an earlier run left there, and return the paths of the factor files.

    settings: what the result depends on ("labels", "seed", "passes", digests ...; JSON values). batch: windows at a
    time. device: where the sums live; by default with the model. every: seconds between checkpoints. notes: for the
    header of the factor files.

    Raises ValueError for a checkpoint or a result of other settings, and for fewer windows than processes; MemoryError
    and FloatingPointError as `sum_up` does.
    """
    rank, world = distributed.place()
    settings = settings | {"processes": world}
    if len(windows) < world:
        raise ValueError(
            f"{len(windows)} windows cannot be shared by {world} processes: collect on more, or start fewer"
        )
    first, last = distributed.share(len(windows), rank, world)
    checkpoint, paths, here = checkpoint_path(out, rank), [], next(model.parameters()).device
    bar_options = dict(unit="tok", unit_scale=True) | (
        {} if progress and rank == 0 else {"disable": True}
    )  # so that TQDM_DISABLE holds
    for number, names in enumerate(settings["passes"]):
        count = len(settings["passes"])
        label = "factors" if count == 1 else f"factors-{number + 1}-of-{count}"
        path = Path(out) / f"{label}.safetensors"
        paths.append(path)
        if path.exists():  # an earlier run finished this pass
            _same(path, storage.read_header(path).get("notes", {}).get("settings", {}), settings)
            continue
        chosen = {name: layers[name] for name in names}
        sums, done, rows = Sums(), first, batch
        if checkpoint.exists():
            there, position = load_checkpoint(checkpoint, settings, device or here)
            if position["pass"] == number:  # otherwise it is the last one of a pass that is finished
                sums, done = there, position["done"]
                rows = position["rows"] if position["batch"] == batch else batch
                say(f"going on from window {done - first} of {last - first}")
        saved = time.monotonic()

        def save(sums, done, rows):
            nonlocal saved
            if time.monotonic() - saved >= every or (
                done == last and world > 1
            ):  # with others, the sums must outlive the wait for them
                save_checkpoint(
                    checkpoint, sums, settings, **{"pass": number, "done": done, "rows": rows, "batch": batch}
                )
                saved = time.monotonic()

        with (
            repeatable(here),
            tqdm(
                total=(last - first) * windows.shape[1],
                initial=(done - first) * windows.shape[1],
                desc=f"pass {number + 1} of {count}" if count > 1 else "collecting A and G",
                **bar_options,
            ) as bar,
        ):
            sum_up(
                model,
                chosen,
                windows,
                sums,
                start=done,
                stop=last,
                batch=rows,
                settings=settings,
                device=device,
                save=save,
                bar=bar,
                say=say,
            )
        distributed.add_up_(sums)
        if rank == 0:
            save_factors(path, means(sums), chosen, **(notes or {}), settings=settings)
        distributed.wait_for_all()
        checkpoint.unlink(missing_ok=True)
    checkpoint.unlink(missing_ok=True)
    return paths


def record(out: str | Path, settings: dict, notes: dict) -> dict:
    """Write `collection.json` for a new collection, or check that the one in `out` has these settings; returns the
    recorded settings.

    The recorded "passes" are those that the collection began with, however much memory is free now. Raises ValueError
    if any other setting differs.
    """
    path = Path(out) / RECORD
    if path.exists():
        there = files.read_json(path)["settings"]
        _same(path, there, {key: value for key, value in settings.items() if key != "passes"})
        return there
    files.write_json(path, {"settings": settings, **notes})
    return settings
