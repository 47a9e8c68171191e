"""Conceptual drawings of chapter 12."""

from kfcourse.show import drawing, plots


def who_sees_what():
    """Which text each family of methods reads, for its directions and for its strength, and what is reported."""
    fig, ax = drawing.canvas(17, 6.4, inches=11)
    heads = (("who finds the directions?", 5.9), ("who chooses the strength?", 10.2), ("what is reported?", 14.6))
    for text, x in heads:
        drawing.note(ax, x, 6.0, text, size=14)
    rows = (
        ("trained on a list", "orange", ("seen quotes\nand ordinary text", "red")),
        ("curvature", "blue", ("ordinary text", "green")),
        ("SVD, random basis,\nnoise", "black", ("no text", "grey")),
    )
    for k, (family, color, (source, shade)) in enumerate(rows):
        y = 4.05 - 1.9 * k
        drawing.box(ax, 0.1, y, 3.6, 1.45, family, color)
        drawing.box(ax, 4.2, y, 3.4, 1.45, source, shade)
        drawing.box(ax, 8.5, y, 3.4, 1.45, "seen quotes", "red")
        drawing.box(ax, 12.8, y, 3.6, 1.45, "unseen quotes,\nfresh text", "purple")
        for x in (7.65, 11.95):
            drawing.arrow(ax, (x, y + 0.72), (x + 0.8, y + 0.72))
    return plots.described(
        fig,
        "Three rows of boxes. Methods trained on a list find their directions on seen quotes and ordinary text, "
        "curvature on ordinary text alone, and SVD, a random basis and noise on no text. All three choose their "
        "strength on seen quotes, and are reported on unseen quotes and fresh text.",
    )


def straight_through(scores, mask, weights):
    """How scores become a masked weight on the way forward, and what the gradient pretends on the way back.

    scores, mask, weights: [O, I] each, drawn with their entries.
    """
    fig, ax = drawing.canvas(16.5, 5.6, inches=11)
    steps = (
        (0.6, scores, "scores s", "red"),
        (5.4, mask, "mask M", "green"),
        (10.2, weights * mask + 0.0, "W ⊙ M", "blue"),
    )  # no -0
    for x, values, label, color in steps:
        drawing.matrix(ax, x, 2.3, values, 0.85, color, numbers=True, label=label, size=13)
    drawing.arrow(ax, (3.3, 3.5), (5.2, 3.5), "lowest |s| → 0")
    drawing.arrow(ax, (8.1, 3.5), (10.0, 3.5), "times W")
    drawing.arrow(ax, (12.9, 3.15), (14.6, 3.15), "y")
    drawing.note(ax, 15.5, 3.15, "loss", size=14)
    for start, end, text in (
        ((14.9, 1.35), (11.6, 1.35), "Σ g aᵀ"),
        ((11.3, 1.35), (6.8, 1.35), "⊙ W"),
        ((6.5, 1.35), (1.9, 1.35), "pretend M = |s|:  ⊙ sign(s)"),
    ):
        drawing.arrow(ax, start, end, color="purple")
        drawing.note(ax, (start[0] + end[0]) / 2, 0.85, text, color="purple", size=13)
    drawing.note(ax, 0.3, 5.2, "forward: the hard mask", align="left", size=14)
    drawing.note(ax, 0.3, 0.3, "backward: every score, also a dropped one, gets a gradient", "purple", 14, "left")
    return plots.described(
        fig,
        "Three matrices in a row. Forward, the two scores of lowest magnitude become zeros of the mask, which "
        "multiplies the weights. Backward, the gradient at the product is multiplied by the weights and, as if the "
        "mask were the magnitude of the score, by the sign of the score.",
    )
