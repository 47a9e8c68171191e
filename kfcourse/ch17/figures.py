"""Figures and tables of chapter 17, OLMo-2-1B."""

import matplotlib.pyplot as plt
from scipy.stats import spearmanr

from kfaclib.collecting import planning
from kfaclib.io import report
from kfaclib.lm import sweep as sweeping
from kfcourse.show import tables
from kfcourse.show.plots import COLORS, described
from kfcourse.show.shares import pooled

LOOKS = ("o", "s", "^")  # a marker for each training seed
CARDS = {"a card of 16 GiB": 16, "a card of 24 GiB": 24}


def plans(made, tokens, rates):
    """Show a table of plans {GiB for the sums: Plan}: passes, and the time for `tokens` at each of `rates` {who:
    FLOP/s}."""
    rows = []
    for gib, plan in made.items():
        times = [planning.duration(planning.seconds(plan, tokens, rate)) for rate in rates.values()]
        rows.append([f"{gib} GiB", len(plan.passes), f"{plan.at_a_time / 2**30:.1f} GiB", *times])
    tables.table(["room for sums", "passes", "at a time", *rates], rows)


def memory(sizes):
    """Bars of what has to be in memory, beside two graphics cards. sizes: {what: bytes}."""
    fig, ax = plt.subplots(figsize=(9, 2.6))
    values = [size / 2**30 for size in sizes.values()]
    bars = ax.barh(list(sizes), values, color=[COLORS["blue"], COLORS["red"]])
    ax.bar_label(bars, [f"{value:.1f} GiB" for value in values], padding=6)
    for name, gib in CARDS.items():
        ax.axvline(gib, color=COLORS["grey"], ls="--", lw=1.6)
        ax.text(gib - 0.2, -0.45, name, color=COLORS["grey"], ha="right", va="center", fontsize=12)
    ax.invert_yaxis()
    ax.set(xlabel="GiB", xlim=(0, 25), ylim=(len(sizes) - 0.4, -0.7))
    ax.grid(axis="y", visible=False)
    return described(
        fig,
        "Two bars: the weights of OLMo-2-1B in bfloat16, and the factors of its gate and up projections in float32, "
        "which are about three times as long and still fit beside the weights on a card of 16 GiB.",
    )


def candidates(rows):
    """Show a table of candidates, the unedited model first. rows: as `sweep.with_labels` returns them."""
    keys = ("removed", "strict", "token_accuracy", "perplexity")
    lines = []
    for row in rows:
        blocks = "none" if row["blocks"] is None else "{} to {}".format(*row["blocks"])
        lines.append([blocks, f"{row['cost']:.1e}", *(f"{row[key]:.3f}" for key in keys)])
    tables.table(["blocks", "predicted cost", *keys], lines)


def _points(table):
    """(predicted cost, perplexity / before, strict recall) of every candidate, on the reporting half."""
    base = table[0]["report"]["perplexity"]
    return [(r["cost"], r["report"]["perplexity"] / base, r["report"]["strict"]) for r in table[1:]]


def sweep(seeds, live, picked, label):
    """Predicted cost against the measured rise of perplexity, a point a candidate; filled where it forgets.

    seeds: {seed: rows}, the unedited model first; live: the same of this run; picked: {how it was chosen: row or None};
    label: what this run's model is called.
    """
    fig, ax = plt.subplots(figsize=(9, 4.6))
    for marker, (seed, table) in zip(LOOKS, seeds.items()):
        for k, (cost, rise, strict) in enumerate(_points(table)):
            face = COLORS["blue"] if strict <= 0.05 else "white"
            name = None if k else f"recorded, seed {seed}"
            ax.plot(cost, rise, marker, ms=6, mec=COLORS["blue"], mfc=face, mew=1.2, alpha=0.75, label=name)
    for k, (cost, rise, _) in enumerate(_points(live)):
        ax.plot(cost, rise, "x", ms=8, mew=2, color=COLORS["black"], label=None if k else f"this run: {label}")
    for (how, row), color in zip(picked.items(), ("red", "orange")):
        if row:
            rise = row["report"]["perplexity"] / live[0]["report"]["perplexity"]
            ax.plot(row["cost"], rise, "o", ms=17, mfc="none", mec=COLORS[color], mew=2.4, label=how)
    ax.axhline(1, color=COLORS["black"], lw=1)
    ax.set(xscale="log", xlabel="predicted cost, nats per token (from the factors alone)", ylabel="perplexity / before")
    ax.set_title("filled: at most a twentieth is still recited", fontsize=13)
    ax.legend(loc="upper left", fontsize=10)
    return described(
        fig,
        "Perplexity after the edit against the predicted cost. Candidates that forget lie to the right, where the "
        "predicted cost is high; perplexity rises only loosely with the prediction, and some of the cheaper candidates "
        "cost more than dearer ones.",
    )


