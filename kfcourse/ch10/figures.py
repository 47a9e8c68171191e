"""Figures and tables of chapter 10, which directions a text uses."""

import math
from statistics import mean

import matplotlib.pyplot as plt
import torch
from scipy.stats import spearmanr

from kfaclib.io.report import TASKS
from kfaclib.lm.activations import BANDS
from kfcourse.ch09.figures import LINES
from kfcourse.show import tables
from kfcourse.show.bands import band
from kfcourse.show.plots import COLORS, described
from kfcourse.show.tables import spread

TOP, BOTTOM = 0, 3  # numbers of the sharpest and of the flattest band
TWO = {TOP: ("blue", "o", "-"), BOTTOM: ("red", "s", "--")}  # band: colour, marker, line
UP = [f"model.layers.{n}.mlp.up_proj" for n in range(6)]
LATE = UP[3:]  # in the blocks that chapter 09 edits
TASK = {"quotes": "recitation"}  # the record's name of a group: the name that tables and figures use
THEIRS = {  # our task: the paper's nearest
    "arithmetic": "SimpleMath",
    "facts_rare": "TriviaQA",
    "open_book": "OBQA + fact",
    "boolean": "boolean expressions",
}
TEXTS = {  # a control of the ratio: what it is called, colour, marker, line
    "quotes": ("quotes, known by heart", "black", "o", "-"),
    "more fresh text": ("other fresh text", "grey", "s", ":"),
    "sure by grammar": ("as certain, by grammar", "green", "^", "-."),
    "sure by copying": ("as certain, by copying", "purple", "v", "--"),
}


def name_of(group):
    """What a group of the record is called in a table."""
    return TASKS[TASK.get(group, group)]


def ratio(table, layer, number, over="quotes", under="fresh text"):
    """An activation ratio from {layer: {text: activity per band}}."""
    return float(table[layer][over][number]) / float(table[layer][under][number])


def by_layer(tables_of_runs, number, over="quotes", under="fresh text"):
    """[[one ratio per run] per block] in the up projections."""
    return [[ratio(table, layer, number, over, under) for table in tables_of_runs] for layer in UP]


def late(table, number, over="quotes", under="fresh text"):
    """The mean ratio over the up projections of the edited blocks."""
    return mean(ratio(table, layer, number, over, under) for layer in LATE)


def activities(record):
    """The table {layer: {text: activity per band}} of every seed of a record of `abilities`."""
    return [run["activity"] for run in record.values()]


def driven(record, which="bands"):
    """The same of a record of `directions`."""
    return [run["driven"][which] for run in record.values()]


def memorized_over_fresh(record, live, paper):
    """Left: memorized over fresh by block, in the sharpest and the flattest band.  Right: the paper's.

    record: the seeds of `abilities`; live: this run's {layer: {text: activity per band}}; paper: {band: [ratio per
    layer]}.
    """
    fig, axes = plt.subplots(1, 2, sharey=True, figsize=(10, 4.4))
    runs = activities(record)
    for number, (color, marker, line) in TWO.items():
        band(axes[0], by_layer(runs, number), f"{BANDS[number]} of all pairs", color, marker, line)
        label = "this run" if number == BOTTOM else None
        mine = [values[0] for values in by_layer([live], number)]
        axes[0].plot(range(len(UP)), mine, "x", color=COLORS["black"], ms=9, mew=2, label=label)
        theirs = paper[BANDS[number]]
        axes[1].plot(range(len(theirs)), theirs, color=COLORS[color], marker=marker, ls=line, ms=4)
    for ax, title in zip(axes, (f"ours, {len(record)} seeds", "the paper, 7B"), strict=True):
        ax.axhline(1, color=COLORS["black"], lw=1)
        ax.set(xlabel="block", title=title)
    axes[0].set_ylabel("activity, memorized / fresh")
    axes[0].legend(loc="lower left")
    return described(
        fig,
        "Left: in our model the ratio of memorized to fresh activity is near one in the first blocks; then it falls "
        "clearly below one in the top tenth and rises above one in the bottom half, most in the last block. Right: the "
        "paper's curves do the same over 32 blocks.",
    )


