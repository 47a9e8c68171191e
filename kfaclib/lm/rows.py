"""The one reader of text: documents and rows of a file, whatever its format and compression, each with its line.

The content decides, and a suffix that it contradicts is an error: gzip, bzip2, xz and Zstandard are recognised by their
first bytes, Parquet too, and a text file that begins like JSON is read as rows. Text is UTF-8, with or without a
byte-order mark; rows of JSON are cut at "\n" only, and blank lines are passed over. Every error names file and line.
"""

import bz2
import csv
import gzip
import io
import json
import lzma
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

COMPRESSED = {".gz": b"\x1f\x8b", ".bz2": b"BZh", ".xz": b"\xfd7zXZ\x00", ".zst": b"\x28\xb5\x2f\xfd"}
JSON_LINES = (".jsonl", ".ndjson", ".jl", ".json")
TABLES = {".csv": ",", ".tsv": "\t"}
TEXT = (".txt", ".text", ".md")
SUFFIXES = (*JSON_LINES, *TABLES, ".parquet", *TEXT)
# how JSON begins: an object with its first key, or an array of objects or texts; prose hardly ever does
_LIKE_JSON = re.compile(rb'(\xef\xbb\xbf)?\s*(\{\s*["}]|\[\s*[{"])')


class DamagedFileError(OSError):
    """A file that ends early or whose compression is broken: reading it again cannot help."""


@contextmanager
def _reading(path, so_far):
    """Errors of a decompressor inside the block become a `DamagedFileError` that says where; so_far: [line number]."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # each library has its own; an error of the disk has a number
        if getattr(error, "errno", None):
            raise
        raise DamagedFileError(
            f"{path} broke off, with {so_far[0]} lines read ({type(error).__name__}: {error}): the file is cut short "
            "or damaged; fetch or compress it anew"
        ) from None


def suffix(path: str | Path) -> str:
    """The suffix that names the format, in lower case and without that of a compression: ".jsonl" of A.JSONL.gz."""
    ends = [end.lower() for end in Path(path).suffixes]
    return next((end for end in reversed(ends[-2:]) if end not in COMPRESSED), "")


def is_file_name(path: str | Path) -> bool:
    """Does `path` end as a file that can be read here, or is it a file?"""
    path = Path(path)
    return suffix(path) in SUFFIXES or (path.exists() and not path.is_dir())


def _zstd(path):
    try:
        import zstandard  # an optional extra: Python reads the other compressions itself
    except ImportError:
        raise ValueError(f"{path} is compressed with Zstandard: pip install zstandard, or unpack it first") from None
    return _Frames(open(path, "rb"), zstandard.ZstdDecompressor().decompressobj)


class _Frames(io.RawIOBase):
    """The content of a Zstandard file, frame after frame. EOFError where one is cut short, which the package's own
    reader takes for the end."""

    def __init__(self, file, new):
        self.file, self.new, self.frame, self.left = file, new, None, memoryview(b"")

    def readable(self):
        return True

    def readinto(self, buffer):
        while not self.left:
            within = self.frame is not None and not self.frame.eof
            data = (b"" if within or self.frame is None else self.frame.unused_data) or self.file.read(1 << 14)
            if not data and within:
                raise EOFError("a frame ends early")
            if not data:
                return 0
            if not within:
                self.frame = self.new()
            self.left = memoryview(self.frame.decompress(data))
        size = min(len(buffer), len(self.left))
        buffer[:size], self.left = self.left[:size], self.left[size:]
        return size

    def close(self):
        self.file.close()
        super().close()


_OPENERS = {"": lambda path: open(path, "rb"), ".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open, ".zst": _zstd}


def _open(path):
    """The file, unpacked: its first bytes say how it is compressed; ValueError if they contradict its name."""
    with open(path, "rb") as file:
        start = file.read(8)
    found = next((end for end, magic in COMPRESSED.items() if start.startswith(magic)), "")
    named = Path(path).suffix.lower()
    if named == ".zst" and start[1:4] == b"\x2a\x4d\x18":  # a frame to be skipped, with which pzstd begins a file
        found = named
    if named in COMPRESSED and named != found:
        raise ValueError(
            f"{path} is named {named} and is {f'compressed as {found}' if found else 'not compressed in that way'}: "
            "rename it to what it is"
        )
    return io.BufferedReader(_OPENERS[found](path), 1 << 16)


def _lines(path, file):
    """Yield (number, line) of a binary file as text, cut at "\\n" only."""
    so_far = [0]
    while True:
        with _reading(path, so_far):
            line = file.readline()
        if not line:
            return
        so_far[0] += 1
        if b"\0" in line:
            raise ValueError(
                f"{path} is not text in UTF-8: line {so_far[0]} has a zero byte (is it UTF-16, or not text at all?)"
            )
        try:
            yield so_far[0], line.decode("utf-8").removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path} is not text in UTF-8: line {so_far[0]}, byte {error.start + 1}: {error.reason}"
            ) from None


def _json_rows(path, file):
    for number, line in _lines(path, file):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise ValueError(f"{path}, line {number}: not JSON by itself (one object a line is expected)") from None
        if not isinstance(row, dict):
            raise ValueError(f"{path}, line {number}: not a JSON object ({{...}}), but {line[:20]!r}")
        yield number, row


def _table_rows(path, file, delimiter):
    csv.field_size_limit(2**31 - 1)  # a document may be longer than the 128 KiB that a field has by default
    table = csv.DictReader((line for _, line in _lines(path, file)), delimiter=delimiter, strict=True)
    try:
        names = table.fieldnames or []
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(f"{path}, line 1: two columns are named {twice[0]!r}: rename one of them")
        for row in table:
            if None in row or None in row.values():
                raise ValueError(f"{path}, line {table.line_num}: not as many fields as the first line has names")
            yield table.line_num, row
    except csv.Error as error:
        raise ValueError(f"{path}, line {max(1, table.line_num)}: not a table ({error})") from None


def _parquet_rows(path):
    try:
        import pyarrow.parquet as parquet  # not a dependency: few bring such files
    except ImportError:
        raise ValueError(f"{path} is a Parquet file: pip install pyarrow, or write its rows as .jsonl") from None
    so_far = [0]
    with _reading(path, so_far):
        batches = parquet.ParquetFile(path).iter_batches(64)
    while True:
        with _reading(path, so_far):
            batch = next(batches, None)
        if batch is None:
            return
        for row in batch.to_pylist():
            so_far[0] += 1
            yield so_far[0], row


def _read(path):
    """(rows, file): the rows as (line number, dict), or None and the open file if it is plain text."""
    named = suffix(path)
    if Path(path).exists() and not Path(path).is_file():
        raise ValueError(f"{path} is a folder, a pipe or a device: name a file, which can be read more than once")
    with open(path, "rb") as file:
        parquet = file.read(4) == b"PAR1"
    if parquet:
        return _parquet_rows(path), None
    if named == ".parquet":
        raise ValueError(f"{path} is named .parquet and does not begin like one: rename it to what it is")
    file = _open(path)
    with _reading(path, [0]):
        like_json = _LIKE_JSON.match(file.peek()) is not None
    if named in TABLES:
        if like_json:
            raise ValueError(f"{path} is named {named} and begins like JSON: rename it to what it is")
        return _table_rows(path, file, TABLES[named]), None
    if named in JSON_LINES or like_json:
        return _json_rows(path, file), None
    return None, file


def _whole(path, line, text):
    """`text` if it can be written as UTF-8; half a surrogate pair, which JSON lets through, is a ValueError."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{path}, line {line}: half a surrogate pair ({text[error.start]!a}), which is no character: remove it, or "
            "put U+FFFD in its place"
        ) from None
    return text


