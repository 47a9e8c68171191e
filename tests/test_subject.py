"""What chapter 17 works on: never a download, never an unnoticed stand-in, and halves that share no text."""

import pytest
import torch

from kfaclib.io import files
from kfaclib.lm import corpora, models
from kfaclib.lm.recitation import by_one_pass, load_sequences, recitation
from kfaclib.toy import small_olmo2
from kfaclib.toy.rows import world_rows
from kfaclib.toy.tasks import HALVES, quote_windows
from kfcourse.ch17 import subject


def window(*ids):
    return list(ids[:3]), list(ids[3:])


def test_windows_that_share_a_run_stay_together_if_only_through_others():
    a, b, c = range(0, 12), range(6, 18), range(12, 24)  # a and c share nothing, and both share six tokens with b
    windows = [window(*a), window(*range(40, 52)), window(*c), window(*b)]
    assert subject.connected(windows, n=6) == [[0, 2, 3], [1]]
    assert subject.connected(windows, n=7) == [[0], [1], [2], [3]]


def test_no_run_of_text_is_in_both_halves():
    generator = torch.Generator().manual_seed(0)
    stream = torch.randint(500, (4000,), generator=generator).tolist()
    windows = [window(*stream[i : i + 30]) for i in torch.randint(3900, (300,), generator=generator).tolist()]
    found = subject.halves(windows)
    runs = [{tuple((p + s)[i : i + 8]) for p, s in found[half] for i in range(23)} for half in HALVES]
    assert all(found.values()) and sum(map(len, found.values())) == 300 and not runs[0] & runs[1]
    assert subject.halves(windows) == found


def test_without_weights_the_small_model_stands_in_and_says_so(tmp_path, monkeypatch):
    for name in ("KFAC_MODEL", "KFAC_EXAM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(subject.snapshot, "find", lambda *_: None)
    it = subject.find(folder=tmp_path)
    assert it.stand_in and "stand-in" in it.label and "not on this machine" in it.why
    _, tokenizer = models.load(subject.STAND_IN)
    world = small_olmo2.load_world(subject.STAND_IN)
    packed = corpora.text_windows(tmp_path / "corpus.jsonl", tokenizer, 128, subject.ROWS)
    assert torch.equal(packed, world_rows(world, subject.ROWS, 0))  # the way through text and back loses nothing
    assert len(load_sequences(it.exam["report"][0], tokenizer)) == len(world.quotes) // 2
    with pytest.raises(ValueError, match="acme/absent is neither a folder nor a model"):
        subject.find("acme/absent", tmp_path)


def test_a_model_of_ones_own_is_taken_only_with_an_exam(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("KFAC_MODEL", str(folder))
    monkeypatch.setenv("KFAC_EXAM", str(tmp_path))
    it = subject.find(folder=tmp_path / "exam")
    assert it.stand_in and "sequences.jsonl and text.jsonl" in it.why
    files.write_rows(
        tmp_path / "sequences.jsonl", [{"prefix_ids": [1, 9 + i, 5], "suffix_ids": [i, 7, 8]} for i in range(20)]
    )
    files.write_rows(tmp_path / "text.jsonl", [{"text": "ada gave the anchor to ben ."}] * 4)
    it = subject.find(folder=tmp_path / "exam")
    assert not it.stand_in and it.model == str(folder) and it.label == folder.name and "dolmino" in it.collect
    _, tokenizer = models.load(folder)
    assert sum(len(load_sequences(quotes, tokenizer)) for quotes, _ in it.exam.values()) == 20


@pytest.mark.slow
def test_strict_recall_by_one_pass_is_that_of_generating():
    model, _ = models.load(subject.STAND_IN)
    world = small_olmo2.load_world(subject.STAND_IN)
    rows = world_rows(world, 4, 3)[:, :40].tolist() + quote_windows(world, "choose")[:4].tolist()
    windows = [(row[:24], row[24:]) for row in rows]
    strict, tokens = by_one_pass(model, windows, batch=3)
    generated = recitation(model, windows)
    assert strict == generated.strict and tokens == generated.token_accuracy and 0 < strict < 1