def certain(record):
    """Activity over that on fresh text by block, for the quotes and the controls: the sharpest and the flattest band.

    record: the seeds of `directions`.
    """
    fig, axes = plt.subplots(1, 2, sharey=True, figsize=(11, 4.8))
    runs, spoken = driven(record), []
    for ax, number in zip(axes, TWO, strict=True):
        for text, (label, color, marker, line) in TEXTS.items():
            values = by_layer(runs, number, text)
            band(ax, values, label, color, marker, line)
            spoken.append(f"{BANDS[number]}, {label} {mean(values[-1]):.2f}")
        values = by_layer(driven(record, "random bands"), number)
        band(ax, values, "quotes, random pairs", "orange", "D", (0, (1, 2)))
        spoken.append(f"{BANDS[number]}, quotes in random pairs {mean(values[-1]):.2f}")
        ax.axhline(1, color=COLORS["black"], lw=1)
        ax.set(xlabel="block", title=BANDS[number])
    axes[0].set_ylabel("activity over that on fresh text")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return described(fig, "Activity over that on fresh text, means in the last block: " + "; ".join(spoken) + ".")


def against_tasks(record, paper, number, live=None):
    """Show a table of activity on memorized and on fresh text over that on each task, in one band.

    record: the seeds of `abilities`; paper: the figure-4 part of the paper's record; live: this run's table.
    """
    rows = []
    for task in list(TASKS)[1:]:
        of = lambda over: spread([late(table, number, over, task) for table in activities(record)])
        cells = [of("quotes"), of("fresh text")]
        if live:
            cells.append(f"{late(live, number, 'quotes', task):.2f}")
        place = paper["bands"].index(BANDS[number]) if task in THEIRS else None
        theirs = ["-", "-"]
        if task in THEIRS:
            theirs = [f"{mean(paper[kind][THEIRS[task]][place]):.2f}" for kind in ("mem_over_task", "clean_over_task")]
        rows.append([TASKS[task], *cells, *theirs])
    here = ["memorized / task, this run"] if live else []
    papers = ["paper: memorized / task", "paper: fresh / task"]
    tables.table([BANDS[number], "memorized / task", "fresh / task", *here, *papers], rows)


def lost(run, group):
    """Share of a group's accuracy that the edit of chapter 09 takes."""
    return 1 - run["tasks"][group]["after"] / max(run["tasks"][group]["before"], 1)


def use(run, group, number):
    """Activity on a group over that on fresh text, the mean over the edited blocks."""
    return late(run["activity"], number, group)


def used_and_lost(record):
    """The drop in accuracy against the activity in the flattest half, one mark an ability, with the seeds' ranges."""
    fig, ax = plt.subplots(figsize=(9.5, 4.6))
    for group in next(iter(record.values()))["tasks"]:
        color, _, marker = LINES[TASK.get(group, group)]
        x, y = [use(run, group, BOTTOM) for run in record.values()], [lost(run, group) for run in record.values()]
        ax.plot([min(x), max(x)], [mean(y)] * 2, color=COLORS[color], lw=1.2)
        ax.plot([mean(x)] * 2, [min(y), max(y)], color=COLORS[color], lw=1.2)
        ax.plot(mean(x), mean(y), marker, color=COLORS[color], ms=11, mew=2.5, label=name_of(group))
    ax.set(xlabel="activity in the bottom 50 %, ability / fresh text", ylabel="accuracy lost, share of before")
    ax.set(ylim=(-0.08, 1.08), title="used before the edit, lost by the edit?")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return described(
        fig,
        "Share of accuracy lost against activity in the flattest half, one mark an ability. Quotes are highest in "
        "both; "
        "sums lose much with little activity there; if-then, tracking and open book lose next to nothing.",
    )


def rank_correlation(run, number, without=()):
    """Spearman's correlation over abilities of the activity in a band with the accuracy lost."""
    groups = [g for g in run["tasks"] if g not in without]
    return float(spearmanr([use(run, g, number) for g in groups], [lost(run, g) for g in groups])[0])


def by_luck(count, level=0.05, draws=20_000):
    """The size of a rank correlation that shuffled ranks of `count` things exceed with probability `level`."""
    order = torch.rand(draws, count, generator=torch.Generator().manual_seed(0)).argsort(1).double()
    centred = order - order.mean(1, keepdim=True)
    fixed = torch.arange(count).double() - (count - 1) / 2
    return ((centred @ fixed) / fixed.square().sum()).abs().quantile(1 - level).item()


def correlations(record):
    """Show a table of the rank correlation of each seed, with and without the quotes, beside what luck reaches."""
    rows, count = [], len(next(iter(record.values()))["tasks"])
    for number in TWO:
        for label, without in (("all abilities", ()), ("without the quotes", ("quotes",))):
            found = [f"{rank_correlation(run, number, without):+.2f}" for run in record.values()]
            rows.append([f"{BANDS[number]}, {label}", *found, f"{by_luck(count - len(without)):.2f}"])
    tables.table(["activity and loss", *(f"seed {s}" for s in record), "exceeded by luck once in 20"], rows)


