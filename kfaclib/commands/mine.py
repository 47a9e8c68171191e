"""`kfac mine`: which windows of a text does a model continue word for word?"""

import hashlib
import itertools
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from kfaclib.collecting.resumable import differs
from kfaclib.commands import shared
from kfaclib.io import files, storage
from kfaclib.io.options import ModelOptions, not_negative, option, positive
from kfaclib.lm import corpora, mining, models, presets
from kfaclib.lm.recitation import PREFIX, SUFFIX, greedy
from kfaclib.toy import small_olmo2
from kfaclib.toy.stream import world_stream
from kfaclib.toy.world import ROW

FORMAT = "kfaclib mining 1"


def similarity(value: str | float) -> float:
    """A similarity in (0, 1]."""
    number = float(value)
    if not 0 < number <= 1:
        raise ValueError(f"{value} is not in (0, 1]: it is the similarity from which on windows count as the same")
    return number


@dataclass(frozen=True)
class MineConfig(ModelOptions):
    """What is mined for which windows, and where they are written."""

    corpus: str | None = option(
        help="a file (.jsonl with a text in each row, .txt, also .gz), a dataset (owner/name:config@revision), "
        "dolmino, or a mixture (a.jsonl=0.7,b.jsonl=0.3); default: a stream from the small model's world"
    )
    prefix: int = option(PREFIX, read=positive, help="tokens that are given, with <s> if the tokenizer begins with it")
    suffix: int = option(SUFFIX, read=positive, help="tokens that have to be continued without an error")
    stride: int | None = option(
        read=positive, help="tokens from one window of a document to the next; default: as many as in --suffix"
    )
    limit: int | None = option(read=positive, help="windows that are tried; default: all of the corpus")
    threshold: float = option(
        0.7, read=similarity, help="of windows at least this similar (in runs of 5 tokens) keep the first; 1 keeps all"
    )
    batch: int = option(64, read=positive, help="windows at a time")
    checkpoint_minutes: float = option(10.0, read=not_negative, help="minutes between checkpoints")
    restart: bool = option(False, help="begin anew instead of going on with the run that --out belongs to")
    out: str = option(required=True, help="file of the windows found, .jsonl, for --sequences of other commands")


def mine(config: MineConfig) -> Path:
    """Write the windows that the model recites to `config.out`, as rows that `load_sequences` reads; its path.

    What was found is kept beside it, in `<out>.unfinished`: the same command goes on there. ValueError if the model
    recites none.
    """
    out, length = Path(config.out), config.prefix + config.suffix
    state = out.with_name(f"{out.name}.unfinished")
    _check_out(out, state, config.restart)
    pinned = presets.load(config.model, config.revision, say=shared.say)
    model, tokenizer = pinned.model, pinned.tokenizer
    longest = models.positions(model)
    if longest and length > longest:
        raise ValueError(
            f"--prefix {config.prefix} and --suffix {config.suffix} are {length} tokens and the model has {longest} "
            "positions: make one of them shorter"
        )
    documents, lead, settings = _text(config, model, tokenizer)
    settings |= {
        "model": storage.digest(dict(model.named_parameters())),
        "dtype": str(model.dtype),
        **{key: getattr(config, key) for key in ("prefix", "suffix", "stride", "limit")},
    }
    for path in (out, state):
        files.remove_half_written(path)
    if config.restart:
        state.unlink(missing_ok=True)
    tried, found = _load(state, settings) if state.exists() else (0, [])
    if tried:
        shared.say(f"going on after {tried} windows, {len(found)} of them recited")
    windows = itertools.islice(windows_of(documents, lead, length, config.stride or config.suffix), tried, config.limit)
    saved = time.monotonic()
    with tqdm(total=config.limit, initial=tried, desc="windows", unit="window") as bar:
        while some := list(itertools.islice(windows, config.batch)):
            good = mining.recited(model, [window["ids"] for window in some], config.prefix, config.batch)
            found += itertools.compress(some, good.tolist())
            tried += len(some)
            bar.update(len(some))
            bar.set_postfix(recited=len(found), refresh=False)
            if time.monotonic() - saved >= 60 * config.checkpoint_minutes:
                _save(state, settings, tried, found)
                saved = time.monotonic()
    if not tried:
        raise ValueError(
            f"{settings['corpus']}: no document has the {length} tokens of one window: give longer text, or a shorter "
            "--prefix or --suffix"
        )
    found = _generated(model, found, config)
    if not found:
        state.unlink(missing_ok=True)
        raise ValueError(
            f"{config.model} continues none of the {tried} windows of {settings['corpus']} word for word, so nothing "
            "was written: try a shorter --suffix, a text that it was trained on, or a larger model"
        )
    kept = range(len(found))
    if config.threshold < 1:
        kept = mining.deduplicate([window["ids"] for window in found], config.threshold)
    files.write_rows(out, [_row(tokenizer, config.prefix, settings["corpus"], found[i]) for i in kept])
    state.unlink(missing_ok=True)
    print(f"{len(found)} of {tried} windows are continued word for word; {len(kept)} that differ are in {out}")
    return out


