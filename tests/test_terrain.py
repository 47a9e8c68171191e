"""The terrain's view: what it shows is what the pure functions say."""

import pytest
import torch

from kfaclib.curvature import landscape
from kfcourse.show import terrain

PARAMS = {"w": torch.zeros(2, dtype=torch.float64)}
AXES = [{"w": row} for row in torch.eye(2, dtype=torch.float64)]


def bowl(params):
    return 2 * params["w"].square().sum()


def make(cap=4.0):
    x = torch.linspace(-1, 1, 5)
    return terrain.Terrain(
        bowl,
        PARAMS,
        AXES,
        x,
        x,
        landscape.loss_grid(bowl, PARAMS, AXES, x, x),
        rate=0.1,
        steps=10,
        cap=cap,
        alt="a bowl",
    )


def test_relief_is_monotone_and_cut_off():
    grid = torch.tensor([[0.0, 1.0, 4.0, 9.0, float("inf"), float("nan")]], dtype=torch.float64)
    assert terrain.relief(grid, 4.0).tolist() == [[0.0, 0.5, 1.0, 1.0, 1.0, 1.0]]


def test_a_click_makes_a_walk_on_the_loss():
    view = make()
    view.start = [0.5, -1.0]
    path, losses = landscape.descend(bowl, PARAMS, AXES, (0.5, -1.0), 0.1, 10)
    assert [p[:2] for p in view.path] == path.tolist()
    assert view.path[0][2] == pytest.approx((losses[0].item() / 4) ** 0.5)
    assert view.said == f"From a loss of {losses[0]:.2f} to {losses[-1]:.2f} in 10 steps of gradient descent."


def test_the_view_holds_the_grid():
    view = make()
    assert len(view.height) == 5 and view.height[2][2] == 0 and view.height[0][0] == 1
    assert len(view.colors) == len(view.colors[0]) == 4 and view.colors[0][0].startswith("#")
    assert repr(view) == "Terrain: a bowl"
