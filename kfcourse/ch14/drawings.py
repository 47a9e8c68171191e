"""Conceptual drawings of chapter 14."""

from kfcourse.show import drawing, plots


def train_and_watch():
    """Half of the forgotten quotes is trained on, the other half is only measured; beside it the control."""
    fig, ax = drawing.canvas(17, 6.6, inches=11)
    drawing.box(ax, 0.2, 3.9, 3.5, 1.9, "the edited model\nsays no quote", "blue")
    drawing.box(ax, 0.2, 0.8, 3.5, 1.9, "a model that\nnever read them,\nsame accuracy", "black")
    drawing.box(ax, 5.4, 3.9, 3.1, 1.9, "train on\none half", "orange")
    drawing.box(ax, 5.4, 0.8, 3.1, 1.9, "train on\nthe same half", "orange")
    for y in (4.85, 1.75):
        drawing.arrow(ax, (3.75, y), (5.35, y))
        drawing.arrow(ax, (8.55, y), (10.15, y), "measure")
    drawing.box(ax, 10.2, 3.9, 2.9, 1.9, "the *other*\nhalf".replace("*", ""), "purple")
    drawing.box(ax, 10.2, 0.8, 2.9, 1.9, "the other\nhalf", "purple")
    drawing.note(ax, 13.4, 5.3, "gains: some of it", "blue", 13, "left")
    drawing.note(ax, 13.4, 4.7, "was only hidden", "blue", 13, "left")
    drawing.note(ax, 13.4, 2.2, "what training on", "black", 13, "left")
    drawing.note(ax, 13.4, 1.6, "such quotes does", "black", 13, "left")
    drawing.note(ax, 13.4, 1.0, "by itself", "black", 13, "left")
    drawing.arrow(ax, (11.65, 3.8), (11.65, 2.8), style="<|-|>")
    drawing.note(ax, 11.9, 3.3, "compare", align="left", size=13)
    return plots.described(
        fig,
        "Two rows of boxes. Above, the edited model is trained on one half of the quotes and measured on the other. "
        "Below, a model that never read them and has the same accuracy is treated alike. A gain of the other half that "
        "exceeds the control's says that some of it was only hidden.",
    )
