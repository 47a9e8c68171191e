"""Figures of chapter 17, OLMo-2-1B."""

import matplotlib.pyplot as plt

from kfcourse.show.plots import COLORS

LOOKS = ("o", "s", "^")  # a marker for each training seed


def memory(sizes, budgets):
    """Bars of what has to be in memory, in GiB, on a logarithmic axis. sizes: {what: GiB}; budgets: {machine: GiB}, as
    lines.
    """
    fig, ax = plt.subplots(figsize=(9, 3.6))
    bars = ax.barh(list(sizes), list(sizes.values()), color=COLORS["blue"])
    ax.bar_label(bars, [f"{v:.2g}" for v in sizes.values()], label_type="center", color="white")
    for name, gib in budgets.items():
        ax.axvline(gib, color=COLORS["red"], ls="--", lw=1.6)
        ax.text(gib, -0.64, name, color=COLORS["red"], ha="center", va="bottom", fontsize=12)
    ax.invert_yaxis()
    ax.set(xscale="log", xlabel="GiB", xlim=(0.5, 900), ylim=(len(sizes) - 0.4, -0.6))
    ax.tick_params(axis="y", labelsize=12)
    ax.grid(axis="y", visible=False)
    return fig


def sweep(seeds, live, picked, label):
    """Predicted cost against the measured rise of perplexity, a point a candidate; filled where it forgets.

    seeds: {seed: [(cost, perplexity / before, strict)]}; live: the same list of this run; picked: {how it was chosen:
    (cost, perplexity / before)}; label: what this run's model is called.
    """
    fig, ax = plt.subplots(figsize=(9, 4.6))
    for marker, (seed, points) in zip(LOOKS, seeds.items()):
        for cost, rise, strict in points:
            ax.plot(
                cost,
                rise,
                marker,
                ms=6,
                mec=COLORS["blue"],
                mfc=COLORS["blue"] if strict <= 0.05 else "white",
                mew=1.2,
                alpha=0.75,
                label=f"recorded, seed {seed}" if (cost, rise, strict) == points[0] else None,
            )
    for k, (cost, rise, _) in enumerate(live):
        ax.plot(cost, rise, "x", ms=8, mew=2, color=COLORS["black"], label=None if k else f"this run: {label}")
    for (how, (cost, rise)), color in zip(picked.items(), ("red", "orange")):
        ax.plot(cost, rise, "o", ms=17, mfc="none", mec=COLORS[color], mew=2.4, label=how)
    ax.axhline(1, color=COLORS["black"], lw=1)
    ax.set(xscale="log", xlabel="predicted cost, nats per token (from the factors alone)", ylabel="perplexity / before")
    ax.set_title("filled: at most a twentieth is still recited", fontsize=13)
    ax.legend(loc="upper left", fontsize=10)
    return fig
