"""Token windows of any text to collect curvature on, packed without padding.

A corpus is named by a string: a file (as `rows` reads them: .jsonl, .txt, .csv, .jsonl.gz ...), a dataset on the hub or
in a folder ("owner/name", "owner/name:config", "owner/name:config@revision", streamed through `datasets`), one of
MIXTURES, or several of these with their shares, "web.jsonl=0.7,math.jsonl=0.3".
"""

from __future__ import annotations  # naming a model's class must not load it

import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
import transformers
from tqdm.auto import tqdm

from kfaclib.io import files
from kfaclib.lm import rows
from kfaclib.lm.models import positions

# The sub-corpora with their shares of the 50-billion-token mix that OLMo-2 was finished on. Read shard after shard
# in alphabetical order, a sample of 100 MB would be web text (dclm) to the last byte.
DOLMINO = "allenai/dolmino-mix-1124:{}@a319f19eef1e257417b11ea8c30da266ae175557"
MIXTURES = {
    "dolmino": {
        DOLMINO.format(part): share
        for part, share in dict(
            dclm=0.472, flan=0.166, pes2o=0.0585, wiki=0.0711, stackexchange=0.0245, math=0.208
        ).items()
    }
}
CHUNK = 64  # documents read, and given to the tokenizer, at a time


def _dataset_documents(name):
    """Yield the texts of a dataset of the hub (or a folder of its format) as they stream in."""
    try:
        import datasets  # an optional extra: not everyone collects on the hub's corpora
    except ImportError:
        raise ValueError(
            f"--corpus {name} is not a file here, and to stream a dataset of that name the package `datasets` is "
            "needed: pip install datasets zstandard"
        ) from None
    place, _, revision = name.partition("@")
    place, _, config = place.partition(":")
    stream = datasets.load_dataset(place, config or None, split="train", streaming=True, revision=revision or None)
    for row in stream:
        if not isinstance(row.get("text"), str):
            raise ValueError(f'--corpus {name}: its rows have {", ".join(sorted(row))}, but no "text"')
        yield row["text"]


def interleave(streams: Sequence[Iterator[str]], shares: Sequence[float]) -> Iterator[str]:
    """Yield documents of several streams so that each has its share of the characters, as nearly as whole documents
    allow.

    shares: positive, one for each stream. The next document comes from the stream that lags furthest behind its share.
    The result ends with the first stream that does, so the shares hold for all that was yielded.
    """
    given = [0] * len(streams)
    while True:
        lagging = min(range(len(streams)), key=lambda i: given[i] / shares[i])
        document = next(streams[lagging], None)
        if document is None:
            return
        given[lagging] += len(document) + 1  # an empty document moves on, too
        yield document


def parts(corpus: str | Path) -> dict[str, float] | None:
    """{name: share} of a corpus that is a mixture; None for a single corpus. Raises ValueError for a mixture that is
    not written as names with shares above zero."""
    corpus = str(corpus)
    if corpus in MIXTURES:
        return MIXTURES[corpus]
    if "=" not in corpus or Path(corpus).exists():
        return None
    try:
        found = {name.strip(): float(share) for name, _, share in (part.rpartition("=") for part in corpus.split(","))}
    except ValueError:
        raise ValueError(f"--corpus {corpus}: a mixture is written name=share,name=share") from None
    if not all(name and 0 < share < math.inf for name, share in found.items()):
        raise ValueError(f"--corpus {corpus}: every part of a mixture needs a name and a finite share above 0")
    return found


def documents(corpus: str | Path) -> Iterator[str]:
    """The documents of a corpus, named as the module's docstring says. Raises ValueError for a dataset whose rows have
    no "text", and where the package `datasets` is missing."""
    mixture, path = parts(corpus), Path(corpus)
    if mixture:
        return interleave([documents(name) for name in mixture], list(mixture.values()))
    if rows.is_file_name(path):
        return rows.documents(path)
    return _dataset_documents(str(corpus))


def checksums(corpus: str | Path) -> dict[str, str]:
    """{file: SHA-256} of the files that a corpus is made of; a dataset is not listed, since its revision names it."""
    names = parts(corpus) or [str(corpus)]
    return {name: files.sha256(name) for name in names if Path(name).is_file()}


