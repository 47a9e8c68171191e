"""How few tokens does the edit need?  Curvature from one window to a thousand, always at the same forgetting (chapter 14)."""

import copy
import math
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import torch
from tqdm.auto import tqdm

from kfaclib import collection, corpora, files, mining, models, pipeline, tasks
from kfaclib.edit import edit_weights, edited, kept_share
from kfaclib.eigenbasis import decompose
from kfaclib.experiments.recitation import last_words
from kfaclib.experiments.seeds import CHECKPOINTS
from kfaclib.factors import Sums, accumulating, means
from kfaclib.layers import linear_layers
from kfaclib.memorization import perplexity, split_windows, token_accuracy

WINDOWS = (1, 2, 4, 8, 16, 32, 128, 512)  # of 128 words, 127 of which have a next one
FEW = WINDOWS[:4]  # where shrinking is tried, too
SAMPLES, ITEMS, NEAR = 2, 60, 0.005  # samples of text for each model; items of a task; what counts as equally forgotten
TOP = 0.1  # the share of directions, and of pairs, whose overlap is measured


def growing(model, layers, world, sample, sizes, batch=32, progress=True):
    """{windows: {name: Factors}}: one stream of text, looked at after each of `sizes` windows.  Another `sample` is other text."""
    rows, sums, found, done = corpora.world_rows(world, max(WINDOWS), f"tokens {sample}"), Sums(), {}, 0
    with accumulating(model, layers, sums) as add, tqdm(total=max(sizes), desc=f"windows, sample {sample}", disable=not progress) as bar:
        for size in sorted(sizes):
            while done < size:
                stop = min(done + batch, size)
                add(collection.batch_of(rows, done, stop, sample))
                bar.update(stop - done)
                done = stop
            found[size] = means(copy.deepcopy(sums))
    return found


def intensity(values, tokens):
    """How much to shrink a covariance with these eigenvalues [d], estimated from `tokens` samples: the oracle approximating
    shrinkage of Chen, Wiesel, Eldar and Hero (2010), in [0, 1]."""
    d, square, trace = len(values), values.square().sum(), values.sum().square()
    return min(1.0, ((1 - 2 / d) * square + trace).item() / ((tokens + 1 - 2 / d) * (square - trace / d)).item())


def shrunk(bases, tokens):
    """{name: Eigenbasis} with both spectra drawn towards their mean; the eigenvectors stay what they are."""

    def towards_mean(values):
        r = intensity(values, tokens)
        return (1 - r) * values + r * values.mean()

    return {name: replace(b, lambda_A=towards_mean(b.lambda_A), lambda_G=towards_mean(b.lambda_G)) for name, b in bases.items()}


def captured(basis, factors, share=TOP):
    """The part of tr(G) tr(A) of `factors` that lies on the first `share` of the pairs that `basis` ranks."""
    G, A = (((Q.T @ M) * Q.T).sum(1).double() for Q, M in ((basis.Q_G, factors.G), (basis.Q_A, factors.A)))
    count = round(share * len(G) * len(A))
    first = torch.outer(basis.lambda_G, basis.lambda_A).flatten().topk(count).indices
    return (torch.outer(G, A).flatten()[first].sum() / (G.sum() * A.sum())).item()


def overlap(bases, factors, reference):
    """Means over layers of how alike two estimates are: `factors` and their bases `reference` are those of a large sample.

    "mass": curvature on the first tenth of our pairs over that on the first tenth of the reference's own;
    "A", "G": squared cosines between the spaces of the first tenth of the eigenvectors, 1 if they are the same.
    """
    rows = []
    for name, b in bases.items():
        row = {"mass": captured(b, factors[name]) / captured(reference[name], factors[name])}
        for side, Q, R in (("A", b.Q_A, reference[name].Q_A), ("G", b.Q_G, reference[name].Q_G)):
            k = round(TOP * len(Q))
            row[side] = ((Q[:, :k].T @ R[:, :k]).square().sum() / k).item()
        rows.append(row)
    return {key: sum(row[key] for row in rows) / len(rows) for key in rows[0]}


