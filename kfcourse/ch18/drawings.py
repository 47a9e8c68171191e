"""Conceptual drawings of chapter 18: shards, one exchange and shared-out decompositions; the steps of a ring."""

import matplotlib.pyplot as plt
from matplotlib.patches import Rectangle

from kfcourse.show import drawing, plots
from kfcourse.show.plots import COLORS

SHADES = ("blue", "orange", "green")


def plan():
    """Three processes: a shard each, a sum each, one exchange, some matrices each, one result."""
    fig, ax = drawing.canvas(16, 6.4, inches=11)
    stages = ("its share of the text", "its own sums", "add, divide once", "decompose some", "all of them")
    for k, title in enumerate(stages):
        drawing.note(ax, 1.6 + 3.2 * k, 5.9, title, size=13)
    for rank, color in enumerate(SHADES):
        y = 4.0 - 1.75 * rank
        drawing.box(ax, 0.3, y, 2.6, 1.1, f"shard {rank}", color)
        drawing.arrow(ax, (2.9, y + 0.55), (3.6, y + 0.55), color=color)
        drawing.box(ax, 3.6, y, 2.4, 1.1, f"$S_{rank}$, $T_{rank}$", color, size=15)
        drawing.arrow(ax, (6.0, y + 0.55), (6.8, y + 0.55), color=color)
        drawing.arrow(ax, (9.2, y + 0.55), (10.0, y + 0.55), color=color)
        drawing.box(ax, 10.0, y, 2.4, 1.1, "$Q$ of its\nmatrices", color)
        drawing.arrow(ax, (12.4, y + 0.55), (13.2, y + 0.55), color=color)
    drawing.box(ax, 6.8, 0.5, 2.4, 4.6, "$\\frac{\\sum_r S_r}{\\sum_r T_r}$", "purple", size=24)
    drawing.box(ax, 13.2, 0.5, 2.4, 4.6, "every $Q$,\neverywhere", "purple", size=14)
    return plots.described(
        fig,
        "Three rows of boxes, one for each process. Each turns its shard of the text into sums and a count. One tall "
        "box adds all sums and divides once by all counts. Then each process decomposes some of the matrices, and a "
        "second tall box hands all eigenvectors to everyone.",
    )


def _held(step, rank, place, processes):
    """How many vectors the chunk at `place` of a process holds, after `step` steps of a ring."""
    behind = (rank - place) % processes  # how many steps it takes a chunk to come here from where it starts
    if step >= processes - 1:
        complete = (rank + 1 - place) % processes
        if complete <= step - (processes - 1):
            return processes
    return behind + 1 if behind <= step else 1


def ring(processes=3):
    """What three processes hold before, halfway through and after a ring: a darker chunk holds more vectors."""
    fig, ax = drawing.canvas(16, 5.6, inches=11)
    size = 0.95
    moments = {"before": 0, "after the first half": processes - 1, "after the second half": 2 * (processes - 1)}
    for k, (title, step) in enumerate(moments.items()):
        left = 1.9 + 5.0 * k
        drawing.note(ax, left + 1.5 * size, 5.1, title, size=14)
        for rank in range(processes):
            y = 3.5 - 1.35 * rank
            for place in range(processes):
                held = _held(step, rank, place, processes)
                color = "purple" if held == processes else SHADES[rank]
                shade = (*plt.matplotlib.colors.to_rgb(COLORS[color]), 0.1 + 0.18 * held)
                ax.add_patch(Rectangle((left + place * size, y), size, size, fc=shade, ec=COLORS[color], lw=1.8))
                middle = (left + (place + 0.5) * size, y + size / 2)
                ax.text(*middle, str(held), ha="center", va="center", fontsize=16)
        if k < len(moments) - 1:
            drawing.arrow(ax, (left + 3.3 * size, 2.6), (left + 4.9 * size, 2.6))
    for rank in range(processes):
        drawing.note(ax, 0.9, 3.97 - 1.35 * rank, f"process {rank}", size=13)
    drawing.note(ax, 8, 0.3, "the number of vectors that are added up in each chunk", size=13)
    return plots.described(
        fig,
        "Three processes with three chunks each, at three moments. Before, each chunk holds one vector. After the "
        "first half each process has exactly one chunk in which all three vectors are added up, each another one. "
        "After the second half all chunks of all processes are complete.",
    )