def tokenizer_digest(tokenizer: transformers.PreTrainedTokenizerBase) -> str:
    """SHA-256 of a tokenizer's vocabulary and of the token ids of a fixed sentence, to tell tokenizers apart."""
    sample = tokenizer("The tokens of 2 sentences.\nAre they the same?")["input_ids"]
    return hashlib.sha256(json.dumps([sorted(tokenizer.get_vocab().items()), sample]).encode()).hexdigest()


def _chunks(corpus):
    """Yield lists of CHUNK documents, reading the next list in a thread while this one is used. Raises OSError, saying
    where, if the stream breaks off."""
    stream, read = iter(documents(corpus)), 0
    with ThreadPoolExecutor(1) as reader:
        waiting = reader.submit(lambda: list(itertools.islice(stream, CHUNK)))
        while True:
            try:
                chunk = waiting.result()
            except (ValueError, rows.DamagedFileError, IsADirectoryError, PermissionError):
                raise  # what is wrong with a file is wrong the next time, too
            except Exception as error:  # every library has its own for a connection that is gone
                if read == 0 and (isinstance(error, FileNotFoundError) or getattr(error, "filename", None)):
                    raise  # a file that cannot be opened
                raise OSError(
                    f"the corpus {corpus} broke off after {read} documents ({type(error).__name__}: {error}); nothing "
                    "was collected on a part of it: run the same command again"
                ) from error
            if not chunk:
                return
            waiting = reader.submit(lambda: list(itertools.islice(stream, CHUNK)))
            read += len(chunk)
            yield chunk


def _check_ids(corpus, ids, vocabulary):
    """Raise ValueError if one of these ids lies outside a model's `vocabulary` tokens."""
    if ids and max(ids) >= vocabulary:
        raise ValueError(
            f"{corpus}: the tokenizer makes token {max(ids)} of it, and the model has {vocabulary} tokens: this is the "
            "tokenizer of another model"
        )


def tokenized(
    corpus: str | Path,
    tokenizer: transformers.PreTrainedTokenizerBase,
    model: transformers.PreTrainedModel | None = None,
    **options: object,
) -> Iterator[list[int]]:
    """Yield the token ids (list) of each document of a corpus; options are the tokenizer's.

    Documents are tokenized in chunks, on all cores (by a fast tokenizer's threads), while the next ones are being
    read. model: the one that is to read them; tokens that it does not have are a ValueError.
    """
    vocabulary = model and model.get_input_embeddings().num_embeddings
    for chunk in _chunks(corpus):
        for ids in tokenizer(chunk, verbose=False, **options)["input_ids"]:
            if vocabulary:
                _check_ids(corpus, ids, vocabulary)
            yield ids


def text_windows(
    corpus: str | Path,
    tokenizer: transformers.PreTrainedTokenizerBase,
    length: int | None = None,
    count: int | None = None,
    progress: bool = False,
    model: transformers.PreTrainedModel | None = None,
) -> torch.Tensor:
    """Token ids of a corpus's documents, joined end to end and cut into windows without padding: int64 [N, length].

    length: in tokens, by default 512 or as many as the model has positions, if that is fewer. count: windows at most;
    by default all. model: the one that is to read the windows.

    Raises ValueError for windows longer than the model's positions, for tokens that it does not have, and for a corpus
    shorter than one window; OSError if a stream breaks off.
    """
    longest = model and positions(model)
    length = length or min(512, longest or 512)
    if longest and length > longest:
        raise ValueError(
            f"windows of {length} tokens are longer than the {longest} positions of the model: give a --length of at "
            f"most {longest}"
        )
    pieces, tokens = [], 0
    with tqdm(
        total=count and count * length,
        desc="tokens",
        unit="tok",
        unit_scale=True,
        **({} if progress else {"disable": True}),
    ) as bar:
        for ids in tokenized(corpus, tokenizer, model):
            pieces.append(torch.tensor(ids, dtype=torch.int32))
            tokens += len(ids)
            bar.update(min(len(ids), bar.total - bar.n) if bar.total else len(ids))
            if count is not None and tokens >= count * length:
                break
    windows = tokens // length if count is None else min(count, tokens // length)
    if windows == 0:
        raise ValueError(
            f"{corpus} has {tokens} tokens, fewer than one window of {length}: give more text or a shorter --length"
        )
    return torch.cat(pieces)[: windows * length].view(windows, length).long()
