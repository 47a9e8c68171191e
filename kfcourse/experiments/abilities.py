"""Chapters 10 and 11 on the three training seeds: each ability before and after the edit, which bands it uses and
needs, and chains of steps.
"""

import torch
from tqdm.auto import tqdm

from kfaclib.curvature.eigenbasis import decompose
from kfaclib.curvature.factors import collect_factors
from kfaclib.curvature.layers import linear_layers
from kfaclib.editing import matching
from kfaclib.editing.edit import edit_weights, edited, kept_share, project
from kfaclib.io import files
from kfaclib.lm import activations, models
from kfaclib.lm.recitation import greedy, perplexity, split_windows, token_accuracy
from kfaclib.toy import chains, pipeline, small_olmo2, tasks
from kfaclib.toy import world as w
from kfaclib.toy.rows import world_rows
from kfcourse.experiments.seeds import CHECKPOINTS

ITEMS, CHAINS, SHORT = (
    150,
    100,
    60,
)  # items of a task where there are so many, chains, items of a task when a band is taken out
SIGNIFICANT = 5  # digits of an activity that are recorded


def groups(world, count=ITEMS):
    """{name: [(prompt ids, answer ids)]} of the reporting half: "quotes", "fresh text" (never seen, scored alike) and
    every task.
    """
    return {
        "quotes": split_windows(tasks.quote_windows(world, "report")),
        "fresh text": split_windows(tasks.fresh_text(f"activity {world.seed}")),
        **tasks.make_suite(world, "report", count),
    }


def verdicts(model, items):
    """{group: bool [N]}, right in every token, for all groups that have answers."""
    return {name: tasks.right(model, rows) for name, rows in items.items() if name != "fresh text"}


def measured(model, layers, bases, pairs, items, batch=64):
    """({layer: {group: mean activity per band}}, {group: {layer: inputs}}, {group: item of each row}) before any
    edit.
    """
    table, kept, owners = {name: {} for name in layers}, {}, {}
    for group, rows in items.items():
        kept[group], owners[group] = activations.inputs(model, layers, rows, batch)
        for name in layers:
            table[name][group] = activations.activity(kept[group][name], bases[name], pairs[name]).mean(0)
    return table, kept, owners


def item_means(values, owner, count):
    """[count]: the mean of values [T] over each item's rows, owner [T]."""
    return torch.zeros(count, dtype=values.dtype).index_add(0, owner, values) / torch.bincount(owner, minlength=count)


def auc(values, positive):
    """The chance that a positive item has the larger value (ties count half); None if one side has fewer than five
    items.
    """
    high, low = values[positive], values[~positive]
    if min(len(high), len(low)) < 5:
        return None
    return ((high[:, None] > low).double() + 0.5 * (high[:, None] == low).double()).mean().item()


def columns(model, items):
    """Sums a + b, digit by digit: [{"carry": whether the ones carry, "form": three digits and a full stop, "ones",
    "tens", "hundreds": right}].
    """
    plus = [(p, a) for p, a in items if w.encode(["+"])[0] in p]
    said = greedy(model, [p for p, _ in plus], 4).tolist()
    digits, stop = set(w.encode(w.W["digit"])), w.encode(["."])[0]
    rows = []
    for (prompt, answer), words in zip(plus, said):
        ones = [w.W["digit"].index(w.VOCABULARY[prompt[k]]) for k in (-5, -2)]  # calc : a1 a0 + b1 b0 =
        rows.append(
            {
                "carry": sum(ones) > 9,
                "form": set(words[:3]) <= digits and words[3] == stop,
                **{place: words[k] == answer[k] for k, place in enumerate(("ones", "tens", "hundreds"))},
            }
        )
    return rows


def summary(rows):
    """Shares of true values of every key of `columns`' rows, all together and by carry."""
    share = lambda some: (
        {key: sum(r[key] for r in some) / len(some) for key in ("form", "ones", "tens", "hundreds")} | {"n": len(some)}
    )
    return {
        "all": share(rows),
        "carry": share([r for r in rows if r["carry"]]),
        "no carry": share([r for r in rows if not r["carry"]]),
    }


