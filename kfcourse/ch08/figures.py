"""Figures of chapter 08, a small OLMo-2 that recites."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap

from kfaclib.toy import world as w
from kfcourse.experiments.recitation import PAPER_PLACES
from kfcourse.show import shares
from kfcourse.show.plots import COLORS as C
from kfcourse.show.plots import described


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
    return described(
        fig,
        "Every line is a row of text, blue where the next word is guessed right: passages read 72 times are solid bars "
        "from the first words on and stop where the passage ends; rare passages and new text are speckled alike.",
    )


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
    return described(
        fig,
        "Strict recall by repetitions and prefix: zero in the row of new text and in those of passages read up to "
        "eight times, most at 32 and all at 72 from eight tokens on.",
    )


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
    return described(
        fig,
        "Strict recall is one where the passage stands as in training and nearly zero where it was moved by eight "
        "words; the share of right next words falls more slowly, to well above that of new text.",
    )


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
    return described(
        fig,
        "With growing noise strict recall falls from one to zero, loose recall and right next words later, and these "
        "stay above the dotted line of new text; perplexity over before rises and nDCG falls all the way.",
    )


def _bands(ax, recorded, value, color, line):
    """The mean over recorded runs as a line, their range as a band."""
    sizes = sorted({r["size"] for rows in recorded.values() for r in rows})
    at = [[value(r, rows[0]) for rows in recorded.values() for r in rows if r["size"] == s] for s in sizes]
    ax.plot(sizes, [np.mean(v) for v in at], color=color, ls=line, lw=1.8)
    ax.fill_between(sizes, [min(v) for v in at], [max(v) for v in at], color=color, alpha=0.15, lw=0)


NAMES = {"strict": "strict recall", "loose": "loose recall", "levenshtein": "distance", "ndcg": "nDCG@10"}


def found(record, paper, noise, stress, places):
    """Rows of the chapter's last table: (what, paper, ours, yours).

    paper: rows of paper.json; noise: rows of this run's `under_noise`, the unchanged model first; stress: {what: (own
    place, best of the other places)}.
    """
    before, kfac = (next(row for row in paper if row["method"] == method) for method in ("baseline", "K-FAC"))
    runs, lines = [run["noise"] for run in record["seeds"].values()], []
    size = noise[-1]["size"]
    for at, title, theirs in ((0.0, "unchanged", before), (size, "changed", kfac)):
        mine = [row for row in noise if row["size"] == at]
        ours = [[row for row in run if row["size"] == at] for run in runs]
        first = [rows[0]["strict"] for rows in ours]  # of the first noise: the second is asked about the same windows
        lines.append(
            (
                f"strict recall with 95 %, {title}",
                theirs["strict"],
                shares.pooled(first, runs[0][0]["windows"]),
                shares.pooled([mine[0]["strict"]], mine[0]["windows"]),
            )
        )
        for key in ("loose", "levenshtein", *(("ndcg",) if at else ())):
            values = [row[key] for rows in ours for row in rows]
            paper_has = theirs["distance" if key == "levenshtein" else key]
            lines.append((f"{NAMES[key]}, {title}", paper_has, _range(values), mine[0][key]))
        if at:
            values = [row["perplexity"] / run[0]["perplexity"] for run, rows in zip(runs, ours) for row in rows]
            ratio = mine[0]["perplexity"] / noise[0]["perplexity"]
            lines.append(("perplexity / before", kfac["perplexity"] / before["perplexity"], _range(values), ratio))
    arrow = lambda pair: f"{pair[0]:.1f} → {pair[1]:.1f}"
    what = f"tokens before the first error, own place → best of {places} others (the paper: {PAPER_PLACES})"
    lines.append((what, arrow(kfac["stress"]), None, arrow(stress["quotes"])))
    lines.append(("the same for new text", None, None, arrow(stress["new text"])))
    return lines


def _range(values):
    return f"{min(values):.3f} to {max(values):.3f}"
