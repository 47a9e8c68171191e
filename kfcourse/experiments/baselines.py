"""Chapter 12 on the three training seeds: what seven ways to forget do to quotes that were used to find them, and to
quotes that were not.

The *seen* quotes are the choosing half: BalancedSubnet and gradient ascent are trained on them, and every method's
strength is chosen on them. The *unseen* quotes are the reporting half; they enter no choice. Settings of the two
trained methods are chosen once, on the choosing half of the first model, cut in two.
"""

import time

import torch
from tqdm.auto import tqdm

from kfaclib.curvature.eigenbasis import collect_eigenvalues, decompose
from kfaclib.curvature.factors import collect_factors
from kfaclib.curvature.layers import linear_layers
from kfaclib.editing import matching, subnet
from kfaclib.editing.edit import edited
from kfaclib.io import files
from kfaclib.lm import models
from kfaclib.lm.recitation import perplexity, recitation, split_windows, token_accuracy
from kfaclib.toy import pipeline, small_olmo2, tasks
from kfaclib.toy.rows import world_rows
from kfcourse.experiments.seeds import CHECKPOINTS, each

ITEMS, DOCUMENTS = 50, 32  # items of a task, documents of fresh text
PERPLEXITY = 1.02  # the price, over the unedited model's, at which methods are compared a second time
EPOCHS = {
    "BalancedSubnet": 8,
    "gradient ascent": 10,
}  # more than forgetting takes; what the last one has done is compared, too
FEW = 8  # labelled quotes of the second comparison
GRID = {
    "BalancedSubnet": [
        dict(ratio=r, weight=w, lr=l)
        for r, w, l in ((0.05, 0.7, 300), (0.1, 0.7, 100), (0.1, 0.7, 300), (0.1, 0.5, 300), (0.2, 0.7, 100))
    ],
    "gradient ascent": [dict(weight=w, lr=l) for w, l in ((0.5, 1e-3), (0.8, 1e-3), (0.5, 3e-3))],
}


def train(method, model, layers, quotes, clean, settings, epochs, target=pipeline.FORGOTTEN):
    """Train `method` on quotes [N, 112] and clean rows [M, 128]: (edit early, edit late, seconds early, seconds late).

    An edit is a function from a strength in (0, 1] to {name: weight}; a larger strength changes less. The early one is
    of the first epoch whose token accuracy on these quotes is at most `target`, the late one of the last epoch. Seconds
    are CPU seconds.
    """
    if method == "BalancedSubnet":
        run, weights_at = subnet.balanced_subnet, lambda found, strength: subnet.masked(layers, found, 1 - strength)
        full = 1 - settings["ratio"]
    else:
        run, weights_at, full = (
            subnet.gradient_ascent,
            lambda found, strength: subnet.part_way(layers, found, 1 - strength),
            0.0,
        )
    windows, early, started = split_windows(quotes), None, time.process_time()
    for found in run(model, layers, quotes, clean, epochs=epochs, **settings):
        if early is None:
            with edited(layers, weights_at(found, full)):
                if token_accuracy(model, windows) <= target:
                    early = found, time.process_time() - started
    late = found, time.process_time() - started
    (first, seconds_early), (last, seconds_late) = early or late, late
    return (
        (lambda strength: weights_at(first, strength)),
        (lambda strength: weights_at(last, strength)),
        seconds_early,
        seconds_late,
    )


def quotes_row(model, windows):
    """{"strict", "loose", "levenshtein", "token_accuracy"} of windows."""
    found = recitation(model, windows).as_dict()
    return {key: found[key] for key in ("strict", "loose", "levenshtein", "token_accuracy")}


def search(model, world):
    """Settings of the trained methods, from the choosing half alone: (what was tried, {method: settings}).

    Each is trained on one half of these quotes and brought to pipeline.FORGOTTEN there; the best is the one under which
    the other half of them is most forgotten, among those whose perplexity rises by no more than PERPLEXITY.
    """
    layers, rows, chosen = linear_layers(model, pipeline.LAYERS), [], {}
    quotes, text = tasks.quote_windows(world, "choose"), tasks.fresh_text(f"{world.seed} choose", DOCUMENTS)
    mine, others = quotes[::2], split_windows(quotes[1::2])
    clean, base = world_rows(world, pipeline.ROWS, 0), perplexity(model, text)
    for method, tried in GRID.items():
        for settings in tqdm(tried, desc=f"settings of {method}"):
            edit, _, _, _ = train(method, model, layers, mine, clean, settings, EPOCHS[method])
            strength, reached = matching.bring_to(
                pipeline.FORGOTTEN, edit, layers, lambda: token_accuracy(model, split_windows(mine))
            )
            with edited(layers, edit(strength)):
                rows.append(
                    {
                        "method": method,
                        "settings": settings,
                        "trained_on": reached,
                        "held_out": token_accuracy(model, others),
                        "perplexity": perplexity(model, text) / base,
                    }
                )
        fair = [
            r
            for r in rows
            if r["method"] == method and r["trained_on"] < 1.01 * pipeline.FORGOTTEN and r["perplexity"] < PERPLEXITY
        ]
        chosen[method] = min(fair or [r for r in rows if r["method"] == method], key=lambda r: r["held_out"])[
            "settings"
        ]
    return rows, chosen


