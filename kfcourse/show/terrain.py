"""A terrain to turn and to walk on with the mouse: a thin view on `landscape.loss_grid` and `landscape.descend`."""

from pathlib import Path

import anywidget
import matplotlib
import torch
import traitlets

from kfaclib.curvature import landscape


def relief(grid, cap):
    """Heights in [0, 1] of a grid of losses [n_y, n_x]: its square root, cut off at the loss `cap` (a plain is a plain
    there)."""
    return (grid.nan_to_num(cap).clamp(0, cap) / cap).sqrt()


def walk(loss, params, directions, start, rate, steps, cap):
    """What the view shows of `landscape.descend` from start (x, y): ([[x, y, height in [0, 1]], ...], a sentence)."""
    path, losses = landscape.descend(loss, params, directions, start, rate, steps)
    points = torch.cat([path, relief(losses, cap)[:, None]], 1)
    return (
        points.tolist(),
        f"From a loss of {losses[0]:.2f} to {losses[-1]:.2f} in {len(path) - 1} steps of gradient descent.",
    )


class Terrain(anywidget.AnyWidget):
    """Drag to turn, click to start a walk at that place.  The walk is gradient descent on the loss itself, not on the
    picture."""

    _esm = Path(__file__).with_name("terrain.js")
    x = traitlets.List().tag(sync=True)
    y = traitlets.List().tag(sync=True)
    height = traitlets.List().tag(sync=True)  # [n_y][n_x], in [0, 1]
    colors = traitlets.List().tag(sync=True)  # of the faces, as "#rrggbb"
    alt = traitlets.Unicode().tag(sync=True)
    start = traitlets.List().tag(sync=True)  # where the last click was
    path = traitlets.List().tag(sync=True)
    said = traitlets.Unicode("Drag to turn, click to let go of a ball.").tag(sync=True)

    def __init__(self, loss, params, directions, x, y, grid, *, rate, steps=40, cap=10.0, alt):
        heights = relief(grid, cap)
        faces = (heights[:-1, :-1] + heights[1:, 1:]) / 2
        color = [[matplotlib.colors.to_hex(matplotlib.colormaps["cividis"](v)) for v in row] for row in faces.tolist()]
        super().__init__(
            x=torch.as_tensor(x).tolist(),
            y=torch.as_tensor(y).tolist(),
            alt=alt,
            colors=color,
            height=[[round(v, 4) for v in row] for row in heights.tolist()],
        )
        self._walk = lambda start: walk(loss, params, directions, start, rate, steps, cap)

    def __repr__(self):
        return f"Terrain: {self.alt}"

    @traitlets.observe("start")
    def _go(self, change):
        path, said = self._walk(tuple(change["new"]))
        self.said = said
        self.path = path
