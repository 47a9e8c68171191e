"""Chapter 14 on three training seeds: train on half of the forgotten quotes and watch the other half.

"edited" models are brought to the same token accuracy on the choosing half; all that is recorded is of the reporting
half, which is split once more, into quotes to train on and quotes to watch. Starts that are alike carry the same
"start":

"shallow", "deep": two depths of forgetting (the control in a random basis at the first). The model that was never
trained on
    these quotes (another seed's, with the same words and the same grammar) is trained on both halves of them until as
    many of their tokens are right as in the edited model: it knows as much, but learned it just now, and has nothing
    hidden.
"unmatched": the same model without that training. It starts lower, so only the trained half's way back is to be
compared.
"""

import copy

import torch

from kfaclib.curvature.eigenbasis import decompose
from kfaclib.curvature.factors import collect_factors
from kfaclib.curvature.layers import linear_layers
from kfaclib.editing import matching
from kfaclib.editing.edit import edited
from kfaclib.io import files
from kfaclib.lm import models, relearning
from kfaclib.lm.recitation import perplexity, split_windows, token_accuracy
from kfaclib.toy import pipeline, small_olmo2, tasks
from kfaclib.toy.rows import world_rows
from kfcourse.experiments.seeds import CHECKPOINTS, each, stranger_of

DEPTHS = {
    "shallow": (pipeline.FORGOTTEN, ("K-FAC", "random basis")),
    "deep": (0.75, ("K-FAC",)),
}  # token accuracy on the choosing half, edits
SPEED = 3e-4  # learning rate of every attack; larger ones break more than they bring back
LOOKS, LONG = (0, 1, 2, 4, 8, 16), (0, 16, 32, 48, 64, 80)  # steps of the attack after which it is looked at


def measure(seed):
    """All runs of one seed: {"start", "edit", "trained on", "rows": [{"tokens", "trained": ..., "watched": ...,
    "perplexity"}], ...} each.
    """
    model, stranger = (models.load(CHECKPOINTS[s], device="cpu")[0] for s in (seed, stranger_of(seed)))
    world, layers = small_olmo2.load_world(CHECKPOINTS[seed]), linear_layers(model, pipeline.LAYERS)
    choosing, reporting = (split_windows(tasks.quote_windows(world, half)) for half in tasks.HALVES)
    train, watch = relearning.split(reporting)
    text, other = (
        tasks.fresh_text(f"{world.seed} report", 24),
        split_windows(tasks.fresh_text(f"relearning {world.seed}", len(train))),
    )
    rows = world_rows(world, pipeline.ROWS, seed).split(32)
    bases = decompose(
        collect_factors(model, rows, layers, generator=torch.Generator().manual_seed(seed), progress=False)
    )

    def look(m):
        return {
            "trained": relearning.examine(m, train, decode=False),
            "watched": relearning.examine(m, watch),
            "perplexity": perplexity(m, text),
        }

    def attack(start, name, m, on="half of the quotes", looks=LOOKS, **notes):
        return {
            "start": start,
            "edit": name,
            "trained on": on,
            **notes,
            "rows": relearning.relearn(m, other if on == "fresh text" else train, looks, look, SPEED, seed=seed),
        }

    edits, runs = pipeline.methods(pipeline.Curvature(layers, bases, {}), seed), []
    for start, (target, names) in DEPTHS.items():
        for name in names:
            strength, met = matching.bring_to(target, edits[name], layers, lambda: token_accuracy(model, choosing))
            with edited(layers, edits[name](strength)):
                cut = copy.deepcopy(model)
            if name == "K-FAC":
                reached = token_accuracy(cut, reporting)
            runs.append(attack(start, name, copy.deepcopy(cut), strength=strength, chosen_at=met))
            if name == "K-FAC" and start == "shallow":
                runs.append(attack(start, name, cut, "fresh text", strength=strength, chosen_at=met))
        new = copy.deepcopy(stranger)
        spent = relearning.train_to(new, reporting, reached, every=8, seed=seed)
        runs.append(attack(start, "never trained", new, before=spent))
    return runs + [attack("unmatched", "never trained", stranger, looks=LONG)]


def run(out):
    """Three seeds, all at a time: about five minutes each on one core."""
    files.write_json(out, {"provenance": files.provenance(list(CHECKPOINTS)), "seeds": each(measure)})
