"""Training of a small OLMo-2 on its world, for `kfac train`: one process, on a CPU or a GPU."""

import json
import math
import random
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from tqdm.auto import tqdm

from kfaclib.io import folders
from kfaclib.lm import models
from kfaclib.lm.recitation import by_one_pass, split_windows
from kfaclib.toy import small_olmo2, tasks
from kfaclib.toy import world as w

LOG = "training.jsonl"
LEARNING_RATE, WARM_UP, WEIGHT_DECAY, BATCH = 2.5e-3, 200, 0.1, 16
STEPS = {"olmo2-tiny": 3200, "olmo2-mini": 1600}  # about an hour, and under ten minutes, on two cores
FURTHER, LEARNED = {"olmo2-tiny": 1, "olmo2-mini": 0}, 0.95  # rounds after the first, while a task is right less often
WORLDS = {"olmo2-tiny": {}, "olmo2-mini": dict(quotes=24, rare=40, rung=4, quote_repeats=300)}  # other than by default


def weighted_loss(model: torch.nn.Module, ids: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted mean of the next-token cross-entropy of ids [B, S], in nats; weights [B, S] belong to the targets."""
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1].float()
    losses = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    weights = weights[:, 1:].flatten()
    return (losses * weights).sum() / weights.sum()


def progress_report(model: torch.nn.Module, world: w.World, suite: dict[str, list]) -> dict[str, float]:
    """Strict recall of all quotes (by teacher forcing) and every task's accuracy; leaves the model in training mode."""
    model.eval()
    windows = torch.cat([tasks.quote_windows(world, half) for half in tasks.HALVES])
    strict, _ = by_one_pass(model, split_windows(windows))
    report = {"strict": strict, **tasks.accuracy(model, suite)}
    model.train()
    return {k: round(v, 4) for k, v in report.items()}


def train(
    out: str | Path,
    seed: int = 0,
    size: str = "olmo2-tiny",
    steps: int | None = None,
    every: int = 200,
    device: torch.device | str = "cpu",
) -> None:
    """Train a small OLMo-2 and save weights (bfloat16), tokenizer, `world.json` and `training.jsonl` in the folder
    `out`, which is left complete or as it was before.

    size: one of STEPS, which has the default of `steps`. every: steps between lines of `training.jsonl`. While a task
    of the choosing half stays below LEARNED, the model gets a further round (FURTHER[size] at most) of half the steps
    at half the learning rate: on some seeds the model learns late to look things up in the context.
    """
    steps = steps or STEPS[size]
    folders.check_free(out, LOG)
    world, model = w.make_world(seed, **WORLDS[size]), small_olmo2.make_model(size, seed)
    with folders.filled(out, LOG) as partial:
        for further in range(1 + FURTHER[size]):
            if further:
                model, _ = models.load(partial, device="cpu")
            report = train_round(
                model.to(device), world, partial / LOG, size, steps // (2 if further else 1), further, every
            )
            small_olmo2.save(model, partial, world)
            if min(report.values()) >= LEARNED:
                break


def train_round(
    model: torch.nn.Module, world: w.World, log: Path, size: str, steps: int, further: int, every: int
) -> dict[str, float]:
    """Train for one warm-up and one cosine over `steps` steps, and return the last `progress_report`.

    further: number of the round, 0 for the first. Every `every` steps a line is appended to the file `log`.
    """
    peak = LEARNING_RATE / (2 if further else 1)
    plan = w.schedule(world, steps * BATCH, further)
    suite = tasks.make_suite(world, "choose", count=100)
    decayed = [p for n, p in model.train().named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    optimizer = torch.optim.AdamW(
        [dict(params=decayed, weight_decay=WEIGHT_DECAY), dict(params=others, weight_decay=0.0)],
        lr=peak,
        betas=(0.9, 0.98),
        fused=True,
    )
    rng, start, total = random.Random(f"rows {world.seed}" + f" {further}" * (further > 0)), time.time(), 0.0
    name = f"training {size}, seed {world.seed}" + f", round {further + 1}" * (further > 0)
    with open(log, "a") as lines:
        for step in tqdm(range(steps), desc=name):
            rate = peak * min(1, (step + 1) / WARM_UP) * (0.02 + 0.49 * (1 + math.cos(math.pi * step / steps)))
            for group in optimizer.param_groups:
                group["lr"] = rate
            rows = [w.row(world, kind, rng, passage) for kind, passage in plan[step * BATCH : (step + 1) * BATCH]]
            ids, weights = (torch.tensor(x, device=model.device) for x in zip(*rows))
            loss = weighted_loss(model, ids, weights)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            total += loss.item()
            if (step + 1) % every == 0 or step + 1 == steps:
                report = progress_report(model, world, suite)
                lines.write(
                    json.dumps(
                        dict(
                            round=further + 1,
                            step=step + 1,
                            seconds=round(time.time() - start),
                            loss=round(total / (step % every + 1), 4),
                            **report,
                        )
                    )
                    + "\n"
                )
                lines.flush()
                total = 0.0
    return report
