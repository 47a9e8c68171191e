"""Drawings of chapter 4: which matrix equals which, a product with the GGN, and what Lanczos builds."""

import numpy as np

from kfcourse.show import plots
from kfcourse.show.drawing import arrow, box, canvas, matrix, note
from kfcourse.show.plots import COLORS


def matrices():
    """Hessian, GGN, Fisher and empirical Fisher, with what has to hold for two of them to be equal."""
    fig, ax = canvas(14.4, 6.3, inches=10.5)
    box(ax, 0.2, 3.5, 2.2, 1.7, "Hessian\n$H$", "black", size=15)
    box(ax, 6.0, 3.5, 2.5, 1.7, "GGN\n$J^\\top H_z\\, J$", "blue", size=15)
    box(ax, 12.0, 3.5, 2.2, 1.7, "Fisher\n$F$", "green", size=15)
    box(ax, 6.6, 0.35, 2.9, 1.3, "sampled Fisher", "green", fill=0.05, size=14)
    box(ax, 11.3, 0.35, 2.9, 1.3, "empirical Fisher", "orange", size=14)
    ax.plot([2.5, 5.9], [4.35, 4.35], color=COLORS["black"], lw=2, ls="--")
    note(ax, 4.2, 4.95, "equal if the residuals are zero\nor $z$ is linear in $w$", size=12)
    note(ax, 4.2, 3.75, "otherwise $H$ has a second\nterm, of any sign", size=12)
    for y in (4.42, 4.28):
        ax.plot([8.6, 11.9], [y, y], color=COLORS["black"], lw=2)
    note(ax, 10.25, 4.95, "equal at any weights:\nsoftmax, squared error", size=12)
    arrow(ax, (12.3, 3.4), (8.6, 1.75), "", "green")
    note(ax, 8.3, 2.75, "labels drawn from the\nmodel: equal in the mean", size=12)
    ax.plot([13.3, 13.3], [3.4, 1.75], color=COLORS["black"], lw=2, ls=":")
    note(ax, 11.95, 2.1, "labels of the data:\nanother matrix", size=12)
    note(ax, 1.3, 5.85, "what the loss does", size=13)
    note(ax, 10.1, 5.85, "never negative, and no label of the data occurs", size=13)
    return plots.described(
        fig,
        "A map of four matrices. The Hessian equals the GGN if the net fits the labels exactly or is linear in its "
        "weights; otherwise it has a second term. GGN and Fisher are equal at any weights for softmax and squared "
        "error. Labels drawn from the model give the Fisher in the mean; the labels of the data give the empirical "
        "Fisher, which is another matrix.",
    )


def there_and_back():
    """A product with the GGN in three steps: to the outputs, through the loss's Hessian, and back to the weights."""
    fig, ax = canvas(13.6, 4.3, inches=10.5)
    rng = np.random.default_rng(2)
    cell = 0.34
    tall = lambda x, color: matrix(ax, x, 0.75, rng.uniform(0.1, 1, (9, 1)), cell, color, largest=1)
    short = lambda x, color: matrix(ax, x, 1.75, rng.uniform(0.1, 1, (3, 1)), cell, color, largest=1)
    tall(0.9, "blue")
    note(ax, 1.07, 0.4, "$v$  [$P$]", size=14)
    short(4.6, "orange")
    note(ax, 4.77, 1.35, "$J v$  [$C$]", size=14)
    short(8.3, "orange")
    note(ax, 8.47, 1.35, "$H_z J v$  [$C$]", size=14)
    tall(12.0, "blue")
    note(ax, 12.17, 0.4, "$J^\\top H_z J v$  [$P$]", size=14)
    for x, name, what in (
        (1.5, "jvp", "how the outputs move"),
        (5.2, "output_hvp", "how the loss bends there"),
        (8.9, "vjp", "back to the weights"),
    ):
        arrow(ax, (x, 2.26), (x + 2.8, 2.26))
        note(ax, x + 1.4, 2.6, name, size=14)
        note(ax, x + 1.4, 3.1 if x != 5.2 else 3.1, what, size=12)
    note(ax, 1.35, 4.1, "a direction of weights", "black", 13)
    note(ax, 6.6, 4.1, "outputs: only $C$ numbers for each example", "black", 13)
    note(ax, 12.0, 4.1, "weights again", "black", 13)
    return plots.described(
        fig,
        "A long vector v of weights is carried forward to a short vector of outputs by jvp, multiplied there by the "
        "Hessian of the loss, and carried back to a long vector of weights by vjp.",
    )


def krylov():
    """M Q = Q T + remainder: the large matrix, the few directions, and the small tridiagonal matrix."""
    fig, ax = canvas(13.4, 4.7, inches=10.5)
    rng = np.random.default_rng(4)
    n, m, cell = 9, 4, 0.32
    M = rng.uniform(0.1, 1, (n, n))
    Q = rng.uniform(0.1, 1, (n, m))
    T = np.zeros((m, m))
    for k in range(m):
        T[k, k] = 1
        if k:
            T[k, k - 1] = T[k - 1, k] = 0.55
    bottom = 1.1
    matrix(ax, 0.3, bottom, M + M.T, cell, "black", label="$M$   [$n, n$]", size=14, largest=4)
    note(ax, 3.6, bottom + n * cell / 2, "times", size=13)
    matrix(ax, 4.1, bottom, Q, cell, "blue", label="$Q$   [$n, m$]", size=14, largest=1.4)
    note(ax, 5.85, bottom + n * cell / 2, "$=$", size=20)
    matrix(ax, 6.3, bottom, Q, cell, "blue", size=14, largest=1.4, label="$Q$")
    matrix(ax, 8.3, bottom + 0.75, T, cell, "orange")
    note(ax, 8.95, bottom + 0.45, "$T$   [$m, m$]", size=14)
    for k in range(m):
        spot = (8.3 + (k + 0.5) * cell, bottom + 0.75 + (m - k - 0.5) * cell)
        note(ax, *spot, f"$\\alpha_{k + 1}$", size=10)
        if k:
            note(ax, spot[0], spot[1] + cell, f"$\\beta_{k}$", size=10)
            note(ax, spot[0] - cell, spot[1], f"$\\beta_{k}$", size=10)
    note(ax, 10.1, bottom + n * cell / 2, "$+$", size=20)
    rest = np.zeros((n, m))
    rest[:, -1] = rng.uniform(0.3, 1, n)
    matrix(ax, 10.6, bottom, rest, cell, "grey", label="rest: $\\beta_m\\, q_{m+1}$", size=14)
    note(ax, 8.95, bottom + 3.15, "only the diagonal and\nits neighbors", size=12)
    return plots.described(
        fig,
        "A large square matrix M times a few directions q, as columns, equals the same directions times a small "
        "tridiagonal matrix T, plus a remainder in the last column only. T has alpha on its diagonal, beta beside it.",
    )
