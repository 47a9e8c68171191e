"""Figures of chapter 5."""

import matplotlib.pyplot as plt

from kfcourse.show.bands import band
from kfcourse.show.plots import COLORS


def blocks(panels):
    """Matrices {name: [n, n]} side by side on one scale, with their relative distance to the first."""
    fig, axes = plt.subplots(1, len(panels), figsize=(9, 3.5))
    exact = next(iter(panels.values()))
    for ax, (name, matrix) in zip(axes, panels.items(), strict=True):
        ax.imshow(matrix.abs().sqrt(), vmin=0, vmax=exact.abs().sqrt().quantile(0.995), interpolation="nearest")
        ax.set(title=f"{name}\nerror {((matrix - exact).norm() / exact.norm()).item():.2f}", xticks=[], yticks=[])
        ax.grid(False)
    return fig


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
    return fig


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
    return fig
