"""Figures of chapter 09, editing by curvature."""

import math

import matplotlib.pyplot as plt
import torch

from kfaclib.io.report import TASKS
from kfcourse.show import tables
from kfcourse.show.bands import band
from kfcourse.show.plots import COLORS, METHODS, described


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
    return described(
        fig, "Eigenvalues of A and G for three layers on logarithmic axes: all fall by several orders of magnitude."
    )


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
    return described(
        fig,
        "Heat map of log curvature over pairs of output and input directions; white stairs mark the kept corner at "
        f"mass {', '.join(f'{mass:g}' for mass in prefixes)}.",
    )


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


def abilities(staircase, baseline, zeroed=None):
    """Relative accuracy of every task against the mass kept, from result rows with a "mass".

    zeroed: {task: the same with the edited matrices at zero}, drawn to the left of the smallest mass: what a task can
    do without these matrices.
    """
    fig, ax = plt.subplots(figsize=(9, 5))
    where = [-math.log10(1 - row["mass"]) for row in staircase]
    ticks = [f"{row['mass']:g}" for row in staircase]
    for task, (color, line, marker) in LINES.items():
        if task in baseline["tasks"]:
            y = [row["tasks"][task] / baseline["tasks"][task] for row in staircase]
            ax.plot(where, y, line, color=COLORS[color], marker=marker, label=TASKS[task])
            if zeroed:
                ax.plot([0], [zeroed[task]], ls="", color=COLORS[color], marker=marker, fillstyle="none")
    if zeroed:
        where, ticks = [0, *where], ["set to\nzero", *ticks]
        ax.axvline(0.15, color=COLORS["grey"], lw=1)
    ax.set_xticks(where, ticks)
    ax.set(
        xlabel="share of curvature mass kept",
        ylabel="accuracy / accuracy before",
        title="what goes first",
        ylim=(-0.04, 1.12),
    )
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return described(
        fig,
        "Relative accuracy of ten abilities against the curvature mass kept: quotes fall first, then rare facts and "
        "sums; looking up and if-then rules last. At the left, hollow marks for the matrices set to zero: looking up, "
        "tracking and if-then rules stand near one, sums and quotes near zero.",
    )


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
    return described(
        fig, "Bars of perplexity over the baseline's: K-FAC close to 1, the random basis and SVD well above."
    )


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
    return described(
        fig,
        "Price against mass kept on logarithmic axes, for two kinds of text. On text like the corpus the exact form "
        "lies on the measured price at small edits and K-FAC's product below it; at the largest edit both lie below. "
        "On other text the measured price is several times higher.",
    )


KINDS = {"like_the_corpus": "text like the corpus", "other": "other text"}


def agreement(rows):
    """Show how well the two forms predict the price: each mass's range over seeds. rows: as in `prices`."""
    lines = []
    for n, row in enumerate(rows[0]):
        at = [seed[n] for seed in rows]
        exact = {kind: [r["exact"][kind] / r["kl"][kind] for r in at] for kind in KINDS}
        product = [r["kfac"] / r["kl"]["like_the_corpus"] for r in at]
        dearer = [r["kl"]["other"] / r["kl"]["like_the_corpus"] for r in at]
        spans = (*exact.values(), product, dearer)
        lines.append([f"{row['mass']:g}", *(f"{min(v):.2f} to {max(v):.2f}" for v in spans)])
    header = [
        "mass",
        "exact / measured, like the corpus",
        "exact / measured, other text",
        "K-FAC's product / measured, like the corpus",
        "measured, other text / like the corpus",
    ]
    tables.table(header, lines)
