"""How few tokens does the edit need? Curvature from a few windows of text, always at the same forgetting (chapter
14).
"""

import copy
import math
from dataclasses import replace

from tqdm.auto import tqdm

from kfaclib.collecting import resumable
from kfaclib.curvature.eigenbasis import decompose
from kfaclib.curvature.factors import Sums, accumulating, means
from kfaclib.curvature.layers import linear_layers
from kfaclib.editing import matching
from kfaclib.editing.edit import edit_weights, edited, kept_share
from kfaclib.io import files
from kfaclib.lm import mining, models
from kfaclib.lm.recitation import perplexity, split_windows, token_accuracy
from kfaclib.toy import pipeline, small_olmo2, tasks
from kfaclib.toy.rows import world_rows
from kfcourse.experiments.recitation import last_words
from kfcourse.experiments.seeds import CHECKPOINTS, each

WINDOWS = (1, 4, 16, 64, 256)  # of 128 words, 127 of which have a next one
FEW = WINDOWS[:1]  # where shrinking is tried, too
SAMPLES, NEAR = 2, 0.005  # samples of text for each model; what counts as equally forgotten
QUOTES, DOCUMENTS, ITEMS = (
    32,
    32,
    40,
)  # quotes of each half, documents of fresh text and items of each task that an edit is measured on
STREAM = 256  # windows of a sample that may be looked at


def growing(model, layers, world, sample, sizes, batch=32, progress=True):
    """{windows: {name: Factors}}: one stream of text, looked at after each of `sizes` windows. Another `sample` is
    other text.
    """
    rows, sums, found, done = world_rows(world, STREAM, f"tokens {sample}"), Sums(), {}, 0
    quiet = {} if progress else {"disable": True}  # so that TQDM_DISABLE holds
    with (
        accumulating(model, layers, sums) as add,
        tqdm(total=max(sizes), desc=f"windows, sample {sample}", **quiet) as bar,
    ):
        for size in sorted(sizes):
            while done < size:
                stop = min(done + batch, size)
                add(resumable.batch_of(rows, done, stop, sample))
                bar.update(stop - done)
                done = stop
            found[size] = means(copy.deepcopy(sums))
    return found


def intensity(values, tokens):
    """How much to shrink a covariance with these eigenvalues [d], estimated from `tokens` samples: the oracle
    approximating shrinkage of Chen, Wiesel, Eldar and Hero (2010), in [0, 1]."""
    d, square, trace = len(values), values.square().sum(), values.sum().square()
    wanted, spread = ((1 - 2 / d) * square + trace).item(), ((tokens + 1 - 2 / d) * (square - trace / d)).item()
    return 1.0 if wanted >= spread else wanted / spread  # nothing is spread if all are equal


def shrunk(bases, tokens):
    """{name: Eigenbasis} with both spectra drawn towards their mean; the eigenvectors stay what they are."""

    def towards_mean(values):
        r = intensity(values, tokens)
        return (1 - r) * values + r * values.mean()

    return {
        name: replace(b, lambda_A=towards_mean(b.lambda_A), lambda_G=towards_mean(b.lambda_G))
        for name, b in bases.items()
    }


def at_equal_forgetting(model, layers, bases, choosing, steps=8):
    """(what was chosen, {name: weight}): the edit at the mass that brings the token accuracy on the quotes for choosing
    to `pipeline.FORGOTTEN`, or as near as `steps` tries come.

    A tiny sample needs masses so close to 1 that halving a bracket would spend its tries on coming near, so they are
    placed by interpolation, between a token accuracy of 0 at mass 0 and of 1 at mass 1 - exp(-16).
    """
    mass = lambda x: -math.expm1(-x)

    def accuracy(x):
        with edited(layers, edit_weights(layers, bases, mass(x))):
            return token_accuracy(model, choosing)

    x, reached = matching.nearest(
        accuracy, pipeline.FORGOTTEN, 0.0, 16.0, steps=steps, start=4.0, tolerance=NEAR, ends=(0.0, 1.0)
    )
    kept = sum(kept_share(basis, mass(x)) for basis in bases.values()) / len(bases)
    return {"mass": mass(x), "reached": reached, "kept": kept}, edit_weights(layers, bases, mass(x))


def choosing_quotes(world):
    return split_windows(tasks.quote_windows(world, "choose")[:QUOTES])


def exam(model, world):
    """A function that measures the model as it is now on the reporting half: perplexity of fresh text, recall of
    quotes, tasks.
    """
    text, quotes = tasks.fresh_text(f"{world.seed} report", DOCUMENTS), tasks.quote_windows(world, "report")[:QUOTES]
    suite = tasks.make_suite(world, "report", ITEMS)

    def take():
        strict, words = last_words(mining.hits(model, quotes))
        return {
            "perplexity": perplexity(model, text),
            "strict": strict,
            "token_accuracy": words,
            "tasks": tasks.accuracy(model, suite),
        }

    return take


def measure(model, world, progress=True):
    """Rows for one model: each sample's curvature after each of WINDOWS, and for the FEW also shrunk."""
    layers, take = linear_layers(model, pipeline.LAYERS), exam(model, world)
    choosing = choosing_quotes(world)
    before, rows = take(), []
    samples = [growing(model, layers, world, sample, WINDOWS, progress=progress) for sample in range(SAMPLES)]
    jobs = [
        (sample, size, few)
        for sample in range(SAMPLES)
        for size in WINDOWS
        for few in ((False, True) if size in FEW else (False,))
    ]
    for sample, size, shrink in tqdm(jobs, desc="edits", disable=not progress):
        factors = samples[sample][size]
        tokens = next(iter(factors.values())).tokens
        bases = decompose(factors)
        row = {"sample": sample, "windows": size, "tokens": tokens, "shrunk": shrink}
        chosen, weights = at_equal_forgetting(model, layers, shrunk(bases, tokens) if shrink else bases, choosing)
        with edited(layers, weights):
            after = take()
        rows.append(row | chosen | after | {"price": after["perplexity"] / before["perplexity"]})
    first = next(iter(layers.values()))
    return {"before": before, "widths": {"A": first.in_features, "G": first.out_features}, "rows": rows}


def measure_seed(seed):
    model, _ = models.load(CHECKPOINTS[seed])
    return measure(model, small_olmo2.load_world(CHECKPOINTS[seed]))


def run(out):
    """Three seeds, two samples, five sizes: about two minutes of one core for each seed, and a process for each."""
    files.write_json(
        out,
        {"provenance": files.provenance(list(CHECKPOINTS)), "target": pipeline.FORGOTTEN, "seeds": each(measure_seed)},
    )
