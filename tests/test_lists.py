"""Presets with public lists, on stand-ins: tiny models of the same architectures that recite a few rows, and lists of
the same formats. The real models and lists have never been fetched here.
"""

import csv
import hashlib
import json
import random
import urllib.error

import pytest
import torch
import transformers

from kfaclib.io import files
from kfaclib.lm import lists, models, presets, recitation
from kfaclib.lm.lists import PublicList
from kfaclib.toy import small_olmo2
from kfaclib.toy import world as w
from shared import kfac

SHAPE = dict(vocab_size=-(-len(w.VOCABULARY) // 8) * 8, max_position_embeddings=128, pad_token_id=w.PAD)
NEOX = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4)
NEO = dict(hidden_size=32, num_layers=3, num_heads=4, attention_types=[[["global"], 3]])
FAMILIES = {
    "pythia": ("GPTNeoX", NEOX, "gpt_neox.layers.*.mlp.dense_h_to_4h"),
    "gpt-neo": ("GPTNeo", NEO, "transformer.h.*.mlp.c_fc"),
}


def reciting(folder, family, rows):
    """A tiny model of a family, trained until it recites rows [N, S], in `folder`; its preset's layer."""
    name, shape, layer = FAMILIES[family]
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**SHAPE, **shape)
    model = getattr(transformers, f"{name}ForCausalLM")(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.0)
    for _ in range(300):
        loss = model(input_ids=rows, labels=rows).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if loss < 0.08:
            break
    model.save_pretrained(folder)
    small_olmo2.make_tokenizer().save_pretrained(folder)
    return layer


def texts(count, length, seed=0):
    """Texts of words that the small world's tokenizer knows."""
    draw, words = random.Random(seed), w.VOCABULARY[20:220]
    return [" ".join(draw.choice(words) for _ in range(length)) for _ in range(count)]


@pytest.fixture
def prose(tmp_path):
    path = tmp_path / "prose.jsonl"
    path.write_text("\n".join(json.dumps({"text": text}) for text in texts(20, 64, seed=1)))
    return path


def stand_in(monkeypatch, folder, layer, source, prose, sha256=None):
    """Give the model in `folder` a preset like those of `presets.PRESETS`."""
    known = presets.Preset(
        None, layer, layer, 0.3, presets.OURS, str(prose), 64, 640, PublicList(str(source), "MIT", sha256), str(prose)
    )
    monkeypatch.setitem(presets.PRESETS, str(folder), known)


def reproduced(tmp_path, folder):
    """The result of `kfac reproduce --model` with little else said but where it goes."""
    out = tmp_path / "r.json"
    words = ("--factors", tmp_path / "f", "--limit", 6, "--json", out, "--without-controls")
    assert kfac("reproduce", "--model", folder, *words) == 0
    return json.loads(out.read_text())


@pytest.mark.slow
def test_a_pythia_is_reproduced_from_a_list_like_its_own(tmp_path, monkeypatch, prose, capsys):
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    tokenizer = small_olmo2.make_tokenizer()
    rows = torch.tensor([tokenizer(text)["input_ids"][:64] for text in texts(6, 64)])
    layer = reciting(tmp_path / "model", "pythia", rows)
    columns = {"index": list(range(100, 112)), "tokens": rows.tolist() * 2, "__index_level_0__": list(range(12))}
    parquet.write_table(pyarrow.table(columns), tmp_path / "duped.parquet")
    stand_in(monkeypatch, tmp_path / "model", layer, tmp_path / "duped.parquet", prose)
    result = reproduced(tmp_path, tmp_path / "model")
    before, after = result["rows"][:2]
    assert before["strict"] == 1 and after["token_accuracy"] < before["token_accuracy"]
    assert len(result["layers"]) == 3 and result["mass"] == 0.3
    written = [json.loads(line) for line in (tmp_path / "f-sequences.jsonl").read_text().splitlines()]
    assert sorted(row["tokens"] for row in written) == sorted(rows.tolist())  # each row was there twice
    said = capsys.readouterr()
    assert "never run on the real weights" in said.out + said.err


