"""Choosing layers and mass on three small models: every candidate measured on both halves, and what each way of
choosing would take.

The sweep of `kfac sweep`, with the reporting half beside the choosing one, which a chooser must not see.
"""

import torch
from tqdm.auto import tqdm

from kfaclib.curvature.eigenbasis import decompose
from kfaclib.curvature.factors import collect_factors
from kfaclib.curvature.layers import linear_layers
from kfaclib.io import files
from kfaclib.lm import models, sweep
from kfaclib.lm.presets import GATE_AND_UP
from kfaclib.lm.recitation import split_windows
from kfaclib.toy import small_olmo2, tasks
from kfaclib.toy.rows import world_rows
from kfcourse.experiments.seeds import CHECKPOINTS

MASSES = (0.9,)
STRICT, REMOVED = (
    0.05,
    0.3,
)  # with labels: recall that is low enough; without: share of the weights' squared norm that has to go
ROWS, WINDOWS, TEXTS = 48, 16, 8  # collected on; measured on, of each half


def both_halves(model, chosen, bases, predicted, exam, say=lambda text: None):
    """Rows of `sweep.without_labels` with {"choose", "report"}: {"strict", "token_accuracy", "perplexity"}, after a row
    without an edit; exam: {half: (windows [(prefix ids, suffix ids)], text [N, S])}."""
    found = {}
    for half in tasks.HALVES:
        windows, text = exam[half]
        found[half] = sweep.with_labels(
            model,
            chosen,
            bases,
            predicted,
            windows[:WINDOWS],
            text[:TEXTS],
            say=lambda t, half=half: say(f"{half}: {t}"),
        )
    keys = ("blocks", "mass", "cost", "removed")
    return [
        {k: a[k] for k in keys}
        | {
            half: {k: v for k, v in row.items() if k not in keys}
            for half, row in zip(tasks.HALVES, (a, b), strict=True)
        }
        for a, b in zip(*found.values(), strict=True)
    ]


def on(rows, half):
    """The rows as `sweep.best` takes them, with the measurements of one half."""
    return [{k: v for k, v in row.items() if k not in tasks.HALVES} | row[half] for row in rows]


def collected(folder, seed):
    """(model, world, layers, bases) that the candidates of one seed are made of."""
    model, _ = models.load(folder, device="cpu")
    world = small_olmo2.load_world(folder)
    chosen = linear_layers(model, GATE_AND_UP)
    rows, generator = world_rows(world, ROWS, seed), torch.Generator().manual_seed(seed)
    return model, world, chosen, decompose(collect_factors(model, rows.split(32), chosen, generator=generator))


def one(folder, seed, say):
    model, world, chosen, bases = collected(folder, seed)
    exam = {
        half: (split_windows(tasks.quote_windows(world, half)), tasks.fresh_text(f"{world.seed} {half}", TEXTS))
        for half in tasks.HALVES
    }
    return both_halves(model, chosen, bases, sweep.without_labels(chosen, bases, MASSES), exam, say)


def run(out):
    seeds = {}
    for seed, folder in CHECKPOINTS.items():
        with tqdm(total=2 * 15 * len(MASSES), desc=f"seed {seed}") as bar:
            seeds[str(seed)] = one(folder, int(seed), lambda _, bar=bar: bar.update())
    settings = {"masses": MASSES, "strict": STRICT, "removed": REMOVED, "collected_rows": ROWS, "windows": WINDOWS}
    files.write_json(out, {"provenance": files.provenance(list(CHECKPOINTS)), **settings, "seeds": seeds})
