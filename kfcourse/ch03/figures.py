"""Figures of chapter 03, grokking."""

import matplotlib.pyplot as plt
import numpy as np
import torch

from kfcourse.show.plots import COLORS as C


def _quiet(ax):
    ax.set(xticks=[], yticks=[])
    ax.grid(False)


def grok(curve, others):
    """The run: curve is [(step, train accuracy, test accuracy)], others the recorded seeds' test curves [[(step,
    accuracy)]]."""
    fig, ax = plt.subplots()
    steps, train, test = zip(*curve)
    for i, other in enumerate(others):
        ax.plot(*zip(*other), color=C["grey"], lw=1, alpha=0.7, label="test, other seeds" if i == 0 else None)
    ax.plot(steps, train, color=C["orange"], ls="--", label="training pairs")
    ax.plot(steps, test, color=C["blue"], label="test pairs, never seen")
    ax.axvspan(
        next(s for s, a, _ in curve if a > 0.99),
        next((s for s, _, a in curve if a > 0.95), steps[-1]),
        color=C["grey"],
        alpha=0.12,
    )
    ax.set(
        xlabel="training step",
        ylabel="share answered right",
        ylim=(-0.02, 1.04),
        title="Memorized at once, understood much later",
    )
    ax.legend(loc="center left")
    return fig


def answer_maps(maps, train):
    """{step: bool [p, p] of right answers} as pictures; the training pairs [n, 2] are the bright dots that never
    change."""
    fig, axes = plt.subplots(1, len(maps), figsize=(3.1 * len(maps), 3.4), squeeze=False)
    for ax, (step, right) in zip(axes[0], maps.items()):
        picture = np.where(right, 0.45, 0.0)
        picture[train[:, 0], train[:, 1]] = np.where(right[train[:, 0], train[:, 1]], 1.0, 0.0)
        ax.imshow(picture, cmap="cividis", vmin=0, vmax=1, interpolation="nearest")
        ax.set(title=f"step {step}", xlabel="b", ylabel="a")
        _quiet(ax)
    return fig


def neurons(early, late, p, titles=("memorized", "understood")):
    """One column of U and its spectrum, early and late: [p] each."""
    fig, axes = plt.subplots(2, 2, figsize=(9.5, 4.6), width_ratios=[1.7, 1])
    for row, (weight, title) in enumerate(zip((early, late), titles)):
        power = np.abs(np.fft.rfft(weight))[1:] ** 2
        color = C["orange"] if row == 0 else C["blue"]
        axes[row, 0].plot(weight, color=color, lw=1.6)
        axes[row, 0].set(ylabel=title, xticks=range(0, p, 16))
        axes[row, 1].bar(range(1, len(power) + 1), power / power.sum(), color=color)
        axes[row, 1].set(ylim=(0, 1))
    axes[0, 0].set_title("What a neuron adds for each number a")
    axes[0, 1].set_title("Share of power")
    axes[1, 0].set_xlabel("a")
    axes[1, 1].set_xlabel("frequency")
    return fig


def progress(rows):
    """{step: {"test", "restricted", "leak", "excluded"}}: what the test accuracy does not show."""
    fig, ax = plt.subplots()
    steps = list(rows)
    for name, label, color, style, mark in (
        ("leak", "mean over ALL pairs (leaks)", "grey", ":", "v"),
        ("restricted", "mean over test pairs: the circuit", "green", "-", "s"),
        ("test", "test accuracy", "blue", "-", "o"),
        ("excluded", "training pairs without the circuit", "orange", "--", "^"),
    ):
        ax.plot(steps, [rows[s][name] for s in steps], color=C[color], ls=style, marker=mark, label=label)
    ax.set(
        xlabel="training step",
        ylabel="share right",
        ylim=(-0.04, 1.06),
        title="The circuit is there before the answers are",
    )
    ax.legend(loc="lower right")
    return fig


def curvature(recorded, never, live):
    """Three panels over the steps.  recorded and never (the control): one {step: {top, effective_rank, ratio}} per
    seed; live: {step: `grokking.Curvature`} of this run."""
    fig, axes = plt.subplots(1, 3, figsize=(12, 4.2))
    panels = (
        ("top", "sharpness (top eigenvalue)", "red"),
        ("effective_rank", "effective rank", "blue"),
        ("ratio", "single pair / average", "purple"),
    )
    for ax, (name, title, color) in zip(axes, panels):
        for i, rows in enumerate(recorded):
            label = "generalizes" if i == 0 else None
            ax.plot(list(rows), [r[name] for r in rows.values()], color=C["grey"], lw=1.3, label=label)
        for i, rows in enumerate(never):
            label = "never does (control)" if i == 0 else None
            ax.plot(list(rows), [r[name] for r in rows.values()], color=C["black"], lw=1.6, ls="--", label=label)
        ax.plot(
            list(live), [getattr(c, name) for c in live.values()], color=C[color], marker="o", ls="", label="this run"
        )
        ax.set(title=title, xlabel="training step", ylim=(0, None))
        ax.legend()
    return fig


def confidence(recorded, live):
    """Raw sharpness (log) and test accuracy of the cross-entropy net: recorded and live as {step: (top, test
    accuracy)}."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.9))
    for rows in recorded:
        left.semilogy(list(rows), [v[0] for v in rows.values()], color=C["grey"], lw=1.4)
        right.plot(list(rows), [v[1] for v in rows.values()], color=C["grey"], lw=1.4)
    left.semilogy(list(live), [v[0] for v in live.values()], color=C["red"], marker="o", ls="")
    right.plot(list(live), [v[1] for v in live.values()], color=C["blue"], marker="o", ls="")
    for ax in (left, right):
        ax.axvline(1000, color=C["black"], ls=":", lw=1.4)
    left.set(title="sharpness, cross-entropy", xlabel="training step")
    right.set(title="test accuracy", xlabel="training step", ylim=(-0.02, 1.04))
    return fig


def edit(recorded, live):
    """Test accuracy before and after the edit and its control: recorded is one {step: (before, edit, random)} per
    seed."""
    fig, ax = plt.subplots()
    steps = list(recorded[0])
    mean = np.array([[rows[s] for s in steps] for rows in recorded]).mean(0)
    for column, (label, color, style) in enumerate(
        (("before", "black", ":"), ("K-FAC edit of W", "blue", "-"), ("random subspace, same rank", "red", "--"))
    ):
        ax.plot(steps, mean[:, column], color=C[color], ls=style, label=label + ", mean of seeds")
        for rows in recorded:
            ax.plot(steps, [rows[s][column] for s in steps], color=C[color], ls=style, lw=0.8, alpha=0.45)
    ax.plot(list(live), [v[1] for v in live.values()], color=C["blue"], marker="o", ls="", label="edit, this run")
    ax.set(
        xlabel="edited at training step",
        ylabel="test accuracy",
        ylim=(-0.02, 1.04),
        title="The edit tips the balance once a circuit exists",
    )
    ax.legend(loc="lower right")
    return fig


def right_answers(params, forward, p):
    """bool [p, p] as an array: which (a, b) of the whole table the network answers right."""
    pairs = torch.cartesian_prod(torch.arange(p), torch.arange(p))
    with torch.no_grad():
        return (forward(params, pairs).argmax(1) == pairs.sum(1) % p).view(p, p).numpy()
