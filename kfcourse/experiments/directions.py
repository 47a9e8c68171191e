"""The controls of chapters 10 and 11 on the three training seeds.

For chapter 10: how strongly texts drive each band that nobody learned by heart but that are as certain as the quotes,
and bands filled with random pairs, looked at and taken out. For chapter 11: chains of steps under the edit and its
controls at equal forgetting. The curvature is a smaller sample than that of `abilities`, and another one.
"""

import torch

from kfaclib.curvature.layers import linear_layers
from kfaclib.editing import baselines
from kfaclib.editing.edit import edited, project
from kfaclib.io import files
from kfaclib.lm import activations, models
from kfaclib.lm.recitation import hits, perplexity, split_windows, token_accuracy
from kfaclib.toy import chains, pipeline, small_olmo2, tasks
from kfaclib.toy.rows import world_rows
from kfcourse.experiments import evidence, sharpness
from kfcourse.experiments.abilities import columns, groups, summary
from kfcourse.experiments.seeds import CHECKPOINTS, each

ROWS = 128  # rows of the mixture that curvature is collected on, of the sample 10 + seed
DRIVEN = "*.mlp.up_proj"  # whose inputs are looked at; gate reads the same
CERTAIN = ("sure by grammar", "sure by copying")  # the texts of chapter 06 that are as certain as the quotes
PASSAGES, ITEMS, CHAINS, DOCUMENTS = 32, 24, 24, 16  # passages of a kind, items of a task, chains, stories


def certain_inputs(model, layers, world, count=PASSAGES):
    """{layer: {text: inputs [T, I]}} of texts that nobody learned by heart.

    "more fresh text": other stories that the model has not seen, which should give what "fresh text" gives.
    "sure by grammar" and "sure by copying": the tokens of which the model is as sure as of its quotes, of the same
    stories and of names said again.
    """
    kinds = sharpness.passages(model, world, count)
    fresh, every = kinds["fresh text"]
    found = {name: {} for name in layers}
    for kind, (ids, counts) in {"more fresh text": (fresh, every), **{k: kinds[k] for k in CERTAIN}}.items():
        seen, _ = activations.inputs(model, layers, split_windows(ids))
        for name in layers:
            found[name][kind] = seen[name][counts.flatten()]
    return found


def driven(model, layers, bases, world, seed):
    """{"bands", "random bands": {layer: {text: mean activity per band}}} of memorized and fresh text and of the
    controls; random bands are as large, and filled with random pairs."""
    generator, items = torch.Generator().manual_seed(seed), groups(world, 0)
    found = {"bands": {}, "random bands": {}}
    texts = certain_inputs(model, layers, world)
    for kind in ("quotes", "fresh text"):
        seen, _ = activations.inputs(model, layers, items[kind])
        for name in layers:
            texts[name][kind] = seen[name]
    for name, basis in bases.items():
        pairs = activations.bands(basis)
        for which, filled in (("bands", pairs), ("random bands", activations.shuffled(pairs, generator))):
            found[which][name] = {
                kind: activations.activity(x, basis, filled).mean(0).tolist() for kind, x in texts[name].items()
            }
    return found


def answered(model, items, text):
    """{"perplexity" of fresh text, "right" {group: share of items}, "words" {group: share of words}}."""
    found = {group: hits(model, rows) for group, rows in items.items() if group != "fresh text"}
    return {
        "perplexity": perplexity(model, text),
        "right": {group: sum(bool(row.all()) for row in rows) / len(rows) for group, rows in found.items()},
        "words": {group: torch.cat(rows).double().mean().item() for group, rows in found.items()},
    }


def taken_out(model, layers, bases, items, text, seed):
    """{"before", band, "random " + band: `answered`}: each band goes once, and once as many random pairs."""
    generator, found = torch.Generator().manual_seed(seed), {"before": answered(model, items, text)}
    pairs = {name: activations.bands(bases[name]) for name in layers}
    mixed = {name: activations.shuffled(pairs[name], generator) for name in layers}
    for band, label in enumerate(activations.BANDS):
        for name, where in ((label, pairs), (f"random {label}", mixed)):
            weights = {n: project(layer.weight, bases[n], where[n] != band) for n, layer in layers.items()}
            with edited(layers, weights):
                found[name] = answered(model, items, text)
    return found


def steps_under(model, layers, bases, items, choosing, seed):
    """{"before", method, "zeroed": {"reached", "chains": rates of the steps, "digits": `summary`}}: the edit of the
    layers and two controls at equal forgetting."""
    problems = chains.problems(seed, CHAINS)

    def measure():
        return {"chains": chains.rates(chains.solve(model, problems)), "digits": summary(columns(model, items))}

    score = lambda: token_accuracy(model, choosing)
    found = {"before": {"reached": score(), **measure()}}
    methods = pipeline.methods(pipeline.Curvature(layers, bases, {}), seed)
    for method in evidence.DRAWN:
        _, reached, row = pipeline.brought_to(pipeline.FORGOTTEN, method, methods[method], layers, score, measure)
        found[method] = {"reached": reached, **row}
    with edited(layers, baselines.zeroed(layers)):
        found["zeroed"] = {"reached": score(), **measure()}
    return found


def measure(model, world, seed):
    """Everything about one model, as plain values, from the reporting half; strengths are chosen on the other."""
    looked_at, changed = linear_layers(model, DRIVEN), linear_layers(model, pipeline.LAYERS)
    rows = world_rows(world, ROWS, 10 + seed)
    bases = evidence.curvature_of(model, {**looked_at, **changed}, rows, 10 + seed)
    of = lambda layers: {name: bases[name] for name in layers}
    items = groups(world)
    short = {group: rows[:ITEMS] for group, rows in items.items()}
    text = tasks.fresh_text(f"{world.seed} report", documents=DOCUMENTS)
    choosing = split_windows(tasks.quote_windows(world, "choose"))
    return evidence.rounded(
        {
            "driven": driven(model, looked_at, of(looked_at), world, seed),
            "without": taken_out(model, changed, of(changed), short, text, seed),
            "steps": steps_under(model, changed, of(changed), items["arithmetic"], choosing, seed),
        }
    )


def measure_seed(seed):
    """`measure` of the shipped model of one seed."""
    model = models.load(CHECKPOINTS[seed], device="cpu")[0].requires_grad_(False)
    return measure(model, small_olmo2.load_world(CHECKPOINTS[seed]), seed)


def run(out):
    """Three seeds, a process of one thread each: two minutes of a core each."""
    provenance = files.provenance(list(CHECKPOINTS))  # of the code that measures, whatever happens to it meanwhile
    files.write_json(out, {"provenance": provenance, "seeds": each(measure_seed)})
