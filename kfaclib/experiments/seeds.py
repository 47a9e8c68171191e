"""Three training seeds, the same experiment: does the order of abilities hold, and how wide is it?"""

import tempfile
from pathlib import Path

import torch

from kfaclib import files, models, pipeline, training
from kfaclib.paths import DATA

SEEDS = (0, 1, 2)


def run(out, checkpoints=None):
    """Train seeds 1 and 2 (about an hour each on two cores; seed 0 is the shipped model) and reproduce on each.

    checkpoints: {seed: folder} of models that are there already.
    """
    folders = {0: DATA / "olmo2-tiny", **(checkpoints or {})}
    results = {}
    for seed in SEEDS:
        if seed not in folders:
            folders[seed] = Path(tempfile.gettempdir()) / f"olmo2-tiny-seed-{seed}"
            training.train(folders[seed], seed, device="cuda" if torch.cuda.is_available() else "cpu")
        model, _ = models.load(folders[seed])
        results[seed] = pipeline.reproduce(model, models.load_world(folders[seed]), seed=seed, say=print)
    files.write_json(out, {"provenance": files.provenance(list(SEEDS)), "seeds": results})
