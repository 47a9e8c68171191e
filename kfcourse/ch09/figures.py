"""Figures of chapter 09, editing by curvature."""

import math

import matplotlib.pyplot as plt
import torch

from kfaclib.io.report import TASKS
from kfcourse.show.bands import band
from kfcourse.show.plots import COLORS, METHODS


def spectra(bases):
    """Eigenvalues of A and G of some layers ({label: Eigenbasis}), relative to the largest, on logarithmic axes."""
    fig, axes = plt.subplots(1, 2, sharey=True)
    for (label, basis), color, line in zip(bases.items(), COLORS.values(), ("-", "--", ":", "-.")):
        for ax, values in zip(axes, (basis.lambda_A, basis.lambda_G)):
            values = values / values[0]
            ax.loglog(range(1, len(values) + 1), values.clamp(min=1e-12), line, color=color, label=label)
    for ax, name in zip(axes, ("A (inputs)", "G (output gradients)")):
        ax.set(xlabel="rank of the direction", title=f"spectrum of {name}")
    axes[0].set_ylabel("eigenvalue / largest")
    axes[0].legend()
    return fig


def staircases(basis, prefixes):
    """Log curvature of all pairs of directions, and the edge of the kept set for each {mass: prefix} over it."""
    log = torch.log10(torch.outer(basis.lambda_G, basis.lambda_A).clamp(min=1e-30))
    log = (log - log.max()).clamp(min=-10)
    fig, ax = plt.subplots(figsize=(8, 4.8))
    image = ax.imshow(log.T, aspect="auto", origin="lower", cmap="cividis")
    fig.colorbar(image, label="log10 of curvature, relative to the largest")
    for (mass, prefix), line in zip(prefixes.items(), ("-", "--", "-.", ":")):
        ax.step(range(len(prefix)), prefix, where="post", color="white", linestyle=line, label=f"mass {mass:g}")
    ax.set(
        xlabel="output direction, sharpest first",
        ylabel="input direction, sharpest first",
        title="kept: everything below the stairs",
        xlim=(-0.5, len(basis.lambda_G) - 0.5),
        ylim=(-0.5, len(basis.lambda_A) - 0.5),
    )
    ax.grid(False)
    ax.legend(labelcolor="white", loc="upper right")
    return fig


LINES = {  # task: colour, line, marker
    "recitation": ("black", "-", "o"),
    "facts_rare": ("red", "--", "v"),
    "arithmetic": ("orange", "-.", "^"),
    "deduction_chain": ("sky", "--", "<"),
    "facts_frequent": ("purple", "--", "s"),
    "comparison": ("grey", ":", "x"),
    "boolean": ("sky", "-.", "P"),
    "tracking": ("green", ":", "D"),
    "deduction": ("green", "-", "d"),
    "open_book": ("blue", "-", "*"),
}


def abilities(staircase, baseline, title="what goes first"):
    """Relative accuracy of every task against the mass kept, from result rows with a "mass"."""
    fig, ax = plt.subplots(figsize=(9, 5))
    for task, (color, line, marker) in LINES.items():
        if task in baseline["tasks"]:
            y = [row["tasks"][task] / baseline["tasks"][task] for row in staircase]
            ax.plot(
                [-math.log10(1 - row["mass"]) for row in staircase],
                y,
                line,
                color=COLORS[color],
                marker=marker,
                label=TASKS[task],
            )
    ax.set_xticks([-math.log10(1 - row["mass"]) for row in staircase], [f"{row['mass']:g}" for row in staircase])
    ax.set(xlabel="share of curvature mass kept", ylabel="accuracy / accuracy before", title=title, ylim=(-0.04, 1.12))
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return fig


def costs(rows):
    """Perplexity over the baseline's, one bar a method, from result rows (the first is the baseline)."""
    fig, ax = plt.subplots(figsize=(8, 3.4))
    names = [row["method"] for row in rows[1:]]
    ratios = [row["perplexity"] / rows[0]["perplexity"] for row in rows[1:]]
    bars = ax.barh(names, [r - 1 for r in ratios], left=1, color=[COLORS[METHODS[n][0]] for n in names])
    ax.bar_label(bars, [f" x {r:.3f}" for r in ratios])
    ax.axvline(1, color=COLORS["black"])
    ax.invert_yaxis()
    ax.set(
        xlabel="perplexity on fresh text / before",
        title="the price of the same forgetting",
        xlim=(0.95, max(ratios) * 1.12),
    )
    ax.grid(axis="y", visible=False)
    return fig


def prices(rows, kinds):
    """Nats a token against the mass kept, on each kind of text: what the edit costs, what the exact quadratic form says
    before it, and what K-FAC says. Means over seeds, with their range.

    rows: [[row of each mass] per seed], from the experiment `evidence`; kinds: {key: what the panel is called}.
    """
    fig, axes = plt.subplots(1, len(kinds), sharey=True, figsize=(10, 4.2))
    masses = [row["mass"] for row in rows[0]]
    for ax, (kind, title) in zip(axes, kinds.items()):
        for label, value, color, marker, line in (
            ("measured", lambda row, k=kind: row["kl"][k], "black", "o", "-"),
            ("exact form", lambda row, k=kind: row["exact"][k], "blue", "s", "--"),
            ("K-FAC", lambda row: row["kfac"], "orange", "^", ":"),
        ):
            band(ax, [[value(seed[n]) for seed in rows] for n in range(len(masses))], label, color, marker, line)
        ax.set_xticks(range(len(masses)), [f"{mass:g}" for mass in masses])
        ax.set(xlabel="share of curvature mass kept", title=title, yscale="log")
    axes[0].set_ylabel("price, nats a token")
    axes[0].legend(loc="upper left")
    return fig
