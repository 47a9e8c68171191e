"""Figures of chapter 12, baselines, limits, relearning."""

from statistics import mean

import matplotlib.pyplot as plt

from kfcourse.show.bands import band
from kfcourse.show.plots import COLORS, METHODS

MARKS = METHODS | {
    "BalancedSubnet": ("green", "v", "-"),
    "gradient ascent": ("purple", "P", "--"),
    "noise": ("grey", "X", ":"),
}  # colour, marker, line


def seen_unseen(runs, live=None):
    """How much more is right on unseen quotes than on seen ones, and the price, when every method has forgotten the
    seen ones equally.

    runs: [{method: {"seen": {"token_accuracy"}, "unseen": {"token_accuracy"}, "perplexity"}}], one per seed; live: the
    same for this run, as crosses.
    """
    fig, axes = plt.subplots(1, 2, figsize=(9.5, 4.4), sharey=True)
    values = (
        lambda row: row["unseen"]["token_accuracy"] - row["seen"]["token_accuracy"],
        lambda row: row["perplexity"],
    )
    methods = list(runs[0])
    for ax, value in zip(axes, values, strict=True):
        for place, method in enumerate(methods):
            color, marker, _ = MARKS[method]
            found = [value(run[method]) for run in runs]
            ax.plot(
                [min(found), max(found)], [place] * 2, color=COLORS[color], lw=7, alpha=0.35, solid_capstyle="round"
            )
            ax.plot(mean(found), place, marker, ms=11, color=COLORS[color])
            if live and method in live:
                ax.plot(value(live[method]), place, "x", ms=9, mew=2.4, color=COLORS["black"])
    axes[0].set_yticks(range(len(methods)), methods)
    axes[0].invert_yaxis()
    axes[0].axvline(0, color=COLORS["black"], lw=1)
    axes[0].set(xlabel="tokens right: unseen minus seen quotes", title="how much of it is the list")
    axes[1].set(xlabel="perplexity of fresh text / before", title="what it costs")
    axes[1].axvline(1, color=COLORS["black"], lw=1)
    return fig


def training(curves):
    """Token accuracy on seen and unseen quotes after every epoch: {method: {"seen": [...], "unseen": [...]}}, epoch 0
    first.
    """
    fig, axes = plt.subplots(1, len(curves), figsize=(9.5, 3.8), sharey=True)
    for ax, (method, curve) in zip(axes, curves.items(), strict=True):
        for part, line, marker in (("seen", "-", "o"), ("unseen", "--", "s")):
            ax.plot(
                range(len(curve[part])),
                curve[part],
                line,
                marker=marker,
                color=COLORS[MARKS[method][0]],
                label=f"{part} quotes",
            )
        ax.set(xlabel="epoch", title=method)
        ax.legend(loc="lower left")
    axes[0].set_ylabel("suffix tokens still right")
    return fig


def masses(runs, live=()):
    """Recall of the unseen quotes and perplexity against the share of curvature dropped, 1 - mass, on a logarithmic
    axis.

    runs: one list of {"mass", "strict", "loose", "token_accuracy", "perplexity"} per seed; live: rows of this run.
    """
    fig, axes = plt.subplots(1, 2, figsize=(9.5, 4.2))
    dropped = [1 - row["mass"] for row in runs[0]]
    for key, label, color, marker, line in (
        ("token_accuracy", "tokens right", "green", "^", ":"),
        ("loose", "loose recall", "orange", "s", "--"),
        ("strict", "strict recall", "blue", "o", "-"),
    ):
        band(axes[0], [[run[k][key] for run in runs] for k in range(len(dropped))], label, color, marker, line, dropped)
        axes[0].plot(
            [1 - row["mass"] for row in live], [row[key] for row in live], "x", ms=9, mew=2.4, color=COLORS["black"]
        )
    band(
        axes[1],
        [[run[k]["perplexity"] for run in runs] for k in range(len(dropped))],
        "perplexity",
        "red",
        "D",
        "-",
        dropped,
    )
    axes[1].plot(
        [1 - row["mass"] for row in live],
        [row["perplexity"] for row in live],
        "x",
        ms=9,
        mew=2.4,
        color=COLORS["black"],
        label="this run",
    )
    for ax, title in zip(axes, ("the unseen quotes", "fresh text: perplexity / before"), strict=True):
        ax.set_xscale("log")
        ax.set(xlabel="curvature dropped, 1 - mass", title=title)
        ax.legend()
    return fig
