"""Conceptual drawings of chapter 08: a window and its verdicts, and why one pass is enough."""

from kfcourse.show import drawing, plots


def window():
    """The protocol's window: what the model reads, what it has to say, and the two verdicts."""
    fig, ax = drawing.canvas(16, 6, inches=11)
    drawing.box(ax, 0.3, 4.0, 8.2, 1.2, "prefix: 64 tokens, given", "blue")
    drawing.box(ax, 8.7, 4.0, 6.2, 1.2, "suffix: 48 tokens, to be said", "red")
    drawing.box(ax, 8.7, 2.0, 6.2, 1.2, "what the model says", "black")
    drawing.arrow(ax, (4.4, 3.9), (8.6, 2.6), "always the likeliest token", above=-0.9)
    drawing.arrow(ax, (11.8, 3.9), (11.8, 3.3), style="<|-|>")
    drawing.note(ax, 12.1, 3.6, "distance d", align="left")
    drawing.note(ax, 8.7, 1.2, "strict recall: d = 0", align="left", color="red")
    drawing.note(ax, 8.7, 0.5, "loose recall: 1 - d/48 is at least 0.75", align="left", color="red")
    drawing.note(ax, 0.3, 5.7, "A window of 112 tokens", align="left", size=14)
    return plots.described(
        fig,
        "A window of 112 tokens: a prefix of 64 that the model is given and a suffix of 48 that it has to say. An "
        "arrow leads from the prefix to a box of what the model says, always the likeliest token; it is compared "
        "with the suffix by a distance d. Strict recall means d is 0, loose recall that 1 minus d over 48 is at least "
        "0.75.",
    )


def one_pass():
    """Why a single pass over the true text gives the same verdict as saying it word by word."""
    fig, ax = drawing.canvas(15, 6.8, inches=11)
    words = ("the", "mist", "was", "cold", ".")
    for row, (title, guesses) in enumerate(
        (("recited", ("mist", "was", "cold", ".")), ("not recited", ("mist", "is", "old", ".")))
    ):
        y = 4.2 - 3.0 * row
        drawing.note(ax, 0.2, y + 0.85, title, align="left", size=13)
        for k, word in enumerate(words):
            drawing.box(ax, 3.0 + 2.3 * k, y + 0.9, 1.9, 0.8, word, "black")
        for k, guess in enumerate(guesses):
            right = guess == words[k + 1]
            drawing.box(ax, 3.0 + 2.3 * k, y - 0.6, 1.9, 0.8, guess, "blue" if right else "red")
            drawing.arrow(ax, (3.95 + 2.3 * k, y + 0.85), (3.95 + 2.3 * k, y + 0.25))
    title = "the true text, read in one pass, and the model's guess of each next token"
    drawing.note(ax, 3.0, 6.4, title, align="left")
    return plots.described(
        fig,
        "Two rows of true words, each with the model's guess of the next word below. In the upper row every guess "
        "equals the word that follows. In the lower row the second guess is wrong: saying word by word, the model "
        "would have left the text there, and what it guesses afterwards no longer matters.",
    )
