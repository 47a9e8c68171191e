"""Chapter 17's candidates once more: the price of each, predicted by K-FAC, by the Fisher's exact quadratic form, and
measured, on three kinds of text, so that the prediction's error can be taken apart.

The kinds: rows that the curvature was collected on, other rows of the same mixture, and the stories that the record
`choices` measures perplexity on.
"""

from tqdm.auto import tqdm

from kfaclib.editing.edit import edit_weights, edited
from kfaclib.io import files
from kfaclib.lm import sweep
from kfaclib.toy import tasks
from kfaclib.toy.rows import world_rows
from kfcourse.experiments import choices, evidence
from kfcourse.experiments.seeds import CHECKPOINTS

TEXTS = 8  # rows of each kind


def texts(world, seed):
    """{kind: ids [TEXTS, S]}."""
    return {
        "collected": world_rows(world, choices.ROWS, seed)[:TEXTS],
        "other rows": world_rows(world, TEXTS, f"prices {seed}"),
        "stories": tasks.fresh_text(f"{world.seed} report", TEXTS),
    }


def one(folder, seed):
    """Rows of `sweep.without_labels` with "exact", "alone", "kl" and "loss", each {kind: nats a token}."""
    model, world, chosen, bases = choices.collected(folder, seed)
    model.requires_grad_(False)
    kinds, rows = texts(world, seed), sweep.without_labels(chosen, bases, choices.MASSES)
    exact = {kind: sweep.exactly(model, [ids], chosen, bases, rows) for kind, ids in kinds.items()}
    before, by_block, measured = evidence.unedited(model, kinds), sweep.blocks(bases), []
    for i, row in enumerate(tqdm(rows, desc=f"seed {seed}")):
        predicted = {key: {kind: found[i][key] for kind, found in exact.items()} for key in ("exact", "alone")}
        mine = {name: bases[name] for name in sweep.within(by_block, row["blocks"])}
        with edited(chosen, edit_weights(chosen, mine, row["mass"])):
            measured.append({**row, **predicted, **evidence.moved(model, kinds, before)})
    return measured


def run(out):
    """Three seeds, one after the other: some minutes each on one core."""
    seeds = {str(seed): one(folder, int(seed)) for seed, folder in CHECKPOINTS.items()}
    settings = {"masses": choices.MASSES, "removed": choices.REMOVED, "collected_rows": choices.ROWS, "texts": TEXTS}
    files.write_json(out, {"provenance": files.provenance(list(CHECKPOINTS)), **settings, "seeds": seeds})