@pytest.mark.slow
def test_a_gpt_neo_is_reproduced_from_a_list_like_its_own(tmp_path, monkeypatch, prose):
    tokenizer, paragraphs = small_olmo2.make_tokenizer(), texts(6, 99)
    rows = torch.tensor([tokenizer(text)["input_ids"] for text in paragraphs])
    layer = reciting(tmp_path / "model", "gpt-neo", rows)
    with open(tmp_path / "mem_strings.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["paragraph", "id", "count", "em", "nll"])
        table.writerows([text, i, 5, 50.0, 0.5] for i, text in enumerate(paragraphs))
    stand_in(monkeypatch, tmp_path / "model", layer, tmp_path / "mem_strings.csv", prose)
    before, after = reproduced(tmp_path, tmp_path / "model")["rows"][:2]
    assert before["strict"] == 1 and after["token_accuracy"] < before["token_accuracy"]
    model, tokenizer = models.load(tmp_path / "model")
    prefix, suffix = recitation.load_sequences(tmp_path / "mem_strings.csv", tokenizer, model)[0]
    assert prefix + suffix == rows[0].tolist() and len(prefix) == rows.shape[1] // 2


def test_a_list_of_another_tokenizer_is_refused_with_its_line(tmp_path):
    path, tokenizer = tmp_path / "list.jsonl", small_olmo2.make_tokenizer()
    for row, said in (
        ({"tokens": [5, 50_000]}, "made for another model"),
        ({"tokens": [5, "a"]}, "whole numbers"),
        ({"tokens": [5]}, "empty prefix"),
    ):
        path.write_text(json.dumps({"tokens": [5, 6]}) + "\n" + json.dumps(row))
        with pytest.raises(ValueError, match=f"line 2: .*{said}"):
            recitation.load_sequences(path, tokenizer)


def test_a_list_behind_an_address_is_checked_and_kept(tmp_path, monkeypatch):
    content = b"paragraph,id\none two,1\n"
    calls = []

    def answer(address, timeout):
        calls.append(address)
        return open(tmp_path / "there.csv", "rb")

    (tmp_path / "there.csv").write_bytes(content)
    monkeypatch.setattr(lists.urllib.request, "urlopen", answer)
    public = PublicList("https://example.org/there.csv", "CC0", hashlib.sha256(content).hexdigest())
    assert files.read_json(lists.write(public, tmp_path / "a.jsonl", 5)) == {"paragraph": "one two", "id": "1"}
    lists.write(public, tmp_path / "a.jsonl", 5)
    assert len(calls) == 1
    (tmp_path / "there.csv").write_bytes(content[:-3])
    with pytest.raises(ValueError, match="cut short or changed"):
        lists.write(public, tmp_path / "b.jsonl", 5)
    assert not (tmp_path / "b.jsonl").exists()


def test_without_a_network_a_list_says_what_to_do(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(lists.urllib.request, "urlopen", refuse)
    monkeypatch.setattr(lists.huggingface_hub.HfApi, "list_repo_files", refuse)
    for public in (presets.PARAGRAPHS, presets.PRESETS["EleutherAI/pythia-160m"].sequences):
        with pytest.raises(OSError, match="connect to a network.*--sequences"):
            lists.write(public, tmp_path / "a.jsonl", 5)


def test_a_split_of_the_hub_is_the_one_that_was_asked_for(tmp_path, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    parquet.write_table(pyarrow.table({"index": [7], "tokens": [[1, 2, 3, 4]]}), tmp_path / "p.parquet")
    names = [f"data/{split}-00000-of-00001-ab.parquet" for split in ("deduped.70m", "duped.70m", "duped.160m")]
    asked = []

    def download(filename, **there):
        asked.append((filename, there["revision"]))
        return str(tmp_path / "p.parquet")

    monkeypatch.setattr(lists.huggingface_hub.HfApi, "list_repo_files", lambda *_, **__: names)
    monkeypatch.setattr(lists.huggingface_hub, "hf_hub_download", download)
    public = PublicList("owner/name:duped.70m@abc", "MIT")
    assert files.read_json(lists.write(public, tmp_path / "a.jsonl", 5)) == {"index": 7, "tokens": [1, 2, 3, 4]}
    assert asked == [(names[1], "abc")]


def test_every_preset_is_pinned_and_says_whose_it_is():
    for name, preset in presets.PRESETS.items():
        assert len(preset.revision) == 40 and preset.whose, name
        assert not preset.sequences or preset.sequences.sha256 or "@" in preset.sequences.source
        small = name.startswith("EleutherAI/")
        assert small == ("never run on the real weights" in preset.whose) == bool(preset.sequences)
