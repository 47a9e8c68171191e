"""What chapter 17 works on: OLMo-2-1B where its weights and an exam for it are on this machine, otherwise the small
model through the same files.

A model is taken from the variable KFAC_MODEL (a folder, or a name of the hub), or from the hub's cache if there is a
GPU for it. KFAC_EXAM names a folder with `sequences.jsonl` (memorized windows) and `text.jsonl` (other text), and
perhaps `corpus.jsonl` to collect on (otherwise the model's preset says what). Nothing is downloaded for it.
"""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoTokenizer

from kfaclib.collecting import resumable
from kfaclib.io import files, storage
from kfaclib.lm import corpora, models, presets, snapshot
from kfaclib.lm.recitation import load_sequences, split_windows
from kfaclib.toy import small_olmo2, tasks
from kfaclib.toy.rows import world_rows
from kfcourse.paths import DATA

NAME = "allenai/OLMo-2-0425-1B"
STAND_IN = DATA / "olmo2-tiny"
ROWS = 48  # windows that the stand-in's curvature is collected on


@dataclass(frozen=True)
class Subject:
    """A model, what its curvature is collected on, and where the exam's files are."""

    model: str  # a folder
    label: str  # what tables and figures call it
    stand_in: bool
    why: str
    collect: list  # words for `kfac collect`
    exam: dict  # {half: (file of memorized windows, file of other text)}
    length: int  # tokens in a window of text


def connected(windows, n=8):
    """Groups of windows [(prefix ids, suffix ids)], as lists of their numbers, that share a run of `n` tokens, if only
    through others.
    """
    parent, seen = list(range(len(windows))), {}

    def root(i):
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    for i, (prefix, suffix) in enumerate(windows):
        ids = [*prefix, *suffix]
        for run in zip(*(ids[k:] for k in range(n))):
            parent[root(i)] = root(seen.setdefault(run, i))
    groups = {}
    for i in range(len(windows)):
        groups.setdefault(root(i), []).append(i)
    return list(groups.values())


def halves(windows):
    """{half: windows}: two halves that share no run of text; a group goes where the digest of its first window says,
    and always goes whole.
    """
    found = {half: [] for half in tasks.HALVES}
    for group in connected(windows):
        digest = hashlib.sha256(json.dumps(windows[group[0]]).encode()).digest()
        found[tasks.HALVES[digest[0] % 2]] += [windows[i] for i in group]
    return found


def write_exam(folder, windows, text):
    """The exam's files in the authors' format, from windows {half: [(prefix ids, suffix ids)]} and text {half: [str]};
    {half: (file, file)}.
    """
    found = {}
    for half in tasks.HALVES:
        found[half] = Path(folder) / f"{half}-sequences.jsonl", Path(folder) / f"{half}-text.jsonl"
        files.write_rows(
            found[half][0], [{"prefix_ids": prefix, "suffix_ids": suffix} for prefix, suffix in windows[half]]
        )
        files.write_rows(found[half][1], [{"text": document} for document in text[half]])
    return found


def _stand_in(folder, why):
    """The small model, with its corpus and its exam written to files, since a real model has nothing else."""
    _, tokenizer = models.load(STAND_IN, device="cpu")
    world = small_olmo2.load_world(STAND_IN)
    spoken = lambda rows: [
        tokenizer.decode(row[1:]) for row in rows.tolist()
    ]  # the tokenizer puts the first token back
    corpus = Path(folder) / "corpus.jsonl"
    files.write_rows(corpus, [{"text": document} for document in spoken(world_rows(world, ROWS, 0))])
    exam = write_exam(
        folder,
        {half: split_windows(tasks.quote_windows(world, half)) for half in tasks.HALVES},
        {half: spoken(tasks.fresh_text(f"{world.seed} {half}", 32)) for half in tasks.HALVES},
    )
    words = [
        "--layers",
        presets.GATE_AND_UP,
        "--corpus",
        str(corpus),
        "--length",
        "128",
        "--rows",
        str(ROWS),
        "--batch",
        "16",
    ]
    return Subject(str(STAND_IN), "olmo2-tiny, the stand-in", True, why, words, exam, 112)


def find(named=None, folder="exam"):
    """The `Subject`; the exam's files are written into `folder`.

    named: a folder or a name of the hub that must be there; None: the variable KFAC_MODEL, or NAME if it is in the
    cache and there is a GPU.
    """
    asked, revision = named or os.environ.get("KFAC_MODEL"), presets.preset(NAME).revision
    place = (
        asked
        if asked and Path(asked).is_dir()
        else snapshot.find(asked or NAME, revision if (asked or NAME) == NAME else None)
    )
    if asked and not place:
        raise ValueError(
            f"{asked} is neither a folder nor a model whose files are all in the hub's cache here; `hf download "
            f"{asked}` puts it there"
        )
    if not place:
        return _stand_in(folder, f"the weights of {NAME} are not on this machine")
    if not asked and not torch.cuda.is_available():
        return _stand_in(folder, f"{NAME} is on this machine, but no GPU: set KFAC_MODEL to take it all the same")
    source = Path(os.environ.get("KFAC_EXAM", ""))
    missing = [name for name in ("sequences.jsonl", "text.jsonl") if not (source / name).is_file()]
    if missing:
        return _stand_in(folder, f"the weights are here, but KFAC_EXAM names no folder with {' and '.join(missing)}")
    tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False)  # the exam needs no weights
    written = list(corpora.documents(source / "text.jsonl"))
    exam = write_exam(
        folder,
        halves(load_sequences(source / "sequences.jsonl", tokenizer)),
        {half: written[k::2] for k, half in enumerate(tasks.HALVES)},
    )
    corpus = str(source / "corpus.jsonl") if (source / "corpus.jsonl").exists() else presets.preset(NAME).corpus
    return Subject(
        str(place),
        Path(asked or NAME).name,
        False,
        "real weights",
        ["--layers", presets.GATE_AND_UP, "--corpus", corpus],
        exam,
        512,
    )


def start(words, log):
    """`kfac` with these words in a process of its own, its output in the file `log`."""
    with open(log, "w", encoding="utf-8") as file:
        return subprocess.Popen([sys.executable, "-m", "kfaclib", *map(str, words)], stdout=file, stderr=file)


def kill_at(process, out, windows, seconds=900):
    """Kill a collection (SIGKILL: no time to tidy up) once its checkpoint in `out` holds `windows` windows; the number
    that it holds.
    """
    checkpoint, limit = resumable.checkpoint_path(out, 0), time.monotonic() + seconds
    done = 0
    try:
        while done < windows:
            if process.poll() is not None or time.monotonic() > limit:
                raise RuntimeError(
                    f"the collection in {out} ended by itself, or did not get to {windows} windows in {seconds} s"
                )
            time.sleep(0.02)
            with contextlib.suppress(OSError, ValueError):  # there is no checkpoint yet
                done = storage.read_header(checkpoint)["position"]["done"]
    finally:
        process.kill()
        process.wait()
    return done
