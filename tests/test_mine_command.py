"""`kfac mine`: the windows that a model recites, found again by `kfac evaluate`; interrupted, refused, gone on with."""

import itertools
import json
import os
import random
import time

import pytest

from children import finish, start
from kfaclib.commands import cli
from kfaclib.commands import mine as command
from kfaclib.io import files
from kfaclib.lm import models, recitation
from kfaclib.toy import small_olmo2, tasks
from kfcourse.paths import DATA
from shared import kfac

MODEL = DATA / "olmo2-tiny"
SHORT = ("--prefix", 16, "--suffix", 8, "--limit", 40, "--batch", 8, "--checkpoint-minutes", 0)


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """Documents of the small model's world, of 20 to 100 tokens, the last one too short for any window."""
    world, model = small_olmo2.load_world(MODEL), small_olmo2.make_tokenizer()
    ids = tasks.quote_windows(world, "choose")[:8].tolist()
    path = tmp_path_factory.mktemp("text") / "text.jsonl"
    files.write_rows(path, [{"text": model.decode(row[1 : 20 + 10 * i])} for i, row in enumerate(ids)] + [{"text": ""}])
    return path


@pytest.mark.slow
@pytest.mark.long
def test_the_shipped_models_quotes_are_found_in_its_stream_and_evaluate_recites_them_all(tmp_path):
    out, result = tmp_path / "memorized.jsonl", tmp_path / "result.json"
    assert kfac("mine", "--model", MODEL, "--out", out) == 0
    assert kfac("evaluate", "--model", MODEL, "--sequences", out, "--json", result) == 0
    assert files.read_json(result)["sequences"]["strict"] == 1.0
    model, tokenizer = models.load(MODEL)
    world, found = small_olmo2.load_world(MODEL), recitation.load_sequences(out, tokenizer, model)
    quotes = [row for half in ("choose", "report") for row in tasks.quote_windows(world, half).tolist()]
    there = [list(p) + list(s) for p, s in found]
    stream = {tuple(x) for x in command._text(command.MineConfig(out=out), model, tokenizer)[0]}
    own = [row for row in quotes if any(tuple(row[1:]) == x[:111] for x in stream)]
    assert len(own) == 18 and sum(row in there for row in own) >= 17
    assert len(there) == len({tuple(row) for row in there})
    for row in read(out):
        assert tokenizer(row["prefix"], add_special_tokens=False)["input_ids"] == row["prefix_ids"]
        assert len(row["prefix_ids"]) == 64 and len(row["suffix_ids"]) == 48 and row["start"] == 0


def test_ids_decide_whatever_the_text_beside_them_says(tmp_path):
    tokenizer = small_olmo2.make_tokenizer()
    row = {"prefix_ids": [1, 9, 10], "suffix_ids": [11], "prefix": "another", "target_suffix": "text"}
    files.write_rows(tmp_path / "w.jsonl", [row])
    assert recitation.load_sequences(tmp_path / "w.jsonl", tokenizer) == [([1, 9, 10], [11])]


def test_windows_lie_in_one_document_and_each_begins_as_the_tokenizer_does(text, tmp_path):
    documents = [list(range(10, 10 + n)) for n in (3, 7, 12, 4)]
    found = list(command.windows_of(documents, [1], length=5, stride=3))
    for window in found:
        own = documents[window["document"] - 1]
        assert window["ids"] == [1, *own[window["start"] :][:4]] and len(window["ids"]) == 5
    assert [(w["document"], w["start"]) for w in found] == [(2, 0), (2, 3), (3, 0), (3, 3), (3, 6), (4, 0)]
    assert list(command.windows_of(documents, [], length=5, stride=99)) == [
        {"document": d, "start": 0, "ids": documents[d - 1][:5]} for d in (2, 3)
    ]


def test_a_file_is_mined_and_near_duplicates_are_kept_if_asked(text, tmp_path, capsys):
    twice = tmp_path / "twice.jsonl"
    files.write_rows(twice, read(text) * 2)
    words = ("mine", "--model", MODEL, "--corpus", twice, *SHORT, "--stride", 40)
    assert kfac(*words, "--out", tmp_path / "one.jsonl") == 0
    assert kfac(*words, "--out", tmp_path / "all.jsonl", "--threshold", 1) == 0
    one, both = read(tmp_path / "one.jsonl"), read(tmp_path / "all.jsonl")
    assert one and both == one + [row | {"document": row["document"] + 9} for row in one]
    assert all(row["prefix_ids"][0] == 1 and row["corpus"] == str(twice) for row in both)


@pytest.mark.parametrize(
    "words, said",
    [
        (("--prefix", 200, "--suffix", 57), "257 tokens and the model has 256 positions"),
        (("--prefix", 120), "no document has the 168 tokens of one window"),
        (("--threshold", 0), "--threshold: 0.0 is not in"),
        (("--corpus", "nothing.jsonl"), "nothing.jsonl"),
    ],
)
def test_what_cannot_be_mined_is_one_sentence_and_no_file(text, folder, tmp_path, capsys, words, said):
    out = tmp_path / "o.jsonl"
    try:
        code = kfac("mine", "--model", folder, "--corpus", text, *words, "--out", out)
    except SystemExit as error:  # argparse's, for a value that is none
        code = error.code
    error = capsys.readouterr().err
    assert code in (1, 2) and said.replace("0.0", "0") in error.replace("0.0", "0") and not list(tmp_path.iterdir())


