"""Figures of chapter 4."""

import matplotlib.pyplot as plt
import torch

from kfaclib.curvature.spectrum import spectral_density
from kfcourse.show.bands import band
from kfcourse.show.plots import COLORS


def labels(rows):
    """Two panels over training, from the rows of `fisher_labels`: the wrong labels' share of the trace, and the error
    of sampling.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2))
    epochs = sorted({r["epoch"] for r in rows})
    runs = lambda value: [[value(r) for r in rows if r["epoch"] == e] for e in epochs]
    band(left, runs(lambda r: r["wrong_share_data"]), "data's labels (empirical Fisher)", "orange", "^", "-.")
    band(left, runs(lambda r: r["wrong_share"]), "model's labels (Fisher)", "blue", "o", "-")
    left.axhline(0.1, color=COLORS["grey"], ls=":", label="their share of the images")
    for draws, *look in (("1", "red", "D", "-"), ("16", "sky", "s", "--"), ("64", "black", "o", ":")):
        band(right, runs(lambda r: r["sampled"][draws]), f"labels drawn per image: {draws}", *look)
    left.set(title="Curvature from the wrong labels", ylim=(0, 1), ylabel="share of the trace")
    right.set(title="Error of the sampled Fisher", yscale="log", ylabel="relative error")
    for ax in (left, right):
        ax.set(xlabel="epoch", xticks=range(len(epochs)), xticklabels=epochs)
        ax.legend()
    return fig


def spectra(runs, rows):
    """A column for each kind of labels: the density from runs {kind: [Tridiagonal]}, and below it the 16 largest
    eigenvalues of every seed in the rows of `spectra`."""
    fig, axes = plt.subplots(2, len(runs), figsize=(12, 6.4), sharex="row", sharey="row")
    grid = torch.linspace(-2, 26, 1500, dtype=torch.float64)
    for (kind, ts), upper, lower in zip(runs.items(), *axes, strict=True):
        upper.semilogy(grid, spectral_density(ts, grid, 0.15), color=COLORS["blue"])
        upper.set(title=kind if kind != "random" else "random labels", ylim=(1e-5, 10), xlabel="eigenvalue")
        for r in (r for r in rows if r["labels"] == kind):
            lower.semilogy(range(1, 17), r["top"][:16], marker="o", ms=4, lw=1.2, color=COLORS["black"])
        lower.axvspan(9, 10, color=COLORS["orange"], alpha=0.5)
        lower.set(xlabel="rank of the eigenvalue")
    axes[0, 0].set_ylabel("density")
    axes[1, 0].set_ylabel("eigenvalue (3 seeds)")
    return fig
