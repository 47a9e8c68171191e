"""Conceptual drawings of chapter 09: the edit in four steps."""

import numpy as np

from kfcourse.show import drawing, plots

CELL = 0.95


def one_page(rows=4, columns=6):
    """The whole edit on one page: a weight, the same weight in the eigenvectors, its curvature, what is kept, and the
    edited weight, with a word for each step."""
    generator = np.random.default_rng(3)
    W = generator.uniform(0.2, 1, (rows, columns))
    C = generator.uniform(0.25, 1, (rows, columns))
    Pi = np.outer(0.55 ** np.arange(rows), 0.6 ** np.arange(columns))
    keep = Pi > 0.19
    edited = np.clip(W * 0.6 + 0.15 * generator.uniform(0, 1, W.shape), 0, 1)
    fig, ax = drawing.canvas(20.6, 7.2, inches=12)
    cell, top, low = 0.42, 3.9, 0.6
    middle = top + rows * cell / 2
    for x, values, color, label in (
        (0.3, W, "grey", "W, as trained"),
        (5.9, C, "blue", "C: the same weight\nin the eigenvectors"),
        (11.5, C * keep, "blue", "the kept coefficients"),
        (17.1, edited, "red", "W′, edited"),
    ):
        drawing.matrix(ax, x, top, values, cell, color, label=label, largest=1)
    drawing.matrix(ax, 8.7, low, Pi**0.5, cell, "orange", label="Π: curvature of each pair", largest=1)
    for start, word in ((2.95, "1 rotate"), (14.15, "4 rotate back")):
        drawing.arrow(ax, (start, middle), (start + 2.8, middle), word)
    drawing.arrow(ax, (8.55, middle), (11.35, middle), "3 cut")
    drawing.arrow(ax, (9.95, low + rows * cell + 0.1), (9.95, middle - 0.15), style="-|>")
    drawing.note(ax, 8.4, low + rows * cell / 2, "2 rank", align="right")
    drawing.note(ax, 0.3, 6.7, "One layer, from its weight to its edited weight", align="left", size=14)
    return plots.described(
        fig,
        "Five matrices. The weight W is rotated into C, its coefficients along pairs of eigenvectors. Below, the "
        "curvature of every pair is dark in one corner and pale elsewhere; it decides which coefficients of C are "
        "kept, a staircase in that corner. Rotating these back gives the edited weight.",
    )


def _numbers(values):
    values = np.asarray(values, dtype=float)
    return np.where(np.abs(values) < 0.005, values.round(3), values.round(2)) + 0.0


def _equation(terms, alt):
    """Matrices with their numbers and signs between them, in one line. terms: (label, values, colour), or a sign."""
    arrays = [_numbers(term[1]) for term in terms if not isinstance(term, str)]
    height = max(len(a) for a in arrays)
    width = sum(a.shape[1] * CELL + 0.35 for a in arrays) + 0.75 * sum(isinstance(t, str) for t in terms) + 0.4
    fig, ax = drawing.canvas(width, height * CELL + 1.1, inches=min(11, 0.8 * width))
    x, middle = 0.3, 0.85 + height * CELL / 2
    for term in terms:
        if isinstance(term, str):
            drawing.note(ax, x + 0.25, middle, term, size=16)
            x += 0.75
            continue
        label, values, color = term
        values = _numbers(values)
        drawing.matrix(ax, x, middle - len(values) * CELL / 2, values, CELL, color, numbers=True, label=label)
        x += values.shape[1] * CELL + 0.35
    return plots.described(fig, alt)


def rotate(W, Q_G, Q_A, C):
    """C = Q_G^T W Q_A with its numbers."""
    terms = [("$Q_G^\\top$", Q_G.T, "grey"), ("$W$", W, "grey"), ("$Q_A$", Q_A, "grey"), "=", ("$C$", C, "blue")]
    return _equation(
        terms,
        "The transposed eigenvectors of G, two by two, times the weight, two by three, times the eigenvectors of A, "
        "three by three, gives the coefficients C, two by three.",
    )


def rank(lambda_G, lambda_A, Pi):
    """Pi = lambda_G lambda_A^T with its numbers."""
    column, row = np.asarray(lambda_G)[:, None], np.asarray(lambda_A)[None, :]
    terms = [("$\\lambda^G$", column, "grey"), "×", ("$\\lambda^A$", row, "grey"), "=", ("$\\Pi$", Pi, "orange")]
    return _equation(
        terms,
        "A column of two eigenvalues of G times a row of three eigenvalues of A is a table of six products. The first, "
        "top left, is many times larger than all others.",
    )


def cut(C, keep):
    """The kept coefficients: C times a mask, entry by entry."""
    mask = np.asarray(keep, dtype=float)
    kept = np.asarray(C) * mask
    return _equation(
        [("$C$", C, "blue"), "∘", ("$M$", mask, "orange"), "=", ("$M \\circ C$", kept, "blue")],
        "The coefficients times a mask of ones and zeros, entry by entry. Ones stand in the top left corner, as a "
        "staircase; the other coefficients, large ones among them, become zero.",
    )


def back(Q_G, kept, Q_A, W_edited):
    """W' = Q_G (M o C) Q_A^T with its numbers."""
    terms = [
        ("$Q_G$", Q_G, "grey"),
        ("$M \\circ C$", kept, "blue"),
        ("$Q_A^\\top$", Q_A.T, "grey"),
        "=",
        ("$W'$", W_edited, "red"),
    ]
    return _equation(
        terms,
        "The eigenvectors of G times the kept coefficients times the transposed eigenvectors of A gives the edited "
        "weight, two by three, which has no zeros.",
    )
