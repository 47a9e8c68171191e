"""Downstream tasks through lm-evaluation-harness, for real models and, in the same formats, for the small one.

    kfac edit --model allenai/OLMo-2-0425-1B --factors factors --mass 0.6 --out edited
    python -m kfaclib.harness --model edited --tasks real --json edited.json

"real" stands for BoolQ, Winogrande, OpenBookQA, GSM8K, TriviaQA and PopQA, whose data the harness downloads; "local" for tasks of
the small world in the same formats, which need no network.  The harness is an optional extra: pip install "lm_eval[hf]".
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import torch

from kfaclib import files, models, tasks
from kfaclib import world as w

REAL = ("boolq", "winogrande", "openbookqa", "gsm8k", "triviaqa", "popqa")
# The harness has no PopQA. Its format is TriviaQA's; a row's possible answers are a JSON list in a string.
POPQA = {
    "task": "popqa", "dataset_path": "akariasai/PopQA", "output_type": "generate_until", "test_split": "test",
    "doc_to_text": "Question: {{question}}\nAnswer:", "doc_to_target": "{{possible_answers}}", "target_delimiter": " ",
    "generation_kwargs": {"until": ["\n", ".", ","], "do_sample": False},
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True, "ignore_case": True, "ignore_punctuation": True}],
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
    """{task: [row]} of the local tasks: {"question", "answer"} texts, and for a choice its "choices" and the "label" of the right one."""
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
    """Write rows as jsonl and one configuration a task (JSON, which is YAML) into `folder`; returns the names for the harness."""
    names = []
    for task, some in made.items():
        form, config = FORMATS[task]
        path, name = Path(folder) / f"{task}.jsonl", f"local_{form}_{task}"
        with files.atomic(path) as temporary:
            temporary.write_text("".join(json.dumps(row) + "\n" for row in some), encoding="utf-8")
        choice = config["output_type"] == "multiple_choice"
        config = {"task": name, "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(path)}}, "test_split": "test",
                  "doc_to_text": "question", "doc_to_target": "label" if choice else "answer", "target_delimiter": " ", **config}
        if not choice:
            longest = max(len(row["answer"].split()) for row in some)
            config["generation_kwargs"] = {"until": [STOP], "do_sample": False, "max_gen_toks": longest}
            config["filter_list"] = [{"name": "strip", "filter": [{"function": "remove_whitespace"}, {"function": "take_first"}]}]
        files.write_json(Path(folder) / f"{name}.yaml", config)
        names.append(name)
    return names


def evaluate(model, tokenizer, names, folder=None, limit=None, batch=32):
    """{task: {metric: value}} of a model under the harness; `folder` holds task files of one's own (`write_tasks`)."""
    try:
        from lm_eval import simple_evaluate
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise ValueError(f'lm-evaluation-harness cannot be used here ({error}): pip install "lm_eval[hf]"') from None
    wrapped = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch, add_bos_token=True if tokenizer.bos_token else None)
    asked = [POPQA if name == "popqa" else name for name in names]
    found = simple_evaluate(wrapped, tasks=asked, limit=limit, task_manager=TaskManager(include_path=folder), log_samples=False, bootstrap_iters=0)
    plain = lambda row: {k.split(",")[0] if k.endswith(",none") else k: v for k, v in row.items() if isinstance(v, float)}
    return {name: plain(row) for name, row in found["results"].items()}


@torch.no_grad()
def choice_scores(model, prompt, choices):
    """[choices]: the sum of log-probabilities of each choice's tokens after the prompt; prompt and choices are lists of token ids."""
    scores = []
    for choice in choices:
        ids = torch.tensor([prompt + choice]).to(next(model.parameters()).device)
        logs = model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1].float().log_softmax(-1)
        scores.append(logs.gather(1, ids[0, len(prompt) :, None]).sum().item())
    return torch.tensor(scores)


def main(argv=None):
    """Entry point of `python -m kfaclib.harness`."""
    parser = argparse.ArgumentParser(prog="python -m kfaclib.harness", description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True, help="a folder, as kfac edit writes it, or a name on the hub")
    parser.add_argument("--revision", help="commit or tag on the hub")
    parser.add_argument("--tasks", default="local", help=f"local, real ({','.join(REAL)}), or names of the harness's tasks, joined by commas")
    parser.add_argument("--limit", type=int, help="items of a task; default: all")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--json", help="also write the result to this file")
    a = parser.parse_args(argv)
    try:
        files.check_writable(a.json)
        model, tokenizer = models.load(a.model, a.revision)
        with tempfile.TemporaryDirectory() as folder:
            names = list(REAL) if a.tasks == "real" else a.tasks.split(",")
            if a.tasks == "local":
                world = models.load_world(a.model)
                if world is None:
                    raise ValueError(f"{a.model} has no world.json, so there are no local tasks for it: choose --tasks real")
                names = write_tasks(folder, rows(world))
            result = evaluate(model, tokenizer, names, folder, a.limit, a.batch)
    except (ValueError, OSError) as error:
        print(f"kfaclib.harness: {error}", file=sys.stderr)
        return 1
    for name, row in result.items():
        print(f"{name:28}", "  ".join(f"{metric} {value:.4f}" for metric, value in row.items()))
    if a.json:
        files.write_json(a.json, {"model": str(a.model), "provenance": files.provenance(), "results": result})
    return 0


if __name__ == "__main__":
    sys.exit(main())
