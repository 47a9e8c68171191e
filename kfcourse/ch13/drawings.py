"""Conceptual drawings of chapter 13."""

import matplotlib.pyplot as plt
from matplotlib.patches import Ellipse

from kfcourse.show import drawing, plots
from kfcourse.show.plots import COLORS


def two_inputs():
    """Inputs of ordinary text as a long cloud, and two inputs of the same length: one along it, one across it."""
    fig, ax = drawing.canvas(15, 6.2, inches=11)
    center, angle = (4.6, 3.0), 25
    shade = (*plt.matplotlib.colors.to_rgb(COLORS["grey"]), 0.18)
    for scale in (1, 0.66, 0.33):
        ax.add_patch(Ellipse(center, 8.2 * scale, 1.9 * scale, angle=angle, fc=shade, ec="none"))
    ends = {"blue": (7.45, 4.05), "red": (4.35, 6.03)}
    for color, end in ends.items():
        drawing.arrow(ax, center, end, color=color)
    drawing.note(ax, 7.65, 3.7, "an ordinary input", "blue", 13, "left")
    drawing.note(ax, 3.6, 5.7, "a suspect", "red", 13, "right")
    drawing.arrow(ax, (1.3, 0.55), (2.9, 1.3), color="black")
    drawing.note(ax, 3.1, 0.75, "sharp: where ordinary text varies", align="left", size=12)
    drawing.arrow(ax, (1.3, 0.55), (0.62, 2.0), color="black")
    drawing.note(ax, 0.25, 2.35, "flat", align="left", size=12)
    for k, (color, name, shares) in enumerate((("blue", "ordinary", (0.95, 0.05)), ("red", "suspect", (0.2, 0.8)))):
        y = 3.9 - 2.0 * k
        drawing.note(ax, 11.0, y + 0.95, f"squared length of the {name} input", color, 13, "left")
        split = 11.0 + 3.6 * shares[0]
        drawing.box(ax, 11.0, y, split - 11.0, 0.6, "", color, fill=0.1)
        drawing.box(ax, split, y, 14.6 - split, 0.6, "", color, fill=0.6)
    drawing.note(ax, 12.8, 1.35, "pale: along sharp directions\ndark: flat energy", size=12)
    return plots.described(
        fig,
        "A long narrow cloud stands for the inputs of ordinary text. One arrow lies along the cloud, another of the "
        "same length across it. Two bars share out their squared lengths: nearly all of the first lies along the sharp "
        "directions, most of the second along the flat ones.",
    )
