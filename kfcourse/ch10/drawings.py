"""Conceptual drawing of chapter 10."""

import torch

from kfcourse.show import drawing, plots

BANDS = (("red", "band 0, the sharpest"), ("orange", "band 1"), ("blue", "band 2, the flattest half"))


def bands_and_sizes():
    """Pairs of directions cut into bands by their curvature; what an input makes of a pair depends on its column."""
    lambda_G, lambda_A = torch.tensor([8.0, 4.0, 1.0, 0.5]), torch.tensor([9.0, 5.0, 2.0, 1.0, 0.6, 0.3])
    size = torch.tensor([0.5, 0.8, 1.4, 1.1, 2.0, 1.7])
    Pi = torch.outer(lambda_G, lambda_A)
    rank = (-Pi.flatten()).argsort(stable=True).argsort().view_as(Pi)
    band = torch.bucketize(rank, torch.tensor([4, 12]), right=True)
    fig, ax = drawing.canvas(16, 8.2, inches=11)
    cell, left, low = 0.85, 2.4, 3.6
    for i in range(4):
        for j in range(6):
            color = BANDS[int(band[i, j])][0]
            corner = left + j * cell, low + (3 - i) * cell
            drawing.box(ax, *corner, 0.95 * cell, 0.9 * cell, f"{Pi[i, j]:g}", color, fill=0.3, size=11)
    for i in range(4):
        drawing.note(ax, left - 0.5, low + (3.45 - i) * cell, f"$u_{i + 1}$", size=14)
    for j in range(6):
        middle = left + (j + 0.48) * cell
        drawing.note(ax, middle, low + 4.25 * cell, f"$v_{j + 1}$", size=14)
        drawing.box(ax, middle - 0.22, 1.2, 0.44, 0.8 * float(size[j]), "", "black", fill=0.35)
        drawing.note(ax, middle, 0.9, f"{size[j]:.1f}", size=11)
    drawing.note(ax, left + 3 * cell, 8.0, r"curvature $\Pi_{ij}=\lambda^G_i\,\lambda^A_j$ of each pair", size=14)
    drawing.note(ax, left + 3 * cell, 0.3, r"$|v_j^\top x|$: one size for each column", size=13)
    means = [size.expand(4, 6)[band == b].mean().item() for b in range(3)]
    for b, (color, name) in enumerate(BANDS):
        y = 6.1 - 1.5 * b
        count = int((band == b).sum())
        drawing.box(ax, 10.0, y, 5.8, 1.1, f"{name}: {count} pairs\nactivity {means[b]:.2f}", color, size=13)
        drawing.arrow(ax, (left + 6 * cell + 0.15, y + 0.55), (9.9, y + 0.55), color=color)
    drawing.note(ax, 12.9, 1.9, "the activity of a band is the mean size\nover its pairs: a column counts once\n"
                 "for every pair that it has in the band", size=12.5)  # fmt: skip
    described = ", ".join(f"{name} {value:.2f}" for (_, name), value in zip(BANDS, means, strict=True))
    return plots.described(
        fig,
        "A grid of four output directions by six input directions, with the curvature of each pair written in its cell "
        "and three colours for three bands, whose borders are staircases. Below each column a bar shows the size of "
        f"the input along that direction. At the right the mean over the pairs of each band: {described}.",
    )
