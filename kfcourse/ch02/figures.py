"""Figures of chapter 02, memorize or generalize."""

import html

import matplotlib.pyplot as plt
import numpy as np

from kfaclib.toy import canaries
from kfcourse.show.plots import COLORS as C


def gaps(watches):
    """Training and test accuracy over epochs, side by side: {title: `generalization.Watch`}."""
    fig, axes = plt.subplots(1, len(watches), figsize=(4.1 * len(watches), 3.9), sharey=True, squeeze=False)
    for ax, (title, w) in zip(axes[0], watches.items()):
        ax.plot(w.train, color=C["orange"], ls="--", label="labels it was given")
        ax.plot(w.test, color=C["blue"], label="new images, true labels")
        ax.fill_between(range(len(w.train)), w.test, w.train, color=C["grey"], alpha=0.15)
        ax.set(title=title, xlabel="epoch", ylim=(-0.03, 1.05))
    axes[0, 0].set_ylabel("share right")
    axes[0, 0].legend(loc="lower right")
    return fig


def truth_first(recorded, live):
    """What the net says to images with a wrong label, over epochs: recorded and live `Watch`es as dicts."""
    fig, ax = plt.subplots()
    for i, w in enumerate([*recorded, live]):
        last = i == len(recorded)
        look = dict(lw=2.8) if last else dict(lw=0.9, alpha=0.5)
        ax.plot(w["true"], color=C["green"], label="their true label" if last else None, **look)
        ax.plot(w["memorized"], color=C["red"], ls="--", label="the wrong label it was given" if last else None, **look)
        ax.plot(w["test"], color=C["blue"], ls=":", label="test accuracy" if last else None, **look)
    ax.set(xlabel="epoch", ylabel="share of images", ylim=(-0.03, 1.03), title="The rule first, the exceptions later")
    ax.legend(loc="center right")
    return fig


def remedies(rows, clean):
    """Bars of test accuracy with a dot per seed: {name: [values]}; clean: the runs with true labels, a line."""
    fig, ax = plt.subplots(figsize=(8, 3.6))
    ceiling = np.mean([r["test"][-1] for r in clean])
    ax.axvline(ceiling, color=C["black"], ls=":", lw=1.2)
    ax.text(ceiling, -0.65, "all labels true", ha="center", fontsize=11)
    for i, values in enumerate(rows.values()):
        ax.barh(i, np.mean(values), color=C["grey" if i == 0 else "sky"])
        ax.plot(values, [i] * len(values), "o", color=C["black"], ms=5)
    ax.set(yticks=range(len(rows)), yticklabels=rows, xlabel="test accuracy", xlim=(0, 1.02))
    ax.set_ylim(len(rows) - 0.5, -0.6)
    ax.set_title("30% wrong labels: what keeps the rule", loc="left")
    ax.grid(axis="y", visible=False)
    return fig


def tied(recorded, width, repeats):
    """Bits of exposure that the owner's name adds to a stranger's: (mean, standard error) over the recorded seeds."""
    runs = [r for r in recorded if r["width"] == width]
    more = [np.mean(r["exposure"][str(repeats)]) - np.mean(r["stranger"][str(repeats)]) for r in runs]
    return np.mean(more), np.std(more, ddof=1) / len(more) ** 0.5


def exposures(recorded, live):
    """Exposure against repetitions, and the part of it that belongs to the owner's name: recorded rows of
    `experiments.leaks.secrets`, live {repeats: [bits]}."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(11.5, 4.8), sharey=True)
    places, top = range(len(live)), np.log2(len(canaries.CODES))
    for width, color, mark, style in ((32, "orange", "^", ":"), (64, "green", "s", "--"), (128, "blue", "o", "-")):
        runs = [r["exposure"] for r in recorded if r["width"] == width]
        means = [np.mean([run[str(n)] for run in runs]) for n in live]
        added, error = zip(*(tied(recorded, width, n) for n in live))
        look = dict(color=C[color], marker=mark, ls=style, label=f"width {width}, mean of seeds")
        left.plot(places, means, **look)
        right.errorbar(places, added, error, capsize=3, **look)
    for place, (n, bits) in enumerate(live.items()):
        left.plot(
            [place] * len(bits), bits, "x", color=C["black"], ms=6, zorder=5, label=None if n else "secrets of this run"
        )
    for ax in (left, right):
        ax.axhline(top, color=C["black"], ls=":", lw=1.2)
        ax.set(xlabel="times the secret was said in training", xticks=places, xticklabels=live, ylim=(-0.6, 10.9))
    left.text(0, top + 0.2, "the first guess is right", fontsize=11)
    left.set(ylabel="exposure (bits)", title="Repetition decides what leaks ...")
    right.set(ylabel="bits added by the owner's name", title="... and size, whose it is")
    left.legend(loc="upper left", bbox_to_anchor=(0, 0.92))
    return fig


def ladder(rows):
    """{repeats: `memorization.Recitation`}: how a passage comes to be recited."""
    fig, ax = plt.subplots()
    places = range(len(rows))
    for name, label, color, mark, style in (
        ("token_accuracy", "next word right, given all before", "orange", "^", ":"),
        ("loose", "loose recall", "green", "s", "--"),
        ("strict", "strict recall: all words", "blue", "o", "-"),
    ):
        values = [getattr(r, name) for r in rows.values()]
        ax.plot(places, values, color=C[color], marker=mark, ls=style, label=label)
    ax.set(
        xticks=list(places), xticklabels=rows, xlabel="times the passage was in the training text", ylim=(-0.03, 1.05)
    )
    ax.set(ylabel="share", title="olmo2-tiny: a trace first, recitation later")
    ax.legend(loc="upper left")
    return fig


def guesses(scores, secret, count=5):
    """HTML list of the likeliest codes of a person with their probability; the secret one is marked."""
    lines = []
    for place in scores.topk(count).indices.tolist():
        code, share = canaries.CODES[place], scores[place].exp().item()
        text = html.escape(f"{' '.join(code)}   {share:.1%}")
        lines.append(f"<b>{text} &larr; the secret</b>" if code == secret.code else text)
    asked = html.escape(f"the code of {secret.person} is ... (said {secret.repeats} times in training)")
    return f"<p>{asked}</p><pre>" + "\n".join(lines) + "</pre>"


def found(rows, paper):
    """Markdown table of [(what, the paper's figure or None, recorded values or None, this run's or None)]; paper: its
    column's title."""
    lines = [f"| | {paper} | ours, {len(rows[0][2])} seeds: mean (range) | yours, this run |", "|---|---:|---:|---:|"]
    for what, theirs, ours, yours in rows:
        spread = f"{np.mean(ours):.3f} ({min(ours):.3f} to {max(ours):.3f})" if ours else "-"
        theirs, yours = ("-" if x is None else f"{x:.3f}" for x in (theirs, yours))
        lines.append(f"| {what} | {theirs} | {spread} | {yours} |")
    return "\n".join(lines)
