"""Drawings of chapter 01: the loss as a map, and two nets that are one function."""

import numpy as np
from matplotlib.patches import Circle, Rectangle

from kfcourse.show import drawing, plots
from kfcourse.show.plots import COLORS as C


def _height(x, y):
    """A made-up terrain over a map of 4 by 3.6: a bent valley with one lowest place near (2, 1.7)."""
    along, across = x - 2, y - 1.5 - 0.35 * np.sin(1.3 * (x - 1.4))
    return 0.11 * along**2 + 1.1 * across**2


def _net(ax, x, y):
    """A little net of two, three and one neurons with its lower left corner at (x, y)."""
    layers = [[(x, y + 0.65 + 0.8 * i) for i in range(2)], [(x + 1, y + 0.25 + 0.8 * i) for i in range(3)]]
    layers.append([(x + 2, y + 1.05)])
    for before, after in zip(layers, layers[1:]):
        for i, start in enumerate(before):
            for j, end in enumerate(after):
                ax.plot(*zip(start, end), color=C["blue"], lw=1 + 0.9 * ((3 * i + 2 * j) % 3), alpha=0.75, zorder=1)
    for place in sum(layers, []):
        ax.add_patch(Circle(place, 0.17, fc="white", ec=C["black"], lw=1.8, zorder=2))


def loss_as_map():
    """All weights of a net are one point of a map, the loss is the height there, and a line gives a slice."""
    fig, ax = drawing.canvas(14.6, 5.3, inches=11.5)
    top = 4.9
    drawing.note(ax, 1.35, top, "a net and its weights", size=14)
    _net(ax, 0.35, 1.55)
    drawing.note(ax, 1.35, 0.75, "P = 9 weights", size=12)

    column = np.array([[0.9], [0.3], [0.6], [0.2], [0.8], [0.5], [0.35], [0.7], [0.25]])
    drawing.arrow(ax, (2.65, 2.6), (3.25, 2.6))
    drawing.matrix(ax, 3.47, 1.03, column, cell=0.35)
    drawing.note(ax, 3.65, 0.75, r"$\theta$, shape $[P]$", size=12)

    left, low, width, height = 5.2, 1.05, 4.0, 3.3
    drawing.note(ax, left + width / 2, top, "one point of a map", size=14)
    u, v = np.meshgrid(np.linspace(0, width, 120), np.linspace(0, height, 100))
    ax.contourf(left + u, low + v, np.sqrt(_height(u, v)), levels=14, cmap="cividis")
    ax.add_patch(Rectangle((left, low), width, height, fc="none", ec=C["black"], lw=1.6))
    point, way = np.array([2.0, 1.75]), np.array([0.45, 0.89])
    ends = [point + t * way for t in (-1.7, 1.6)]
    ax.plot(*zip(*[(left + e[0], low + e[1]) for e in ends]), color="white", lw=2, ls=(0, (4, 1.8)))
    ax.plot(left + point[0], low + point[1], "o", ms=11, color=C["orange"], mec="black", mew=1.4, zorder=5)
    tip = (left + point[0] + 0.95 * way[0], low + point[1] + 0.95 * way[1])
    look = {"arrowstyle": "-|>", "color": "white", "lw": 3, "mutation_scale": 22, "shrinkA": 0, "shrinkB": 0}
    ax.annotate("", tip, (left + point[0], low + point[1]), arrowprops=look)
    ax.text(tip[0] + 0.2, tip[1] - 0.25, "v", color="white", fontsize=16, style="italic", weight="bold")
    drawing.arrow(ax, (3.95, 2.6), (left + point[0] - 0.22, low + point[1] - 0.02), color="orange", curve=-0.2)
    drawing.note(ax, left + width / 2, 0.75, "dark is low: the height is the loss", size=12)

    left, width = 10.4, 3.9
    drawing.note(ax, left + width / 2, top, "a slice along v", size=14)
    t = np.linspace(-1.55, 1.45, 120)
    profile = _height(point[0] + t * way[0], point[1] + t * way[1])
    across, up = lambda s: left + width / 2 + 1.15 * s, lambda z: low + 0.25 + 1.25 * z
    ax.plot(across(t), up(profile), color=C["black"], lw=2.8)
    drawing.arrow(ax, (left, low), (left + width + 0.15, low))
    drawing.arrow(ax, (left, low), (left, low + 3.4))
    ax.text(left + 0.14, low + 3.25, "loss", fontsize=12, va="center")
    for place, name, color in ((-0.85, r"$-h$", "red"), (0.0, r"$0$", "orange"), (0.85, r"$+h$", "red")):
        z = _height(point[0] + place * way[0], point[1] + place * way[1])
        ax.plot([across(place)] * 2, [low, up(z)], color=C["grey"], lw=1.4, ls=":")
        ax.plot(across(place), up(z), "o", ms=10, color=C[color], mec="black", mew=1.3, zorder=5)
        ax.text(across(place), low - 0.12, name, ha="center", va="top", fontsize=13)
    drawing.note(ax, left + width / 2, 0.3, "distance t from the point", size=12)
    drawing.arrow(ax, (left - 1.15, 2.6), (left - 0.15, 2.6))
    alt = (
        "Four stations from left to right: a small net; its weights written as one column theta of shape P; a contour "
        "map in which that column is a single point with an arrow v through it; and the loss along the line of v, a "
        "curve with marked heights at minus h, zero and plus h"
    )
    return plots.described(fig, alt)
