"""Figures of chapter 01, loss landscapes."""

import matplotlib.pyplot as plt
import numpy as np

from kfcourse.show.plots import COLORS as C
from kfcourse.show.terrain import relief


def toy(loss, walks):
    """Contours of loss(w1, w2) for a net of two weights, and walks {label: [n, 2]} on it; the dashed line is where the
    loss is 0."""
    fig, ax = plt.subplots(figsize=(7.4, 5))
    w1, w2 = np.meshgrid(np.linspace(-0.2, 5, 160), np.linspace(-0.9, 2.6, 140))
    ax.contourf(w1, w2, np.sqrt(loss(w1, w2)), levels=24, cmap="cividis")
    bottom = np.linspace(1 / 2.6, 5, 200)
    ax.plot(bottom, 1 / bottom, color="white", ls="--", lw=1.6)
    for (label, path), color, mark in zip(walks.items(), (C["sky"], C["purple"], C["red"]), "s^o"):
        ax.plot(path[:, 0], path[:, 1], color=color, marker=mark, ms=5, lw=1.8, label=f"step size {label}")
    ax.set(
        xlabel="$w_1$",
        ylabel="$w_2$",
        xlim=(-0.2, 5),
        ylim=(-0.9, 2.6),
        title="A net of two weights: one valley, sharp at its ends",
    )
    ax.grid(False)
    ax.legend(loc="upper right", facecolor="white", frameon=True, framealpha=0.9)
    return fig


def slices(panels, steps):
    """{panel title: {label: losses [n]}} over `steps` [n], side by side."""
    fig, axes = plt.subplots(1, len(panels), figsize=(5.2 * len(panels), 4), squeeze=False)
    looks = ((C["blue"], "-", "o"), (C["red"], "--", "s"), (C["black"], ":", "^"))
    for ax, (title, lines) in zip(axes[0], panels.items()):
        for (label, losses), (color, style, mark) in zip(lines.items(), looks):
            ax.plot(steps, losses, color=color, ls=style, marker=mark, markevery=max(1, len(losses) // 8), label=label)
        ax.set(title=title, xlabel="distance along the direction")
        ax.legend()
    axes[0, 0].set_ylabel("loss")
    return fig


def terrains(grids, axis, cap=10.0):
    """{title: losses [n, n]} as mountains over contours of the same, one colour scale for all."""
    fig = plt.figure(figsize=(5.4 * len(grids), 7.2))
    x, y = np.meshgrid(axis, axis)
    for i, (title, grid) in enumerate(grids.items()):
        ax = fig.add_subplot(2, len(grids), i + 1, projection="3d")
        ax.plot_surface(x, y, relief(grid, cap).numpy(), cmap="cividis", vmin=0, vmax=1, rcount=60, ccount=60, lw=0)
        ax.set(title=title, zlim=(0, 1), xticks=[-1, 0, 1], yticks=[-1, 0, 1], zticks=[])
        ax.view_init(38, -60)
        ax = fig.add_subplot(2, len(grids), len(grids) + i + 1)
        filled = ax.contourf(
            x, y, grid.clamp(1e-3, cap).numpy(), levels=[0, 0.1, 0.3, 1, 3, cap], cmap="cividis", norm="symlog"
        )
        ax.contour(x, y, grid.numpy(), levels=[1], colors="white", linewidths=2)
        ax.set(aspect="equal", xticks=[-1, 0, 1], yticks=[-1, 0, 1])
        ax.grid(False)
        fig.colorbar(filled, ax=ax, label="loss", format="%g")
    return fig


def seeds(rows, steps):
    """Mean slices of every seed: rows are [{kind: {"slice": [n]}}]."""
    fig, ax = plt.subplots()
    for kind, color, style in (("random", "red", "--"), ("clean, same loss", "green", "-."), ("clean", "blue", "-")):
        for i, row in enumerate(rows):
            ax.plot(
                steps,
                row[kind]["slice"],
                color=C[color],
                ls=style,
                lw=1.6,
                label=f"{kind} labels"
                if i == 0 and "," not in kind
                else ("clean labels, stopped at the same loss" if i == 0 else None),
            )
    ax.set(
        xlabel="distance along filter-normalised directions",
        ylabel="loss",
        ylim=(0, 8),
        title="Five nets each: the pit and the valley",
    )
    ax.legend(loc="upper center")
    return fig


def walk(grid, x, y, path, plane_share, random_path, random_share):
    """Training as a walk: in its own principal plane over the terrain, and in a random plane."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4))
    levels = [0, 0.02, 0.05, 0.1, 0.3, 1, 2, 3, 5, 10]
    filled = left.contourf(x, y, grid.clamp(max=10).numpy(), levels=levels, cmap="cividis", norm="symlog")
    fig.colorbar(filled, ax=left, label="loss", format="%g")
    left.plot(path[:, 0], path[:, 1], color="white", marker="o", ms=5, lw=1.6)
    left.plot(*path[-1], marker="*", ms=16, color=C["orange"], markeredgecolor="black", ls="")
    left.set(title=f"its own plane: {plane_share:.0%} of the way", xlabel="first direction", ylabel="second")
    right.plot(random_path[:, 0], random_path[:, 1], color=C["black"], marker="o", ms=5, lw=1.6)
    right.plot(*random_path[-1], marker="*", ms=16, color=C["orange"], markeredgecolor="black", ls="")
    right.set(title=f"a random plane: {random_share:.1%} of it", xlabel="first direction", aspect="equal")
    right.set(xlim=(left.get_xlim()), ylim=(left.get_ylim()))
    left.grid(False)
    return fig
