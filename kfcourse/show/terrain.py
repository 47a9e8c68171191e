"""A terrain to turn and to walk on with the mouse: a thin view on `landscape.loss_grid` and `landscape.descend`."""

import json
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import torch

from kfaclib.curvature import landscape
from kfcourse.show import plots, widgets

SCRIPT = Path(__file__).with_name("terrain.js").read_text(encoding="utf-8")
STARTS = 7  # places along each axis from which a walk is computed


def relief(grid, cap):
    """Heights in [0, 1] of a grid of losses [n_y, n_x]: its square root, cut off at the loss `cap` (a plain is a plain
    there)."""
    return (grid.nan_to_num(cap).clamp(0, cap) / cap).sqrt()


def walk(loss, params, directions, start, rate, steps, cap):
    """What the view shows of `landscape.descend` from start (x, y): {"path": [[x, y, height in [0, 1]], ...], "said": a
    sentence}."""
    path, losses = landscape.descend(loss, params, directions, start, rate, steps)
    points = torch.cat([path, relief(losses, cap)[:, None]], 1)
    said = f"From a loss of {losses[0]:.2f} to {losses[-1]:.2f} in {len(path) - 1} steps of gradient descent."
    return {"path": _short(points.tolist()), "said": said}


def _short(rows):
    return [[round(value, 3) for value in row] for row in rows]


def facts(loss, params, directions, x, y, grid, *, rate, steps=40, cap=10.0, alt):
    """All that the view needs: axes, heights [n_y][n_x], colours of the faces, and a walk from each of STARTS x STARTS
    places."""
    heights = relief(grid, cap)
    faces = (heights[:-1, :-1] + heights[1:, 1:]) / 2
    colors = [[matplotlib.colors.to_hex(matplotlib.colormaps["cividis"](v)) for v in row] for row in faces.tolist()]
    inside = lambda axis: torch.linspace(float(axis[0]), float(axis[-1]), STARTS + 2)[1:-1].tolist()
    places = [(across, down) for across in inside(x) for down in inside(y)]
    return {
        "x": _short([torch.as_tensor(x).tolist()])[0],
        "y": _short([torch.as_tensor(y).tolist()])[0],
        "height": _short(heights.tolist()),
        "colors": colors,
        "alt": alt,
        "walks": [walk(loss, params, directions, place, rate, steps, cap) for place in places],
    }


def still(found):
    """HTML of the terrain as a picture, for a page whose scripts are off. `found`: what `facts` returns."""
    fig = plt.figure(figsize=(7.6, 4.6))
    ax = fig.add_subplot(projection="3d", computed_zorder=False)
    x, y = torch.meshgrid(torch.tensor(found["x"]), torch.tensor(found["y"]), indexing="xy")
    ax.plot_surface(*(a.numpy() for a in (x, y, torch.tensor(found["height"]))), cmap="cividis", rcount=99, ccount=99)
    ax.view_init(elev=40, azim=-50)
    ax.set(xticks=[], yticks=[], zticks=[])
    return widgets.image(plots.picture(fig, found["alt"]))


def terrain(loss, params, directions, x, y, grid, **options):
    """A view of the terrain: drag to turn, click to start a walk near that place. The walk is gradient descent on the
    loss itself, not on the picture. Options as for `facts`."""
    found = facts(loss, params, directions, x, y, grid, **options)
    data = json.dumps(found).replace("</", "<\\/")
    return widgets.page(still(found), f"const facts = {data};\n{SCRIPT}", f"Terrain: {found['alt']}")
