"""Figures of chapter 10, a spectrum of abilities."""

from statistics import mean

import matplotlib.pyplot as plt
import torch

from kfaclib.io.report import TASKS
from kfcourse.ch09.figures import LINES
from kfcourse.show.bands import band
from kfcourse.show.plots import COLORS, METHODS

TWO = {"top 10 %": ("blue", "o", "-"), "bottom 50 %": ("red", "s", "--")}  # band: colour, marker, line


def ratios(seeds, live, paper):
    """Left: memorized over fresh by layer, for the sharpest and the flattest band.  Right: the paper's.

    seeds: {band: [[one ratio per seed] per layer]}; live: {band: [ratio per layer]}; paper: {band: [ratio per layer]}.
    """
    fig, axes = plt.subplots(1, 2, sharey=True, figsize=(9.5, 4.2))
    for name, (color, marker, line) in TWO.items():
        band(axes[0], seeds[name], f"{name} of all pairs", color, marker, line)
        axes[0].plot(
            range(len(live[name])),
            live[name],
            "x",
            color=COLORS["black"],
            label="this run" if name == "bottom 50 %" else None,
        )
        axes[1].plot(range(len(paper[name])), paper[name], color=COLORS[color], marker=marker, ls=line, ms=4)
    for ax, title in zip(axes, (f"ours, {len(seeds['top 10 %'][0])} seeds", "the paper, 7B"), strict=True):
        ax.axhline(1, color=COLORS["black"], lw=1)
        ax.set(xlabel="layer", title=title)
    axes[0].set_ylabel("activity, memorized / fresh")
    axes[0].legend(loc="lower left")
    return fig


def spectrum(ours, paper, order=tuple(TASKS)):
    """Accuracy after over before: ours as mean and range over seeds, the paper's as diamonds.

    ours: {task: [ratio per seed]}; paper: {task: ratio}.
    """
    fig, ax = plt.subplots(figsize=(9, 5))
    for place, task in enumerate(order):
        values = ours[task]
        ax.plot([min(values), max(values)], [place] * 2, color=COLORS["blue"], lw=7, alpha=0.35, solid_capstyle="round")
        ax.plot(
            mean(values),
            place,
            "o",
            ms=10,
            color=COLORS["blue"],
            label=f"ours: mean and range of {len(values)} seeds" if not place else None,
        )
        if task in paper:
            ax.plot(
                paper[task],
                place,
                "D",
                ms=9,
                mfc="white",
                mec=COLORS["red"],
                mew=2.4,
                label="the paper, OLMo-2 7B" if not place else None,
            )
    ax.axvline(1, color=COLORS["black"], lw=1)
    ax.set_yticks(range(len(order)), [TASKS[t] for t in order])
    ax.invert_yaxis()
    ax.set(xlabel="accuracy after the edit / before", title="what one edit does to each ability", xlim=(-0.03, 1.13))
    ax.legend(loc="lower left")
    return fig


def controls(panels, methods, order=tuple(TASKS)[1:]):
    """Accuracy after over before of every method, one mark a task: the mean over runs, with their range.

    panels: {title: {method: {task: [ratio per run]}}}; a task's methods stand one under the other.
    """
    fig, axes = plt.subplots(1, len(panels), sharey=True, figsize=(11, 6.4))
    for ax, (title, table) in zip(axes, panels.items()):
        for k, method in enumerate(methods):
            color, marker, _ = METHODS[method]
            for n, task in enumerate(order):
                values, y = table[method][task], n + 0.16 * (k - (len(methods) - 1) / 2)
                ax.plot([min(values), max(values)], [y, y], color=COLORS[color], lw=2)
                ax.plot(mean(values), y, marker, color=COLORS[color], ms=8, label=method if not n else None)
        ax.axvline(1, color=COLORS["black"], lw=1)
        ax.set(xlabel="accuracy after / before", title=title, xlim=(-0.04, 1.1))
    axes[0].set_yticks(range(len(order)), [TASKS[t] for t in order])
    axes[0].invert_yaxis()
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(methods))
    return fig


