"""Conceptual drawing of chapter 11."""

from kfcourse.show import drawing, plots


def compared():
    """Every edit is brought to the same forgetting on one half and examined on the other."""
    fig, ax = drawing.canvas(16, 7.4, inches=11)
    drawing.box(ax, 0.2, 3.0, 2.6, 1.4, "the model,\nunedited", "black")
    edits = [
        ("blue", "K-FAC: flat directions go"),
        ("orange", "SVD: a low rank stays"),
        ("red", "random basis: as K-FAC, turned"),
        ("purple", "noise of some size is added"),
    ]
    for k, (color, name) in enumerate(edits):
        y = 5.9 - 1.35 * k
        drawing.box(ax, 3.9, y, 4.6, 1.0, name, color)
        drawing.arrow(ax, (2.8, 3.7), (3.9, y + 0.5), color=color)
        drawing.arrow(ax, (8.5, y + 0.5), (9.5, 4.2), color=color)
    drawing.box(ax, 3.9, 0.25, 4.6, 1.0, "the edited matrices at zero", "grey")
    drawing.arrow(ax, (2.8, 3.5), (3.9, 0.75), color="grey")
    drawing.arrow(ax, (8.5, 0.75), (13.2, 1.15), color="grey", curve=0.1)
    drawing.box(ax, 9.5, 3.3, 2.4, 1.8, "strength:\nequally many\nquote words\nright", "green", size=12)
    drawing.note(ax, 10.7, 2.75, "quotes for choosing", color="green", size=11)
    drawing.arrow(ax, (11.9, 4.2), (12.9, 4.2))
    drawing.box(
        ax, 12.9, 1.2, 2.9, 5.3, "abilities,\n\nk words\nin a row,\n\ntwo kinds\nof text,\n\nsteps of\na chain", "black"
    )
    drawing.note(ax, 14.35, 6.9, "half that is only reported", size=11)
    return plots.described(
        fig,
        "From the unedited model four arrows lead to four edits, K-FAC, a low rank, a random basis and noise. All four "
        "pass through one box that brings them to equally many right words of the quotes for choosing, and are then "
        "examined on the half that is only reported. A fifth arrow, with the edited matrices at zero, goes there "
        "directly.",
    )
