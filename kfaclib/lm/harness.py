"""Downstream tasks through lm-evaluation-harness.

    kfac edit --model allenai/OLMo-2-0425-1B --factors factors --mass 0.6 --out edited
    kfac evaluate --model edited --tasks real --json edited.json

"real" stands for BoolQ, Winogrande, OpenBookQA, GSM8K, TriviaQA and PopQA, whose data the harness downloads; "local"
for the tasks of `kfaclib.toy.harness_tasks`, which need no network; other names are the harness's own tasks, or those
of a folder of one's own. The harness is an optional extra: pip install -e ".[harness]".
"""

import torch

from kfaclib.lm import scoring

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


def choice_scores(model, prompt, choices):
    """[choices]: the sum of log-probabilities of each choice's tokens after the prompt; prompt and choices are lists of
    token ids.
    """
    found = scoring.teacher_forced(model, [prompt + c for c in choices], [len(prompt)] * len(choices), detail=True)
    return torch.tensor([row.log_p.sum().item() for row in found])
