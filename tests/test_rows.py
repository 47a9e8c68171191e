"""One reader of text and of rows: whatever is brought is read as what it is, or refused in one sentence with its file.

The inputs are made by a generator, which knows what each of them says: some are sound in an unusual way, some are not.
"""

import bz2
import gzip
import io
import json
import lzma
import os

import hypothesis
import hypothesis.strategies as st
import pytest
import torch
from tokenizers import Tokenizer, pre_tokenizers, processors
from tokenizers.models import WordLevel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from kfaclib.lm import corpora, rows
from kfaclib.lm.sequences import load_sequences

WORDS = ["<unk>", "<s>", "ada", "gave", "the", "anchor", "to", "ben", ".", "café", "海"]
POSITIONS = 12
PACK = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


def make_tokenizer(trailing=False):
    inner = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    single = "<s> $A <s>" if trailing else "<s> $A"
    inner.post_processor = processors.TemplateProcessing(single=single, special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>", bos_token="<s>")


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


def make_model(vocabulary=11, positions=POSITIONS):
    settings = dict(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary, max_position_embeddings=positions, bos_token_id=1, eos_token_id=1, **settings
        )
    )


@pytest.fixture(scope="module")
def model():
    return make_model()


# the generator


words = st.lists(st.sampled_from(WORDS[2:]), min_size=1, max_size=6)
texts = st.lists(words.map(" ".join), min_size=1, max_size=5)
ids = st.lists(st.integers(2, len(WORDS) - 1), min_size=1, max_size=5)
windows = st.lists(st.tuples(ids, ids), min_size=1, max_size=4)


@st.composite
def dressed(draw, lines):
    """(file name, bytes) of lines of JSON in a dress that changes nothing: a mark, blank lines, line ends, a packing,
    a suffix."""
    lines = [x for line in lines for x in (*draw(st.sampled_from([(), ("",), ("  ",)])), line)]
    end = draw(st.sampled_from(["\n", "\r\n"]))
    data = draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + end.join(lines).encode()
    data += draw(st.sampled_from(["", end, end + end])).encode()
    name = "a" + draw(st.sampled_from([".jsonl", ".ndjson", ".jl", ".JSONL", ".json", ".txt", ".dat", ""]))
    packing = draw(st.sampled_from(["", *PACK]))
    if packing:
        data, name = PACK[packing](data), name + draw(st.sampled_from([packing, packing.upper(), ""]))
    return name, data


