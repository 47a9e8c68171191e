"""Chapter 13's controls on three training seeds: is the detector of `course experiments detector` better than what is
simpler?

The same detector in a random basis, the mere length of an input, and a comparison of tokens to which the model gives
about the same probability. Beside them the price of an edit of each block, predicted without K-FAC's factorisation, as
one more quantity that needs no labels.
"""

import torch

from kfaclib.curvature import price
from kfaclib.curvature.eigenbasis import decompose
from kfaclib.curvature.factors import collect_factors
from kfaclib.curvature.layers import linear_layers
from kfaclib.editing import baselines
from kfaclib.editing.edit import edit_weights
from kfaclib.io import files
from kfaclib.lm import activations, detector, models, relearning, sweep
from kfaclib.lm.recitation import split_windows
from kfaclib.toy import pipeline, small_olmo2, tasks
from kfaclib.toy.rows import world_rows
from kfcourse.experiments.detector import MASS
from kfcourse.experiments.seeds import CHECKPOINTS, each

PRICED = 16  # rows on which a price is predicted
BORDERS = (-3.0, -1.0, -0.3, -0.1, -0.03, -0.01, -0.003, -0.001)  # of strata of equal log-probability
STRAY = 12  # random bases, so that their AUC has a range


def inputs_of(model, layers, windows):
    """{block: inputs [N, S, I]} of the tokens from which the suffixes [S] of the windows are predicted."""
    found, _ = activations.inputs(model, layers, windows)
    by_block = sweep.blocks(layers)
    return {number: found[names[0]].view(len(windows), -1, found[names[0]].shape[-1])
            for number, names in by_block.items()}  # fmt: skip


def measure(seed):
    """All of one seed, as plain values: {what: {block: value}}."""
    model, world = models.load(CHECKPOINTS[seed], device="cpu")[0], small_olmo2.load_world(CHECKPOINTS[seed])
    model.requires_grad_(False)
    layers = linear_layers(model, "*.mlp.gate_proj,*.mlp.up_proj")
    rows, draw = world_rows(world, pipeline.ROWS, seed).split(32), torch.Generator().manual_seed(seed)
    bases = decompose(collect_factors(model, rows, layers, generator=draw, progress=False))
    by_block = sweep.blocks(layers)
    one_basis = {number: bases[names[0]] for number, names in by_block.items()}  # gate and up read the same input

    quotes = split_windows(tasks.quote_windows(world, "report"))
    fresh = split_windows(tasks.fresh_text(f"detector controls {world.seed}", len(quotes)))
    sides = [inputs_of(model, {names[0]: layers[names[0]] for names in by_block.values()}, w) for w in (quotes, fresh)]
    sure = [relearning.true_tokens(model, windows)[1] for windows in (quotes, fresh)]

    found = {what: {} for what in ("flat energy", "equally sure", "length of the input", "random basis", "exact price")}
    for number, basis in one_basis.items():
        energy = lambda basis: [detector.flat_energy(side[number].flatten(0, 1), basis) for side in sides]
        per_window = lambda tokens: detector.auc(*(x.view(len(quotes), -1).mean(1) for x in tokens))
        flat = energy(basis)
        found["flat energy"][number] = per_window(flat)
        found["equally sure"][number] = detector.auc_within(*flat, *(x.flatten() for x in sure), BORDERS)
        found["length of the input"][number] = per_window([side[number].norm(dim=-1).flatten() for side in sides])
        strays = (energy(baselines.random_basis(basis, draw)) for _ in range(STRAY))
        found["random basis"][number] = [per_window(stray) for stray in strays]
    found["probability"] = detector.auc(*(x.mean(1) for x in sure))
    weights = edit_weights(layers, bases, MASS)
    exact = price.exact_prices(model, rows[0][:PRICED].split(8), layers, weights, by_block.values())
    found["exact price"] = dict(zip(by_block, exact, strict=True))
    return found


def run(out):
    """Three seeds, all at a time: less than a minute each on one core."""
    provenance = files.provenance(list(CHECKPOINTS))
    files.write_json(out, {"provenance": provenance, "seeds": each(measure)})
