"""Figures of chapter 4."""

import matplotlib.pyplot as plt
import torch

from kfaclib.curvature.spectrum import lanczos, ritz, spectral_density
from kfcourse.show import plots
from kfcourse.show.bands import band
from kfcourse.show.plots import COLORS

RECORDED = {  # what a kind of labels is called in the record
    "true labels": "clean",
    "pixel means removed": "clean, centred pixels",
    "true labels, 30 epochs": "clean, longer",
    "a tenth of labels wrong": "a tenth wrong",
    "every label wrong": "random",
}


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
    return plots.described(
        fig,
        "Left: under the data's labels the wrongly labeled tenth of the images soon carries most of the trace; under "
        "the model's labels it carries its fair tenth at first and more than a third at the end. Right: the error of "
        "the sampled Fisher grows several times during training, for any number of draws.",
    )


def spectra(runs, rows):
    """A column for each kind of labels: the density from runs {kind: [Tridiagonal]}, and below it the 16 largest
    eigenvalues of every seed in the rows of `spectra`."""
    fig, axes = plt.subplots(2, len(runs), figsize=(12, 6.4), sharex="row", sharey="row")
    grid = torch.linspace(-2, 26, 1500, dtype=torch.float64)
    for (kind, ts), upper, lower in zip(runs.items(), *axes, strict=True):
        upper.semilogy(grid, spectral_density(ts, grid, 0.15), color=COLORS["blue"])
        upper.set(title=kind, ylim=(1e-5, 10), xlabel="eigenvalue")
        for r in (r for r in rows if r["labels"] == RECORDED[kind]):
            lower.semilogy(range(1, 17), r["top"][:16], marker="o", ms=4, lw=1.2, color=COLORS["black"])
        lower.axvspan(9, 10, color=COLORS["orange"], alpha=0.5)
        lower.set(xlabel="rank of the eigenvalue")
    axes[0, 0].set_ylabel("density")
    axes[1, 0].set_ylabel("eigenvalue (3 seeds)")
    return plots.described(
        fig,
        "Three columns: true labels, true labels with the pixels' means removed, every label wrong. Upper row, the "
        "density: a peak at zero, and for true labels separate bumps to the right. Lower row, the 16 largest "
        "eigenvalues: a clear step after the ninth for true labels, marked; no step without the pixels' means; hardly "
        "one where every label is wrong.",
    )


def sample_sizes(sizes, errors):
    """Errors {whose labels: [one for each number of examples]} against the number of examples, both logarithmic."""
    fig, ax = plt.subplots(figsize=(8, 4.2))
    looks = (("blue", "o", "-"), ("orange", "^", "-."), ("red", "s", "--"))
    for (name, values), (color, marker, line) in zip(errors.items(), looks, strict=False):
        ax.loglog(sizes, values, color=COLORS[color], marker=marker, ls=line, label=name)
    ax.set(xlabel="examples", ylabel="relative error against the Fisher", xticks=sizes, xticklabels=sizes)
    ax.set(yticks=(0.02, 0.05, 0.1, 0.2, 0.5, 1), yticklabels=(0.02, 0.05, 0.1, 0.2, 0.5, 1))
    ax.minorticks_off()
    ax.legend()
    return plots.described(
        fig,
        "Relative error against the exact Fisher for a growing number of examples, one label each. With labels drawn "
        "from the model the error falls steadily to a few hundredths. With labels of the data it stays where it is, "
        "for a rule and for coin flips; with few examples the coin flips cannot be told from drawn labels.",
    )


def ritz_paths(matvec, start, exact, steps):
    """The eigenvalues of T after each step, with the right angles kept and with them lost, beside the exact ones."""
    fig, axes = plt.subplots(1, 2, figsize=(11, 4.4), sharey=True)
    for ax, keep in zip(axes, (True, False), strict=True):
        for value in exact:
            ax.axhline(value, color=COLORS["grey"], lw=0.6, alpha=0.5)
        for step in range(1, steps + 1):
            values = ritz(lanczos(matvec, start, step, reorthogonalize=keep))[0]
            ax.plot([step] * len(values), values, ls="", marker="o", ms=4, color=COLORS["blue" if keep else "red"])
        title = "right angles kept" if keep else "right angles lost: ghosts"
        ax.set(title=title, xlabel="step")
    axes[0].set_ylabel("eigenvalues of T")
    return plots.described(
        fig,
        "Eigenvalues of T against the number of steps; grey lines are the exact eigenvalues. Left, with right angles "
        "kept: the outermost lines are reached within a few steps and then stay, one point on each. Right, with right "
        "angles lost to rounding: further copies appear, wander upward and settle on the largest lines again.",
    )