def chance(one):
    """How far from one half an AUC of so many lost and held items may lie by luck, at 95 % (Mann and Whitney 1947)."""
    lost_items, held = one["lost"], one["of"] - one["lost"]
    return 1.96 * math.sqrt((lost_items + held + 1) / (12 * lost_items * held))


def within(record):
    """Show a table: inside an ability, does the edit break the items of which it removes more?"""
    rows = []
    for group in next(iter(record.values()))["within"]:
        found = [run["within"][group] for run in record.values()]
        if any(one["auc"] is not None for one in found):
            said = lambda one: f"{one['auc']:.2f} (luck: 0.50 ± {chance(one):.2f})"
            rows.append([name_of(group), *("-" if one["auc"] is None else said(one) for one in found)])
    tables.table(["ability", *(f"seed {s}" for s in record)], rows)


def kept_without(record, label, group, what="words"):
    """[share that is right without a band, over before, in each seed] of a record of `directions`."""
    return [run["without"][label][what][group] / run["without"]["before"][what][group] for run in record.values()]


def needs(record, what="words"):
    """Share right without one band, over before: left the bands of curvature, right as many random pairs."""
    groups = list(next(iter(record.values()))["without"]["before"][what])
    fig, axes = plt.subplots(1, 2, sharey=True, figsize=(12, 5))
    spoken = []
    titles = {"a band of curvature": "", "as many random pairs": "random "}
    for ax, (title, prefix) in zip(axes, titles.items(), strict=True):
        values = [[mean(kept_without(record, prefix + label, g, what)) for label in BANDS] for g in groups]
        ax.imshow(torch.tensor(values), cmap="cividis", vmin=0, vmax=1, aspect="auto")
        for i, row in enumerate(values):
            for j, value in enumerate(row):
                ax.text(j, i, f"{value:.2f}", ha="center", va="center", color="white" if value < 0.5 else "black")
        ax.set_xticks(range(len(BANDS)), BANDS)
        ax.set(title=title, xlabel="what is taken out")
        ax.grid(False)
        ends = (f"{g} {row[0]:.2f} and {row[3]:.2f}" for g, row in zip(groups, values, strict=True))
        spoken.append(f"{title}: {', '.join(ends)}")
    axes[0].set_yticks(range(len(groups)), ["quotes" if g == "quotes" else name_of(g) for g in groups])
    label = {"words": "words right, over before", "right": "whole answers right, over before"}[what]
    fig.suptitle(label)
    return described(fig, f"{label}, without the first and the last band. " + "; ".join(spoken))


def perplexities(record):
    """Show a table of the perplexity of fresh text over before, without each band and without as many random pairs."""
    rows = []
    for label in BANDS:
        found = [
            [run["without"][name]["perplexity"] / run["without"]["before"]["perplexity"] for run in record.values()]
            for name in (label, f"random {label}")
        ]
        rows.append([label, *map(spread, found)])
    tables.table(["taken out", "x perplexity", "as many random pairs"], rows)


def word(value, margin=0.05):
    """A ratio as the answer to a prediction."""
    return "more strongly" if value > 1 + margin else "less strongly" if value < 1 - margin else "about equally"


def most_needed(record, group):
    """The band without which a group keeps the fewest words, the mean over seeds."""
    return min(BANDS, key=lambda label: mean(kept_without(record, label, group)))


def found(record, controls, paper, live, live_controls):
    """Rows of the chapter's last table: (what, paper, ours, yours), in the last block's up projection."""
    rows, last = [], UP[-1]
    for number, extreme in ((TOP, min), (BOTTOM, max)):
        values = [ratio(table, last, number) for table in activities(record)]
        rows.append((f"{BANDS[number]}: memorized / fresh, strongest block", f"{extreme(paper[BANDS[number]]):.2f}",
                     spread(values), f"{ratio(live, last, number):.2f}"))  # fmt: skip
    for text in list(TEXTS)[1:]:
        values = [ratio(table, last, BOTTOM, text) for table in driven(controls)]
        yours = f"{ratio(live_controls, last, BOTTOM, text):.2f}" if text in live_controls[last] else None
        rows.append((f"{BANDS[BOTTOM]}: {TEXTS[text][0]} / fresh", None, spread(values), yours))
    for group, label in (("quotes", BANDS[BOTTOM]), ("arithmetic", BANDS[BOTTOM]), ("arithmetic", BANDS[TOP])):
        rows.append((f"{name_of(group)}: words right without the {label}", None,
                     spread(kept_without(controls, label, group)), None))  # fmt: skip
    return rows
