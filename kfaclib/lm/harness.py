"""Downstream tasks of a model, measured by lm-evaluation-harness.

    kfac edit --model allenai/OLMo-2-0425-1B --factors factors --mass 0.6 --out edited
    kfac evaluate --model edited --tasks real --json edited.json

"real" stands for BoolQ, Winogrande, OpenBookQA, GSM8K, TriviaQA and PopQA, whose data the harness downloads; "local"
for the tasks of `kfaclib.toy.harness_tasks`, which need no network; other names are the harness's own tasks, or those
of a folder of one's own. The harness is an optional extra: pip install -e ".[harness]".
"""

from __future__ import annotations  # naming a model's class must not load it

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import transformers

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


def parts() -> tuple[Callable, type, type]:
    """What is used of lm-evaluation-harness: (simple_evaluate, HFLM, TaskManager). Raises ValueError, with the command
    that installs it, where it is missing."""
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


def evaluate(
    model: transformers.PreTrainedModel,
    tokenizer: transformers.PreTrainedTokenizerBase,
    names: Sequence[str],
    folder: str | Path | None = None,
    limit: int | None = None,
    batch: int = 32,
) -> dict[str, dict[str, float]]:
    """Measure a model on tasks of the harness: {task: {metric: value}}.

    names: of tasks. folder: with task files of one's own (as `kfaclib.toy.harness_tasks.write_tasks` makes them).
    limit: items of each task at most; by default all. Raises ValueError naming a task that the harness does not know.
    """
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


def choice_scores(model: torch.nn.Module, prompt: list[int], choices: Sequence[list[int]]) -> torch.Tensor:
    """Log-probability of each choice after the prompt, summed over its tokens, in nats: [number of choices].

    prompt, choices: lists of token ids.
    """
    found = scoring.teacher_forced(model, [prompt + c for c in choices], [len(prompt)] * len(choices), detail=True)
    return torch.tensor([row.log_p.sum().item() for row in found])
