"""Figures of chapter 6."""

import matplotlib.pyplot as plt
import torch
from matplotlib.lines import Line2D

from kfcourse.show.bands import band
from kfcourse.show.plots import COLORS

MEMORIZED, CLEAN = ("red", "D", "-"), ("blue", "o", "--")
LOOKS = {
    "memorized": MEMORIZED,
    "clean": CLEAN,
    "quotes": MEMORIZED,
    "fresh text": CLEAN,
    "sure by grammar": ("green", "s", "-."),
    "sure by copying": ("black", "^", ":"),
}


def company(curves, sizes, walks, random):
    """The curvature along an example's own sharpest direction in the average of ever more images.

    curves: {kind: [[one mean per seed] per size]}; walks: {kind: [N, K]}, single images of one net, one thin line each;
    random: the curvature of the average along a random direction.
    """
    fig, ax = plt.subplots(figsize=(8.5, 5))
    for kind, lines in walks.items():
        ax.plot(range(1, len(lines) + 1), lines, color=COLORS[LOOKS[kind][0]], ls=LOOKS[kind][2], lw=0.7, alpha=0.35)
    for kind, runs in curves.items():
        band(ax, runs, f"{kind} images", *LOOKS[kind], x=sizes)
    ax.axhline(random, color=COLORS["grey"], ls=":", label="the average, in a random direction")
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="images averaged",
        ylabel="curvature, its own direction",
        title="Sharp alone, ordinary together",
    )
    ax.legend()
    return fig


def shrinking(panels, sizes):
    """Largest eigenvalue of the average of n examples over the mean of their own: panels {title: {kind: [[per seed] per
    n]}}.
    """
    fig, axes = plt.subplots(1, len(panels), figsize=(11, 4.2), sharey=True)
    for ax, (title, kinds) in zip(axes, panels.items(), strict=True):
        for kind, runs in kinds.items():
            band(ax, runs, kind, *LOOKS[kind], x=sizes)
        ax.plot(sizes, [1 / n for n in sizes], color=COLORS["grey"], ls=":", label="1/n: nothing in common")
        ax.axhline(1, color=COLORS["black"], ls=":", lw=1.2, label="1: everything in common")
        ax.set(
            xscale="log", yscale="log", title=title, xlabel="images averaged", xticks=sizes[::2], xticklabels=sizes[::2]
        )
        ax.minorticks_off()
    axes[0].set_ylabel("top of the average / mean top")
    axes[0].legend()
    return fig


def blocks(panels, lines):
    """What every block of the language model shows: panels {title: {kind: [per block]}}, lines {title: (height, what it
    is)}.
    """
    fig, axes = plt.subplots(1, len(panels), figsize=(12, 4.8))
    for ax, (title, kinds) in zip(axes, panels.items(), strict=True):
        for kind, values in kinds.items():
            color, marker, line = LOOKS[kind]
            ax.plot(range(len(values)), values, marker=marker, ls=line, color=COLORS[color])
        height, what = lines.get(title, (None, None))
        if what:
            ax.plot(range(len(height)), height, color=COLORS["grey"], ls=":")
            ax.annotate(
                what,
                (len(height) - 1, height[-1]),
                xytext=(0, -5),
                textcoords="offset points",
                ha="right",
                va="top",
                fontsize=11,
                color="#555555",
            )
        ax.set(title=title, xlabel="block")
        if title.startswith("shared"):
            ax.set_ylim(0, 1)
        else:
            ax.set_yscale("log")
    kinds = list(dict.fromkeys(k for kinds in panels.values() for k in kinds))
    handles = [Line2D([], [], color=COLORS[c], marker=m, ls=ls) for c, m, ls in (LOOKS[k] for k in kinds)]
    fig.legend(handles, kinds, loc="outside lower center", ncols=len(kinds))
    return fig


def passages(kinds, title):
    """Every passage as a point, alone against together: kinds {kind: (own [N], population [N])}; diagonals of one
    ratio.
    """
    fig, ax = plt.subplots(figsize=(8, 5.4))
    for kind, (own, together) in kinds.items():
        color, marker, _ = LOOKS[kind]
        ax.loglog(
            own,
            together,
            marker,
            color=COLORS[color],
            ls="",
            markersize=8,
            label=kind,
            markerfacecolor="none" if color == "blue" else None,
        )
    x = torch.tensor(ax.get_xlim())
    limits = ax.get_ylim()
    for ratio in (1, 10, 100, 1000, 10000):
        ax.plot(x, x / ratio, color=COLORS["grey"], lw=0.8, ls=":", zorder=0)
    ax.set(
        ylim=limits,
        xlim=x.tolist(),
        xlabel="curvature of the passage alone",
        ylabel="curvature of the average",
        title=title,
    )
    ax.legend()
    return fig
