"""Chapter 11's evidence: every edit and every control at the same forgetting, on three training seeds and two samples
of the curvature, where the edited matrices carry a part of the abilities and where they carry all of them.

Three settings: the paper's choice (gate and up of the upper half), and all projections of all blocks, at a little and
at much forgetting. Beside them, K-FAC's edit by the curvature of other text, and prices that are predicted before an
edit and measured after it.
"""

import torch
import torch.nn.functional as F

from kfaclib.curvature import price
from kfaclib.curvature.capture import measured
from kfaclib.curvature.eigenbasis import decompose
from kfaclib.curvature.factors import collect_factors
from kfaclib.curvature.layers import linear_layers
from kfaclib.editing import uphill
from kfaclib.editing.edit import edit_weights, edited
from kfaclib.io import files, report
from kfaclib.lm import models, sweep
from kfaclib.lm.recitation import nll, split_windows
from kfaclib.toy import pipeline, small_olmo2, tasks
from kfaclib.toy import world as w
from kfaclib.toy.rows import world_rows
from kfcourse.experiments.seeds import CHECKPOINTS, each

MUCH = "everywhere, much"  # the setting in which the corpora are compared
SETTINGS = {
    "upper": (pipeline.LAYERS, pipeline.FORGOTTEN),
    "everywhere": (pipeline.EVERYWHERE, pipeline.FORGOTTEN),
    MUCH: (pipeline.EVERYWHERE, 0.7),
}
# of the curvature: other rows and sampled labels, other random bases and noise. After the first, only the methods that
# draw one are measured again
SAMPLES = (0, 1)
DRAWN = ("K-FAC", "random basis", "noise")
ITEMS = 100  # of a task
MASSES = {"upper": (0.9999, 0.999, 0.99, 0.95), "everywhere": (0.99999, 0.9999, 0.999, 0.99)}
PRICED = 16  # rows of each kind of text for a price
DIGITS = 5  # significant digits that are recorded


def curvature_of(model, layers, rows, sample):
    """Bases of the layers on rows [N, S], for labels sampled with the seed `sample`."""
    generator = torch.Generator().manual_seed(sample)
    return decompose(collect_factors(model, rows.split(32), layers, generator=generator, progress=False))


def edits(model, c, choosing, sample):
    """{method: function of a strength}: the pipeline's, the flattest block, and a step uphill on the quotes for
    choosing, whose full length at strength 0 is the norm of all the weights."""
    found = pipeline.methods(c, sample)
    del found["EK-FAC"]  # a second pass over the sample, and the same picture: see `kfac reproduce`
    found["flattest block"] = pipeline.flattest_block(c)
    gradients = uphill.gradient(model, c.layers, choosing)
    unit = uphill.uphill_step(c.layers, c.bases, gradients, 1.0)
    norm = lambda weights: sum(x.square().sum() for x in weights).sqrt()
    present = [layer.weight.detach() for layer in c.layers.values()]
    whole = norm(present) / norm([unit[name] - W for name, W in zip(c.layers, present)])
    found["uphill"] = lambda strength: {
        name: W + whole * (1 - strength) * (unit[name] - W) for name, W in zip(c.layers, present)
    }
    return found


@measured
def kl_from(model, ids, before):
    """The mean KL divergence in nats a token from the logits `before` [N, S, V] to the model's on ids [N, S]."""
    after = model(input_ids=ids, use_cache=False).logits
    was, now = (F.log_softmax(z[:, :-1].double(), -1) for z in (before, after))
    return (was.exp() * (was - now)).sum(-1).mean().item()


def unedited(model, kinds):
    """{kind: (logits, loss)} of the model as it is, on each kind of text."""
    with torch.no_grad():
        return {
            kind: (model(input_ids=ids, use_cache=False).logits, nll(model, ids).mean().item())
            for kind, ids in kinds.items()
        }


def moved(model, kinds, before):
    """{"kl": {kind}, "loss": {kind}}: how far the model's predictions are from `before`, from `unedited`, and how much
    the loss has risen, in nats a token."""
    return {
        "kl": {kind: kl_from(model, ids, before[kind][0]) for kind, ids in kinds.items()},
        "loss": {kind: nll(model, ids).mean().item() - before[kind][1] for kind, ids in kinds.items()},
    }


def prices(model, layers, bases, masses, kinds):
    """Rows {"mass", "kfac", "exact" {kind}, "kl" {kind}, "loss" {kind}} in nats a token: K-FAC's prediction of the
    price of an edit, the Fisher's exact quadratic form over all layers, and what is measured, on each kind of text."""
    kinds = {kind: ids[:PRICED] for kind, ids in kinds.items()}
    before, rows = unedited(model, kinds), []
    for mass in masses:
        weights = edit_weights(layers, bases, mass)
        row = {
            "mass": mass,
            "kfac": sum(sweep.prediction(layers[n].weight, b, mass)[0] for n, b in bases.items()),
            "exact": {kind: price.exact_price(model, [ids], layers, weights) for kind, ids in kinds.items()},
        }
        with edited(layers, weights):
            rows.append({**row, **moved(model, kinds, before)})
    return rows


