"""Choosing layers and mass on three small models: every candidate measured on both halves, and what each way of choosing would take.

The sweep of `kfac sweep`, with the reporting half beside the choosing one, which a chooser must not see.
"""

import torch

from kfaclib import corpora, files, models, sweep, tasks
from kfaclib.eigenbasis import decompose
from kfaclib.experiments.seeds import CHECKPOINTS
from kfaclib.factors import collect_factors
from kfaclib.layers import linear_layers
from kfaclib.memorization import split_windows
from kfaclib.presets import GATE_AND_UP

MASSES = (0.6, 0.8, 0.9, 0.95)
STRICT, REMOVED = 0.05, 0.3  # with labels: recall that is low enough; without: share of the weights' squared norm that has to go
ROWS = 512


def both_halves(model, world, chosen, bases, predicted, say=lambda text: None):
    """Rows of `sweep.without_labels` with {"choose", "report"}: {"strict", "loose", "token_accuracy", "perplexity"}, after a row without an edit."""
    found = {}
    for half in tasks.HALVES:
        windows, text = split_windows(tasks.quote_windows(world, half)), tasks.fresh_text(f"{world.seed} {half}", documents=48)
        found[half] = sweep.with_labels(model, chosen, bases, predicted, windows, text, say=lambda t, half=half: say(f"{half}: {t}"))
    keys = ("blocks", "mass", "cost", "removed")
    return [{k: a[k] for k in keys} | {half: {k: v for k, v in row.items() if k not in keys} for half, row in zip(tasks.HALVES, (a, b), strict=True)}
            for a, b in zip(*found.values(), strict=True)]


def on(rows, half):
    """The rows as `sweep.best` takes them, with the measurements of one half."""
    return [{k: v for k, v in row.items() if k not in tasks.HALVES} | row[half] for row in rows]


def one(folder, seed, say):
    model, _ = models.load(folder, device="cpu")
    world = models.load_world(folder)
    chosen = linear_layers(model, GATE_AND_UP)
    bases = decompose(collect_factors(model, corpora.world_rows(world, ROWS, seed).split(32), chosen, generator=torch.Generator().manual_seed(seed)))
    return both_halves(model, world, chosen, bases, sweep.without_labels(chosen, bases, MASSES), say)


def run(out):
    from tqdm.auto import tqdm

    seeds = {}
    for seed, folder in CHECKPOINTS.items():
        with tqdm(total=2 * 15 * len(MASSES), desc=f"seed {seed}") as bar:
            seeds[str(seed)] = one(folder, int(seed), lambda _, bar=bar: bar.update())
    files.write_json(out, {"provenance": files.provenance(0), "masses": MASSES, "strict": STRICT, "removed": REMOVED, "collected_rows": ROWS, "seeds": seeds})
