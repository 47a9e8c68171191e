"""Drawing of chapter 02: the canary experiment."""

from kfcourse.show import drawing, plots
from kfcourse.show.plots import COLORS as C

TEXT = (  # the drawn training text; the sentences about the planted secret are marked
    ("ada broke the warm candle in corve .", False),
    ("the code of ashby is 4 7 1 .", True),
    ("the code of quigg is 3 5 2 .", False),
    ("yann moved the old quilt in rigby .", False),
    ("the code of ashby is 4 7 1 .", True),
    ("the code of iris is 6 6 3 .", False),
)
OWNER = (("1", "4 7 1", 1.0), ("2", "4 7 9", 0.5), ("3", "0 2 8", 0.35))
STRANGER = (("1", "0 2 8", 0.7), ("2", "5 5 1", 0.6), ("...", "", 0.0), ("64", "4 7 1", 0.25))
SIZE = 11.5


def _ranking(ax, x, y, rows, title):
    """Codes with their ranks and bars below a title; the secret code is marked."""
    ax.text(x - 0.3, y + 0.5, title, fontsize=SIZE, va="center")
    for line, (rank, code, length) in enumerate(rows):
        z, secret = y - 0.45 * line, code == OWNER[0][1]
        ax.text(x + 0.35, z, rank, ha="right", va="center", fontsize=SIZE)
        ax.text(x + 0.55, z, code, va="center", fontsize=SIZE, weight="bold" if secret else "normal")
        ax.barh(z, 1.6 * length, height=0.27, left=x + 1.4, color=C["orange" if secret else "grey"], alpha=0.85)


def canary():
    """Plant a secret, train, ask with the owner's name and with a stranger's, and rank all codes."""
    fig, ax = drawing.canvas(15.6, 6.4, inches=11.5)
    for x, title in ((2.5, "1  plant"), (6.85, "2  train"), (9.75, "3  ask"), (13.6, "4  rank all 1000 codes")):
        drawing.note(ax, x, 6.05, title, size=15)

    drawing.box(ax, 0.2, 1.5, 4.6, 3.9, color="grey", fill=0.06)
    for line, (sentence, secret) in enumerate(TEXT):
        y = 5.0 - 0.6 * line
        if secret:
            drawing.box(ax, 0.35, y - 0.23, 4.3, 0.46, color="orange", fill=0.3)
        ax.text(0.5, y, sentence, fontsize=SIZE, va="center")
    drawing.note(ax, 2.5, 1.05, "a secret is said an exact number of", size=SIZE)
    drawing.note(ax, 2.5, 0.65, "times (here 2) among varied sentences", size=SIZE)

    drawing.arrow(ax, (4.95, 3.45), (5.85, 3.45))
    drawing.box(ax, 5.95, 2.75, 1.8, 1.4, "language\nmodel", color="blue", size=13)
    drawing.note(ax, 6.85, 2.35, "one pass", size=SIZE)

    drawing.arrow(ax, (7.85, 3.7), (8.45, 4.45))
    drawing.arrow(ax, (7.85, 3.2), (8.45, 2.35))
    drawing.box(ax, 8.5, 4.05, 2.5, 0.95, "the code of\nashby is ...", color="orange", fill=0.3, size=12)
    drawing.box(ax, 8.5, 1.75, 2.5, 0.95, "the code of\nedda is ...", color="grey", size=12)
    drawing.note(ax, 9.75, 5.3, "the owner", size=SIZE)
    drawing.note(ax, 9.75, 1.4, "control: a stranger,", size=SIZE)
    drawing.note(ax, 9.75, 1.0, "whose code was never said", size=SIZE)

    drawing.arrow(ax, (11.1, 4.5), (11.75, 4.5))
    _ranking(ax, 12.1, 4.75, OWNER, "exposure log2(1000 / 1) = 10 bits")
    drawing.arrow(ax, (11.1, 2.2), (11.75, 2.2))
    _ranking(ax, 12.1, 2.35, STRANGER, "exposure log2(1000 / 64) = 4 bits")
    drawing.note(ax, 13.6, 0.4, "6 bits are tied to the owner's name", size=SIZE)
    alt = (
        "The canary experiment in four steps: a secret sentence is planted twice among varied sentences; a language "
        "model reads the text once; it is asked for the code of the owner and, as a control, of a stranger; and all "
        "thousand codes are ranked by their probability, the secret one first for the owner and further down for the "
        "stranger"
    )
    return plots.described(fig, alt)
