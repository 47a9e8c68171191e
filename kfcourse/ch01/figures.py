"""Figures of chapter 01, loss landscapes."""

import matplotlib.pyplot as plt
import numpy as np

from kfaclib.curvature import landscape
from kfcourse.show import plots
from kfcourse.show.plots import COLORS as C
from kfcourse.show.terrain import relief, terrain


def spread(values):
    """Several seeds in a few characters: "48 (46 to 51)"."""
    form = lambda x: f"{x:.0f}" if abs(x) >= 10 else f"{x:.3g}"
    return f"{form(sum(values) / len(values))} ({form(min(values))} to {form(max(values))})"


SWEEP = {"clean": "true labels", "clean, same loss": "true labels, same loss", "random": "every label wrong"}


def sweep(header, record):
    """A table in plain text of `experiments.landscape`'s record: means over the seeds for each kind of net."""
    tenth, fifth = record["steps"].index(0.1), record["steps"].index(0.2)
    lines = [f"{header[0]:24}" + "".join(f"{title:>{max(9, len(title) + 3)}}" for title in header[1:])]
    for kind, label in SWEEP.items():
        nets = [row[kind] for row in record["rows"]]
        rows = np.array([(n["loss"], n["slice"][tenth], n["slice"][fifth], n["norm"]) for n in nets])
        *losses, length = rows.mean(0)
        numbers = [f"{value:.3f}" for value in losses] + [f"{length:.1f}"]
        lines.append(f"{label:24}" + "".join(f"{x:>{max(9, len(title) + 3)}}" for x, title in zip(numbers, header[1:])))
    return "\n".join(lines)


def mean_rise(loss, params, ways, normalized, distance=0.2):
    """How far the loss rises at a distance along normalized(way, params), in the mean over `ways`."""
    heights = [landscape.loss_slice(loss, params, normalized(way, params), [distance]).item() for way in ways]
    return float(np.mean(heights)) - float(loss(params))


def found(record, factors, yours):
    """Rows of the chapter's last table, from `experiments.terrain`'s record and this run's five numbers."""
    at_edge = [row["seen"][-1][2] * row["rate"] for row in record["edges"]]
    between = [row for row in record["paths"] if row["labels"] == "wrong"]
    ours = {
        "rise of the loss at equal loss: every label wrong over true labels": factors["rise of the loss at 0.2"],
        "sharpness, the same comparison": factors["sharpness"],
        "sharpness times step size at the edge of stability": at_edge,
        "highest loss on the straight line between two memorizers": [row["line"] for row in between],
        "highest loss on the bent path between them": [row["bent"] for row in between],
    }
    return [[what, None, spread(values), mine] for (what, values), mine in zip(ours.items(), yours, strict=True)]


def toy(loss, walks):
    """Contours of loss(w1, w2) for a net of two weights, and walks {step size: [n, 2]} on it; the dashed line is where
    the loss is 0."""
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
    alt = (
        "Walks of gradient descent on a curved valley: from the same start a small step settles at the sharp end of "
        "the valley, and a large step jumps to a flatter part; a third walk from elsewhere ends near the middle"
    )
    return plots.described(fig, alt)


