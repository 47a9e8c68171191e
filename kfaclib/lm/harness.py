"""Downstream tasks through lm-evaluation-harness, for real models and, in the same formats, for the small one.

    kfac edit --model allenai/OLMo-2-0425-1B --factors factors --mass 0.6 --out edited
    kfac evaluate --model edited --tasks real --json edited.json

"real" stands for BoolQ, Winogrande, OpenBookQA, GSM8K, TriviaQA and PopQA, whose data the harness downloads; "local"
for tasks of the small world in the same formats, which need no network; other names are the harness's own tasks, or
those of a folder of one's own. The harness is an optional extra: pip install -e ".[harness]".
"""

import tempfile
from pathlib import Path

import torch

from kfaclib.io import files
from kfaclib.toy import tasks
from kfaclib.toy import world as w

REAL = ("boolq", "winogrande", "openbookqa", "gsm8k", "triviaqa", "popqa")
# The harness has no PopQA. Its format is TriviaQA's; a row's possible answers are a JSON list in a string.
POPQA = {
    "task": "popqa",
    "dataset_path": "akariasai/PopQA",
    "output_type": "generate_until",
    "test_split": "test",
    "doc_to_text": "Question: {{question}}\nAnswer:",
    "doc_to_target": "{{possible_answers}}",
    "target_delimiter": " ",
    "generation_kwargs": {"until": ["\n", ".", ","], "do_sample": False},
    "metric_list": [
        {
            "metric": "exact_match",
            "aggregation": "mean",
            "higher_is_better": True,
            "ignore_case": True,
            "ignore_punctuation": True,
        }
    ],
}
MEAN = [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}]
EXACT = [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}]
# our task: (whose format it is written in, what the harness is told about it)
FORMATS = {
    "boolean": ("boolq", {"output_type": "multiple_choice", "doc_to_choice": ["false", "true"], "metric_list": MEAN}),
    "tracking": ("winogrande", {"output_type": "multiple_choice", "doc_to_choice": "choices", "metric_list": MEAN}),
    "open_book": ("openbookqa", {"output_type": "multiple_choice", "doc_to_choice": "choices", "metric_list": MEAN}),
    "arithmetic": ("gsm8k", {"output_type": "generate_until", "metric_list": EXACT}),
    "facts_frequent": ("triviaqa", {"output_type": "generate_until", "metric_list": EXACT}),
    "facts_rare": ("popqa", {"output_type": "generate_until", "metric_list": EXACT}),
}
STOP = "."  # ends a written answer; all choices are one word long, so that none wins by its length


def rows(world, half="report", count=200):
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


def write_tasks(folder, made):
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


def parts():
    """The three things that are used of lm-evaluation-harness; ValueError, with the command that installs it, where it
    is missing.
    """
    try:
        from lm_eval import simple_evaluate
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise ValueError(
            f'--tasks needs lm-evaluation-harness, which cannot be used here ({error}): pip install -e ".[harness]", '
            'or pip install "lm-eval[hf]>=0.4.9"'
        ) from None
    return simple_evaluate, HFLM, TaskManager


def evaluate(model, tokenizer, names, folder=None, limit=None, batch=32):
    """{task: {metric: value}} of a model under the harness; `folder` holds task files of one's own (`write_tasks`),
    `limit` is the number of items of a task. ValueError names a task that the harness does not know."""
    simple_evaluate, HFLM, TaskManager = parts()
    manager = TaskManager(include_path=str(folder) if folder else None)
    known = {*manager.all_tasks, "popqa"}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(
            f"--tasks: lm-evaluation-harness has no task {unknown[0]!r}; `lm-eval ls tasks` lists those it has, and "
            "--task-folder "
            "names a folder of your own"
        )
    wrapped = HFLM(
        pretrained=model, tokenizer=tokenizer, batch_size=batch, add_bos_token=True if tokenizer.bos_token else None
    )
    asked = [POPQA if name == "popqa" and name not in manager.all_tasks else name for name in names]
    found = simple_evaluate(
        wrapped, tasks=asked, limit=limit, task_manager=manager, log_samples=False, bootstrap_iters=0
    )
    plain = lambda row: {
        k.split(",")[0] if k.endswith(",none") else k: v for k, v in row.items() if isinstance(v, float)
    }
    return {name: plain(row) for name, row in found["results"].items()}


def examine(model, tokenizer, wanted, world=None, folder=None, limit=None, batch=32):
    """`evaluate` of what `--tasks` says: "local" (the tasks of this world), "real" (those of REAL), or names joined by
    commas.
    """
    if wanted != "local":
        return evaluate(
            model,
            tokenizer,
            list(REAL) if wanted == "real" else [name.strip() for name in wanted.split(",")],
            folder,
            limit,
            batch,
        )
    if world is None:
        raise ValueError(
            "--tasks local: this model has no world.json, so there are no local tasks for it: choose --tasks real"
        )
    with tempfile.TemporaryDirectory() as own:
        return evaluate(model, tokenizer, write_tasks(own, rows(world)), own, limit, batch)


@torch.no_grad()
def choice_scores(model, prompt, choices):
    """[choices]: the sum of log-probabilities of each choice's tokens after the prompt; prompt and choices are lists of
    token ids.
    """
    scores = []
    for choice in choices:
        ids = torch.tensor([prompt + choice]).to(next(model.parameters()).device)
        logs = model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1].float().log_softmax(-1)
        scores.append(logs.gather(1, ids[0, len(prompt) :, None]).sum().item())
    return torch.tensor(scores)