def said(table, tasks=("facts_rare", "arithmetic", "deduction_chain")):
    """A panel of `controls` in words, for some tasks."""
    values = {m: ", ".join(f"{TASKS[t]} {mean(ratios[t]):.2f}" for t in tasks) for m, ratios in table.items()}
    return "Accuracy after over before at equal forgetting, means: " + "; ".join(f"{m}: {v}" for m, v in values.items())


SAME_LENGTH = {  # text: what it is called, colour, marker, line
    "quotes": ("quotes", "black", "o", "-"),
    "facts_rare": ("rare facts", "red", "v", "--"),
    "arithmetic": ("unseen sums", "orange", "^", "-."),
    "open_book": ("open book", "blue", "*", "-"),
}


def equal_lengths(table):
    """How often k words in a row are right after the edit, one line a text of SAME_LENGTH: the mean over runs with
    their range. table: {text: {k: [share per run]}}."""
    fig, ax = plt.subplots(figsize=(7.5, 4.4))
    for text, (name, color, marker, line) in SAME_LENGTH.items():
        lengths = sorted(table[text], key=int)
        band(ax, [table[text][k] for k in lengths], name, color, marker, line, x=[int(k) for k in lengths])
    ax.set_xticks([1, 2, 3])
    ax.set(xlabel="words in a row", ylabel="share that is right", ylim=(0, 1.05), title="the same test for all")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return fig


def against(points, label):
    """The drop in accuracy against a measure taken before the edit, one point a task (the mean over seeds) with the
    seeds' ranges.

    points: {task: [(measure, drop) per seed]}.
    """
    fig, ax = plt.subplots(figsize=(9, 4.6))
    for task, runs in points.items():
        color, _, marker = LINES[task]
        x, y = zip(*runs, strict=True)
        ax.plot([min(x), max(x)], [mean(y)] * 2, color=COLORS[color], lw=1.2)
        ax.plot([mean(x)] * 2, [min(y), max(y)], color=COLORS[color], lw=1.2)
        ax.plot(mean(x), mean(y), marker, color=COLORS[color], ms=11, mew=2.5, label=TASKS[task])
    ax.set(
        xlabel=label,
        ylabel="accuracy lost, share of before",
        ylim=(-0.08, 1.08),
        title="used before the edit, lost by the edit?",
    )
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return fig


def needs(table, names, columns):
    """Accuracy without one band over accuracy before: a table of numbers on colour, table [tasks, bands]."""
    values = torch.tensor(table)
    fig, ax = plt.subplots(figsize=(8, 4.8))
    ax.imshow(values, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    for i, row in enumerate(values.tolist()):
        for j, value in enumerate(row):
            ax.text(j, i, f"{value:.2f}", ha="center", va="center", color="white" if value < 0.5 else "black")
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(names)), names)
    ax.set(xlabel="the band that is taken out", title="accuracy without one band / before")
    ax.grid(False)
    return fig


def chain(before, after, labels):
    """Share of chains in which a step is right, before and after: {step: [share per seed]} each, bars of means with the
    seeds' range.
    """
    fig, ax = plt.subplots(figsize=(8.5, 3.8))
    for shift, (name, rows, face, text) in zip(
        (-0.2, 0.2),
        (("before", before, "white", "black"), ("after the edit", after, COLORS["blue"], "white")),
        strict=True,
    ):
        for place, step in enumerate(labels):
            low, high = mean(rows[step]) - min(rows[step]), max(rows[step]) - mean(rows[step])
            bar = ax.bar(
                place + shift,
                mean(rows[step]),
                0.38,
                color=face,
                edgecolor=COLORS["black"],
                label=name if not place else None,
            )
            ax.errorbar(place + shift, mean(rows[step]), [[low], [high]], color=COLORS["black"], lw=1.4, capsize=4)
            ax.bar_label(bar, [f"{mean(rows[step]):.2f}"], label_type="center", color=text, fontsize=11)
    ax.set_xticks(range(len(labels)), labels.values())
    ax.set(ylabel="share of chains", ylim=(0, 1.18), title="the steps stay right, the computation fails")
    ax.grid(axis="x", visible=False)
    ax.legend(ncols=2, loc="upper right")
    return fig
