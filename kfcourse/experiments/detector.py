"""Chapter 13 on three training seeds: a detector of recitation that has seen none.

How well it tells quotes from other text, block by block; what it takes for a quote and is none; what it sees after the
edit; and whether something that needs no label says which block to edit.
"""

import copy

import torch

from kfaclib.curvature.eigenbasis import decompose
from kfaclib.curvature.factors import collect_factors
from kfaclib.curvature.layers import linear_layers
from kfaclib.editing import matching
from kfaclib.editing.edit import edit_weights, edited, kept_share
from kfaclib.io import files
from kfaclib.lm import activations, detector, models, relearning, sweep
from kfaclib.lm.recitation import perplexity, split_windows, token_accuracy
from kfaclib.toy import pipeline, small_olmo2, tasks
from kfaclib.toy import world as w
from kfaclib.toy.rows import world_rows
from kfcourse.experiments.seeds import CHECKPOINTS, each
from kfcourse.experiments.sharpness import passages

FRESH, STREAM, ITEMS = 128, 128, 60  # passages never seen, rows of the training stream, items of a task
SURE = 64  # passages among whose tokens the certain ones are looked for
MASS, PRICE = 0.95, 1.02  # where label-free quantities are read off; what editing a block alone may do to perplexity
DIGITS = 4


def stream(world, count):
    """`count` windows of the training stream as it comes, quotes among them: [(prefix ids, suffix ids)] and bool
    [count], which are quotes.
    """
    rng, plan = w.random.Random(f"stream {world.seed}"), w.schedule(world, 3200 * 16)
    memorized = {tuple(q) for q in world.quotes}
    rows = [
        (w.row(world, kind, rng, passage)[0][: w.PREFIX + w.SUFFIX], kind == "quote" and tuple(passage) in memorized)
        for kind, passage in rng.sample(plan, count)
    ]
    return [(ids[: w.PREFIX], ids[w.PREFIX :]) for ids, _ in rows], torch.tensor([quote for _, quote in rows])


def token_scores(model, layers, bases, items, counts=None):
    """{block: [T]}: flat energy of every token from which a token of an answer is predicted; counts bool [N, S] picks
    some of them.
    """
    found, _ = activations.inputs(model, layers, items)
    pick = slice(None) if counts is None else counts.flatten()
    return {
        number: detector.flat_energy(found[names[0]], bases[names[0]])[pick]
        for number, names in sweep.blocks(layers).items()
    }


def without_labels(layers, bases, fresh, stream):
    """{what: {block: value}}: quantities that need no memorized text and nobody's word for what is memorized."""
    table = {
        "block number": {},
        "flat energy of fresh text": {},
        "spread in the stream": {},
        "weight removed": {},
        "predicted cost": {},
        "pairs kept": {},
    }
    for number, names in sweep.blocks(bases).items():
        cost, removed = (
            sum(x) / len(names) for x in zip(*(sweep.prediction(layers[n].weight, bases[n], MASS) for n in names))
        )
        values = (
            number,
            fresh[number].mean().item(),
            stream[number].std().item(),
            removed,
            cost,
            sum(kept_share(bases[n], MASS) for n in names) / len(names),
        )
        for what, value in zip(table, values, strict=True):
            table[what][number] = value
    return table


def with_labels(model, layers, bases, windows, text):
    """{block: token accuracy on `windows`} when its gate and up alone are edited until perplexity on `text` is PRICE
    times what it was.
    """
    base, left = perplexity(model, text), {}
    for number, names in sweep.blocks(bases).items():
        mine = {n: bases[n] for n in names}
        mass, price = matching.bring_to(
            -PRICE, lambda m: edit_weights(layers, mine, m), layers, lambda: -perplexity(model, text) / base
        )
        with edited(layers, edit_weights(layers, mine, mass)):
            left[number] = {"token_accuracy": token_accuracy(model, windows), "mass": mass, "price": -price}
    return left