def rows(path: str | Path) -> Iterator[tuple[int, dict]]:
    """Yield (line number, dict) of the rows of a .jsonl, .csv or .parquet file; every text in them is sound Unicode.

    ValueError, naming file and line, if the file holds no rows, or one that cannot be read; OSError if it breaks off.
    """
    found, file = _read(path)
    if found is None:
        file.close()
        raise ValueError(
            f"{path}: rows are expected, one JSON object a line (.jsonl), or a table (.csv, .parquet), and this is text"
        )
    for number, row in found:
        for value in row.values():
            if isinstance(value, str):
                _whole(path, number, value)
        yield number, row


def documents(path: str | Path) -> Iterator[str]:
    """Yield the documents of a file: the "text" of every row, or the whole of a file of plain text.

    ValueError, naming file and line, for what cannot be read or is no text; OSError if the file breaks off.
    """
    found, file = _read(path)
    if found is None:
        whole = "".join(line for _, line in _lines(path, file))
        yield whole.replace("\r\n", "\n").replace("\r", "\n")
        return
    for number, row in found:
        text = row.get("text")
        if not isinstance(text, str):
            has = f"its text is {str(text)[:20]!r}" if "text" in row else f"it has {', '.join(map(repr, row))[:100]}"
            raise ValueError(f'{path}, line {number}: expected one row a document with a "text" in it, but {has}')
        yield _whole(path, number, text)
