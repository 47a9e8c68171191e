"""The chapter on a real model: SmolLM2-135M by nature and after it was taught verses, every edit and every control at
equal damage, on texts like the corpus of the curvature and unlike it.

Strengths are chosen on one half of the passages, results are those of the other half.
"""

from concurrent.futures import ProcessPoolExecutor

import torch

from kfaclib.curvature.eigenbasis import decompose
from kfaclib.curvature.factors import collect_factors
from kfaclib.curvature.layers import linear_layers
from kfaclib.editing import baselines
from kfaclib.editing.edit import edit_weights, edited, kept_share
from kfaclib.io import files
from kfaclib.lm import models
from kfaclib.smollm2 import exam, source, teaching, texts
from kfaclib.toy import pipeline
from kfcourse.experiments.evidence import rounded

ROWS = 64  # windows of 128 tokens of the handbook
BANDS = {"16 to 19": (16, 20), "22 to 25": (22, 26)}  # blocks
EVERY_BAND = [(start, start + 3) for start in range(0, 30, 3)]
SWEPT = 0.95  # mass at which the bands are compared
FORGET = 0.5  # share of the lead over text that the model does not know that is undone, in nats
TOLERANCE = 0.01  # nats
TARGET = {"nature": "famous", "reciter": "taught"}  # the text that shall go
OTHERS = ("untaught", "like the corpus", "other")
CHOSEN = 20  # passages that strengths are chosen on, at most
SWEPT_WINDOWS = 12  # of each kind in the sweep over bands
SAMPLES = (0, 1)  # of the curvature: other windows, other sampled labels, other random bases


def pattern(start, end):
    """Gate and up of the blocks from `start` to before `end`."""
    return ",".join(f"model.layers.{i}.mlp.{part}_proj" for i in range(start, end) for part in ("gate", "up"))


def curvature(model, tokenizer, layers, sample, rows=ROWS):
    """Bases of the layers on `rows` windows of the handbook."""
    windows = texts.handbook("collection", tokenizer)
    drawn = torch.randperm(len(windows), generator=torch.Generator().manual_seed(sample))[:rows]
    generator = torch.Generator().manual_seed(sample)
    return decompose(collect_factors(model, windows[drawn].split(8), layers, generator=generator, progress=False))


def edits(layers, bases, sample):
    """{method: function of a strength}, as in the main experiment, and the flattest block."""
    c = pipeline.Curvature(layers, bases, {})
    found = pipeline.methods(c, sample)
    del found["EK-FAC"]
    found["flattest block"] = pipeline.flattest_block(c)
    return found


def at_equal_damage(model, edits, layers, chosen_by, target, measure):
    """{method: {"strength", "reached", and what measure() returns}}: every edit where the loss of the windows
    `chosen_by` (windows, start) is `target`."""
    score = lambda: -exam.take(model, {"chosen": chosen_by})["chosen"]["nats"]
    found = {}
    for method, edit in edits.items():
        strength, reached, row = pipeline.brought_to(-target, method, edit, layers, score, measure, TOLERANCE)
        found[method] = {"strength": strength, "reached": -reached, **row}
    return found


def one_band(model, tokenizer, band, sample, chosen_by, target, asked, before):
    """Every method at equal damage in one band of blocks, and the band zeroed."""
    layers = linear_layers(model, pattern(*band))
    bases = curvature(model, tokenizer, layers, sample)
    compared, texts_alone = edits(layers, bases, sample), lambda: {"texts": exam.take(model, asked, before)}
    everything = lambda: texts_alone() | {"abilities": exam.solved(model, tokenizer)}
    if sample != SAMPLES[0]:  # the other methods draw nothing
        compared = {method: compared[method] for method in ("K-FAC", "random basis")}
        return at_equal_damage(model, compared, layers, chosen_by, target, texts_alone)
    found = at_equal_damage(model, compared, layers, chosen_by, target, everything)
    with edited(layers, baselines.zeroed(layers)):
        found["zeroed"] = everything()
    return found