def agreement(record):
    """Show a table: how well the predicted cost orders forgetting and perplexity, and what it chooses, in each seed."""
    rows = []
    for seed, table in record["seeds"].items():
        cost = [row["cost"] for row in table[1:]]
        order = lambda key: spearmanr(cost, [row["report"][key] for row in table[1:]])[0]
        cheapest = sweeping.cheapest(table[1:], record["removed"])
        chosen = "{} to {}".format(*cheapest["blocks"])
        right, rise = (f"{order(key):.2f}" for key in ("token_accuracy", "perplexity"))
        rows.append([seed, right, rise, chosen, f"{cheapest['report']['strict']:.2f}"])
    head = ["seed", "rank correlation with tokens right", "with perplexity", "cheapest blocks", "strict recall there"]
    tables.table(head, rows)


def apart(factors):
    """Show a table of measured over predicted, one thing changed at a time. factors: {seed: {what changes: factor}}."""
    names = next(iter(factors.values()))
    rows = [[name, *(f"{one[name]:.1f}" for one in factors.values())] for name in names]
    tables.table(["measured over predicted", *factors], rows)


def reported(found):
    """Show the report of a search, a dict as exercise 17.4 returns it; a sentence if nothing was good enough (None)."""
    if found is None:
        print("no candidate forgot enough")
        return
    text = lambda x: f"{x:.3f}" if isinstance(x, float) else str(x)
    spoken = {name: " to ".join(map(text, x)) if isinstance(x, list) else text(x) for name, x in found.items()}
    tables.table(["what is reported", "this run"], list(spoken.items()))


MEASURES = {"strict": "strict recall", "loose": "loose recall", "levenshtein": "distance", "ndcg": "nDCG@10"}


def examined(mine, label):
    """Show a table of the paper's measures. mine: {method: {measure: value}}; label: whose they are."""
    keys = (*MEASURES, "perplexity_paper")
    rows = [[method, *(f"{row[key]:.3f}" for key in keys)] for method, row in mine.items()]
    tables.table([label, *MEASURES.values(), "perplexity"], rows)


def found(mine, recorded):
    """Rows of the chapter's last table: (what, the paper's figure, ours, yours).

    mine: {method: measures} of this run; recorded: the rows of a recorded run of the 1B, [] if there is none.
    """
    theirs = {row["method"]: row for row in report.paper()["rows"] if row["model"] == "OLMo-2-0425-1B"}
    ours = {row["method"]: row for row in recorded}
    show = lambda x: None if x is None else f"{x:.3f}"
    rows = []
    for method in ("baseline", "K-FAC"):
        for key, label in MEASURES.items():
            name = "distance" if key == "levenshtein" else key
            asked = mine[method]["windows"] if key in ("strict", "loose") else None
            yours = pooled([mine[method][key]], asked) if asked else show(mine[method][key])
            what = f"{label}, {method}" + (f" [95 % of {asked}]" if asked else "")
            rows.append((what, show(theirs[method].get(name)), show(ours.get(method, {}).get(key)), yours))
    ratio = lambda table, key: show(table["K-FAC"][key] / table["baseline"][key]) if table else None
    papers, mines = ratio(theirs, "perplexity"), ratio(mine, "perplexity_paper")
    rows.append(("perplexity over before", papers, ratio(ours, "perplexity_paper"), mines))
    return rows


def removed(left):
    """How much of the recall an edit removes, in the words of the chapter's guess; left: the share that stays."""
    return "nearly nothing" if left > 2 / 3 else "about half" if left > 1 / 3 else "nearly all"