def measure(seed):
    """All of one seed, as plain values."""
    model, world = models.load(CHECKPOINTS[seed], device="cpu")[0], small_olmo2.load_world(CHECKPOINTS[seed])
    layers = linear_layers(model, "*.mlp.gate_proj,*.mlp.up_proj")
    ups = {name: layer for name, layer in layers.items() if name.endswith("up_proj")}  # gate reads the same input
    rows = world_rows(world, pipeline.ROWS, seed).split(32)
    bases = decompose(
        collect_factors(model, rows, layers, generator=torch.Generator().manual_seed(seed), progress=False)
    )
    choosing, quotes = (split_windows(tasks.quote_windows(world, half)) for half in tasks.HALVES)
    fresh, other = (split_windows(tasks.fresh_text(f"detector {world.seed} {part}", FRESH)) for part in tasks.HALVES)
    by_block = lambda found: {number: found[names[0]] for number, names in sweep.blocks(ups).items()}
    score = lambda m, items: by_block(detector.scores(m, ups, bases, items))

    sure = {kind: (split_windows(ids), counts) for kind, (ids, counts) in passages(model, world, SURE).items()}
    seen, unseen, calm = score(model, quotes), score(model, fresh), score(model, other)
    surprise = lambda items: relearning.true_tokens(model, items)[1].mean(1)
    ladder = {n: split_windows(torch.tensor([[w.BOS] + w.encode(p) for p in some])) for n, some in world.ladder.items()}
    rungs = {n: score(model, items) for n, items in ladder.items()}
    flow, memorized = stream(world, STREAM)
    flowing = score(model, flow)
    tokens = {kind: token_scores(model, ups, bases, items, counts) for kind, (items, counts) in sure.items()}
    tokens |= {
        task: token_scores(model, ups, bases, items) for task, items in tasks.make_suite(world, "report", ITEMS).items()
    }

    mine = {n: bases[n] for n in linear_layers(model, pipeline.LAYERS)}
    mass, _ = matching.bring_to(
        pipeline.FORGOTTEN, lambda m: edit_weights(layers, mine, m), layers, lambda: token_accuracy(model, choosing)
    )
    with edited(layers, edit_weights(layers, mine, mass)):
        cut = copy.deepcopy(model)
    inside = linear_layers(cut, "*.mlp.up_proj")
    after = {
        group: by_block(detector.scores(cut, inside, bases, items))
        for group, items in (("quotes", quotes), ("fresh", fresh))
    }

    text = tasks.fresh_text(f"{world.seed} choose", documents=24)
    short = lambda values: [float(f"{v:.{DIGITS}g}") for v in values.tolist()]
    return {
        "scores": {"quotes": {b: short(s) for b, s in seen.items()}, "fresh": {b: short(s) for b, s in unseen.items()}},
        "auc": {b: detector.auc(seen[b], unseen[b]) for b in seen},
        "caught": {b: detector.caught(seen[b], calm[b]) for b in seen},
        "false alarms": {b: detector.caught(unseen[b], calm[b]) for b in seen},
        "auc of probability": detector.auc(surprise(quotes), surprise(fresh)),
        "ladder": {n: {b: detector.auc(s[b], unseen[b]) for b in s} for n, s in rungs.items()},
        "ladder, probability": {n: detector.auc(surprise(items), surprise(fresh)) for n, items in ladder.items()},
        "tokens": {
            kind: {
                "mean": {b: x.mean().item() for b, x in s.items()},
                "n": len(s[0]),
                "auc": {b: detector.auc(tokens["quotes"][b], x) for b, x in s.items()},
            }
            for kind, s in tokens.items()
        },
        "stream": {
            "quotes": int(memorized.sum()),
            "of": len(memorized),
            "auc": {b: detector.auc(s[memorized], s[~memorized]) for b, s in flowing.items()},
        },
        "after the edit": {"auc": {b: detector.auc(after["quotes"][b], after["fresh"][b]) for b in seen}, "mass": mass},
        "without labels": without_labels(layers, bases, unseen, flowing),
        "with labels": with_labels(model, layers, bases, choosing, text),
    }


def run(out):
    """Three seeds, all at a time: about two minutes each on one core."""
    files.write_json(out, {"provenance": files.provenance(list(CHECKPOINTS)), "seeds": each(measure)})
