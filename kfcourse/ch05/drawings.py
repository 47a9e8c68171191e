"""Drawings of chapter 5: a layer's gradient, the Kronecker product, eigenvectors in pairs, and two readings."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

from kfcourse.show import plots
from kfcourse.show.drawing import arrow, box, canvas, matrix, note
from kfcourse.show.plots import COLORS


def layer(a, g):
    """A linear layer with its input a [I] and output gradient g [O], and how they make the gradient of its weight."""
    a, g = np.asarray(a, dtype=float), np.asarray(g, dtype=float)
    fig, ax = canvas(12, 6.1, inches=10)
    box(ax, 4.7, 4.05, 2.6, 1.5, "linear layer\n$z = W a$", "grey", size=14)
    matrix(ax, 1.2, 4.05, a[:, None], cell=0.5, color="blue", numbers=True, size=14)
    note(ax, 0.85, 4.8, "$a$", "black", 17)
    matrix(ax, 10.3, 4.3, g[:, None], cell=0.5, color="orange", numbers=True, size=14)
    note(ax, 11.15, 4.8, "$g$", "black", 17)
    arrow(ax, (1.9, 5.15), (4.55, 5.15), "", "blue")
    note(ax, 3.2, 5.4, "forward: the input", "black", 13)
    arrow(ax, (10.1, 4.45), (7.45, 4.45), "", "orange")
    note(ax, 8.75, 4.15, "backward: gradient at $z$", "black", 13)
    arrow(ax, (7.45, 5.15), (10.1, 5.15), "to the loss", "black", size=13, above=0.08)
    note(ax, 0.4, 3.1, "gradient of the weight: the outer product of $g$ and $a$", "black", 13, "left")
    outer, cell = np.outer(g, a) + 0.0, 0.56  # + 0.0: no minus before a zero
    left, bottom = 1.9, 0.75
    matrix(ax, left, bottom, outer, cell, "purple", numbers=True, size=14, label="$g\\,a^\\top$   [2, 3]")
    matrix(ax, left - 0.75, bottom, g[:, None], cell, "orange", numbers=True, size=14)
    matrix(ax, left, bottom + 2 * cell + 0.14, a[None], cell, "blue", numbers=True, size=14)
    arrow(ax, (3.85, 1.2), (5.85, 1.2), "read row by row", "black", size=13, above=0.08)
    for i, value in enumerate(g):
        x = 6.1 + i * (3 * cell + 0.3)
        matrix(ax, x, 0.92, (value * a + 0.0)[None], cell, "purple", numbers=True, size=14, largest=np.abs(outer).max())
        note(ax, x + 1.5 * cell, 1.78, f"$g_{i + 1}\\,a$", "black", 15)
    note(ax, 6.1 + 3 * cell + 0.15, 0.45, "$\\mathrm{vec}(g\\,a^\\top) = g \\otimes a$   [6]", "black", 14)
    return plots.described(
        fig,
        "A linear layer: its input a, three numbers, enters from the left, and the gradient g at its output, two "
        "numbers, comes back from the right. Below, the table of all products of g with a is the gradient of the "
        "weight; read row by row it is the first entry of g times all of a, then the second entry times all of a.",
    )


def kronecker(G, A):
    """G [2, 2] and A [3, 3], and their Kronecker product with one block for every entry of G."""
    G, A = np.asarray(G, dtype=float), np.asarray(A, dtype=float)
    fig, ax = canvas(12, 5.2, inches=10)
    product, cell = np.kron(G, A) + 0.0, 0.62
    matrix(ax, 0.5, 1.7, G, 0.75, "orange", numbers=True, size=15, label="$G$   [2, 2]")
    note(ax, 2.5, 2.45, "$\\otimes$", size=22)
    matrix(ax, 3.0, 1.5, A, cell, "blue", numbers=True, size=15, label="$A$   [3, 3]")
    note(ax, 5.4, 2.45, "$=$", size=22)
    left, bottom, gap = 6.3, 0.55, 0.16
    for i in range(2):
        for j in range(2):
            x, y = left + j * (3 * cell + gap), bottom + (1 - i) * (3 * cell + gap)
            part = product[3 * i : 3 * i + 3, 3 * j : 3 * j + 3]
            matrix(ax, x, y, part, cell, "purple", numbers=True, size=13, largest=np.abs(product).max())
            name = f"$G_{{{i + 1}{j + 1}}} A$"
            if i == 0:
                note(ax, x + 1.5 * cell, y + 3 * cell + 0.25, name, "black", 14)
            else:
                note(ax, x + 1.5 * cell, y - 0.25, name, "black", 14)
    note(ax, 11.2, 2.45, "[6, 6]", size=14)
    return plots.described(
        fig,
        "The Kronecker product of a two by two matrix G and a three by three matrix A is a six by six matrix of four "
        "blocks; each block is one entry of G times the whole matrix A.",
    )


def _signed(ax, x, y, values, cell, largest):
    """A matrix as squares, blue where positive and orange where negative, the darker the larger."""
    rows, columns = values.shape
    for i in range(rows):
        for j in range(columns):
            strength = 0.05 + 0.9 * min(1, abs(values[i, j]) / largest)
            color = plt.matplotlib.colors.to_rgb(COLORS["blue" if values[i, j] >= 0 else "orange"])
            corner = (x + j * cell, y + (rows - 1 - i) * cell)
            ax.add_patch(Rectangle(corner, cell, cell, fc=(*color, strength), ec="white", lw=1))
            if abs(values[i, j]) > 0.05 * largest:
                sign = "+" if values[i, j] >= 0 else "−"
                ax.text(corner[0] + cell / 2, corner[1] + cell / 2, sign, ha="center", va="center", fontsize=11)
    ax.add_patch(Rectangle((x, y), columns * cell, rows * cell, fc="none", ec=COLORS["black"], lw=1.4))


def pairs(G, A):
    """Eigenvectors u_i of G [O, O] and v_j of A [I, I] at the sides, and in the table the matrices u_i v_j^T."""
    (lambdas, U), (mus, V) = _eigh(G), _eigh(A)
    fig, ax = canvas(12.4, 6.7, inches=10)
    cell, step_x, step_y, largest = 0.56, 3.0, 2.1, lambdas[0] * mus[0]
    note(ax, 7.5, 6.45, "eigenvectors of $A$: which part of the input is read", "black", 13)
    note(ax, 0.4, 4.65, "eigenvectors of $G$:\nwhere it is written", "black", 13, "left")
    for j in range(len(mus)):
        x = 3.7 + j * step_x
        _signed(ax, x, 5.55, V[None, :, j], cell, 1)
        note(ax, x + 1.5 * cell, 5.25, f"$v_{j + 1}$,  $\\mu_{j + 1} = {mus[j]:.2f}$", "black", 13)
    for i in range(len(lambdas)):
        y = 2.95 - i * step_y
        _signed(ax, 0.75, y, U[:, i, None], cell, 1)
        note(ax, 1.5, y + cell, f"$u_{i + 1}$\n$\\lambda_{i + 1} = {lambdas[i]:.2f}$", "black", 13, "left")
        for j in range(len(mus)):
            x, value = 3.7 + j * step_x, lambdas[i] * mus[j]
            _signed(ax, x, y, np.outer(U[:, i], V[:, j]), cell, 0.8)
            note(ax, x + 1.5 * cell, y - 0.27, f"$\\lambda_{i + 1}\\mu_{j + 1} = {value:.2f}$", "black", 13)
            bar = Rectangle((x, y - 0.62), 3 * cell * value / largest, 0.13, fc=COLORS["purple"], ec="none")
            ax.add_patch(bar)
    return plots.described(
        fig,
        "A table of six small matrices. Its columns belong to the three eigenvectors of A, its rows to the two "
        "eigenvectors of G; every matrix is the outer product of its row's and its column's eigenvector, and below "
        "it stands the product of the two eigenvalues, as a number and as a bar. The first is by far the largest.",
    )


def _eigh(M):
    """(eigenvalues, eigenvectors as columns) of a symmetric matrix, the largest first, each vector's sum positive."""
    values, vectors = np.linalg.eigh(np.asarray(M, dtype=float))
    return values[::-1], vectors[:, ::-1] * np.where(vectors[:, ::-1].sum(0) < 0, -1, 1)


