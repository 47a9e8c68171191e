"""Figures of chapter 07, editing a ViT."""

import matplotlib.pyplot as plt

from kfcourse.show.plots import COLORS, METHODS

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
    return fig


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
    return fig


def tradeoffs(seeds, target):
    """Recovered of the memorized against clean accuracy for every method, one line per seed, and the agreed clean
    accuracy.
    """
    fig, ax = plt.subplots(figsize=(8.5, 5))
    for method, (color, marker, line) in LINES.items():
        for k, seed in enumerate(seeds):
            points = sorted((c["clean"], c["recovered_of_memorized"]) for c in seed["curves"] if c["method"] == method)
            ax.plot(*zip(*points), line, marker=marker, color=COLORS[color], label=None if k else method, linewidth=1)
    ax.axvline(target, color=COLORS["black"], linewidth=1)
    ax.text(target, 0.97, "agreed price ", va="top", ha="right", transform=ax.get_xaxis_transform())
    ax.set(
        xlabel="clean training accuracy after the edit",
        ylabel="true label, of those memorized",
        title="what recovery costs",
        xlim=(0.8, 1.005),
        ylim=(0, 0.85),
    )
    ax.legend(loc="lower left")
    return fig


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
    return fig


def at_kfacs_price(seed, method):
    """(recovered by K-FAC, by `method`), of what was memorized, at K-FAC's clean accuracy on the reporting half: the
    other method's is read off its recorded curve, by linear interpolation. seed: one of the record's."""
    kfac = next(r for r in seed["rows"] if r["method"] == "K-FAC")["report"]
    curve = sorted((c["clean"], c["recovered_of_memorized"]) for c in seed["curves"] if c["method"] == method)
    for (low, before), (high, after) in zip(curve, curve[1:]):
        if low <= kfac["clean"] <= high:
            part = (kfac["clean"] - low) / (high - low)
            return kfac["recovered_of_memorized"], (1 - part) * before + part * after
    raise ValueError(f"{method}: no recorded point on both sides of a clean accuracy of {kfac['clean']:.3f}")


def ranks_price(record):
    """Where SVD stands in the record and what it would recover at K-FAC's price, each seed, as text."""
    clean = [r["choose"]["clean"] for s in record["seeds"] for r in s["rows"] if r["method"] == "SVD"]
    pairs = [at_kfacs_price(s, "SVD") for s in record["seeds"]]
    return (
        f"clean accuracy of SVD on the choosing half, for {record['target']} as agreed: "
        f"{', '.join(f'{x:.3f}' for x in clean)}\n"
        "recovered of memorized at K-FAC's own clean accuracy, K-FAC / SVD: "
        f"{', '.join(f'{kfac:.2f} / {svd:.2f}' for kfac, svd in pairs)}"
    )
