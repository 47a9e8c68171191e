"""Figures of chapter 07, editing a ViT."""

import matplotlib.pyplot as plt
import numpy as np

from kfaclib.lm import intervals
from kfcourse.show import tables
from kfcourse.show.plots import COLORS, METHODS, described
from kfcourse.show.tables import spread

LINES = {
    **{m: METHODS[m] for m in ("K-FAC", "SVD", "random basis")},
    "magnitude": ("green", "s", "--"),
    "random noise": ("grey", "x", "-."),
}
OUTCOMES = {
    "recovered": ("\N{CHECK MARK}", "blue"),
    "wrong": ("\N{BALLOT X}", "red"),
    "other": ("?", "grey"),
}  # mark and colour


def outcome(said, given, true):
    """What became of an image: "recovered" (it gets its true label), "wrong" (still the wrong one it was given) or
    "other"."""
    return "recovered" if said == true else "wrong" if said == given else "other"


def wall(x, given, true, answers, columns=8):
    """Mislabelled images x [N, 1, H, W], one panel for each entry of answers {title: said [N]}: framed and marked by
    their outcome.
    """
    rows = -(-len(x) // columns)
    fig, panels = plt.subplots(1, len(answers), figsize=(5.4 * len(answers), 0.78 * rows + 0.7), squeeze=False)
    for ax, (title, said) in zip(panels[0], answers.items()):
        for i, image in enumerate(x[:, 0]):
            left, top = (i % columns) * 1.3, -(i // columns) * 1.55
            mark, color = OUTCOMES[outcome(said[i], given[i], true[i])]
            ax.imshow(image, cmap="gray_r", extent=(left, left + 1, top - 1, top), zorder=1)
            ax.add_patch(
                plt.Rectangle(
                    (left, top - 1),
                    1,
                    1,
                    fill=False,
                    edgecolor=COLORS[color],
                    linewidth=3 if mark != "?" else 1.5,
                    zorder=2,
                )
            )
            ax.text(
                left + 0.5,
                top - 1.24,
                f"{mark} {said[i]}",
                ha="center",
                va="center",
                color=COLORS[color],
                fontsize=11,
                fontweight="bold",
            )
        count = sum(outcome(s, g, t) == "recovered" for s, g, t in zip(said, given, true))
        ax.set(
            xlim=(-0.2, columns * 1.3),
            ylim=(-rows * 1.55 + 0.05, 0.2),
            title=f"{title}: {count} of {len(x)} recovered",
            aspect="equal",
        )
        ax.axis("off")
    counts = ", ".join(
        f"{sum(outcome(s, g, t) == 'recovered' for s, g, t in zip(said, given, true))} of {len(x)} at {title}"
        for title, said in answers.items()
    )
    return described(fig, f"Walls of mislabelled digits with the model's answer under each. True labels: {counts}.")


def training(logs):
    """Share of mislabelled images that get their wrong and their true label, and test accuracy, through training; one
    line per log.
    """
    fig, axes = plt.subplots(1, 2, figsize=(10, 4))
    for log in logs:
        epochs = [line["epoch"] for line in log]
        axes[0].plot(epochs, [line["recovered"] for line in log], "-", color=COLORS["blue"], label="true label")
        axes[0].plot(epochs, [line["memorized"] for line in log], "--", color=COLORS["red"], label="wrong label")
        axes[1].plot(epochs, [line["test"] for line in log], "-", color=COLORS["black"])
    handles, labels = axes[0].get_legend_handles_labels()
    axes[0].legend(handles[:2], labels[:2], loc="center left")
    axes[0].set(
        xlabel="epoch",
        ylabel="share of mislabelled images",
        title="first the truth, then the label",
        ylim=(-0.02, 1.02),
    )
    axes[1].set(xlabel="epoch", ylabel="test accuracy", title="and what that costs")
    return described(
        fig,
        "Left: the share of mislabelled images called by their true label is high early in training and falls, while "
        "the share called by their wrong label rises; the lines cross in the second half. Right: test accuracy peaks "
        "early and falls as memorization sets in. Three seeds agree.",
    )


def curve(seed, method, clean):
    """Recovered of the memorized at the clean accuracies `clean`, read off a seed's recorded curve of a method."""
    points = sorted((c["clean"], c["recovered_of_memorized"]) for c in seed["curves"] if c["method"] == method)
    return np.interp(clean, *zip(*points, strict=True), left=np.nan, right=np.nan)


def tradeoffs(seeds, target):
    """What recovery costs: K-FAC beside one control in each panel, mean and range over seeds, and the price."""
    fig, axes = plt.subplots(2, 2, figsize=(10, 7), sharex=True, sharey=True)
    clean = np.linspace(0.85, 0.99, 29)
    for ax, method in zip(axes.flat, [m for m in LINES if m != "K-FAC"], strict=True):
        for name in ("K-FAC", method):
            color, _, line = LINES[name]
            runs = np.array([curve(seed, name, clean) for seed in seeds])
            ax.plot(clean, runs.mean(0), ls=line, color=COLORS[color], label=name)
            ax.fill_between(clean, runs.min(0), runs.max(0), color=COLORS[color], alpha=0.18, lw=0)
        ax.axvline(target, color=COLORS["black"], lw=1, ls=":")
        ax.set_title(f"K-FAC and {method}")
        ax.legend(loc="lower left")
    axes[0, 0].text(target - 0.002, 0.72, "agreed price", ha="right", fontsize=11)
    axes[0, 0].set(xlim=(0.85, 0.99), ylim=(0, 0.8))
    fig.supxlabel("clean accuracy after the edit (right: less damage)", fontsize=13)
    fig.supylabel("true label, of those memorized", fontsize=13)
    return described(
        fig,
        "Four panels, each with K-FAC and one control: true labels recovered against clean accuracy, mean and range "
        "over three seeds. At the agreed price K-FAC's band lies above that of SVD, the random basis, magnitude and "
        "noise. Towards more damage the bands of the random basis, of magnitude and of SVD come closer.",
    )


def lottery(traces, expected, drawn):
    """Left: the trace of G from one label per image, draw by draw, and its expectation. Right: which share of the trace
    the images hold in one draw on a net, the heaviest first; drawn: |g|^2 of every image [N]."""
    fig, axes = plt.subplots(1, 2, figsize=(11, 4.2))
    axes[0].bar(range(len(traces)), traces, color=COLORS["blue"])
    axes[0].axhline(expected, color=COLORS["red"], ls="--", label="expectation")
    axes[0].set(xlabel="draw", ylabel="trace of G", title="four images, forty draws")
    axes[0].legend()
    held = drawn.sort(descending=True)[0].cumsum(0) / drawn.sum()
    axes[1].plot(range(1, len(held) + 1), held, color=COLORS["blue"])
    axes[1].set(xscale="log", xlabel="images, the heaviest first", ylabel="share of the trace", ylim=(0, 1.03))
    axes[1].set_xticks([1, 10, 100, 1000], ["1", "10", "100", "1000"])
    axes[1].set_title("one draw on the ViT")
    return described(
        fig,
        "Left: forty bars, most of them nearly invisible, and a few many times higher than the dashed line of the "
        "expectation. Right: a curve that rises from a percent or two for one image to most of the trace for a "
        "hundred of two thousand images.",
    )


def by_siblings(back, siblings):
    """Show the share of images that got their true label by how many other copies of the same digit had theirs.

    back: {method: bool [n]}; siblings: int [n].
    """
    lines = []
    for count in sorted(set(siblings.tolist())):
        here = siblings == count
        cells = [_interval(got[here]) for got in back.values()]
        lines.append([count, int(here.sum()), *(f"{mean:.2f} ({low:.2f} to {high:.2f})" for mean, low, high in cells)])
    header = ["other copies with the right label", "images", *(f"recovered, {method} (95 %)" for method in back)]
    tables.table(header, lines)


def _interval(got):
    """(share, low, high) of a bool tensor, 95 %."""
    return got.double().mean().item(), *intervals.share(int(got.sum()), len(got))


def copies_answer(got, siblings):
    """("more often", "about as often" or "less often", why): images with two or more other copies that had their right
    label, beside those with fewer. "About as often" where either share lies within the other's interval.

    got: bool [n], which images got their true label; siblings: int [n].
    """
    many = siblings >= 2
    (most, *of_most), (few, *of_few) = _interval(got[many]), _interval(got[~many])
    because = (
        f"Two or more other copies right: {most:.2f} ({of_most[0]:.2f} to {of_most[1]:.2f}); "
        f"fewer: {few:.2f} ({of_few[0]:.2f} to {of_few[1]:.2f})."
    )
    if of_most[0] <= few <= of_most[1] or of_few[0] <= most <= of_few[1]:
        return "about as often", because
    return ("more often" if most > few else "less often"), because


def estimates(seeds, overconfident, names):
    """Recovered of the memorized at the agreed clean accuracy for ways to estimate curvature, one point per seed and
    draw.
    """
    fig, axes = plt.subplots(1, 2, figsize=(11, 0.5 * len(names) + 1.5), sharey=True)
    for ax, group, title in ((axes[0], seeds, "trained with noise"), (axes[1], [overconfident], "overconfident")):
        for k, name in enumerate(names):
            for seed in group:
                rows = [r["report"] for r in seed["estimates"]["rows"] if r["estimate"] == name]
                values = [r["recovered_of_memorized"] for r in rows]
                ax.plot(values, [k] * len(rows), "o", color=COLORS["blue"], markersize=9, alpha=0.8)
        ax.set(xlabel="true label, of those memorized", title=title, xlim=(0, 0.8))
        ax.set_yticks(range(len(names)), names)
    axes[0].invert_yaxis()
    return described(
        fig,
        "True labels recovered at matched clean accuracy for six ways to estimate the curvature. For nets trained with "
        "noise, one draw on clean images scatters below the exact expectation; the CLS token alone is lowest. The "
        "overconfident net recovers less throughout.",
    )


LABELS = {
    "memorized": "wrong labels repeated",
    "recovered": "true labels, of all mislabelled",
    "recovered_of_memorized": "true labels, of those memorized",
    "clean": "clean training images",
    "test": "test images",
}


def found(record, paper, before, rows):
    """Rows of the chapter's last table: (what, paper, ours, yours).

    paper: rows of paper_vit.json; before: `vit.measure` of this run's model; rows: this run's table at one price.
    """
    theirs = {row["method"]: row for row in paper}
    mine = {"baseline": before, **{row["method"]: row for row in rows}}
    lines = []
    for method in ("baseline", "K-FAC", "SVD", "random basis", "magnitude", "random noise"):
        for key, label in LABELS.items():
            if method == "baseline":
                ours = [seed["before"]["report"][key] for seed in record["seeds"]]
            else:
                ours = [r["report"][key] for seed in record["seeds"] for r in seed["rows"] if r["method"] == method]
            lines.append((f"{method}: {label}", theirs.get(method, {}).get(key), spread(ours), mine[method][key]))
    best = [max(line["test"] for line in seed["training"]) for seed in record["seeds"]]
    lines.append(("stopped at the best test accuracy: test images", None, spread(best), None))
    return lines
