"""What SmolLM2 says of several kinds of text, before and after an edit: nats per token, tokens right, longest runs."""

from __future__ import annotations  # naming a tokenizer's class must not load it

import torch
import transformers

from kfaclib.lm import intervals, scoring
from kfaclib.smollm2 import abilities, texts

WINDOWS = 8  # of each kind of ordinary text
UNTAUGHT = 20  # verses that nobody taught, of each half


def kinds(tokenizer: transformers.PreTrainedTokenizerBase, half: str = "report") -> dict[str, tuple[torch.Tensor, int]]:
    """{kind of text: (windows [N, S], the first token that is asked)}: famous passages, verses of one half that the
    reciter is taught and that it is not, and ordinary text like the corpus of the curvature and unlike it."""
    known = texts.famous()
    known = known[0::2] if half == "choose" else known[1::2]
    return {
        "famous": (texts.windows(known, tokenizer), 1),
        "taught": (texts.windows(texts.verses(True, half), tokenizer), texts.PREFIX),
        "untaught": (texts.windows(texts.verses(False, half)[:UNTAUGHT], tokenizer), texts.PREFIX),
        "like the corpus": (texts.handbook("held out", tokenizer)[:WINDOWS], 1),
        "other": (texts.novel(tokenizer)[:WINDOWS], 1),
    }


def longest_run(hit: torch.Tensor) -> int:
    """The length of the longest run of True in hit [S]."""
    longest = run = 0
    for right in hit.tolist():
        run = run + 1 if right else 0
        longest = max(longest, run)
    return longest


def read(model: torch.nn.Module, windows: torch.Tensor, start: int) -> dict[str, list]:
    """{"nats", "right", "run"} of every window [N, S], from its token `start` on, with all tokens before each given:
    mean negative log-likelihood, share of tokens that are the most likely one, longest run of these."""
    found = scoring.teacher_forced(model, windows, [start] * len(windows), batch=16, detail=True)
    return {
        "nats": [-row.log_p.mean().item() for row in found],
        "right": [row.hit.float().mean().item() for row in found],
        "run": [longest_run(row.hit) for row in found],
    }


def take(
    model: torch.nn.Module, asked: dict[str, tuple[torch.Tensor, int]], before: dict | None = None
) -> dict[str, dict]:
    """{kind: what the model says of its windows}: "nats", "right", "strict" (share of windows right to the end), the
    "run" that is longest, and "passages", the nats of each window.

    With `before`, what `take` returned for the unedited model, also "change" in nats per token and its "interval" of
    95 % over the windows.
    """
    found = {}
    for kind, (windows, start) in asked.items():
        each = read(model, windows, start)
        mean = lambda values: sum(values) / len(values)
        found[kind] = {
            "nats": mean(each["nats"]),
            "right": mean(each["right"]),
            "strict": mean([share == 1 for share in each["right"]]),
            "run": max(each["run"]),
            "passages": each["nats"],
        }
        if before:
            change = [now - was for now, was in zip(each["nats"], before[kind]["passages"], strict=True)]
            found[kind] |= {"change": mean(change), "interval": intervals.mean(change)}
    return found


def solved(model: torch.nn.Module, tokenizer: transformers.PreTrainedTokenizerBase) -> dict[str, dict]:
    """{ability: {"share", "interval"}} of the suites of `abilities`."""
    found = abilities.hits(model, tokenizer, abilities.suites())
    return {
        ability: {"share": sum(hits) / len(hits), "interval": intervals.share(sum(hits), len(hits))}
        for ability, hits in found.items()
    }
