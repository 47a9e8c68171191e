"""Three training seeds, the same experiment: does the order of abilities hold, and how wide is it?"""

from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

import torch
from tqdm.auto import tqdm

from kfaclib.io import files
from kfaclib.lm import models
from kfaclib.toy import pipeline, small_olmo2
from kfcourse.paths import DATA

# `kfac train --seed N --out FOLDER` makes them, in an hour or two on two cores
CHECKPOINTS = {0: DATA / "olmo2-tiny", 1: DATA / "olmo2-tiny-seed1", 2: DATA / "olmo2-tiny-seed2"}


def stranger_of(seed):
    """The seed whose model stands for one that was never trained on this seed's quotes: the same words and grammar,
    another world.
    """
    seeds = list(CHECKPOINTS)
    return seeds[(seeds.index(seed) + 1) % len(seeds)]


def each(measure, *arguments):
    """{seed: measure(seed, *arguments)}: all seeds at a time, in a process of one thread each; `measure` is a function
    of a module.
    """
    with ProcessPoolExecutor(len(CHECKPOINTS), get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        jobs = {pool.submit(measure, seed, *arguments): seed for seed in CHECKPOINTS}
        found = {jobs[job]: job.result() for job in tqdm(as_completed(jobs), total=len(jobs), desc="seeds")}
    return {seed: found[seed] for seed in CHECKPOINTS}


def run(out):
    """`kfac reproduce` on each (a few minutes a seed on two cores)."""
    results = {}
    for seed, folder in CHECKPOINTS.items():
        model, _ = models.load(folder)
        results[seed] = pipeline.reproduce(model, small_olmo2.load_world(folder), seed=seed, say=print)
    files.write_json(out, {"provenance": files.provenance(list(CHECKPOINTS)), "seeds": results})
