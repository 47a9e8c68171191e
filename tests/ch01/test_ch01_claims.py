"""What chapter 01 says, from the recorded seeds and from nets trained afresh."""

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

from kfaclib.curvature import landscape, products
from kfaclib.io import files
from kfaclib.toy import digits
from kfcourse.experiments import landscape as experiment
from kfcourse.paths import DATA

RECORD = files.read_json(DATA / "results" / "landscape.json")
CONTROLS = files.read_json(DATA / "results" / "terrain.json")
STEP = {step: i for i, step in enumerate(RECORD["steps"])}


@pytest.mark.parametrize("row", RECORD["rows"], ids=lambda r: f"seed {r['seed']}")
def test_labels_that_are_all_wrong_make_a_pit_at_equal_loss_and_at_equal_distance(row):
    random, clean, same = row["random"], row["clean"], row["clean, same loss"]
    assert same["loss"] > 0.6 * random["loss"]
    for other in (clean, same):
        assert random["slice"][STEP[0.2]] > 5 * other["slice"][STEP[0.2]]
        assert random["slice"][STEP[0.1]] > 2 * other["slice"][STEP[0.2]]  # twice the weights, half the step
    assert random["share_below_1"] < 0.1 < 0.5 < clean["share_below_1"]


def test_the_sharpness_ranks_them_too_but_by_less_than_training_on_changes_it():
    mean = lambda kind: sum(row[kind]["sharpness"] for row in RECORD["rows"]) / len(RECORD["rows"])
    lowest = min(row["random"]["sharpness"] for row in RECORD["rows"])
    assert lowest > max(row["clean, same loss"]["sharpness"] for row in RECORD["rows"])  # no overlap
    assert 1 < mean("random") / mean("clean, same loss") < 2 < mean("clean, same loss") / mean("clean")


@pytest.mark.parametrize("row", CONTROLS["nets"], ids=lambda r: f"seed {r['seed']}")
def test_labels_without_a_rule_make_the_pit_and_wrong_labels_with_a_rule_do_not(row):
    wrong, chance, rule = row["every label wrong"], row["drawn at random"], row["wrong by a rule, same loss"]
    true, longer = row["true labels, same loss"], row["true labels, as long"]
    for control in (rule, true, longer):
        assert min(wrong["rise"][1], chance["rise"][1]) > 20 * control["rise"][1]
        assert min(wrong["rise"][0], chance["rise"][0]) > 5 * control["rise"][1]  # half the step, twice the weights
    assert rule["loss"] > 0.6 * wrong["loss"] and true["loss"] > 0.6 * wrong["loss"]
    assert 0.5 < rule["rise"][1] / true["rise"][1] < 2
    assert wrong["norm"] < 2.5 * true["norm"]


@pytest.mark.parametrize("row", CONTROLS["nets"], ids=lambda r: f"seed {r['seed']}")
def test_the_memorizer_has_many_sharp_directions_and_its_largest_is_hardly_larger(row):
    wrong, true, longer = (row[k] for k in ("every label wrong", "true labels, same loss", "true labels, as long"))
    times = lambda measure: measure(wrong) / measure(true)
    assert 1 < times(lambda n: n["sharpness"]) < 2.5 < true["sharpness"] / longer["sharpness"]
    assert times(lambda n: n["trace"]) > 2 * times(lambda n: n["sharpness"])
    product = times(lambda n: n["trace"]) * times(lambda n: n["norm"] ** 2)
    assert times(lambda n: n["bend"]) == pytest.approx(product, rel=0.4)  # trace and length give the curvature
    assert times(lambda n: n["rise"][1]) > 1.2 * times(lambda n: n["bend"])  # and beyond the parabola it is more


@pytest.mark.parametrize("run", CONTROLS["edges"], ids=lambda r: f"{r['rate']}, seed {r['seed']}")
def test_gradient_descent_stays_at_two_over_its_step(run):
    late = [sharp * run["rate"] for step, _, sharp in run["seen"] if step >= 600]
    assert all(1.8 < value < 2.25 for value in late)
    losses = [loss for _, loss, _ in run["seen"]]
    assert losses[-1] < 0.6 * losses[5]  # and the loss goes on falling


def test_the_two_step_sizes_begin_at_one_sharpness_and_end_at_two():
    by = {(run["rate"], run["seed"]): [sharp for *_, sharp in run["seen"]] for run in CONTROLS["edges"]}
    for seed in (0, 1, 2):
        assert by[0.1, seed][0] == by[0.2, seed][0]
        assert by[0.1, seed][-1] == pytest.approx(2 * by[0.2, seed][-1], rel=0.1)


@pytest.mark.parametrize("row", CONTROLS["paths"], ids=lambda r: f"{r['labels']}, seed {r['seed']}")
def test_a_bent_path_joins_what_the_straight_line_does_not(row):
    assert row["line"] > 5 * row["ends"] and row["bent"] < 1.5 * row["ends"]


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


def relu_pair(alpha):
    """(loss, a trained ReLU net, the same with its first layer times alpha): what the chapter rescales."""
    torch.manual_seed(0)
    data = digits.load()
    net = torch.nn.Sequential(torch.nn.Linear(64, 48), torch.nn.ReLU(), torch.nn.Linear(48, 10))
    digits.train(net, data.x, data.y, epochs=15)
    x = data.x[:500].double()
    loss = lambda p: F.cross_entropy(functional_call(net, p, (x,)), data.y[:500])
    one = {name: p.detach().double() for name, p in net.named_parameters()}
    first = {name: alpha * one[name] for name in ("0.weight", "0.bias")}
    return loss, one, one | first | {"2.weight": one["2.weight"] / alpha}


def test_one_function_has_two_curvatures_and_normalized_slices_see_layers_but_not_neurons():
    loss, one, ten = relu_pair(10.0)
    noise = landscape.random_direction(one, torch.Generator().manual_seed(1))
    noise["2.bias"].zero_()
    bend = lambda p, v: (products.flatten(v) @ products.flatten(products.hvp(loss, p, v))).item()
    second = {name: d * (name == "2.weight") for name, d in noise.items()}
    assert torch.allclose(loss(one), loss(ten))
    assert bend(ten, noise) > 20 * bend(one, noise)
    assert bend(ten, noise) == pytest.approx(100 * bend(one, second), rel=0.01)  # (01.7), the last term alone
    away = lambda p: landscape.loss_slice(loss, p, landscape.filter_normalise(noise, p), [1.0])[0].item()
    assert away(ten) == pytest.approx(away(one))
    scale = torch.logspace(-1, 1, 48).double()
    uneven = one | {
        "0.weight": scale[:, None] * one["0.weight"],
        "0.bias": scale * one["0.bias"],
        "2.weight": one["2.weight"] / scale,
    }
    assert torch.allclose(loss(uneven), loss(one)) and abs(away(uneven) / away(one) - 1) > 0.3


def test_a_walk_is_in_its_principal_plane_and_hardly_in_a_random_one():
    data, net, way = digits.load(), digits.make_net(0), []
    keep = lambda epoch: way.append({name: p.detach().clone() for name, p in net.named_parameters()})
    digits.train(net, data.x, data.y, epochs=30, seed=0, watch=keep)
    generator = torch.Generator().manual_seed(0)
    chance = [landscape.random_direction(way[0], generator) for _ in range(2)]
    shares = [landscape.coordinates(way, way[-1], plane)[1] for plane in (landscape.walk_plane(way), chance)]
    assert shares[0] > 0.9 and shares[1] < 0.01