@measured
def own_rows(model, count, seed):
    """Rows [count, ROW] that the model writes itself, word by word, from <s> on."""
    generator = torch.Generator().manual_seed(seed)
    ids, cache = torch.full((count, 1), w.BOS), None
    while ids.shape[1] < w.ROW:
        step = model(input_ids=ids[:, -1:], past_key_values=cache, use_cache=True)
        cache = step.past_key_values
        drawn = torch.multinomial(step.logits[:, -1].softmax(-1), 1, generator=generator)
        ids = torch.cat([ids, drawn], 1)
    return ids


def corpora(model, world, sample):
    """{what the curvature is collected on: rows [ROWS, S]}."""
    return {
        "stories": world_rows(world, pipeline.ROWS, sample, ("text",)),
        "tasks": world_rows(world, pipeline.ROWS, sample, ("task",)),
        "another hand": tasks.strange_text(f"corpus {world.seed} {sample}", pipeline.ROWS),
        "its own samples": own_rows(model, pipeline.ROWS, sample),
    }


def rounded(found):
    """The same with DIGITS significant digits."""
    if isinstance(found, dict):
        return {key: rounded(value) for key, value in found.items()}
    if isinstance(found, list):
        return [rounded(value) for value in found]
    return float(f"{found:.{DIGITS}g}") if isinstance(found, float) else found


def measure(model, world, settings=SETTINGS, samples=SAMPLES):
    """Everything about one model, as plain values."""
    everywhere = linear_layers(model, pipeline.EVERYWHERE)
    exam = pipeline.make_exam(model, world, "report", ITEMS)
    choosing = split_windows(tasks.quote_windows(world, "choose"))
    found = {"baseline": pipeline.take(model, exam), "settings": {name: [] for name in settings}}
    for sample in samples:
        bases = curvature_of(model, everywhere, world_rows(world, pipeline.ROWS, sample), sample)
        for name, (patterns, target) in settings.items():
            layers = linear_layers(model, patterns)
            c = pipeline.Curvature(layers, {n: bases[n] for n in layers}, {})
            if sample == samples[0]:
                compared = edits(model, c, choosing, sample)
            else:
                compared = {m: edit for m, edit in pipeline.methods(c, sample).items() if m in DRAWN}
            rows, strengths = pipeline.at_equal_forgetting(model, compared, layers, choosing, exam, target)
            rows.append(pipeline.zeroed(model, layers, exam))
            found["settings"][name].append({"sample": sample, "rows": rows, "strength": strengths})
            if sample == samples[0] and name in MASSES:
                found.setdefault("price", {})[name] = prices(model, layers, c.bases, MASSES[name], exam.kinds)
    found["corpora"] = {}
    target = settings[MUCH][1]
    for kind, rows in corpora(model, world, samples[0]).items():
        bases = curvature_of(model, everywhere, rows, samples[0])
        edit = {"K-FAC": lambda mass: edit_weights(everywhere, bases, mass)}
        (found["corpora"][kind],), _ = pipeline.at_equal_forgetting(model, edit, everywhere, choosing, exam, target)
    return rounded(found)


# reading the record: runs = the record's "seeds"


def of_method(runs, setting, method):
    """[(row, baseline of its model)] of a method: one for each training seed and sample of the curvature."""
    return [
        (row, run["baseline"])
        for run in runs.values()
        for sample in run["settings"][setting]
        for row in sample["rows"]
        if row["method"] == method
    ]


def kept(runs, setting, method):
    """{task: [accuracy after / before of each run]}."""
    found = [report.relative(row, base) for row, base in of_method(runs, setting, method)]
    return {task: [ratios[task] for ratios in found] for task in report.TASKS}


def prices_of(runs, setting, method):
    """{kind of text: [perplexity over before of each run]}, and "unseen": the words of the reporting half's quotes that
    are still right."""
    rows = [row for row, _ in of_method(runs, setting, method)]
    return {
        **{kind: [row["text"][kind] for row in rows] for kind in ("like_the_corpus", "other")},
        "unseen": [row["token_accuracy"] for row in rows],
    }


def in_a_row(runs, setting, method, texts):
    """{text: {k: [how often k words in a row are right in each run]}}."""
    rows = [row["right_in_a_row"] for row, _ in of_method(runs, setting, method)]
    return {text: {k: [row[text][k] for row in rows] for k in rows[0][text]} for text in texts}


def by_corpus(runs):
    """{what the curvature was collected on: [(K-FAC's row, baseline) of each seed]}, all projections edited."""
    found = {"mixture": [(run["settings"][MUCH][0]["rows"][0], run["baseline"]) for run in runs.values()]}
    for corpus in next(iter(runs.values()))["corpora"]:
        found[corpus] = [(run["corpora"][corpus], run["baseline"]) for run in runs.values()]
    return found


def measure_seed(seed):
    """`measure` of the shipped model of one seed."""
    model = models.load(CHECKPOINTS[seed], device="cpu")[0].requires_grad_(False)
    return measure(model, small_olmo2.load_world(CHECKPOINTS[seed]))


def run(out):
    """Three seeds, a process of one thread each: about half an hour of a core each."""
    provenance = files.provenance(list(CHECKPOINTS))  # of the code that measures, whatever happens to it meanwhile
    files.write_json(out, {"provenance": provenance, "seeds": each(measure_seed)})
