"""Figures of chapter 18: eigendecompositions shared out, what tokens cost, and what they are worth."""

import matplotlib.pyplot as plt

from kfaclib.io.report import TASKS
from kfcourse.show.plots import COLORS


def gantt(costs, plans):
    """Which process decomposes what, and when: costs [jobs], plans {title: rank of each job}; time in units of the most
    expensive job.
    """
    fig, axes = plt.subplots(len(plans), 1, sharex=True, figsize=(8, 1.7 * len(plans) + 1))
    unit, levels = max(costs), sorted(set(costs))
    shades = dict(zip(levels, [COLORS["sky"], COLORS["blue"], COLORS["orange"], COLORS["red"]]))
    for ax, (title, ranks) in zip(axes, plans.items()):
        busy = [0.0] * (max(ranks) + 1)
        jobs = sorted(range(len(costs)), key=lambda job: -costs[job])
        for job in jobs:
            rank, length = ranks[job], costs[job] / unit
            ax.barh(rank, length, left=busy[rank], color=shades[costs[job]], edgecolor="white", height=0.8)
            busy[rank] += length
        ax.axvline(max(busy), color=COLORS["black"], linestyle=":")
        ax.set(title=f"{title}: all wait until {max(busy):.2f}", ylabel="process", yticks=range(len(busy)))
        ax.invert_yaxis()
        ax.grid(axis="y", visible=False)
    axes[-1].set_xlabel("time, in eigendecompositions of the widest matrix")
    return fig


LINES = ("-", "--", "-.", ":")


def cost(tokens, hours, marks):
    """GPU hours against tokens on logarithmic axes: tokens [n], hours {model: [n]}, marks {label: tokens}."""
    fig, ax = plt.subplots(figsize=(9, 4.4))
    for (model, values), color, line in zip(hours.items(), ("blue", "orange", "red", "purple"), LINES):
        ax.loglog(tokens, values, line, color=COLORS[color], label=model)
    for label, where in marks.items():
        ax.axvline(where, color=COLORS["grey"], linestyle=":")
        ax.text(where, 1.02, label, ha="center", fontsize=10.5, transform=ax.get_xaxis_transform())
    for label, h in {"a minute": 1 / 60, "a day": 24, "a year": 24 * 365}.items():
        ax.axhline(h, color=COLORS["grey"], linewidth=1)
        below = h < min(min(values) for values in hours.values())  # the lines begin just above it
        ax.text(tokens[0], h, label, va="top" if below else "bottom", fontsize=10.5)
    ax.set(xlabel="tokens", ylabel="GPU hours, at the assumed rate")
    ax.set_ylim(bottom=4e-3)
    ax.set_title("what curvature costs: linear in the tokens", pad=24)  # above the marks' names
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return fig


def _points(ax, rows, key, color, marker, line, label):
    """Every measurement as a small mark, and the mean over seeds and samples with their range as a bar."""
    sizes = sorted({row["tokens"] for row in rows})
    groups = [[key(row) for row in rows if row["tokens"] == size] for size in sizes]
    means = [sum(g) / len(g) for g in groups]
    spread = [[m - min(g) for m, g in zip(means, groups)], [max(g) - m for m, g in zip(means, groups)]]
    ax.errorbar(sizes, means, spread, fmt=line, marker=marker, color=COLORS[color], capsize=4, label=label)


ABILITIES = {"facts_rare": ("red", "v", "--"), "arithmetic": ("orange", "^", "-."), "open_book": ("blue", "*", "-")}


def quality(rows, controls, width):
    """Left: the price of equal forgetting against tokens, mean and range over seeds and samples, and {control: price}
    as lines. Right: abilities, after over before. width: of the larger factor."""
    fig, axes = plt.subplots(1, 2, figsize=(10.5, 4.4))
    plain, shrunk = ([row for row in rows if row["shrunk"] is kind] for kind in (False, True))
    _points(axes[0], plain, lambda r: r["price"], "blue", "o", "-", "as collected")
    _points(axes[0], shrunk, lambda r: r["price"], "green", "D", "--", "shrunk")
    for (name, price), color, line in zip(controls.items(), ("orange", "red"), ("-.", ":")):
        axes[0].axhline(price, color=COLORS[color], linestyle=line, label=f"{name}, chapter 9")
    axes[0].set(xscale="log", xlabel="tokens", ylabel="perplexity over before", title="the price of the edit")
    axes[0].legend()
    for task, (color, marker, line) in ABILITIES.items():
        _points(axes[1], plain, lambda r: r["kept"][task], color, marker, line, TASKS[task])
    axes[1].set(xscale="log", xlabel="tokens", ylabel="accuracy over before", ylim=(0, 1.2), title="what it leaves")
    axes[1].legend(loc="lower right")
    for ax in axes:
        ax.axvline(width, color=COLORS["grey"], linestyle=":")
    return fig