def edge(runs, recorded):
    """Sharpness during gradient descent: live runs {step size: [(step, loss, sharpness)]}, and recorded ones (rows of
    `experiments.terrain.edge` with their rate) as thin lines; the dotted lines are 2 over the step size."""
    fig, ax = plt.subplots()
    for (rate, seen), color, mark in zip(runs.items(), ("blue", "red"), "os"):
        for row in recorded:
            if row["rate"] == rate:
                ax.plot(*zip(*[(step, sharp) for step, _, sharp in row["seen"]]), color=C[color], lw=1, alpha=0.45)
        ax.plot(
            *zip(*[(step, sharp) for step, _, sharp in seen]), color=C[color], marker=mark, label=f"step size {rate}"
        )
        ax.axhline(2 / rate, color=C[color], ls=":", lw=1.6)
        ax.text(ax.get_xlim()[1], 2 / rate, f" 2 / {rate}", va="center", ha="left", color=C[color], fontsize=12)
    last = max(step for seen in runs.values() for step, *_ in seen)
    ax.set(xlabel="step of gradient descent", ylabel="sharpness", ylim=(0, 26), xlim=(-0.02 * last, 1.1 * last))
    for text, rate in zip(ax.texts, runs):
        text.set_position((1.02 * last, 2 / rate + 0.9))
    ax.set_title("The step size decides how sharp it may get")
    ax.legend(loc="lower left")
    alt = (
        "Sharpness during training by gradient descent with two step sizes: both runs begin at the same sharpness, and "
        "each comes to rest at its own dotted line, two over the step size; thin lines of other seeds do the same"
    )
    return plots.described(fig, alt)


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
    alt = (
        "Slices through two nets that compute the same function: left, along a plain random direction they look very "
        "different; right, along the filter-normalized direction their curves lie on each other"
    )
    return plots.described(fig, alt)


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
    alt = (
        "Two terrains of loss above a plane: with true labels a wide flat valley, with every label wrong a narrow pit "
        "with steep walls; a white line marks a loss of one"
    )
    return plots.described(fig, alt)


KINDS = {  # of `experiments.terrain`, from top to bottom: (label, colour)
    "every label wrong": ("every label wrong", "red"),
    "drawn at random": ("labels drawn at random", "red"),
    "wrong by a rule, same loss": ("all wrong by a rule, same loss", "green"),
    "true labels, same loss": ("true labels, same loss", "blue"),
    "true labels": ("true labels", "blue"),
    "true labels, as long": ("true labels, trained as long", "blue"),
}


def controls(rows, distance=1):
    """How far the loss rises, and the sharpness, for every kind of labels, a dot for each seed (both on log axes)."""
    fig, axes = plt.subplots(1, 2, figsize=(11, 4), sharey=True)
    measures = (("rise of the loss at 0.2", lambda r: r["rise"][distance]), ("sharpness", lambda r: r["sharpness"]))
    for ax, (title, value) in zip(axes, measures):
        for place, (kind, (_, color)) in enumerate(KINDS.items()):
            values = [value(row[kind]) for row in rows]
            ax.plot(values, [-place] * len(values), "o", color=C[color], ms=9, alpha=0.75)
        ax.set(xscale="log", title=title, ylim=(-len(KINDS) + 0.5, 0.5))
    axes[0].set_yticks([-place for place in range(len(KINDS))], [label for label, _ in KINDS.values()])
    alt = (
        "Two panels with a dot for each seed and a row for each kind of labels: the loss rises dozens of times further "
        "around nets whose labels follow no rule than around all others, while the sharpness of these nets is only a "
        "little above that of nets stopped at the same loss"
    )
    return plots.described(fig, alt)


def joined(places, panels):
    """{title: {"straight line": losses [n], "bent path": losses [n]}} over places [n] in [0, 1], side by side."""
    fig, axes = plt.subplots(1, len(panels), figsize=(5.2 * len(panels), 3.8), squeeze=False)
    for ax, (title, lines) in zip(axes[0], panels.items()):
        for (label, losses), color, style, mark in zip(lines.items(), ("red", "blue"), ("--", "-"), "so"):
            ax.plot(places, losses, color=C[color], ls=style, marker=mark, markevery=4, label=label)
        ax.set(title=title, xlabel="from the first net (0) to the second (1)", ylim=(0, None))
        ax.legend(loc="upper right")
    axes[0, 0].set_ylabel("loss")
    alt = (
        "The loss on the way from one trained net to another, with true labels and with every label wrong: on the "
        "straight line it rises to a ridge in the middle, on the bent path it stays low all the way"
    )
    return plots.described(fig, alt)


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
    alt = (
        "Left, the training walk in its own principal plane runs downhill to a star; right, in a random plane the same "
        "walk is a small tangle around the star"
    )
    return plots.described(fig, alt)


def pit(loss, params, plane, axis, grid):
    """The terrain around the net with every label wrong, to turn and to walk on."""
    alt = "The loss of the net with every label wrong over a plane, as a terrain to turn and to walk on"
    return terrain(loss, params, plane, axis, axis, grid, rate=0.01, steps=60, alt=alt)