@st.composite
def spoiled(draw, lines):
    """(file name, bytes) of lines of JSON in a dress that cannot be read."""
    whole = "\n".join(lines)
    how = draw(st.sampled_from(["cut", "utf-16", "latin-1", "zero", "array", "misnamed", "packed twice", "cut line"]))
    packing = draw(st.sampled_from(list(PACK)))
    if how == "cut":
        data = PACK[packing](whole.encode())
        return "a.jsonl" + packing, data[: draw(st.integers(len(data) // 2, len(data) - 9))]
    if how == "latin-1":
        return "a.jsonl", b'{"text": "caf\xe9"}\n' + whole.encode()
    if how == "zero":
        return "a.jsonl", whole.encode() + b"\n\0\n"
    if how == "array":
        return draw(st.sampled_from(["a.json", "a.txt", "a.jsonl"])), f"[{', '.join(lines)}]".encode()
    if how == "misnamed":
        return draw(st.sampled_from(["a.jsonl.zst", "a.jsonl.gz", "a.parquet", "a.csv", "a.tsv"])), whole.encode()
    if how == "packed twice":
        return "a.jsonl.gz", gzip.compress(gzip.compress(whole.encode()))
    if how == "cut line":
        return "a.jsonl", whole.encode()[:-1]
    return "a.jsonl", whole.encode("utf-16")


BAD_TEXTS = [{"text": 3}, {"text": None}, {"text": float("nan")}, {"text": "a\ud83d"}, {"content": "a"}, [1], 7, "ada"]
BAD_WINDOWS = [
    {"prefix_ids": [2], "suffix_ids": [10**9]},
    {"prefix_ids": [-1], "suffix_ids": [2]},
    {"prefix_ids": [2.0], "suffix_ids": [2]},
    {"prefix_ids": [True], "suffix_ids": [2]},
    {"prefix_ids": "22", "suffix_ids": [2]},
    {"prefix_ids": [], "suffix_ids": [2]},
    {"prefix_ids": [2] * POSITIONS, "suffix_ids": [2]},
    {"prefix_ids": [2]},
    {"prefix": "ada gave", "target_suffix": None},
    {"prefix": "ada \udc00", "target_suffix": " gave"},
    {"prefix": "ada", "target_suffix": " "},
    {"prefix": "ada " * POSITIONS, "target_suffix": "gave"},
    {"prefix": "anc", "target_suffix": "hor"},
    {},
    [],
]


@st.composite
def broken(draw, good, bad):
    """Lines of JSON of which one is not what it should be."""
    lines = [json.dumps(row) for row in good]
    line = draw(st.sampled_from([*map(json.dumps, bad), "{", "not JSON", "[" * 5000, '{"text": "a\tb"}']))
    place = draw(st.integers(0, len(lines)))
    return [*lines[:place], line, *lines[place:]], place + 1


def as_rows(said):
    return [{"text": x} if isinstance(x, str) else {"prefix_ids": x[0], "suffix_ids": x[1]} for x in said]


def read(folder, tokenizer, model, name, data, of_text):
    """What the file says, all of it: a list of tokens, or of windows."""
    path = folder / name
    path.write_bytes(data)
    try:
        if of_text:
            return corpora.text_windows(path, tokenizer, 1, model=model).flatten().tolist()
        return load_sequences(path, tokenizer, model)
    finally:
        path.unlink()


def check_any_input(data, folder, tokenizer, model):
    of_text = data.draw(st.booleans())
    said = data.draw(texts if of_text else windows)
    kind = data.draw(st.sampled_from(["sound", "spoiled", "broken"]))
    lines, line = [json.dumps(row, ensure_ascii=data.draw(st.booleans())) for row in as_rows(said)], None
    if kind == "sound":
        name, content = data.draw(dressed(lines))
        expected = [t for text in said for t in tokenizer(text)["input_ids"]] if of_text else said
        assert read(folder, tokenizer, model, name, content, of_text) == expected
        return
    if kind == "broken":
        lines, line = data.draw(broken(as_rows(said), BAD_TEXTS if of_text else BAD_WINDOWS))
        name, content = "a.jsonl", "\n".join(lines).encode()
    else:
        name, content = data.draw(spoiled(lines))
    with pytest.raises((ValueError, OSError)) as raised:
        read(folder, tokenizer, model, name, content, of_text)
    message = str(raised.value)
    assert (
        str(folder / name) in message
        and len(message) < 500
        and "\n" not in message
        and "run the same command" not in message
    )
    assert line is None or f"line {line}:" in message


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(st.data())
def test_any_input_is_read_right_or_refused_with_its_file_and_line(tmp_path_factory, tokenizer, model, data):
    check_any_input(data, tmp_path_factory.getbasetemp(), tokenizer, model)


@pytest.mark.slow
@hypothesis.settings(max_examples=300, deadline=None)
@hypothesis.given(st.data())
def test_three_hundred_inputs_are_read_right_or_refused(tmp_path_factory, tokenizer, model, data):
    check_any_input(data, tmp_path_factory.getbasetemp(), tokenizer, model)


# what the generator does not make


def documents(path, content):
    path.write_bytes(content)
    return list(rows.documents(path))


def test_a_text_is_one_document_with_unix_line_ends_and_its_first_bracket_is_no_json(tmp_path):
    assert documents(tmp_path / "a.txt", b"\xef\xbb\xbfone\r\ntwo\rthree\n\n") == ["one\ntwo\nthree\n\n"]
    assert documents(tmp_path / "b.md", b"[[A link]] and {braces}") == ["[[A link]] and {braces}"]


def test_tables_have_a_column_of_texts_of_any_length(tmp_path):
    long = "word " * 50_000
    content = f'n,text\r\n1,"said ""yes"", and\nleft"\r\n\r\n2,{long}\r\n'.encode()
    assert documents(tmp_path / "a.csv", content) == ['said "yes", and\nleft', long]
    assert documents(tmp_path / "a.tsv.gz", gzip.compress(b"text\tn\nada, ben\t1\n")) == ["ada, ben"]
    for content, message in ((b"a,b\n1,2\n", "line 2: .*'a', 'b'"), (b"text,b\n1\n", "line 2: not as many fields")):
        with pytest.raises(ValueError, match=message):
            documents(tmp_path / "b.csv", content)


def test_texts_are_cut_at_line_feeds_only(tmp_path):
    lines = [json.dumps({"text": f"a{c}b"}, ensure_ascii=False) for c in ("\u2028", "\x85", "\u2029")]
    assert documents(tmp_path / "a.jsonl", "\n".join(lines).encode()) == ["a\u2028b", "a\x85b", "a\u2029b"]


@pytest.mark.parametrize(
    "name, content, package", [("a.jsonl.zst", b"\x28\xb5\x2f\xfd", "zstandard"), ("a.parquet", b"PAR1", "pyarrow")]
)
def test_a_format_whose_package_is_missing_says_what_to_install(tmp_path, monkeypatch, name, content, package):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(ValueError, match=rf"{name} .*pip install {package}"):
        documents(tmp_path / name, content)


def test_zstandard_is_read_where_its_package_is(tmp_path):
    zstandard = pytest.importorskip("zstandard")
    packed = zstandard.ZstdCompressor().compress(b'{"text": "one"}\n' * 50)
    assert documents(tmp_path / "a.jsonl.zst", packed) == ["one"] * 50
    skipped = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"  # pzstd begins a file with such a frame
    assert documents(tmp_path / "a.jsonl.zst", skipped + packed + packed) == ["one"] * 100
    for cut in (packed[:-4], packed + packed[:-4], packed + packed[:9]):
        with pytest.raises(OSError, match="broke off.*a frame ends early"):
            documents(tmp_path / "a.jsonl.zst", cut)
    with pytest.raises(OSError, match="broke off"):
        documents(tmp_path / "a.jsonl.zst", packed + b"garbage")


class Frame:
    """A decompressor as `zstandard` makes it: a frame is its length in a byte, and so many bytes of content."""

    def __init__(self):
        self.length, self.unused_data, self.eof = None, b"", False

    def decompress(self, data):
        if self.length is None:
            self.length, data = data[0], data[1:]
        content, self.unused_data = data[: self.length], data[self.length :]
        self.length -= len(content)
        self.eof = self.length == 0
        return content


@hypothesis.given(st.lists(st.binary(max_size=255), max_size=5), st.integers(1, 9))
def test_frames_are_read_one_after_the_other_and_a_cut_one_is_noticed_without_the_package_too(frames, size):
    whole = b"".join(bytes([len(frame)]) + frame for frame in frames)

    def content(data):
        with rows._Frames(io.BytesIO(data), Frame) as file:
            return b"".join(iter(lambda: file.read(size), b""))

    assert content(whole) == b"".join(frames)
    if frames and frames[-1]:
        with pytest.raises(EOFError, match="ends early"):
            content(whole[:-1])


def test_parquet_is_read_where_its_package_is(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"text": ["one", "two"]}), tmp_path / "a.parquet")
    assert list(rows.documents(tmp_path / "a.parquet")) == ["one", "two"]
    with pytest.raises(OSError, match=r"b\.parquet broke off"):
        documents(tmp_path / "b.parquet", (tmp_path / "a.parquet").read_bytes()[:-9])


def test_two_columns_of_one_name_are_refused(tmp_path):
    with pytest.raises(ValueError, match="two columns are named 'text'"):
        documents(tmp_path / "a.csv", b"text,id,text\none,1,two\n")


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path):
    (tmp_path / "folder.jsonl").mkdir()
    os.mkfifo(tmp_path / "pipe.jsonl")
    for name in ("folder.jsonl", "pipe.jsonl"):
        with pytest.raises(ValueError, match=f"{name} is a folder, a pipe or a device"):
            list(corpora.documents(tmp_path / name))


