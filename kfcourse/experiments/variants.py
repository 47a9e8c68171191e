"""Chapters 12 and 13: what changes if pairs are ranked in another way, or on other text? Every variant brought to the
same forgetting, on three seeds.

A row says in "chosen_at" how near it came.

And what the edit by K-FAC leaves of the quotes in ranks and probabilities, beside a model that has never seen them.
"""

import torch

from kfaclib.curvature.eigenbasis import collect_eigenvalues, decompose
from kfaclib.curvature.factors import collect_factors
from kfaclib.curvature.layers import linear_layers
from kfaclib.editing import matching, rankings
from kfaclib.editing.edit import edit_weights, edited, keep_mask
from kfaclib.io import files
from kfaclib.lm import models, relearning
from kfaclib.lm.recitation import split_windows, token_accuracy
from kfaclib.toy import pipeline, small_olmo2, tasks
from kfaclib.toy import world as w
from kfaclib.toy.rows import world_rows
from kfcourse.experiments.seeds import CHECKPOINTS, each, stranger_of

ALPHAS = (0.25, 0.5, 1.0)  # share of arithmetic in mixed factors; ordinary text has about a tenth of its own
DOMAIN_ROWS = 192  # rows of arithmetic, and of quotes
ITEMS = 100  # of a task
KS, SAMPLES = (1, 5, 10), (1, 100, 10_000)  # ranks and numbers of samples that are looked at
DIGITS = 5  # significant digits that are recorded


def arithmetic_rows(world, count, seed):
    """[count, ROW] token ids of sums and differences of the training kind (none that is held out), end to end."""
    rng, rows = w.random.Random(f"arithmetic {world.seed} {seed}"), []
    for _ in range(count):
        ids = [w.BOS]
        while len(ids) < w.ROW:
            prompt, answer = w.items(world, "arithmetic", rng)[0]
            ids += w.encode([*prompt, *answer, "."])
        rows.append(ids[: w.ROW])
    return torch.tensor(rows)


def quote_rows(world, count, seed):
    """[count, ROW] token ids of training rows with the repeated passages, of both halves, as training shows them."""
    rng = w.random.Random(f"quote rows {world.seed} {seed}")
    return torch.tensor([w.row(world, "quote", rng, rng.choice(world.quotes))[0] for _ in range(count)])


def quote_share(world):
    """The share of a training run's rows that are its quotes."""
    plan = w.schedule(world, 3200 * 16)
    return sum(kind == "quote" for kind, _ in plan) / len(plan)


def variants(model, world, layers, seed):
    """{name: mass -> (edited weights, share of pairs kept)}; all collections use the labels that the model samples."""
    collect = lambda rows, number: collect_factors(
        model, rows.split(32), layers, generator=torch.Generator().manual_seed(number), progress=False
    )
    ordinary_rows = world_rows(world, pipeline.ROWS, seed)
    ordinary = collect(ordinary_rows, seed)
    bases = decompose(ordinary)
    corrected = collect_eigenvalues(
        model,
        ordinary_rows.split(32),
        layers,
        bases,
        unit="token",
        generator=torch.Generator().manual_seed(seed + 1),
        progress=False,
    )
    ranked = {
        kind: (bases, {n: rankings.scores(kind, layers[n].weight, b) for n, b in bases.items()})
        for kind in rankings.KINDS
    }
    ranked["EK-FAC"] = bases, corrected
    sums, quotes = (
        collect(arithmetic_rows(world, DOMAIN_ROWS, seed), seed + 2),
        collect(quote_rows(world, DOMAIN_ROWS, seed), seed + 3),
    )
    for label, domain, alpha in [
        *((f"{a:.0%} arithmetic", sums, a) for a in ALPHAS),
        ("quotes in the sample", quotes, quote_share(world)),
    ]:
        other = decompose(rankings.mixed(ordinary, domain, alpha))
        ranked[label] = other, {n: rankings.scores("K-FAC", layers[n].weight, b) for n, b in other.items()}

    def at(bases, scores):
        kept = lambda mass: sum(keep_mask(s, mass).double().mean().item() for s in scores.values()) / len(scores)
        return lambda mass: edit_weights(layers, bases, mass, scores), kept

    return {name: at(*what) for name, what in ranked.items()}


def remains(model, windows):
    """What is left of the true suffixes in ranks and probabilities: shares within the top k, mean log-probability,
    chances of sampling.
    """
    rank, log_p = relearning.true_tokens(model, windows)
    return {
        "log_p": log_p.mean().item(),
        "rank": rank.double().log().mean().exp().item(),
        "tokens": {k: relearning.within(rank, k)[0] for k in KS},
        "windows": {k: relearning.within(rank, k)[1] for k in KS},
        "sampled": {n: relearning.chance(log_p, n).mean().item() for n in SAMPLES},
        "suffix_log_p": [float(f"{x:.{DIGITS}g}") for x in log_p.sum(1).tolist()],
    }


def measure(model, stranger, world, seed):
    """One model, as plain values; `stranger` is one that was never trained on its quotes. Strengths are chosen on the
    choosing half.
    """
    layers, exam = linear_layers(model, pipeline.LAYERS), pipeline.make_exam(model, world, "report", ITEMS)
    choosing, fresh = (
        split_windows(tasks.quote_windows(world, "choose")),
        split_windows(tasks.fresh_text(f"remains {world.seed}")),
    )
    rows, left = [{"variant": "before", **pipeline.take(model, exam)}], {}
    left["before"], left["never trained"] = remains(model, exam.windows), remains(stranger, exam.windows)
    left["before, fresh text"] = remains(model, fresh)
    for name, (edit, kept) in variants(model, world, layers, seed).items():
        mass, reached = matching.bring_to(pipeline.FORGOTTEN, edit, layers, lambda: token_accuracy(model, choosing))
        with edited(layers, edit(mass)):
            rows.append(
                {"variant": name, "mass": mass, "kept": kept(mass), "chosen_at": reached, **pipeline.take(model, exam)}
            )
            if name == "K-FAC":
                left["edited"], left["edited, fresh text"] = remains(model, exam.windows), remains(model, fresh)
    return {"rows": rows, "remains": left}


def run_seed(seed):
    """`measure` of the shipped model of one seed."""
    model, stranger = (models.load(CHECKPOINTS[s], device="cpu")[0] for s in (seed, stranger_of(seed)))
    return measure(model, stranger, small_olmo2.load_world(CHECKPOINTS[seed]), seed)


def run(out):
    """Three seeds, all at a time: about four minutes each on one core."""
    files.write_json(out, {"provenance": files.provenance(list(CHECKPOINTS)), "seeds": each(run_seed)})