def swept(model, tokenizer, asked, before):
    """Rows {"blocks", "kept", "K-FAC", "random basis"}: each band of three blocks at mass SWEPT, in the curvature's
    basis and in a random one that keeps as many pairs; changes in nats of each kind of text."""
    layers = linear_layers(model, pattern(0, 30))
    bases, rows = curvature(model, tokenizer, layers, SAMPLES[0]), []
    for start, end in EVERY_BAND:
        some = {name: layer for name, layer in layers.items() if start <= int(name.split(".")[2]) < end}
        row = {"blocks": [start, end - 1], "kept": sum(kept_share(bases[n], SWEPT) for n in some) / len(some)}
        drawn = torch.Generator().manual_seed(0)
        for method, of in (("K-FAC", lambda b: b), ("random basis", lambda b: baselines.random_basis(b, drawn))):
            with edited(some, edit_weights(some, {name: of(bases[name]) for name in some}, SWEPT)):
                taken = exam.take(model, asked, before)
            row[method] = {kind: one["change"] for kind, one in taken.items()}
        rows.append(row)
    return rows


def opened(which):
    """(model, tokenizer) of SmolLM2 by "nature", or of the "reciter"."""
    torch.set_num_threads(1)
    model, tokenizer = models.load(source.plain() if which == "nature" else teaching.reciter(), device="cpu")
    return model.requires_grad_(False), tokenizer


def band(which, name):
    """Every method in one band of blocks, a dict for each sample of the curvature; before it "before", "abilities" and
    the "target"."""
    model, tokenizer = opened(which)
    aimed = TARGET[which]
    every = exam.kinds(tokenizer)
    asked = {kind: one for kind, one in every.items() if kind != "taught" or which == "reciter"}
    choosing = {kind: (ids[:CHOSEN], start) for kind, (ids, start) in exam.kinds(tokenizer, "choose").items()}
    before, of_choosing = exam.take(model, every), exam.take(model, choosing)
    known = of_choosing[aimed]["nats"]
    target = known + FORGET * (unknown(which, choosing, of_choosing) - known)
    common = {"before": before, "abilities": exam.solved(model, tokenizer), "target": target}
    samples = [
        one_band(model, tokenizer, BANDS[name], sample, choosing[aimed], target, asked, before) for sample in SAMPLES
    ]
    return rounded({"common": common, "samples": samples})


def unknown(which, choosing, of_choosing):
    """The loss of the text that shall go as if the model did not know it: for verses, that of SmolLM2 before it was
    taught; for famous passages, that of the novel."""
    if which == "nature":
        return of_choosing["other"]["nats"]
    untaught, _ = opened("nature")
    return exam.take(untaught, {"taught": choosing["taught"]})["taught"]["nats"]


def sweep(which):
    """`swept` for one of the two models."""
    model, tokenizer = opened(which)
    kinds = exam.kinds(tokenizer)
    asked = {kind: (kinds[kind][0][:SWEPT_WINDOWS], kinds[kind][1]) for kind in (TARGET[which], *OTHERS)}
    return rounded(swept(model, tokenizer, asked, exam.take(model, asked)))


def run(out):
    """Two processes of one thread each: about three quarters of an hour."""
    provenance = files.provenance(list(SAMPLES))
    source.plain(), teaching.reciter()  # made once, by one process
    with ProcessPoolExecutor(2) as pool:
        bands = {which: {name: pool.submit(band, which, name) for name in BANDS} for which in TARGET}
        sweeps = {which: pool.submit(sweep, which) for which in TARGET}
        found = {}
        for which, jobs in bands.items():
            done = {name: job.result() for name, job in jobs.items()}
            common = next(iter(done.values()))["common"]
            own = {name: one["samples"] for name, one in done.items()}
            found[which] = {**common, "bands": own, "sweep": sweeps[which].result()}
    files.write_json(out, {"provenance": provenance, "collected_tokens": ROWS * 127, **found})
