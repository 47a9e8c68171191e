"""The terrain's view: what it shows is what the pure functions say."""

import json
import re

import pytest
import torch

from kfaclib.curvature import landscape
from kfcourse.show import terrain

PARAMS = {"w": torch.zeros(2, dtype=torch.float64)}
AXES = [{"w": row} for row in torch.eye(2, dtype=torch.float64)]
OPTIONS = {"rate": 0.1, "steps": 10, "cap": 4.0}


def bowl(params):
    return 2 * params["w"].square().sum()


@pytest.fixture
def given():
    x = torch.linspace(-1, 1, 5)
    return bowl, PARAMS, AXES, x, x, landscape.loss_grid(bowl, PARAMS, AXES, x, x)


def test_relief_is_monotone_and_cut_off():
    grid = torch.tensor([[0.0, 1.0, 4.0, 9.0, float("inf"), float("nan")]], dtype=torch.float64)
    assert terrain.relief(grid, 4.0).tolist() == [[0.0, 0.5, 1.0, 1.0, 1.0, 1.0]]


def test_every_walk_is_gradient_descent_on_the_loss(given):
    found = terrain.facts(*given, **OPTIONS, alt="a bowl")
    starts = {tuple(one["path"][0][:2]) for one in found["walks"]}
    assert len(starts) == len(found["walks"]) == terrain.STARTS**2
    for one in found["walks"][:5]:
        path, losses = landscape.descend(bowl, PARAMS, AXES, one["path"][0][:2], 0.1, 10)
        for point, exact in zip(one["path"], path.tolist(), strict=True):
            assert point[:2] == pytest.approx(exact, abs=2e-3)
        assert one["path"][0][2] == pytest.approx(min(1, losses[0].item() / 4) ** 0.5, abs=2e-3)
        assert re.fullmatch(r"From a loss of [\d.]+ to [\d.]+ in 10 steps of gradient descent\.", one["said"])


def test_the_view_holds_the_grid(given):
    view = terrain.terrain(*given, **OPTIONS, alt="a bowl </script>")
    assert repr(view) == "Terrain: a bowl </script>"
    source = view._repr_html_()
    assert source.count("</script>") == 1  # what the data says cannot end the script
    held = json.loads(re.search(r"const facts = (.*);", source)[1].replace("<\\/", "</"))
    assert len(held["height"]) == 5 and held["height"][2][2] == 0 and held["height"][0][0] == 1
    assert len(held["colors"]) == len(held["colors"][0]) == 4 and held["colors"][0][0].startswith("#")