def at_equal_forgetting(model, layers, bases, choosing, steps=10):
    """(what was chosen, {name: weight}): the edit at the mass that brings the token accuracy on the quotes for choosing to
    `pipeline.FORGOTTEN`, as nearly as `steps` halvings can.  A tiny sample needs masses closer to 1 than `pipeline.bring_to` looks at."""
    low, high, best = 0.0, 16.0, None  # mass = 1 - exp(-x)
    for _ in range(steps):
        x = (low + high) / 2
        weights = edit_weights(layers, bases, -math.expm1(-x))
        with edited(layers, weights):
            reached = token_accuracy(model, choosing)
        apart = abs(reached - pipeline.FORGOTTEN)
        if best is None or apart < best[0]:
            best = apart, {"mass": -math.expm1(-x), "reached": reached}, weights
        if apart < NEAR:
            break
        low, high = (x, high) if reached < pipeline.FORGOTTEN else (low, x)
    _, chosen, weights = best
    return chosen | {"kept": sum(kept_share(basis, chosen["mass"]) for basis in bases.values()) / len(bases)}, weights


def exam(model, world):
    """A function that measures the model as it is now on the reporting half: perplexity of fresh text, recall of quotes, tasks."""
    text, quotes, suite = tasks.fresh_text(f"{world.seed} report", 48), tasks.quote_windows(world, "report"), tasks.make_suite(world, "report", ITEMS)

    def take():
        strict, words = last_words(mining.hits(model, quotes))
        return {"perplexity": perplexity(model, text), "strict": strict, "token_accuracy": words, "tasks": tasks.accuracy(model, suite)}

    return take


def measure(model, world, progress=True):
    """Rows for one model: each sample's curvature after each of WINDOWS, and for the FEW also shrunk.

    The overlap is that with the largest sample of other text: no token is in both.
    """
    layers, take = linear_layers(model, pipeline.LAYERS), exam(model, world)
    choosing = split_windows(tasks.quote_windows(world, "choose"))
    before, rows = take(), []
    samples = [growing(model, layers, world, sample, WINDOWS, progress=progress) for sample in range(SAMPLES)]
    largest = [found[max(WINDOWS)] for found in samples]
    references = [decompose(factors) for factors in largest]
    jobs = [(sample, size, few) for sample in range(SAMPLES) for size in WINDOWS for few in ((False, True) if size in FEW else (False,))]
    for sample, size, shrink in tqdm(jobs, desc="edits", disable=not progress):
        factors, other = samples[sample][size], (sample + 1) % SAMPLES
        tokens = next(iter(factors.values())).tokens
        bases = decompose(factors)
        row = {"sample": sample, "windows": size, "tokens": tokens, "shrunk": shrink, "overlap": overlap(bases, largest[other], references[other])}
        chosen, weights = at_equal_forgetting(model, layers, shrunk(bases, tokens) if shrink else bases, choosing)
        with edited(layers, weights):
            after = take()
        rows.append(row | chosen | after | {"price": after["perplexity"] / before["perplexity"]})
    widths = {"A": len(references[0][next(iter(layers))].lambda_A), "G": len(references[0][next(iter(layers))].lambda_G)}
    return {"before": before, "widths": widths, "rows": rows}


def measure_seed(seed):
    torch.set_num_threads(1)
    model, _ = models.load(CHECKPOINTS[seed])
    return measure(model, models.load_world(CHECKPOINTS[seed]))


def run(out):
    """Three seeds, two samples, eight sizes: about six minutes of one core for each seed, and a process for each."""
    with ProcessPoolExecutor(len(CHECKPOINTS), get_context("spawn")) as pool:
        results = dict(zip(CHECKPOINTS, pool.map(measure_seed, CHECKPOINTS)))
    files.write_json(out, {"provenance": files.provenance(list(CHECKPOINTS)), "target": pipeline.FORGOTTEN, "seeds": results})