def measure(model, world, seed):
    """Everything about one model, as plain values. The mass is chosen on the choosing half, all else is from the
    reporting half.
    """
    layers, changed = linear_layers(model, "*.mlp.*"), linear_layers(model, pipeline.LAYERS)
    rows = world_rows(world, pipeline.ROWS, seed).split(32)
    bases = decompose(collect_factors(model, rows, layers, generator=torch.Generator().manual_seed(seed)))
    pairs = {name: activations.bands(basis) for name, basis in bases.items()}
    mine = {name: bases[name] for name in changed}
    choosing = split_windows(tasks.quote_windows(world, "choose"))
    mass, reached = matching.bring_to(
        pipeline.FORGOTTEN, lambda m: edit_weights(changed, mine, m), changed, lambda: token_accuracy(model, choosing)
    )
    weights = edit_weights(changed, mine, mass)

    items, problems = groups(world), chains.problems(seed, CHAINS)
    text = tasks.fresh_text(f"{world.seed} report", documents=48)
    before, chain, digits = verdicts(model, items), chains.solve(model, problems), columns(model, items["arithmetic"])
    base = perplexity(model, text)
    table, inputs, owners = measured(model, layers, bases, pairs, items)
    lost_share = {
        group: torch.stack(
            [activations.removed(inputs[group][n], changed[n].weight.detach(), weights[n]) for n in changed]
        ).mean(0)
        for group in items
    }
    with edited(changed, weights):
        after, chain_after, digits_after = (
            verdicts(model, items),
            chains.solve(model, problems),
            columns(model, items["arithmetic"]),
        )
        price = perplexity(model, text) / base
    within = {}
    for group, was in before.items():
        share = item_means(lost_share[group], owners[group], len(was))[was]
        within[group] = {
            "lost": int((~after[group][was]).sum()),
            "of": int(was.sum()),
            "auc": auc(share, ~after[group][was]),
        }
    without = {}
    for band, label in enumerate(activations.BANDS):
        with edited(changed, {n: project(changed[n].weight, bases[n], pairs[n] != band) for n in changed}):
            without[label] = {
                "perplexity": perplexity(model, text) / base,
                "right": {
                    g: int(v.sum()) for g, v in verdicts(model, {g: r[:SHORT] for g, r in items.items()}).items()
                },
            }
    short = lambda values: [float(f"{v:.{SIGNIFICANT}g}") for v in values.tolist()]
    return {
        "mass": mass,
        "token_accuracy": reached,
        "kept": sum(kept_share(b, mass) for b in mine.values()) / len(mine),
        "perplexity": price,
        "tasks": {
            g: {"n": len(v), "before": int(v.sum()), "after": int(after[g].sum()), "both": int((v & after[g]).sum())}
            for g, v in before.items()
        },
        "activity": {name: {g: short(v) for g, v in row.items()} for name, row in table.items()},
        "removed": {g: round(v.mean().item(), 4) for g, v in lost_share.items()},
        "within": within,
        "without": {
            "before": {g: int(v[:SHORT].sum()) for g, v in before.items()},
            "n": {g: len(v[:SHORT]) for g, v in before.items()},
            **without,
        },
        "chains": {"n": len(problems), "before": chains.rates(chain), "after": chains.rates(chain_after)},
        "digits": {"before": summary(digits), "after": summary(digits_after)},
    }


def run(out):
    """Measure the shipped models of three training seeds: about two minutes each on one core."""
    results = {}
    for seed, folder in tqdm(CHECKPOINTS.items(), desc="seeds"):
        model, _ = models.load(folder)
        results[seed] = measure(model, small_olmo2.load_world(folder), seed)
    files.write_json(out, {"provenance": files.provenance(list(CHECKPOINTS)), "seeds": results})