def test_a_text_where_rows_are_expected_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("ada gave the anchor")
    with pytest.raises(ValueError, match=r"a\.txt: rows are expected"):
        list(rows.rows(tmp_path / "a.txt"))


# bounded by the model


def test_windows_are_no_longer_than_the_model_by_default_and_longer_ones_are_refused(tmp_path, tokenizer, model):
    path = tmp_path / "a.txt"
    path.write_text("ada gave the anchor to ben . " * 20)
    assert corpora.text_windows(path, tokenizer, model=model).shape[1] == POSITIONS
    with pytest.raises(ValueError, match="13 tokens are longer than the 12 positions"):
        corpora.text_windows(path, tokenizer, 13, model=model)
    assert corpora.text_windows(path, tokenizer, 13).shape[1] == 13


def test_tokens_that_the_model_does_not_have_are_refused_in_texts_and_in_windows(tmp_path, tokenizer):
    small, path = make_model(vocabulary=8), tmp_path / "a.jsonl"
    path.write_text('{"text": "ada gave . the"}')
    with pytest.raises(ValueError, match=r"makes token 8 .* the model has 8 tokens"):
        corpora.text_windows(path, tokenizer, 2, model=small)
    path.write_text('{"prefix_ids": [2], "suffix_ids": [3]}\n{"prefix_ids": [2], "suffix_ids": [8]}')
    with pytest.raises(ValueError, match=r"line 2: token id 8 does not exist in this model of 8 tokens"):
        load_sequences(path, tokenizer, small)
    assert len(load_sequences(path, tokenizer)) == 2