def windows_of(documents: Iterable[list[int]], lead: list[int], length: int, stride: int) -> Iterator[dict]:
    """Yield the windows of `length` tokens that lie in one document each: {"document", "start", "ids"}.

    lead: tokens that every window begins with, such as <s>. document counts from 1, start from 0 and without `lead`.
    """
    own = length - len(lead)
    for number, ids in enumerate(documents, 1):
        for start in range(0, len(ids) - own + 1, stride):
            yield {"document": number, "start": start, "ids": [*lead, *ids[start : start + own]]}


def _check_out(out, state, restart):
    """Before the work: OSError or ValueError if the file `out` cannot be written, or is there and of no run that can
    be gone on with."""
    files.check_writable(out)
    if out.is_dir():
        raise ValueError(f"--out {out} is a folder: name a file in it, such as {out / 'memorized.jsonl'}")
    if out.exists() and not _is_mined(out):
        raise ValueError(f"{out} is there already and was not written by `kfac mine`: choose another --out")
    if out.exists() and not state.exists() and not restart:
        raise ValueError(f"{out} is there already: choose another --out, or write it anew with --restart")


def _is_mined(path):
    """Whether the first row of a file is one that `_row` makes."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        try:
            row = json.loads(file.readline())
        except ValueError:
            return False
    return isinstance(row, dict) and {"prefix_ids", "suffix_ids", "document", "start"} <= row.keys()


def _text(config, model, tokenizer):
    """(documents as lists of token ids, the tokens that every window begins with, what both depend on)."""
    world = small_olmo2.load_world(config.model)
    if config.corpus:
        first, bos = tokenizer("a")["input_ids"][:1], tokenizer.bos_token_id
        return (
            corpora.tokenized(config.corpus, tokenizer, model, add_special_tokens=False),
            first if first == [bos] else [],
            {
                "corpus": str(config.corpus),
                "files": corpora.checksums(config.corpus),
                "tokenizer": corpora.tokenizer_digest(tokenizer),
            },
        )
    if world is None:
        raise ValueError(
            f"--corpus is needed: {config.model} does not come with a world of its own (give a .jsonl or .txt file, or "
            "a dataset's name)"
        )
    rows = world_stream(world, seed=0).ids.view(-1, ROW).tolist()
    return [row[1:] for row in rows], rows[0][:1], {"corpus": "the model's own stream, seed 0", "world": world.seed}


def _generated(model, found, config):
    """Those of the windows that the model also generates, token by token: where two tokens are equally likely in its
    dtype, a step at a time may round to the other one."""
    good = []
    for start in tqdm(range(0, len(found), config.batch), desc="generating", unit="batch"):
        some = found[start : start + config.batch]
        said = greedy(model, [window["ids"][: config.prefix] for window in some], config.suffix, config.batch)
        good += [window for window, ids in zip(some, said.tolist()) if ids == window["ids"][config.prefix :]]
    return good


def _row(tokenizer, prefix, corpus, window):
    parts = window["ids"][:prefix], window["ids"][prefix:]
    texts = [tokenizer.decode(part) for part in parts]  # for the human eye: ids decide
    keys = ("prefix_ids", "suffix_ids", "prefix", "target_suffix")
    return dict(zip(keys, (*parts, *texts))) | {
        "corpus": corpus,
        "document": window["document"],
        "start": window["start"],
    }


# what a killed run leaves


def _digest(head, found):
    return hashlib.sha256(json.dumps([head, found], sort_keys=True).encode()).hexdigest()


def _save(state, settings, tried, found):
    head = {"format": FORMAT, "settings": settings, "tried": tried}
    files.write_rows(state, [head | {"digest": _digest(head, found)}, *found])


def _load(state, settings):
    """(windows tried, those found) of `_save`; ValueError if the file is damaged or of another run."""
    try:
        head, *found = map(json.loads, state.read_bytes().splitlines())
        sound = head.pop("digest") == _digest(head, found) and head["format"] == FORMAT
    except (ValueError, KeyError, TypeError, AttributeError):
        sound = False
    if not sound:
        raise ValueError(f"{state} is damaged or was not written by `kfac mine`: remove it, or begin anew (--restart)")
    if difference := differs(head["settings"], settings):
        raise ValueError(
            f"{state} belongs to another run: it has {difference}. Choose another --out, or begin anew with --restart"
        )
    return head["tried"], found
