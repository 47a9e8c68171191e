"""Tasks of the small world in the formats of lm-evaluation-harness's own: written to a folder, they need no network."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from kfaclib.io import files
from kfaclib.lm import harness
from kfaclib.toy import tasks
from kfaclib.toy import world as w

if TYPE_CHECKING:
    import torch
    import transformers

MEAN = [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}]
EXACT = [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}]
# our task: (whose format it is written in, what the harness learns about it)
FORMATS = {
    "boolean": ("boolq", {"output_type": "multiple_choice", "doc_to_choice": ["false", "true"], "metric_list": MEAN}),
    "tracking": ("winogrande", {"output_type": "multiple_choice", "doc_to_choice": "choices", "metric_list": MEAN}),
    "open_book": ("openbookqa", {"output_type": "multiple_choice", "doc_to_choice": "choices", "metric_list": MEAN}),
    "arithmetic": ("gsm8k", {"output_type": "generate_until", "metric_list": EXACT}),
    "facts_frequent": ("triviaqa", {"output_type": "generate_until", "metric_list": EXACT}),
    "facts_rare": ("popqa", {"output_type": "generate_until", "metric_list": EXACT}),
}
STOP = "."  # ends a written answer; all choices are one word long, so that none wins by its length


def rows(world: w.World, half: str = "report", count: int = 200) -> dict[str, list[dict]]:
    """{task: [row]} of the local tasks: {"question", "answer"} texts, and for a choice its "choices" and the "label" of
    the right one.
    """
    made = {}
    for task, items in tasks.make_suite(world, half, count).items():
        if task not in FORMATS:
            continue
        made[task] = []
        for prompt, answer in items:
            words, said = [w.VOCABULARY[t] for t in prompt[1:]], [w.VOCABULARY[t] for t in answer]
            row = {"question": " ".join(words), "answer": " ".join(x for x in said if x != STOP)}
            if task in ("tracking", "open_book"):  # the values that the context offers, in the order in which it does
                kind = next(k for k in ("container", "first", "color", "city") if said[0] in w.W[k])
                asked = words[: words.index("now") if task == "tracking" else words.index("question")]
                row["choices"] = list(dict.fromkeys(x for x in asked if x in w.W[kind]))
            elif task == "boolean":
                row["choices"] = ["false", "true"]
            if "choices" in row:
                row["label"] = row["choices"].index(row["answer"])
            made[task].append(row)
    return made


def write_tasks(folder: str | Path, made: dict[str, list[dict]]) -> list[str]:
    """Write rows as jsonl and one configuration a task (JSON, which is YAML) into `folder`; returns the names for the
    harness.
    """
    names = []
    for task, some in made.items():
        form, config = FORMATS[task]
        path, name = Path(folder) / f"{task}.jsonl", f"local_{form}_{task}"
        files.write_rows(path, some)
        choice = config["output_type"] == "multiple_choice"
        config = {
            "task": name,
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": str(path)}},
            "test_split": "test",
            "doc_to_text": "question",
            "doc_to_target": "label" if choice else "answer",
            "target_delimiter": " ",
            **config,
        }
        if not choice:
            longest = max(len(row["answer"].split()) for row in some)
            config["generation_kwargs"] = {"until": [STOP], "do_sample": False, "max_gen_toks": longest}
            config["filter_list"] = [
                {"name": "strip", "filter": [{"function": "remove_whitespace"}, {"function": "take_first"}]}
            ]
        files.write_json(Path(folder) / f"{name}.yaml", config)
        names.append(name)
    return names


def examine(
    model: "torch.nn.Module",
    tokenizer: "transformers.PreTrainedTokenizerBase",
    wanted: str,
    world: w.World | None = None,
    folder: str | Path | None = None,
    limit: int | None = None,
    batch: int = 32,
) -> dict:
    """`harness.evaluate` of what `--tasks` says: "local" (the tasks of this world), "real" (`harness.REAL`), or names
    joined by commas.
    """
    if wanted != "local":
        return harness.evaluate(
            model,
            tokenizer,
            list(harness.REAL) if wanted == "real" else [name.strip() for name in wanted.split(",")],
            folder,
            limit,
            batch,
        )
    if world is None:
        raise ValueError(
            "--tasks local: this model has no world.json, so there are no local tasks for it: choose --tasks real"
        )
    with tempfile.TemporaryDirectory() as own:
        return harness.evaluate(model, tokenizer, write_tasks(own, rows(world)), own, limit, batch)
