"""Public lists of windows that a published model recites: fetched once, checked, and a sample of them written as rows
that `load_sequences` reads.

A list is a file here, an https address with the SHA-256 of the file behind it, or `owner/name:split@revision`, a split
of a dataset on the hub that is stored as Parquet.
"""

from __future__ import annotations  # naming a tokenizer's class must not load it

import random
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub

from kfaclib.io import files
from kfaclib.lm import mining, rows

SECONDS = 60  # that a host may be silent


@dataclass(frozen=True)
class PublicList:
    """Where a list of windows is, its licence, and the digest of its file if it has an address of its own."""

    source: str
    licence: str
    sha256: str | None = None


def _from_the_web(public, beside):
    path = beside.with_name(f"{beside.stem}-list{rows.suffix(public.source)}")
    if not (path.exists() and files.sha256(path) == public.sha256):
        try:
            with urllib.request.urlopen(public.source, timeout=SECONDS) as answer, files.atomic(path) as partial:
                partial.write_bytes(answer.read())
        except OSError as error:
            raise OSError(
                f"the list of windows could not be fetched from {public.source} ({error}): connect to a network and "
                f"run the same command again, or give a list of your own with --sequences"
            ) from None
    if files.sha256(path) != public.sha256:
        raise ValueError(
            f"{path} does not have the SHA-256 of the list behind {public.source}, it was cut short or changed: remove "
            "it and run the same command again"
        )
    return [path]


def _from_the_hub(public):
    place, _, revision = public.source.partition("@")
    place, _, split = place.partition(":")
    there = dict(repo_id=place, repo_type="dataset", revision=revision)
    try:
        names = huggingface_hub.HfApi().list_repo_files(**there)
        wanted = sorted(n for n in names if Path(n).name.startswith(f"{split}-") and n.endswith(".parquet"))
        found = [Path(huggingface_hub.hf_hub_download(filename=name, **there)) for name in wanted]
    except Exception as error:  # the hub's library has a dozen for a connection that is not there
        raise OSError(
            f"the list of windows {public.source} could not be fetched from the hub ({type(error).__name__}): connect "
            "to a network and run the same command again, or give a list of your own with --sequences"
        ) from error
    if not found:
        raise ValueError(f"{place} at {revision} has no Parquet files of the split {split}: give --sequences")
    return found


def _sample(paths, count):
    """At most `count` rows of the files, drawn evenly in one pass (Vitter's algorithm R), in their order."""
    kept, draw = [], random.Random(0)
    for number, (_, row) in enumerate(row for path in paths for row in rows.rows(path)):
        if len(kept) < count:
            kept.append((number, row))
        elif (place := draw.randrange(number + 1)) < count:
            kept[place] = number, row
    return [row for _, row in sorted(kept, key=lambda pair: pair[0])]


def write(public: PublicList, out: str | Path, count: int, say: Callable[[str], object] = lambda text: None) -> Path:
    """Write `count` windows of a list (or all, if it has fewer) to `out`, .jsonl; its path.

    Rows of token ids that nearly repeat an earlier one (`mining.deduplicate`) are left out. What is there already is
    used. OSError without a network, ValueError for a file that is not the pinned one or holds no rows.
    """
    out = Path(out)
    if out.exists():
        say(f"the windows are those in {out}")
        return out
    files.check_writable(out)
    if public.source.startswith("https://"):
        paths = _from_the_web(public, out)
    else:
        paths = [Path(public.source)] if rows.is_file_name(public.source) else _from_the_hub(public)
    drawn = _sample(paths, 2 * count)
    if not drawn:
        raise ValueError(f"{public.source} has no rows")
    if all("tokens" in row for row in drawn):
        ids = [list(row["tokens"]) for row in drawn]
        drawn = [{"index": drawn[i].get("index"), "tokens": ids[i]} for i in mining.deduplicate(ids)]
    files.write_rows(out, drawn[:count])
    say(f"{min(count, len(drawn))} windows of {public.source} ({public.licence}) are in {out}")
    return out
