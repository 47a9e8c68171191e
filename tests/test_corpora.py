"""A corpus by name: files, datasets, mixtures; packed end to end, and a clear word when it breaks off."""

import gzip
import itertools
import json

import pytest

from kfaclib.lm import corpora
from kfaclib.toy import small_olmo2

WORDS = "ada gave the anchor to ben ."


@pytest.fixture(scope="module")
def tokenizer():
    return small_olmo2.make_tokenizer()


def rows(path, texts):
    lines = "\n".join(json.dumps({"text": text}) for text in texts)
    path.write_bytes(gzip.compress(lines.encode()) if path.suffix == ".gz" else lines.encode())
    return path


def test_windows_are_the_documents_end_to_end_without_padding_or_loss(tmp_path, tokenizer):
    texts = [WORDS * n for n in (1, 3, 0, 2)] * 50  # more documents than are read at a time
    path = rows(tmp_path / "a.jsonl", texts)
    stream = [token for text in texts for token in tokenizer(text)["input_ids"]]
    windows = corpora.text_windows(path, tokenizer, 32)
    assert windows.flatten().tolist() == stream[: len(stream) // 32 * 32]
    assert corpora.text_windows(path, tokenizer, 32, count=3).tolist() == windows[:3].tolist()


@pytest.mark.parametrize("name", ["a.jsonl", "a.json.gz", "a.txt", "notes.md"])
def test_files_are_read_by_what_their_name_says(tmp_path, name):
    path = tmp_path / name
    if ".json" in name:
        rows(path, ["one", "two"])
        assert list(corpora.documents(path)) == ["one", "two"]
    else:
        path.write_text("one\ntwo")
        assert list(corpora.documents(path)) == ["one\ntwo"]


def test_a_mixture_gives_every_part_its_share_at_every_moment():
    lengths, shares = (10, 300, 47), (0.6, 0.3, 0.1)
    streams = [itertools.repeat("x" * n) for n in lengths]
    given = [0, 0, 0]
    for document in itertools.islice(corpora.interleave(streams, shares), 2000):
        given[lengths.index(len(document))] += len(document) + 1
        total = sum(given)
        if total > 30_000:
            assert all(abs(got - share * total) <= 400 for got, share in zip(given, shares))


def test_a_mixture_ends_with_the_first_of_its_parts_so_that_the_shares_hold(tmp_path):
    a, b = rows(tmp_path / "a.jsonl", ["aaa"] * 10), rows(tmp_path / "b.jsonl", ["bbb"] * 100)
    documents = list(corpora.documents(f"{a}=0.5,{b}=0.5"))
    assert documents.count("aaa") == 10 and documents.count("bbb") in (9, 10, 11)


def test_the_authors_mixture_names_all_sub_corpora_at_one_revision_with_shares_of_one():
    mixture = corpora.parts("dolmino")
    assert abs(sum(mixture.values()) - 1) < 1e-3 and len({name.partition("@")[2] for name in mixture}) == 1
    assert {name.partition("@")[0].partition(":")[2] for name in mixture} == {
        "dclm",
        "flan",
        "pes2o",
        "wiki",
        "stackexchange",
        "math",
    }


@pytest.mark.parametrize("name", ["a.jsonl=0.5,b.jsonl", "a.jsonl=much", "a.jsonl=0.5,b.jsonl=0", "a.jsonl=inf"])
def test_a_mixture_that_is_not_one_is_refused(name):
    with pytest.raises(ValueError, match="mixture"):
        list(corpora.documents(name))


def test_a_folder_in_the_hubs_format_streams_through_datasets(tmp_path, tokenizer):
    pytest.importorskip("datasets")
    (tmp_path / "set").mkdir()
    rows(tmp_path / "set" / "train.jsonl", [WORDS] * 5)
    assert list(corpora.documents(tmp_path / "set")) == [WORDS] * 5


def test_a_dataset_without_the_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(ValueError, match="pip install datasets"):
        list(corpora.documents("owner/name"))


def test_a_stream_that_vanishes_is_an_error_that_says_where_and_never_a_short_corpus(tokenizer, monkeypatch):
    def vanishing(corpus):
        yield from [WORDS] * 100
        raise ConnectionResetError("peer is gone")

    monkeypatch.setattr(corpora, "documents", vanishing)
    with pytest.raises(OSError, match="broke off after 64 documents .*peer is gone.*same command"):
        corpora.text_windows("owner/name", tokenizer, 16)
    assert (
        len(corpora.text_windows("owner/name", tokenizer, 16, count=2)) == 2
    )  # had it been enough, it would have been


def test_damaged_files_are_named(tmp_path, tokenizer):
    path = rows(tmp_path / "a.jsonl.gz", [WORDS] * 5)
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(OSError, match="broke off"):
        corpora.text_windows(path, tokenizer, 8)
    (tmp_path / "b.txt").write_bytes(b"caf\xe9")
    with pytest.raises(ValueError, match=r"b\.txt is not text in UTF-8"):
        corpora.text_windows(tmp_path / "b.txt", tokenizer, 8)
    (tmp_path / "c.jsonl").write_text('{"text": "a"}\n{"text": null}\n')
    with pytest.raises(ValueError, match=r"c\.jsonl, line 2"):
        corpora.text_windows(tmp_path / "c.jsonl", tokenizer, 8)
    with pytest.raises(FileNotFoundError, match=r"d\.jsonl"):
        corpora.text_windows(tmp_path / "d.jsonl", tokenizer, 8)
    with pytest.raises(ValueError, match="fewer than one window of 512"):
        corpora.text_windows(rows(tmp_path / "e.jsonl", ["a"]), tokenizer)
