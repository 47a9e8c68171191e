"""Figures of chapter 08, a small OLMo-2 that recites."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap

from kfaclib.toy import world as w
from kfcourse.show.plots import COLORS as C


def barcode(groups):
    """Right next words as a picture: {label: hits bool [N, 127]}; one line a row of text, dark where the guess was
    right.
    """
    rows = np.concatenate(
        [np.pad(np.asarray(h, dtype=float), ((0, 2), (1, 0)), constant_values=np.nan) for h in groups.values()]
    )
    fig, ax = plt.subplots(figsize=(9, 6))
    ax.imshow(rows, aspect="auto", cmap=ListedColormap(["#EBEBEB", C["blue"]]), interpolation="none")
    middles = np.cumsum([len(h) + 2 for h in groups.values()]) - [len(h) / 2 + 2.5 for h in groups.values()]
    for at, text in ((w.PREFIX, "suffix begins"), (w.PREFIX + w.SUFFIX, "passage ends")):
        ax.axvline(at - 0.5, color=C["red"], lw=1.8, ls="--")
        ax.text(at - 0.5, -1.5, text, color=C["red"], ha="center", va="bottom", fontsize=11.5)
    ax.set_yticks(middles, groups)
    ax.tick_params(axis="y", length=0)
    ax.set(xlabel="token of the row", title="Where the next word is guessed right\n")
    ax.grid(False)
    ax.spines[["left", "bottom"]].set_visible(False)
    return fig


def grid(strict, prefixes):
    """Strict recall as a table in colour: {repeats: [share per prefix length]}."""
    values = np.array(list(strict.values()))
    fig, ax = plt.subplots(figsize=(9, 4.4))
    image = ax.imshow(values, aspect="auto", origin="lower", cmap="cividis", vmin=0, vmax=1)
    for (i, j), value in np.ndenumerate(values):
        ax.text(
            j,
            i,
            f"{value:.2f}".lstrip("0") if 0 < value < 1 else f"{value:.0f}",
            ha="center",
            va="center",
            fontsize=10.5,
            color="black" if value > 0.5 else "white",
        )
    ax.set_xticks(range(len(prefixes)), prefixes)
    ax.set_yticks(range(len(values)), strict)
    ax.set(xlabel="tokens of prefix, with <s>", ylabel="times in training", title="Strict recall of the next 48 words")
    ax.grid(False)
    fig.colorbar(image, label="share recited")
    return fig


def place(recorded, live, unseen):
    """Recall of moved quotes: {words moved: (strict recall, share of right words)}; negative is dropped, positive put
    before.

    unseen: the share of right words in new text.
    """
    fig, axes = plt.subplots(1, 2, figsize=(9.5, 4.2), sharey=True)
    for k, (ax, title, color) in enumerate(zip(axes, ("strict recall", "next words right"), ("blue", "orange"))):
        for i, run in enumerate(recorded):
            x = sorted(run, key=int)
            ax.plot(
                [int(n) for n in x],
                [run[n][k] for n in x],
                color=C["grey"],
                lw=1.2,
                label="three training seeds" if i == 0 else None,
            )
        x = sorted(live)
        ax.plot(x, [live[n][k] for n in x], color=C[color], marker="o", ls="none", label="this run")
        ax.set(xlabel="words dropped   |   words put before", title=title, ylim=(-0.04, 1.06))
    axes[1].axhline(unseen, color=C["black"], ls=":", lw=1.6, label="new text")
    axes[1].legend(loc="lower center")
    axes[0].set_ylabel("share")
    return fig


def noise(recorded, live, unseen):
    """What noise costs, against its size: recorded {seed: rows} and live rows of `recitation.under_noise`.

    unseen: the share of right words in new text.
    """
    fig, axes = plt.subplots(1, 2, figsize=(9.5, 4.2))
    looks = (
        ("strict", "strict recall", "blue", "o", "-"),
        ("loose", "loose recall", "green", "s", "--"),
        ("token_accuracy", "next words right", "orange", "^", ":"),
    )
    for key, label, color, mark, line in looks:
        _bands(axes[0], recorded, lambda r, base, key=key: r[key], C[color], line)
        axes[0].plot(
            [r["size"] for r in live], [r[key] for r in live], color=C[color], marker=mark, ls="none", label=label
        )
    price = (("perplexity", "perplexity / before", "red", "D", "-"), ("ndcg", "nDCG@10", "purple", "v", "--"))
    for key, label, color, mark, line in price:
        value = lambda r, base, key=key: r[key] / base["perplexity"] if key == "perplexity" else r[key]
        _bands(axes[1], recorded, value, C[color], line)
        axes[1].plot(
            [r["size"] for r in live],
            [value(r, live[0]) for r in live],
            color=C[color],
            marker=mark,
            ls="none",
            label=label,
        )
    axes[0].axhline(unseen, color=C["black"], ls=":", lw=1.6)
    axes[0].text(0, unseen + 0.02, "right in new text", fontsize=11)
    for ax, title in zip(axes, ("what is recited", "what the rest pays")):
        ax.set(xlabel="noise / norm of the weight", title=title)
        ax.legend()
    return fig


def _bands(ax, recorded, value, color, line):
    """The mean over recorded runs as a line, their range as a band."""
    sizes = sorted({r["size"] for rows in recorded.values() for r in rows})
    at = [[value(r, rows[0]) for rows in recorded.values() for r in rows if r["size"] == s] for s in sizes]
    ax.plot(sizes, [np.mean(v) for v in at], color=color, ls=line, lw=1.8)
    ax.fill_between(sizes, [min(v) for v in at], [max(v) for v in at], color=color, alpha=0.15, lw=0)
