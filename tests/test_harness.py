"""Local tasks in the harness's formats: rows are right, configurations point to them, and the harness reads them where
it is there.
"""

import json
import sys

import pytest
import torch

from kfaclib.lm import harness, models
from kfaclib.toy import harness_tasks, small_olmo2
from kfaclib.toy import world as w
from kfcourse.paths import DATA
from shared import kfac


@pytest.fixture(scope="module")
def made():
    return harness_tasks.rows(w.make_world(5, quotes=4, rare=8, rung=1), count=12)


def test_every_format_of_the_paper_has_a_local_task(made):
    assert set(made) == set(harness_tasks.FORMATS) and sorted(
        form for form, _ in harness_tasks.FORMATS.values()
    ) == sorted(harness.REAL)


def test_the_right_choice_is_among_the_choices_and_labelled(made):
    for task in ("boolean", "tracking", "open_book"):
        for row in made[task]:
            assert (
                row["choices"][row["label"]] == row["answer"] and len(set(row["choices"])) == len(row["choices"]) >= 2
            )


def test_questions_do_not_hold_what_is_asked_for_twice(made):
    """A question ends where the answer begins, and its words are the world's."""
    for rows in made.values():
        for row in rows:
            assert w.encode(row["question"]) and w.encode(row["answer"]) and not row["question"].endswith(row["answer"])


def test_the_files_are_what_the_configurations_name(made, tmp_path):
    names = harness_tasks.write_tasks(tmp_path, made)
    assert len(names) == len(made)
    for name in names:
        config = json.loads((tmp_path / f"{name}.yaml").read_text())
        path = config["dataset_kwargs"]["data_files"]["test"]
        rows = [json.loads(line) for line in open(path)]
        assert config["task"] == name and {config["doc_to_text"], config["doc_to_target"]} <= rows[0].keys()
        assert config.get("doc_to_choice", "choices") in ("choices", ["false", "true"])


def test_choice_scores_are_log_probabilities(tiny_olmo):
    """Over all one-word choices they sum to one; a choice of two words is the product of its steps."""
    model = tiny_olmo()
    ones = harness.choice_scores(model, [1, 5, 6], [[t] for t in range(37)])
    assert torch.allclose(ones.exp().sum(), torch.tensor(1.0), atol=1e-5)
    pair, last = harness.choice_scores(model, [1, 5, 6], [[7, 8]]), harness.choice_scores(model, [1, 5, 6, 7], [[8]])
    assert torch.allclose(pair, ones[7] + last, atol=1e-5)


def test_without_the_harness_the_message_says_what_to_install_before_any_model_is_loaded(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(ValueError, match="pip install"):
        harness.evaluate(None, None, ["boolq"])
    monkeypatch.setattr(models, "load", None)  # a call would be a TypeError
    assert kfac("evaluate", "--model", tmp_path, "--tasks", "boolq") == 1
    assert (
        kfac(
            "reproduce",
            "--model",
            tmp_path,
            "--sequences",
            "s.jsonl",
            "--text",
            "t.jsonl",
            "--mass",
            0.6,
            "--tasks",
            "boolq",
        )
        == 1
    )
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and all('pip install -e ".[harness]"' in line for line in said)


def test_local_tasks_want_a_world():
    with pytest.raises(ValueError, match="no world.json"):
        harness_tasks.examine(None, None, "local")


def test_two_results_stand_side_by_side(folder, tmp_path, capsys):
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"prefix_ids": [1, 5, 6], "suffix_ids": [7, 8]}))
    words = ("evaluate", "--model", folder, "--sequences", rows, "--json", tmp_path / "r.json")
    assert kfac(*words) == 0 and kfac(*words, "--before", tmp_path / "r.json") == 0
    assert capsys.readouterr().out.count("now / before") == 1
    result = json.loads((tmp_path / "r.json").read_text())
    assert (
        result["before"] == {k: v for k, v in result["sequences"].items() if isinstance(v, float)}
        and "levenshtein" in result["before"]
    )


def with_the_harness():
    return pytest.importorskip("lm_eval", reason="lm-evaluation-harness is an optional package")


@pytest.mark.slow
def test_the_harness_itself_reads_them_and_the_shipped_model_passes(tmp_path):
    with_the_harness()
    model, tokenizer = models.load(DATA / "olmo2-tiny")
    made = harness_tasks.rows(small_olmo2.load_world(DATA / "olmo2-tiny"), count=10)
    found = harness.evaluate(model, tokenizer, harness_tasks.write_tasks(tmp_path, made), tmp_path)
    assert len(found) == len(made) and all(min(row.values()) >= 0.9 for row in found.values()), found


@pytest.mark.slow
def test_the_command_runs_tasks_of_a_folder_of_ones_own(folder, made, tmp_path, capsys):
    with_the_harness()
    names = harness_tasks.write_tasks(tmp_path / "tasks", {task: made[task][:4] for task in ("boolean", "facts_rare")})
    words = (
        "evaluate",
        "--model",
        folder,
        "--tasks",
        ",".join(names),
        "--task-folder",
        tmp_path / "tasks",
        "--json",
        tmp_path / "r.json",
    )
    assert kfac(*words) == 0 and kfac(*words, "--limit", 2, "--before", tmp_path / "r.json") == 0
    said, result = capsys.readouterr().out, json.loads((tmp_path / "r.json").read_text())
    assert set(result["tasks"]) == set(names) and 0 <= result["tasks"]["local_boolq_boolean"]["acc"] <= 1
    assert "local_boolq_boolean acc" in result["before"] and "now / before" in said


@pytest.mark.slow
def test_a_task_that_the_harness_does_not_have_is_named(folder, capsys):
    with_the_harness()
    assert kfac("evaluate", "--model", folder, "--tasks", "no_such_task") == 1
    said = capsys.readouterr().err
    assert "no_such_task" in said and "--task-folder" in said and "Traceback" not in said
