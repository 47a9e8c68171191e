"""Conceptual drawings in the course's style: boxes, arrows, matrices and vectors on a blank canvas.

Coordinates are units of the canvas; every function draws on the axes that `canvas` made and returns nothing.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

from kfcourse.show.plots import COLORS


def canvas(width: float = 10, height: float = 4, inches: float = 9):
    """(figure, axes) of a blank canvas, `width` by `height` units, without ticks; `inches` wide."""
    fig, ax = plt.subplots(figsize=(inches, inches * height / width))
    ax.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    ax.axis("off")
    return fig, ax


def box(ax, x, y, width, height, text="", color="blue", fill=0.12, size=13):
    """A rounded box with its lower left corner at (x, y) and text in its middle."""
    shade = (*plt.matplotlib.colors.to_rgb(COLORS[color]), fill)
    style = "round,pad=0,rounding_size=0.12"
    ax.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=style, ec=COLORS[color], fc=shade, lw=2))
    ax.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=size)


def arrow(ax, start, end, text="", color="black", curve=0.0, size=12, above=0.18, style="-|>"):
    """An arrow from `start` to `end`, (x, y) each, with text beside its middle."""
    connection = f"arc3,rad={curve}"
    ax.add_patch(
        FancyArrowPatch(start, end, arrowstyle=style, mutation_scale=16, lw=2, color=COLORS[color],
                        connectionstyle=connection, shrinkA=0, shrinkB=0)
    )  # fmt: skip
    middle = (np.asarray(start) + np.asarray(end)) / 2
    ax.text(middle[0], middle[1] + above, text, ha="center", va="bottom", fontsize=size, color=COLORS[color])


def matrix(ax, x, y, values, cell=0.4, color="blue", numbers=False, label="", size=12, largest=None):
    """A matrix as a grid of squares whose lower left corner is at (x, y): the larger an entry, the darker its square.

    values: [rows, columns].  numbers: also write the entries.  label: text below.  largest: what the darkest square
    stands for (default: the largest entry by magnitude), so that several matrices can share a scale.
    """
    values = np.atleast_2d(np.asarray(values, dtype=float))
    rows, columns = values.shape
    largest = largest or np.abs(values).max() or 1
    for i in range(rows):
        for j in range(columns):
            shade = (*plt.matplotlib.colors.to_rgb(COLORS[color]), 0.06 + 0.8 * min(1, abs(values[i, j]) / largest))
            corner = (x + j * cell, y + (rows - 1 - i) * cell)
            ax.add_patch(Rectangle(corner, cell, cell, fc=shade, ec="white", lw=1))
            if numbers:
                middle = (corner[0] + cell / 2, corner[1] + cell / 2)
                ax.text(*middle, f"{values[i, j]:g}", ha="center", va="center", fontsize=size - 1)
    ax.add_patch(Rectangle((x, y), columns * cell, rows * cell, fc="none", ec=COLORS[color], lw=1.8))
    if label:
        ax.text(x + columns * cell / 2, y - 0.12, label, ha="center", va="top", fontsize=size)


def note(ax, x, y, text, color="black", size=12, align="center"):
    """Text at (x, y)."""
    ax.text(x, y, text, ha=align, va="center", fontsize=size, color=COLORS[color])
