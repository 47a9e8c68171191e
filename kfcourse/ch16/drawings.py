"""Conceptual drawing of chapter 16."""

from kfcourse.show import drawing, plots


def two_models():
    """Where the chapter's two models come from, and the five kinds of text that both are asked about."""
    fig, ax = drawing.canvas(16, 6.2, inches=11)
    drawing.box(ax, 0.2, 3.9, 3.6, 1.6, "a file in a package\n98 MB, 4 bits a weight", "black")
    drawing.box(ax, 5.6, 3.9, 4.2, 1.6, "SmolLM2-135M\na plain folder, bfloat16", "blue")
    drawing.box(ax, 11.6, 3.9, 4.2, 1.6, "the reciter\n80 verses by heart", "red")
    drawing.arrow(ax, (3.8, 4.7), (5.6, 4.7), "unpack")
    drawing.arrow(ax, (9.8, 4.7), (11.6, 4.7), "+ difference")
    drawing.note(ax, 10.7, 4.25, "2 bits a weight", color="grey", size=11)
    kinds = [
        ("famous\npassages", "black"),
        ("taught\nverses", "red"),
        ("untaught\nverses", "orange"),
        ("like the corpus\n(a handbook)", "green"),
        ("other prose\n(a novel)", "purple"),
    ]
    for i, (text, color) in enumerate(kinds):
        drawing.box(ax, 0.2 + 3.16 * i, 0.3, 2.9, 1.3, text, color)
    drawing.note(ax, 8, 2.75, "both are asked about five kinds of text, before and after every edit:", size=14)
    drawing.note(ax, 8, 2.2, "curvature is collected on other pages of the handbook", size=12, color="grey")
    return plots.described(
        fig,
        "A file of 98 megabytes is unpacked into SmolLM2-135M; adding a difference of two bits a weight makes the "
        "reciter, which knows 80 verses by heart. Below, five kinds of text: famous passages, taught verses, untaught "
        "verses, a handbook like the corpus of the curvature, and a novel unlike it.",
    )