# prefix and suffix are one text


def bpe(style):
    """A tokenizer with merges: "llama 2" puts a space before every text, "bytes" does not, "end" also ends it."""
    from tokenizers import models, normalizers, trainers

    inner, text = Tokenizer(models.BPE(unk_token="<unk>")), "the clock struck when the old clock tower stood by the sea"
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False)
    letters = list("▁abcdefghijklmnopqrstuvwxyz")
    inner.pre_tokenizer = bytes_ if style != "llama 2" else pre_tokenizers.Metaspace(prepend_scheme="always")
    alphabet = letters if style == "llama 2" else pre_tokenizers.ByteLevel.alphabet()
    special = ["<unk>", "<s>", "</s>"]
    size = len(alphabet) + 60
    inner.train_from_iterator(
        [text] * 3,
        trainers.BpeTrainer(vocab_size=size, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    if style == "llama 2":
        inner.pre_tokenizer = None
        inner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>" if style == "end" else "<s> $A", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>", unk_token="<unk>"), text


@pytest.mark.parametrize("style", ["llama 2", "bytes", "end"])
def test_wherever_a_text_is_cut_its_pieces_are_its_tokens_or_the_row_is_refused(tmp_path, style):
    tokenizer, text = bpe(style)
    whole = tokenizer(text)["input_ids"]
    whole = whole[:-1] if whole[-1] == 2 else whole
    path, read = tmp_path / "a.jsonl", 0
    for place in range(1, len(text)):
        path.write_text(json.dumps({"prefix": text[:place], "target_suffix": text[place:]}))
        try:
            ((prefix, suffix),) = load_sequences(path, tokenizer)
        except ValueError as error:
            assert "line 1: the prefix ends in" in str(error)
            assert not (text[place - 1].isspace() or text[place].isspace())
            continue
        read += 1
        assert prefix + suffix == whole
        spelled = "".join(tokenizer.convert_ids_to_tokens(suffix)).replace("▁", " ").replace("Ġ", " ")
        assert spelled.strip() == text[place:].strip()
    assert read == 2 * text.count(" ")  # before and after every space


def test_a_cut_inside_a_token_of_a_script_without_spaces_is_refused_and_one_between_tokens_is_not(tmp_path):
    inner = Tokenizer(WordLevel({"<unk>": 0, "东海": 1, "海": 2, "风": 3}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Split("风", "isolated")
    tokenizer, path = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>"), tmp_path / "a.jsonl"
    path.write_text(json.dumps({"prefix": "东海", "target_suffix": "风海"}))
    assert load_sequences(path, tokenizer) == [([1], [3, 2])]
    path.write_text(json.dumps({"prefix": "风东", "target_suffix": "海"}))
    with pytest.raises(ValueError, match="line 1: the cut .* lies inside the token '东海'"):
        load_sequences(path, tokenizer)


def test_what_a_tokenizer_puts_at_the_end_of_a_text_is_no_part_of_the_suffix(tmp_path, tokenizer):
    path = tmp_path / "a.jsonl"
    path.write_text('{"prefix": "ada gave", "target_suffix": "the anchor"}')
    assert (
        load_sequences(path, make_tokenizer(trailing=True)) == load_sequences(path, tokenizer) == [([1, 2, 3], [4, 5])]
    )
