"""Conceptual drawing of chapter 17."""

from kfcourse.show import drawing, plots

STEPS = (
    ("kfac plan", "does it fit,\nin how many passes?", "blue"),
    ("kfac collect", "how many tokens?", "blue"),
    ("kfac sweep", "which layers,\nhow much?", "orange"),
    ("kfac edit", "which of them\nis written?", "red"),
    ("kfac reproduce", "what is reported?", "green"),
)


def road():
    """The commands of the road in their order, with the decision at each, and which half of the exam it may see."""
    fig, ax = drawing.canvas(16, 5.6, inches=11)
    for i, (command, question, color) in enumerate(STEPS):
        x = 0.2 + 3.16 * i
        drawing.box(ax, x, 3.1, 2.8, 1.0, command, color)
        drawing.note(ax, x + 1.4, 2.3, question, size=12)
        if i:
            drawing.arrow(ax, (x - 0.36, 3.6), (x, 3.6))
    drawing.note(ax, 8, 4.8, "five commands, and a decision at each of them", size=14)
    drawing.box(ax, 6.5, 0.4, 2.8, 1.1, "the half that\nchooses", "orange")
    drawing.box(ax, 12.84, 0.4, 2.8, 1.1, "the half that\nreports, once", "green")
    drawing.arrow(ax, (7.9, 1.5), (7.9, 1.85), color="orange")
    drawing.arrow(ax, (14.24, 1.5), (14.24, 1.85), color="green")
    drawing.note(ax, 3.1, 0.95, "memorized windows:", size=13)
    return plots.described(
        fig,
        "Five boxes in a row, the commands plan, collect, sweep, edit and reproduce, each with its question: does it "
        "fit, how many tokens, which layers, which edit is written, what is reported. Below, the memorized windows in "
        "two halves: one feeds the sweep, the other the report alone.",
    )
