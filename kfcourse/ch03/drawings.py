"""Conceptual drawings of chapter 03."""

import numpy as np
from matplotlib.patches import Arc, Circle, Rectangle

from kfcourse.show import drawing, plots
from kfcourse.show.plots import COLORS


def waves(p=11, a=3, b=5):
    """Numbers as angles on a circle, and why waves of several frequencies single out one answer."""
    fig, ax = drawing.canvas(17.5, 7.4, inches=11.5)
    middle, radius = np.array([3.5, 3.6]), 2.3
    place = lambda n, r: middle + r * np.array([np.sin(2 * np.pi * n / p), np.cos(2 * np.pi * n / p)])
    ax.add_patch(Circle(middle, radius, fill=False, ec=COLORS["grey"], lw=1.5))
    for n in range(p):
        ax.plot(*place(n, radius), "o", color=COLORS["black"], ms=5)
        drawing.note(ax, *place(n, radius + 0.42), str(n), size=13)
    for n, color in ((0, "grey"), (a, "blue"), (a + b, "green")):
        drawing.arrow(ax, middle, place(n, radius - 0.08), color=color)
    degrees = lambda n: 90 - 360 * n / p
    for start, end, r, color in ((0, a, 1.1, "blue"), (a, a + b, 1.45, "red")):
        arc = Arc(middle, 2 * r, 2 * r, theta1=degrees(end), theta2=degrees(start), color=COLORS[color], lw=3)
        ax.add_patch(arc)
    drawing.note(ax, *place(a / 2, 1.55), f"a = {a}", "blue", size=14)
    drawing.note(ax, *place(a + b / 2, 1.9), f"b = {b}", "red", size=14)
    drawing.note(ax, 3.5, 7.0, "Adding numbers on a clock\nis adding angles", size=15)
    drawing.note(ax, 3.5, 0.35, f"a + b = {a + b}", "green", size=14)

    left, step = 8.6, 0.78
    total = np.zeros(p)
    drawing.note(ax, 12.5, 7.0, "What each frequency says about the answer c:\nthe wave cos ω(a + b − c)", size=15)
    right = left + step * (a + b)
    ax.add_patch(Rectangle((right - 0.32, 0.65), 0.64, 5.4, fc=(*_rgb("green"), 0.14), ec="none"))
    c, fine = np.arange(p), np.linspace(-0.3, p - 0.7, 300)
    for row, k in enumerate((1, 2, 3)):
        y, height = 5.45 - 1.15 * row, 0.42
        wave = np.cos(2 * np.pi * k * (a + b - c) / p)
        ax.plot(
            left + step * fine, y + height * np.cos(2 * np.pi * k * (a + b - fine) / p), color=COLORS["sky"], lw=1.3
        )
        ax.plot(left + step * c, y + height * wave, "o", color=COLORS["blue"], ms=5)
        drawing.note(ax, left - 0.6, y, f"k = {k}", size=13, align="right")
    for k in range(1, (p + 1) // 2):
        total += np.cos(2 * np.pi * k * (a + b - c) / p)
    drawing.note(ax, left - 0.6, 2.5, "…", size=16, align="right")
    drawing.note(ax, left - 0.6, 1.15, f"sum of\nk = 1 to {(p - 1) // 2}", size=13, align="right")
    for n in c:
        tall = 0.27 * total[n]
        color = "green" if n == a + b else "grey"
        ax.add_patch(Rectangle((left + step * n - 0.2, 1.0), 0.4, tall, fc=COLORS[color], ec="none"))
        drawing.note(ax, left + step * n, 0.45, str(n), size=12)
    ax.plot([left - 0.3, left + step * p - 0.4], [1.0, 1.0], color=COLORS["black"], lw=1)
    drawing.note(ax, left + step * p + 0.05, 0.45, "c", size=13)
    return plots.described(
        fig,
        f"Left: a clock with {p} numbers. An arc from 0 to {a} and a second one of {b} steps after it end at {a + b}. "
        f"Right: waves of frequency 1, 2 and 3 over the possible answers all have a crest at {a + b} and differ "
        f"elsewhere; the sum over all frequencies is a single tall bar at {a + b} among small negative ones.",
    )


def phases():
    """The three phases of grokking, and what memory and circuit contribute in each."""
    fig, ax = drawing.canvas(17.5, 6.3, inches=11.5)
    stages = (
        ("1  memorization", "orange", 1.0, 0.05, "right", "wrong"),
        ("2  circuit formation", "purple", 1.0, 0.55, "right", "mostly wrong"),
        ("3  cleanup", "blue", 0.45, 1.0, "right", "right"),
    )
    for i, (name, color, memory, circuit, train, test) in enumerate(stages):
        x = 2.9 + 5.0 * i
        drawing.box(ax, x, 5.1, 4.1, 0.95, name, color, size=15)
        if i < 2:
            drawing.arrow(ax, (x + 4.2, 5.57), (x + 4.9, 5.57))
        for value, shade, where in ((memory, "orange", x + 0.75), (circuit, "green", x + 2.25)):
            ax.add_patch(Rectangle((where, 2.0), 1.1, 2.6 * value, fc=(*_rgb(shade), 0.75), ec=COLORS[shade], lw=1.5))
        ax.plot([x + 0.4, x + 3.7], [2.0, 2.0], color=COLORS["black"], lw=1.2)
        drawing.note(ax, x + 1.3, 1.65, "memory", size=13)
        drawing.note(ax, x + 2.8, 1.65, "circuit", size=13)
        drawing.note(ax, x + 2.05, 0.95, train, size=14)
        drawing.note(ax, x + 2.05, 0.35, test, size=14)
    drawing.note(ax, 0.2, 3.3, "share of\nthe outputs", size=14, align="left")
    drawing.note(ax, 0.2, 0.95, "training pairs", size=14, align="left")
    drawing.note(ax, 0.2, 0.35, "unseen pairs", size=14, align="left")
    return plots.described(
        fig,
        "Three boxes in a row: memorization, circuit formation, cleanup. Bars below show that memory is tall and the "
        "circuit absent in the first, that the circuit has grown to half beside an unchanged memory in the second, and "
        "that memory has shrunk beside a full circuit in the third. Training pairs are right in all three phases, "
        "unseen pairs only in the last.",
    )


def _rgb(name):
    value = COLORS[name].lstrip("#")
    return tuple(int(value[i : i + 2], 16) / 255 for i in (0, 2, 4))
