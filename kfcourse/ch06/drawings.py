"""Conceptual drawings of chapter 06."""

import numpy as np

from kfcourse.show import drawing, plots


def averaging(examples=4, own=4.0):
    """Each example's curvature matrix, and the average of them: who is averaged over whom."""
    fig, ax = drawing.canvas(16.4, 6.3, inches=11)
    cell, size, top = 0.42, examples + 1, 3.2
    matrices = []
    for k in range(examples):
        diagonal = np.zeros(size)
        diagonal[0], diagonal[k + 1] = 1, own
        matrices.append(np.diag(diagonal))
        x = 0.4 + k * 2.85
        drawing.matrix(ax, x, top, matrices[-1], cell, "blue", label=f"example {k + 1}", largest=own)
        if k + 1 < examples:
            drawing.note(ax, x + size * cell + 0.38, top + size * cell / 2, "+", size=20)
    x = 0.4 + examples * 2.85
    drawing.note(ax, x + 0.25, top + size * cell / 2, f"= {examples} ×", size=17)
    drawing.matrix(ax, x + 1.15, top, sum(matrices) / examples, cell, "red", label="the average", largest=own)
    drawing.note(ax, 0.2, 6.05, "Curvature of each loss, in the same five directions:", align="left", size=14)
    middle = 0.4 + 1.5 * 2.85 + size * cell / 2
    drawing.note(ax, middle, 1.9, "first direction: shared by all,\ncurvature 1 in every example", color="blue")
    drawing.note(
        ax, middle, 0.75, "other directions: one example each,\ncurvature 4 there and 0 elsewhere", color="blue"
    )
    drawing.note(ax, x + 2.2, 1.9, "shared: still 1", color="red")
    drawing.note(ax, x + 2.2, 0.9, f"private: 4 / {examples}", color="red")
    return plots.described(
        fig,
        "Four five by five curvature matrices are added up. Each has a pale square for the direction that all examples "
        "share and one dark square for a direction of its own, in a different place every time. In their average the "
        "shared square is unchanged, and each private one has faded to a quarter.",
    )


def three_ways():
    """Three reasons for which a language model can be sure of its next token; only one of them is memory."""
    fig, ax = drawing.canvas(15, 5.2, inches=11)
    rows = [
        ("red", "memory", "a passage seen dozens of times", "quotes"),
        ("green", "grammar", "hardly another word can stand here", "sure by grammar"),
        ("black", "copying", "the same name stands a few words above", "sure by copying"),
    ]
    for k, (color, why, how, kind) in enumerate(rows):
        y = 3.75 - 1.7 * k
        drawing.box(ax, 0.2, y, 2.9, 1.25, f"{why}\n“{kind}”", color)
        drawing.note(ax, 3.4, y + 0.62, how, size=13, align="left")
        drawing.arrow(ax, (9.2, y + 0.62), (10.4, 2.6 + 0.35 * (1 - k)), color=color)
    drawing.box(ax, 10.5, 1.9, 4.2, 1.4, "the model is sure\nof the next token", "blue")
    return plots.described(
        fig,
        "Three boxes, memory, grammar and copying, with an arrow from each to one box: the model is sure of the next "
        "token. Memory means a passage seen dozens of times, grammar that hardly another word can stand there, "
        "copying that the same name stands a few words above.",
    )