def readings():
    """Expand beside reduce: four tokens as four examples, or as one."""
    fig, ax = canvas(13, 6.2, inches=10.5)
    rng = np.random.default_rng(3)
    a, g = rng.uniform(0.2, 1, (4, 3)), rng.uniform(0.2, 1, (4, 2))
    cell = 0.34
    for left, title in ((0.3, "expand: every token is an example"), (6.9, "reduce: a sequence is one example")):
        note(ax, left + 2.85, 5.9, title, "black", 14.5)
        for t in range(4):
            x = left + 0.55 + 1.5 * t
            matrix(ax, x, 4.15, a[t][:, None], cell, "blue", largest=1)
            matrix(ax, x + 0.42, 4.32, g[t][:, None], cell, "orange", largest=1)
            note(ax, x + 0.38, 5.42, f"token {t + 1}", "black", 12)
            note(ax, x + 0.17, 3.9, f"$a_{t + 1}$", "black", 13)
            note(ax, x + 0.59, 3.9, f"$g_{t + 1}$", "black", 13)
    for t in range(4):
        x = 0.85 + 1.5 * t
        arrow(ax, (x + 0.38, 3.65), (x + 0.38, 3.05), size=11)
        matrix(ax, x - 0.12, 2.25, np.outer(g[t], a[t]), cell, "purple", largest=1)
        note(ax, x + 0.38, 1.95, f"$g_{t + 1}a_{t + 1}^\\top$", "black", 13)
    note(ax, 3.15, 1.2, "$A$: mean of $a_t a_t^\\top$ over all tokens", "black", 14)
    note(ax, 3.15, 0.65, "$G$: mean over sequences of $\\sum_t g_t g_t^\\top$", "black", 14)
    matrix(ax, 8.3, 2.1, a.mean(0)[:, None], cell, "blue", largest=1)
    matrix(ax, 9.6, 2.27, g.sum(0)[:, None], cell, "orange", largest=2.6)
    note(ax, 8.47, 1.85, "$\\bar a$: mean", "black", 14)
    note(ax, 9.77, 1.85, "$\\hat g$: sum", "black", 14)
    for t in range(4):
        x = 7.45 + 1.5 * t
        arrow(ax, (x + 0.17, 3.68), (8.47, 3.2), color="blue", style="-")
        arrow(ax, (x + 0.59, 3.68), (9.77, 3.05), color="orange", style="-")
    arrow(ax, (10.2, 2.6), (11.0, 2.6))
    matrix(ax, 11.15, 2.27, np.outer(g.sum(0), a.mean(0)), cell, "purple", largest=2.4)
    note(ax, 11.66, 1.95, "$\\hat g\\,\\bar a^\\top$", "black", 14)
    note(ax, 9.75, 1.2, "$A$: mean over sequences of $\\bar a\\,\\bar a^\\top$", "black", 14)
    note(ax, 9.75, 0.65, "$G$: mean over sequences of $\\hat g\\,\\hat g^\\top$", "black", 14)
    ax.plot([6.5, 6.5], [0.3, 6.0], color=COLORS["grey"], lw=1.2, ls=":")
    return plots.described(
        fig,
        "Left, expand: each of four tokens keeps its own input and gradient and gives its own outer product. Right, "
        "reduce: the inputs of the four tokens are averaged, their gradients are added up, and one outer product of "
        "the two results stands for the whole sequence.",
    )
