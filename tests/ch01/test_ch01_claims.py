"""What chapter 01 says, from the recorded seeds and from nets trained afresh."""

import pytest
import torch

from kfaclib.curvature import landscape, products
from kfaclib.io import files
from kfcourse.experiments import landscape as experiment
from kfcourse.paths import DATA

RECORD = files.read_json(DATA / "results" / "landscape.json")
STEP = {step: i for i, step in enumerate(RECORD["steps"])}


@pytest.mark.parametrize("row", RECORD["rows"], ids=lambda r: f"seed {r['seed']}")
def test_random_labels_make_a_pit_at_equal_loss_and_at_equal_distance(row):
    random, clean, same = row["random"], row["clean"], row["clean, same loss"]
    assert same["loss"] > 0.6 * random["loss"]
    for other in (clean, same):
        assert random["slice"][STEP[0.2]] > 5 * other["slice"][STEP[0.2]]
        assert random["slice"][STEP[0.1]] > 2 * other["slice"][STEP[0.2]]  # twice the weights, half the step
    assert random["share_below_1"] < 0.1 < 0.5 < clean["share_below_1"]


def test_sharpness_alone_hardly_tells_them_apart_at_equal_loss():
    mean = lambda kind: sum(row[kind]["sharpness"] for row in RECORD["rows"]) / len(RECORD["rows"])
    assert mean("random") < 3 * mean("clean, same loss")
    assert mean("clean, same loss") > 1.5 * mean("clean")  # and it depends on how long one trains


def test_the_memorizer_has_learned_nothing_but_its_labels():
    assert all(row["random"]["train"] > 0.99 and row["random"]["test"] < 0.05 for row in RECORD["rows"])
    assert all(row["clean"]["test"] > 0.95 for row in RECORD["rows"])


@pytest.mark.long
@pytest.mark.slow
def test_a_fresh_seed_shows_the_pit():
    slices = {}
    for kind in ("clean", "random"):
        loss, params, _, _ = experiment.trained(kind, seed=21)
        way = landscape.filter_normalise(landscape.random_direction(params, torch.Generator().manual_seed(0)), params)
        slices[kind] = landscape.loss_slice(loss, params, way, [0.2])[0]
    assert slices["random"] > 5 * slices["clean"]


def toy(params):
    return 0.5 * (params["w"][0] * params["w"][1] - 1) ** 2


AXES = [{"w": row} for row in torch.eye(2, dtype=torch.float64)]


@pytest.mark.parametrize("w1", [0.3, 1.0, 4.0])
def test_the_toys_sharpness_is_the_squared_distance_from_zero(w1):
    w = torch.tensor([w1, 1 / w1], dtype=torch.float64)
    columns = [products.flatten(products.hvp(toy, {"w": w}, axis)) for axis in AXES]
    assert torch.linalg.eigvalsh(torch.stack(columns))[-1].item() == pytest.approx(w.square().sum().item())


@pytest.mark.parametrize("start", [(4.0, 0.5), (1.5, -0.6), (4.2, 0.3)])
@pytest.mark.parametrize("rate", [0.05, 0.1, 0.15])
def test_descent_settles_only_where_its_step_allows(start, rate):
    path, losses = landscape.descend(toy, {"w": torch.zeros(2, dtype=torch.float64)}, AXES, start, rate, 300)
    assert losses[-1] < 1e-6 and path[-1].square().sum() < 2 / rate


def test_the_same_start_ends_at_another_sharpness_with_another_step():
    ends = [
        landscape.descend(toy, {"w": torch.zeros(2, dtype=torch.float64)}, AXES, (4.0, 0.5), rate, 300)[0][-1]
        for rate in (0.05, 0.15)
    ]
    assert ends[0].square().sum() > 1.3 * ends[1].square().sum()