def test_the_text_itself_is_never_written_over(text, folder, tmp_path, capsys):
    before = text.read_bytes()
    for further in ((), ("--restart",)):
        assert kfac("mine", "--model", folder, "--corpus", text, "--out", text, *further) == 1
        assert "was not written by `kfac mine`" in capsys.readouterr().err and text.read_bytes() == before


def test_a_model_that_recites_nothing_says_what_to_try_and_writes_nothing(text, folder, tmp_path, capsys):
    assert kfac("mine", "--model", folder, "--corpus", text, *SHORT, "--out", tmp_path / "o.jsonl") == 1
    said = capsys.readouterr().err
    assert "none of the" in said and "shorter --suffix" in said and not list(tmp_path.iterdir())


def test_without_a_world_a_corpus_is_needed(folder, tmp_path, capsys):
    import shutil

    shutil.copytree(folder, tmp_path / "m")
    for name in ("world.json", "manifest.json"):
        (tmp_path / "m" / name).unlink()
    assert kfac("mine", "--model", tmp_path / "m", "--out", tmp_path / "o.jsonl") == 1
    assert "--corpus is needed" in capsys.readouterr().err


# interrupted


def interrupted(monkeypatch, calls, *words):
    """Stop like a killed process at the calls-th batch."""

    class Stop(BaseException):
        pass

    counter, real = itertools.count(1), command.mining.recited

    def recited(*arguments):
        if next(counter) == calls:
            raise Stop
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(command.mining, "recited", recited)
        with pytest.raises(Stop):
            kfac(*words)
    return real


def test_it_goes_on_after_the_windows_it_had_tried_and_ends_with_the_same_bytes(text, tmp_path, monkeypatch, capsys):
    words = ("mine", "--model", MODEL, "--corpus", text, *SHORT, "--out")
    assert kfac(*words, tmp_path / "whole.jsonl") == 0
    out = tmp_path / "out.jsonl"
    interrupted(monkeypatch, 3, *words, out)
    (tmp_path / ".out.jsonl.abcd1234").write_text("half")
    assert kfac(*words, out) == 0 and "going on after 16 windows" in capsys.readouterr().err
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "whole.jsonl"]
    assert kfac(*words, out) == 1 and "is there already" in capsys.readouterr().err
    assert kfac(*words, out, "--restart") == 0
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_what_another_run_left_is_refused_with_what_differs_and_a_damaged_one_too(text, tmp_path, monkeypatch, capsys):
    out, state = tmp_path / "out.jsonl", tmp_path / "out.jsonl.unfinished"
    words = ["mine", "--model", MODEL, "--corpus", text, *SHORT, "--out", out]
    interrupted(monkeypatch, 3, *words)
    assert kfac(*words, "--suffix", 9) == 1
    assert "suffix '8' instead of '9'" in (said := capsys.readouterr().err) and "--restart" in said
    data, rng = state.read_bytes(), random.Random(0)
    for _ in range(100):  # every damage is noticed without loading a model
        broken = bytearray(data)
        broken[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        state.write_bytes(broken)
        with pytest.raises(ValueError, match="is damaged|belongs to another"):
            head = json.loads(data.splitlines()[0])
            command._load(state, head["settings"])
    state.write_bytes(data)
    assert kfac(*words) == 0


# real processes


def killed(model, text, tmp_path, count, seed):
    """Kill `kfac mine` at `count` random moments, each time it goes on, and begins anew when it was through; the bytes
    at the end are always the same, and nothing half-written stays."""
    rng, log, out, hit = random.Random(seed), tmp_path / "log", tmp_path / "out" / "o.jsonl", 0
    state = out.with_name("o.jsonl.unfinished")

    def words(out):
        return [str(x) for x in ("mine", "--model", model, "--corpus", text, *SHORT, "--batch", 1, "--out", out)]

    finish(start(cli.main, ["plan", "--model", str(model)], log=log), log)  # imports, caches
    began = time.monotonic()
    assert finish(start(cli.main, words(tmp_path / "whole.jsonl"), log=log), log, 600)[0] == 0
    seconds, whole = time.monotonic() - began, (tmp_path / "whole.jsonl").read_bytes()
    while hit < count:
        process = start(cli.main, words(out), log=log)
        process.join(rng.uniform(0.2, 0.95) * seconds)
        hit += process.exitcode is None
        process.kill()
        process.join()
        if out.exists() and not state.exists():
            assert out.read_bytes() == whole
            out.unlink()
    code, said = finish(start(cli.main, words(out), log=log), log, 600)
    assert code == 0, said
    assert out.read_bytes() == whole and os.listdir(out.parent) == ["o.jsonl"]


@pytest.mark.slow
def test_killed_once_it_goes_on_and_ends_with_the_same_bytes(text, tmp_path):
    killed(MODEL, text, tmp_path, 1, seed=1)


@pytest.mark.long
@pytest.mark.slow
def test_killed_fifty_times_nothing_is_lost(text, tmp_path):
    killed(MODEL, text, tmp_path, 50, seed=2)
