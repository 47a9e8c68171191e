"""What chapter 18 says of shards, shared-out work and costs, and of how few tokens suffice, against the record and
against theorems.
"""

import pytest
import torch

from kfaclib.collecting import costs, planning
from kfaclib.curvature import distributed, layers
from kfaclib.curvature.eigenbasis import Eigenbasis, decompose
from kfaclib.curvature.factors import collect_factors
from kfaclib.io.files import read_json
from kfaclib.lm import models, presets
from kfaclib.toy import pipeline, small_olmo2
from kfaclib.toy.rows import world_rows
from kfcourse.experiments import tokens
from kfcourse.paths import DATA

RECORD = read_json(DATA / "results" / "tokens.json")
ROWS = [row for run in RECORD["seeds"].values() for row in run["rows"]]
every_seed = pytest.mark.parametrize("run", RECORD["seeds"].values(), ids=RECORD["seeds"])


def pick(rows, windows, shrunk=False):
    return [row for row in rows if row["windows"] == windows and row["shrunk"] is shrunk]


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def basis(seed, d=7, o=5):
    g = torch.Generator().manual_seed(seed)
    draw = lambda n: (
        torch.linalg.qr(torch.randn(n, n, generator=g))[0],
        (-4 * torch.rand(n, generator=g, dtype=torch.float64)).exp().sort(descending=True)[0],
    )
    (Q_A, lambda_A), (Q_G, lambda_G) = draw(d), draw(o)
    return Eigenbasis(Q_A, Q_G, lambda_A, lambda_G)


# --- theorems


@pytest.mark.parametrize("seed", range(3))
def test_shrinking_keeps_the_trace_the_eigenvectors_and_their_order(seed):
    b = basis(seed)
    after = tokens.shrunk({"x": b}, 20)["x"]
    assert after.Q_A is b.Q_A and after.Q_G is b.Q_G
    for was, now in ((b.lambda_A, after.lambda_A), (b.lambda_G, after.lambda_G)):
        assert (
            torch.isclose(was.sum(), now.sum())
            and (now.diff() <= 0).all()
            and now.min() >= was.min()
            and now.max() <= was.max()
        )


def test_more_tokens_are_shrunk_less_and_a_round_covariance_entirely():
    values = basis(0).lambda_A
    assert 1 >= tokens.intensity(values, 5) > tokens.intensity(values, 50) > tokens.intensity(values, 5000) > 0
    assert tokens.intensity(torch.tensor([1.0, 1.0 - 1e-9, 1.0], dtype=torch.float64), 50) == 1


def test_the_widths_of_the_large_models_are_shared_out_no_worse_than_in_turn():
    model = costs.meta_model("OLMo-2-1124-7B")
    chosen = layers.linear_layers(model, presets.LATE_7B)
    owner = costs.owners(chosen)
    jobs = [
        w**3
        for n, layer in chosen.items()
        for w in ((layer.in_features, layer.out_features) if owner[n] == n else (layer.out_features,))
    ]
    busiest = lambda ranks, world: max(sum(c for c, r in zip(jobs, ranks) if r == rank) for rank in range(world))
    late = {
        world: busiest([i % world for i in range(len(jobs))], world) / busiest(distributed.assign(jobs, world), world)
        for world in range(2, 9)
    }
    assert min(late.values()) >= 1 and late[3] > 1.4


def test_a_corpus_of_trillions_is_out_of_reach_and_the_papers_sample_is_not():
    model = costs.meta_model("OLMo-2-1124-7B")
    each = sum(costs.flops_per_token(model, layers.linear_layers(model, "*.mlp.*")).values())
    promised = costs.DEVICES["H200"].flops  # more than any program reaches
    assert each * 4e12 / promised > 2 * 365 * 24 * 3600
    assert each * presets.PRESETS["allenai/OLMo-2-1124-7B"].tokens / (0.2 * promised) < 2 * 3600


def planned(name, patterns="*.mlp.*", share=0.9):
    model = planning.outline(name, dtype=torch.bfloat16)
    chosen = layers.linear_layers(model, patterns)
    room = planning.room(model, costs.DEVICES["H200"].memory, share)
    return model, chosen, planning.make(model, chosen, room)


def test_the_32b_takes_many_passes_and_a_multiple_of_the_hours_of_one_and_the_others_one():
    """The control: with room for all sums it would be a single pass of less than a third of the work."""
    model, chosen, plan = planned("OLMo-2-0325-32B")
    one = sum(costs.flops_per_token(model, chosen).values())
    assert planning.make(model, chosen, plan.sums + 1).flops == one
    hours = lambda flops: flops * 20e6 / (0.4 * costs.DEVICES["H200"].flops) / 3600
    assert len(plan.passes) >= 6 and 3 < plan.flops / one < len(plan.passes)
    assert hours(plan.flops) > 10 > 5 > hours(one)
    assert len(planned("OLMo-2-0325-32B", share=1)[2].passes) >= 6  # not an effect of what is kept free
    for name, patterns in (("OLMo-2-0425-1B", "*.mlp.*"), ("OLMo-2-1124-7B", "*.mlp.*")):
        assert len(planned(name, patterns)[2].passes) == 1


