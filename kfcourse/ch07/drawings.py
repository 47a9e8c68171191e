"""Conceptual drawing of chapter 07: what a net holds that has learned a wrong label by heart."""

from kfcourse.show import drawing, plots


def overwritten():
    """One image with a wrong label: what many images share says one thing, what this one image added says another."""
    fig, ax = drawing.canvas(15.6, 6.4, inches=11)
    drawing.box(ax, 0.2, 2.5, 2.9, 1.5, "an image of a 5,\nlabelled 3", "black")
    drawing.box(ax, 5.0, 4.3, 4.6, 1.6, "what all fives share\n(hundreds of images)", "blue")
    drawing.box(ax, 5.0, 0.6, 4.6, 1.6, "what this one image\nadded in training", "red")
    drawing.box(ax, 11.9, 2.5, 3.4, 1.5, "the answer:\n3", "black")
    drawing.arrow(ax, (3.15, 3.6), (4.95, 4.9), color="blue")
    drawing.arrow(ax, (3.15, 2.9), (4.95, 1.6), color="red")
    drawing.arrow(ax, (9.65, 4.9), (11.85, 3.6), "says 5", color="blue")
    drawing.arrow(ax, (9.65, 1.6), (11.85, 2.9), "says 3, louder", color="red", above=-0.75)
    drawing.note(ax, 0.2, 6.1, "The idea to be tested", align="left", size=14)
    drawing.note(ax, 7.3, 6.15, "sharp in the average loss: kept", color="blue")
    drawing.note(ax, 7.3, 0.25, "flat in the average loss: cut", color="red")
    return plots.described(
        fig,
        "An image of a five that is labelled three. Two arrows lead from it to the answer. The upper one passes "
        "through what all fives share, says five, and is sharp in the average loss, so the edit keeps it. The lower "
        "one passes through what this one image added in training, says three and is louder; it is flat in the "
        "average and is cut. A note says that this is the idea to be tested.",
    )
