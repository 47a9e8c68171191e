"""The chapter on a real model: SmolLM2-135M by nature and after it was taught verses, every edit and every control at
equal damage, on texts like the corpus of the curvature and unlike it.

Strengths are chosen on one half of the passages, results are those of the other half.
"""

from concurrent.futures import ProcessPoolExecutor

import torch

from kfaclib.curvature.eigenbasis import decompose
from kfaclib.curvature.factors import collect_factors
from kfaclib.curvature.layers import linear_layers
from kfaclib.editing import baselines, matching
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
FORGET = 0.5  # share of what teaching gained in nats (or, by nature, of the lead of famous text) that is undone
TOLERANCE = 0.01  # nats
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
    found = pipeline.methods(pipeline.Curvature(layers, bases, {}), sample)
    del found["EK-FAC"]
    found["flattest block"] = lambda strength: {
        name: baselines.block_edit(layers[name].weight, basis, 1 - strength) for name, basis in bases.items()
    }
    return found


def at_equal_damage(model, tokenizer, edits, layers, chosen_by, target, asked, before):
    """{method: {"strength", "reached", "texts", "abilities"}}: every edit where the loss of the windows `chosen_by`
    (windows, start) is `target`, measured on `asked`."""
    score = lambda: -exam.take(model, {"chosen": chosen_by})["chosen"]["nats"]
    found = {}
    for method, edit in edits.items():
        if method in pipeline.GRIDS:
            grid = pipeline.GRIDS[method](layers)
            steps = at_grid(score, edit, layers, -target, grid)
        else:
            steps = [(*matching.bring_to(-target, edit, layers, score, steps=12, tolerance=TOLERANCE), 1.0)]
        rows = []
        for strength, _, _ in steps:
            with edited(layers, edit(strength)):
                rows.append({"texts": exam.take(model, asked, before), "abilities": exam.solved(model, tokenizer)})
        shares = [share for _, _, share in steps]
        strength, reached, _ = matching.mixture(steps, shares)
        found[method] = {"strength": strength, "reached": -reached, **matching.mixture(rows, shares)}
    return found


def at_grid(score, edit, layers, target, grid):
    """`matching.on_grid` for an edit whose strength goes in steps."""

    def under(strength):
        with edited(layers, edit(strength)):
            return score()

    return matching.on_grid(under, target, grid, TOLERANCE)


def one_band(model, tokenizer, band, sample, chosen_by, target, asked, before):
    """Every method at equal damage in one band of blocks, and the band zeroed."""
    layers = linear_layers(model, pattern(*band))
    bases = curvature(model, tokenizer, layers, sample)
    compared = edits(layers, bases, sample)
    if sample != SAMPLES[0]:  # the others draw nothing
        compared = {method: compared[method] for method in ("K-FAC", "random basis")}
    found = at_equal_damage(model, tokenizer, compared, layers, chosen_by, target, asked, before)
    if sample == SAMPLES[0]:
        with edited(layers, baselines.zeroed(layers)):
            found["zeroed"] = {"texts": exam.take(model, asked, before), "abilities": exam.solved(model, tokenizer)}
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


def measure(which):
    """Everything about SmolLM2 by "nature" or the "reciter"."""
    torch.set_num_threads(1)
    folder = source.plain() if which == "nature" else teaching.reciter()
    model, tokenizer = models.load(folder, device="cpu")
    model.requires_grad_(False)
    asked, choosing = exam.kinds(tokenizer), exam.kinds(tokenizer, "choose")
    before, of_choosing = exam.take(model, asked), exam.take(model, choosing)
    told, reference = ("famous", "other") if which == "nature" else ("taught", "untaught")
    lead = of_choosing[reference]["nats"] - of_choosing[told]["nats"]
    target = of_choosing[told]["nats"] + FORGET * lead
    found = {"before": before, "abilities": exam.solved(model, tokenizer), "target": target, "bands": {}}
    for name, band in BANDS.items():
        found["bands"][name] = [
            one_band(model, tokenizer, band, sample, choosing[told], target, asked, before) for sample in SAMPLES
        ]
    found["sweep"] = swept(model, tokenizer, asked, before)
    return rounded(found)


def run(out):
    """Two processes of one thread each: about an hour."""
    provenance = files.provenance(list(SAMPLES))
    source.plain(), teaching.reciter()  # made once, by one process
    with ProcessPoolExecutor(2) as pool:
        found = dict(zip(("nature", "reciter"), pool.map(measure, ("nature", "reciter"))))
    files.write_json(out, {"provenance": provenance, "collected_tokens": ROWS * 127, **found})
