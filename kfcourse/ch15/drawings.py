"""Drawings of chapter 15: programs over a vector, and one tile of X^T X."""

import matplotlib.pyplot as plt
from matplotlib.patches import Rectangle

from kfcourse.show import plots
from kfcourse.show.drawing import arrow, box, canvas, note
from kfcourse.show.plots import COLORS

SHADES = ("blue", "green", "purple")


def _cell(ax, x, y, text, color, size=0.72, hatch=""):
    shade = (*plt.matplotlib.colors.to_rgb(COLORS[color]), 0.25 if not hatch else 0.05)
    ax.add_patch(Rectangle((x, y), size, size, fc=shade, ec=COLORS[color], lw=1.3, hatch=hatch))
    ax.text(x + size / 2, y + size / 2, text, ha="center", va="center", fontsize=12)


def programs(n=10, block=4, behind=4):
    """A vector of n numbers, cut into blocks of one program each, and the memory behind it."""
    fig, ax = canvas(13, 5.2, inches=10.5)
    left, step = 1.1, 0.8
    for name, y in (("x", 3.3), ("y", 0.75)):
        note(ax, left - 0.5, y + 0.36, name, size=16)
        for i in range(n + behind):
            color = SHADES[i // block] if i < n else "grey"
            _cell(ax, left + i * step, y, f"{i}" if i < n else "", color, hatch="" if i < n else "///")
    for p in range(-(-n // block)):
        x = left + p * block * step
        box(ax, x + 0.2, 1.95, block * step - 0.5, 0.75, f"program {p}", SHADES[p], size=13)
        middle = x + block * step / 2 - 0.05
        arrow(ax, (middle, 3.25), (middle, 2.75), color=SHADES[p])
        arrow(ax, (middle, 1.9), (middle, 1.52), color=SHADES[p])
    note(ax, left, 4.5, "load: BLOCK numbers a program, those beyond n masked", size=13, align="left")
    note(ax, left, 0.3, "store, under the same mask", size=13, align="left")
    note(ax, left + n * step, 4.45, "somebody else's memory", "black", 13, "left")
    arrow(ax, (left + (n + 1.4) * step, 4.3), (left + (n + 1.4) * step, 4.07))
    return plots.described(
        fig,
        "A vector x of ten numbers lies in memory above a vector y; memory of somebody else follows both. Three "
        "programs stand between them, each with a block of four numbers. The last block covers two numbers of the "
        "vectors and two places behind them, which a mask leaves out of the load and of the store.",
    )


def one_tile():
    """X [T, d] with the columns of one tile of C = X^T X, and C with this tile and those above the diagonal."""
    fig, ax = canvas(13, 6.2, inches=10.5)
    height, width, side, tiles = 4.4, 4.4, 4.4, 4
    x0, y0, c0 = 1.0, 0.9, 7.6
    cell = side / tiles
    ax.add_patch(Rectangle((x0, y0), width, height, fc="none", ec=COLORS["black"], lw=1.6))
    for k, color in ((2, "orange"), (1, "blue")):
        shade = (*plt.matplotlib.colors.to_rgb(COLORS[color]), 0.22)
        ax.add_patch(Rectangle((x0 + k * cell, y0), cell, height, fc=shade, ec=COLORS[color], lw=1.6))
    for k in range(1, 4):
        ax.plot([x0, x0 + width], [y0 + k * height / 4] * 2, color=COLORS["grey"], lw=1, ls=":")
    arrow(ax, (x0 - 0.35, y0 + height), (x0 - 0.35, y0 + 0.1))
    note(ax, x0 - 0.68, y0 + height / 2, "$t$", size=16)
    note(ax, x0 + 1.5 * cell, y0 + height + 0.3, "$J$", size=15)
    note(ax, x0 + 2.5 * cell, y0 + height + 0.3, "$I$", size=15)
    note(ax, x0 + width / 2, 0.45, "$X$   [T, d], walked down in steps of BLOCK_T rows", size=13)
    for i in range(tiles):
        for j in range(tiles):
            above = j > i
            corner = (c0 + j * cell, y0 + (tiles - 1 - i) * cell)
            tile = (i, j) == (2, 1)
            color = "purple" if tile else "grey" if above else "sky"
            alpha = 0.55 if tile else 0.0 if above else 0.15
            shade = (*plt.matplotlib.colors.to_rgb(COLORS[color]), alpha)
            ax.add_patch(
                Rectangle(corner, cell, cell, fc=shade, ec=COLORS["grey"], lw=1.2, hatch="//" if above else "")
            )
            if tile:
                ax.text(corner[0] + cell / 2, corner[1] + cell / 2, "$C_{IJ}$", ha="center", va="center", fontsize=16)
    arrow(ax, (x0 + width + 0.3, y0 + height / 2), (c0 - 1.15, y0 + height / 2), "$X_I^\\top X_J$", size=15)
    note(ax, c0 - 0.55, y0 + 1.5 * cell, "rows $I$", size=13)
    note(ax, c0 + 1.5 * cell, y0 + side + 0.3, "columns $J$", size=13)
    note(ax, c0 + side / 2, 0.45, "$C = X^\\top X$   [d, d], hatched: known from below", size=13)
    return plots.described(
        fig,
        "Left, the matrix X with one strip of columns for the rows of a tile and one strip for its columns; the "
        "program walks down both in steps. Right, the square matrix C cut into sixteen tiles; one tile below the "
        "diagonal is filled, and the six tiles above the diagonal are hatched because they mirror those below.",
    )
