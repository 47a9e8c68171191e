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

    A tiny sample needs masses so close to 1 that `pipeline.bring_to` would spend its tries on coming near. Here they
    are placed by linear interpolation between the ends of a bracket; an end that stays twice counts half (the Illinois
    rule), or a bent curve would be approached from one side for ever.
    """
    low, high, best, x = (
        [0.0, -pipeline.FORGOTTEN],
        [16.0, 1 - pipeline.FORGOTTEN],
        None,
        4.0,
    )  # x, token accuracy above the target; mass = 1 - exp(-x)
    moved = None
    for _ in range(steps):
        weights = edit_weights(layers, bases, -math.expm1(-x))
        with edited(layers, weights):
            reached = token_accuracy(model, choosing)
        apart = reached - pipeline.FORGOTTEN
        if best is None or abs(apart) < abs(best[0]):
            best = apart, {"mass": -math.expm1(-x), "reached": reached}, weights
        if abs(apart) < NEAR:
            break
        end, other = (low, high) if apart < 0 else (high, low)
        end[:] = x, apart
        if moved is end:
            other[1] /= 2
        moved = end
        x = (low[0] * high[1] - high[0] * low[1]) / (high[1] - low[1])
    _, chosen, weights = best
    return chosen | {"kept": sum(kept_share(basis, chosen["mass"]) for basis in bases.values()) / len(bases)}, weights


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
