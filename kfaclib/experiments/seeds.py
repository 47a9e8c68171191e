"""Three training seeds, the same experiment: does the order of abilities hold, and how wide is it?"""

from kfaclib import files, models, pipeline
from kfaclib.paths import DATA

# `kfac train --seed N --out FOLDER` makes them, in an hour or two on two cores
CHECKPOINTS = {0: DATA / "olmo2-tiny", 1: DATA / "olmo2-tiny-seed1", 2: DATA / "olmo2-tiny-seed2"}


def stranger_of(seed):
    """The seed whose model stands for one that was never trained on this seed's quotes: the same words and grammar, another world."""
    seeds = list(CHECKPOINTS)
    return seeds[(seeds.index(seed) + 1) % len(seeds)]


def run(out):
    """`kfac reproduce` on each (a few minutes a seed on two cores)."""
    results = {}
    for seed, folder in CHECKPOINTS.items():
        model, _ = models.load(folder)
        results[seed] = pipeline.reproduce(model, models.load_world(folder), seed=seed, say=print)
    files.write_json(out, {"provenance": files.provenance(list(CHECKPOINTS)), "seeds": results})