def measure(model, world, seed, settings):
    """Everything about one model, as plain values."""
    layers = linear_layers(model, pipeline.LAYERS)
    rows, cost, started = world_rows(world, pipeline.ROWS, seed), {}, time.process_time()
    fixed = lambda k: torch.Generator().manual_seed(seed + k)
    bases = decompose(collect_factors(model, rows.split(32), layers, generator=fixed(0)))
    cost["K-FAC"] = time.process_time() - started
    c = pipeline.Curvature(
        layers, bases, collect_eigenvalues(model, rows.split(32), layers, bases, unit="token", generator=fixed(1))
    )
    cost["EK-FAC"] = time.process_time() - started

    seen_ids = tasks.quote_windows(world, "choose")
    seen, unseen = split_windows(seen_ids), split_windows(tasks.quote_windows(world, "report"))
    text = {half: tasks.fresh_text(f"{world.seed} {half}", DOCUMENTS) for half in tasks.HALVES}
    base = {half: perplexity(model, ids) for half, ids in text.items()}
    suite = tasks.make_suite(world, "report", ITEMS)
    few = seen[:FEW]

    def exam():
        return {
            "seen": quotes_row(model, seen),
            "unseen": quotes_row(model, unseen),
            "perplexity": perplexity(model, text["report"]) / base["report"],
            "tasks": tasks.accuracy(model, suite),
        }

    def brought(method, edit, target, score):
        strength, reached, row = pipeline.brought_to(target, method, edit, layers, score, exam)
        return {"strength": strength, "reached": reached, **row}

    accuracy = lambda windows: lambda: token_accuracy(model, windows)
    cheapness = lambda: base["choose"] / perplexity(model, text["choose"])
    edits = pipeline.methods(c, seed)
    late, on_few = {}, {"K-FAC": edits["K-FAC"]}
    for method in settings:
        edits[method], late[method], cost[method], _ = train(
            method, model, layers, seen_ids, rows, settings[method], EPOCHS[method]
        )
        on_few[method] = train(method, model, layers, seen_ids[:FEW], rows, settings[method], 4 * EPOCHS[method])[0]

    forgetting = {
        method: brought(method, edit, pipeline.FORGOTTEN, accuracy(seen))
        for method, edit in tqdm(edits.items(), desc="at equal forgetting")
    }
    price = {
        method: brought(method, {**edits, **late}[method], 1 / PERPLEXITY, cheapness)
        for method in tqdm(("K-FAC", "SVD", *settings), desc="at equal perplexity")
    }
    few_labels = {method: brought(method, edit, pipeline.FORGOTTEN, accuracy(few)) for method, edit in on_few.items()}

    return {
        "baseline": exam(),
        "equal_forgetting": forgetting,
        "equal_perplexity": price,
        "few_labels": few_labels,
        "cpu_seconds": cost,
        "labelled": {
            "directions": {m: len(seen) if m in settings else 0 for m in edits},
            "strength": len(seen),
            "few": FEW,
        },
    }


def opened(seed):
    """(model, world) of a training seed, whose weights want no gradient: they are never trained in place."""
    return models.load(CHECKPOINTS[seed])[0].requires_grad_(False), small_olmo2.load_world(CHECKPOINTS[seed])


def measure_seed(seed, settings):
    return measure(*opened(seed), seed, settings)


def run(out):
    """Choose settings on seed 0, then measure three seeds, a process for each: about twenty minutes of one core."""
    tried, settings = search(*opened(0))
    files.write_json(
        out,
        {
            "provenance": files.provenance(list(CHECKPOINTS)),
            "search": tried,
            "settings": settings,
            "seeds": each(measure_seed, settings),
        },
    )
