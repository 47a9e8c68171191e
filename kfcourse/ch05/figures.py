"""Figures of chapter 5."""

import matplotlib.pyplot as plt

from kfcourse.show import plots
from kfcourse.show.bands import band
from kfcourse.show.plots import COLORS


def with_numbers(panels):
    """Small matrices {name: [n, n]} side by side on one scale, blue above zero and orange below, with their entries."""
    fig, axes = plt.subplots(1, len(panels), figsize=(11.5, 4.3))
    largest = max(matrix.abs().max().item() for matrix in panels.values())
    shades = plt.matplotlib.colors.LinearSegmentedColormap.from_list("", [COLORS["orange"], "white", COLORS["sky"]])
    for ax, (name, matrix) in zip(axes, panels.items(), strict=True):
        ax.imshow(matrix, cmap=shades, vmin=-largest, vmax=largest)
        for i, row in enumerate(matrix.tolist()):
            for j, value in enumerate(row):
                text = f"{value:.1f}".replace("-0.0", "0.0").removesuffix(".0")
                ax.text(j, i, text, ha="center", va="center", fontsize=11.5)
        ax.set(title=name, xticks=[], yticks=[])
        ax.grid(False)
        ax.axhline(2.5, color=COLORS["black"], lw=1)
        ax.axvline(2.5, color=COLORS["black"], lw=1)
    return plots.described(
        fig,
        "Three six by six matrices of numbers. The exact Fisher block of the three tokens has large entries and many "
        "zeros; K-FAC's product has no zeros, and its largest entries are half as large; the difference of the two has "
        "entries of the same size.",
    )


def blocks(panels):
    """Matrices {name: [n, n]} side by side on one scale, with their relative distance to the first."""
    fig, axes = plt.subplots(1, len(panels), figsize=(9, 3.9))
    exact = next(iter(panels.values()))
    for ax, (name, matrix) in zip(axes, panels.items(), strict=True):
        ax.imshow(matrix.abs().sqrt(), vmin=0, vmax=exact.abs().sqrt().quantile(0.995), interpolation="nearest")
        ax.set(title=f"{name}\nerror {((matrix - exact).norm() / exact.norm()).item():.2f}", xticks=[], yticks=[])
        ax.grid(False)
    return plots.described(
        fig,
        "Three curvature blocks of 160 by 160 entries, for the last layer of a trained digit net. The exact block has "
        "bright squares along the diagonal, one for each class, each with a pattern of its own. K-FAC repeats one "
        "pattern in all squares; EK-FAC is closer to the exact block and still smoother than it.",
    )


def training(rows):
    """Two panels over training, from the rows of `kfac_error`: the error in the last layer, and what a tenth of
    directions carries in the first.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2))
    rows = [r for r in rows if not r["centred"]]
    epochs = sorted({r["epoch"] for r in rows})
    runs = lambda layer, value: [[value(r) for r in rows if (r["epoch"], r["layer"]) == (e, layer)] for e in epochs]
    band(left, runs(2, lambda r: r["K-FAC"]), "K-FAC", "blue", "o", "-")
    band(left, runs(2, lambda r: r["EK-FAC"]), "EK-FAC", "sky", "s", "--")
    for name, *look in (
        ("the exact eigenvectors", "black", "o", ":"),
        ("EK-FAC", "sky", "s", "--"),
        ("K-FAC", "blue", "o", "-"),
        ("single weights", "orange", "^", "-."),
    ):
        band(right, runs(0, lambda r: r["captured"][name]), name, *look)
    left.set(title="Error of the matrix (last layer)", ylim=(0, 0.75), ylabel="relative error")
    right.set(title="Curvature in a tenth of directions (first layer)", ylim=(0, 1), ylabel="share of the trace")
    for ax in (left, right):
        ax.set(xlabel="epoch", xticks=range(len(epochs)), xticklabels=epochs)
        ax.legend()
    return plots.described(
        fig,
        "Left: in the last layer the relative error of K-FAC rises from almost zero within five epochs and stays high; "
        "the error of EK-FAC is slightly lower. Right: a tenth of the directions holds nearly all curvature if they "
        "are the exact eigenvectors, a little less for K-FAC and EK-FAC, and about a quarter for single weights.",
    )


def bills(sizes):
    """Bars in bytes for {model: (whole block, A and G, weight)} on a logarithmic axis."""

    def readable(n):
        return f" {n / 1e6:,.1f} MB" if n < 1e9 else f" {n / 1e9:,.0f} GB" if n < 1e15 else f" {n / 1e15:,.1f} PB"

    fig, ax = plt.subplots(figsize=(9, 4))
    for k, (what, color, hatch) in enumerate(
        [("the whole block", "red", ""), ("A and G", "blue", "//"), ("the weight itself", "grey", "..")]
    ):
        numbers = [b[k] for b in sizes.values()]
        bars = ax.barh(
            [i + 0.27 * (1 - k) for i in range(len(sizes))],
            numbers,
            height=0.25,
            color=COLORS[color],
            hatch=hatch,
            edgecolor="white",
            label=what,
        )
        ax.bar_label(bars, [readable(n) for n in numbers])
    ax.set(
        xscale="log",
        xlim=(1e5, 3e18),
        xlabel="bytes, float32",
        yticks=range(len(sizes)),
        yticklabels=list(sizes),
        title="One up-projection and its curvature",
    )
    ax.legend(loc="lower right")
    return plots.described(
        fig,
        "Bars on a logarithmic axis for three model sizes. The whole curvature block of one layer grows from tens of "
        "gigabytes to petabytes; A and G together stay within megabytes, a few times the weight itself.",
    )