def test_the_exchange_is_one_triangle_and_the_eigenvectors_and_takes_seconds():
    model, chosen, plan = planned("OLMo-2-0325-32B")
    link = 0.4 * costs.LINKS["NVLink 4"]
    assert 1 < costs.exchanged(chosen, 8) / link < 60
    assert 60 < costs.exchanged(chosen, 8) / costs.LINKS["100 Gbit Ethernet"]
    assert costs.exchanged(chosen, 1) == 0 and costs.exchanged(chosen, 2) < costs.exchanged(chosen, 8) < 2 * plan.sums
    squares = sum(d * d for d in costs.widths(chosen))
    assert plan.sums == 4 * squares and costs.exchanged(chosen, 8) - 4 * squares < 4 * 2 * 0.52 * squares


def test_the_chapter_does_not_hide_a_gpu_run():
    """It says that none is recorded as long as none is; with one, this test asks for the chapter to be executed
    again.
    """
    cells = read_json(next((DATA.parent / "chapters").glob("18_*.ipynb")))["cells"]
    said = any(
        "no GPU run is recorded here" in "".join(o.get("text", "")) for cell in cells for o in cell.get("outputs", [])
    )
    assert said != (DATA / "results" / "bench-gpu.json").exists()


# --- the record


def test_three_seeds_are_recorded_with_where_they_come_from():
    assert len(RECORD["seeds"]) >= 3
    assert {"command", "commit", "machine", "date", "seed", "versions"} <= RECORD["provenance"].keys()
    sizes = {row["tokens"] for row in ROWS}
    assert max(sizes) / min(sizes) > 10
    for run in RECORD["seeds"].values():
        assert all(len({row["sample"] for row in pick(run["rows"], n)}) >= 2 for n in tokens.WINDOWS)


@every_seed
def test_before_the_edit_every_model_recites(run):
    assert run["before"]["strict"] > 0.95


@every_seed
def test_where_prices_are_compared_the_forgetting_is_the_same(run):
    """From four windows on it is. A single window does not come near as it is; shrunk it does, but not always quite,
    which the chapter says.
    """
    for row in run["rows"]:
        if row["shrunk"] or row["windows"] >= 4:
            assert abs(row["reached"] - RECORD["target"]) < (0.03 if row["shrunk"] else 0.01), row
    assert all(row["reached"] < RECORD["target"] - 0.05 for row in pick(run["rows"], 1))


@every_seed
def test_a_few_thousand_tokens_are_enough(run):
    random_basis = mean(controls("random basis"))
    for row in run["rows"]:
        if row["windows"] >= 16:
            assert row["price"] - 1 < (random_basis - 1) / 4 and row["strict"] <= 0.1


def controls(method):
    for run in read_json(DATA / "results" / "seeds.json")["seeds"].values():
        price = {row["method"]: row["perplexity"] for row in run["rows"]}
        yield price[method] / price["baseline"]


def test_with_too_little_text_the_edit_is_worse_than_the_controls():
    assert mean(row["price"] for row in pick(ROWS, 1)) > mean(controls("SVD"))


def test_shrinking_makes_the_smallest_samples_cheaper():
    for windows in tokens.FEW:
        pairs = zip(pick(ROWS, windows), pick(ROWS, windows, shrunk=True))
        assert all(shrunk["price"] < plain["price"] for plain, shrunk in pairs)


# --- live


def test_a_stream_looked_at_early_is_the_sample_of_that_size():
    model, _ = models.load(DATA / "olmo2-tiny")
    world, chosen = (
        small_olmo2.load_world(DATA / "olmo2-tiny"),
        layers.linear_layers(model, "model.layers.5.mlp.gate_proj"),
    )
    found = tokens.growing(model, chosen, world, 0, (1, 2), progress=False)
    again = tokens.growing(model, chosen, world, 0, (2,), progress=False)
    for name in chosen:
        assert found[1][name].tokens == 127 and found[2][name].tokens == again[2][name].tokens == 254
        assert torch.allclose(found[2][name].A, again[2][name].A, rtol=1e-4, atol=1e-7) and not torch.allclose(
            found[1][name].A, found[2][name].A
        )
    rows = world_rows(world, tokens.STREAM, "tokens 0")[:2]
    alone = collect_factors(model, [rows], chosen, generator=torch.Generator().manual_seed(0), progress=False)
    for name in chosen:  # labels are other draws, inputs the same
        assert torch.allclose(found[2][name].A, alone[name].A, rtol=1e-4, atol=1e-7)


@pytest.mark.long
@pytest.mark.slow
def test_sixteen_windows_are_enough_on_another_sample_too():
    model, _ = models.load(DATA / "olmo2-tiny")
    world, chosen = small_olmo2.load_world(DATA / "olmo2-tiny"), layers.linear_layers(model, pipeline.LAYERS)
    take, before = tokens.exam(model, world), tokens.exam(model, world)()
    bases = decompose(tokens.growing(model, chosen, world, 77, (16,), progress=False)[16])
    found, weights = tokens.at_equal_forgetting(model, chosen, bases, tokens.choosing_quotes(world))
    with tokens.edited(chosen, weights):
        after = take()
    assert abs(found["reached"] - pipeline.FORGOTTEN) < 0.02 and after["perplexity"] < 1.1 * before["perplexity"]
