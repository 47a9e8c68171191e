"""What chapter 03 says, from the recorded seeds and from one small network trained afresh."""

import pytest
import torch

from kfaclib.io import files
from kfaclib.toy import grokking as g
from kfcourse.ch03 import figures
from kfcourse.experiments import decay
from kfcourse.paths import DATA

RECORD = files.read_json(DATA / "results" / "grokking.json")
DECAY = files.read_json(DATA / "results" / "decay.json")
RUNS, NEVER, RELU = RECORD["quadratic"], RECORD["never"], RECORD["relu"]
PLATEAU = ("1000", "1500", "2000")


def at(run, step):
    return run["snapshots"][step]


@pytest.mark.parametrize("run", RUNS, ids=lambda r: f"seed {r['seed']}")
def test_memorized_at_once_generalized_much_later(run):
    assert run["generalized"] > 15 * run["memorized"]
    assert at(run, "100")["train"] == 1 and at(run, "100")["test"] < 0.02 and at(run, "3000")["test"] > 0.99


@pytest.mark.parametrize("run", RUNS, ids=lambda r: f"seed {r['seed']}")
def test_the_circuit_is_there_long_before_the_answers(run):
    assert at(run, "1000")["restricted_test"] > at(run, "1000")["test"] + 0.5
    assert at(run, "3000")["purity"] > 4 * at(run, "100")["purity"]


@pytest.mark.parametrize("run", RUNS + NEVER)
def test_a_mean_over_all_pairs_leaks(run):
    assert at(run, "100")["restricted_all"] > 0.95 and at(run, "100")["restricted_test"] < 0.05


def test_a_network_that_never_understands_has_no_circuit():
    for run in NEVER:
        assert run["generalized"] is None and at(run, "3000")["train"] == 1 and at(run, "3000")["test"] < 0.05
        assert at(run, "3000")["restricted_test"] < 0.1


@pytest.mark.parametrize("run", RUNS, ids=lambda r: f"seed {r['seed']}")
def test_memory_still_answers_when_the_circuit_has_taken_over(run):
    done = next(s for s in run["snapshots"] if at(run, s)["test"] > 0.95)
    assert at(run, done)["excluded_train"] > 0.9


def test_neither_end_of_sharpness_or_rank_tells_the_control_from_the_runs_that_generalize():
    last = lambda runs, what: [at(run, "3000")["curvature"][what] for run in runs]
    for what in ("top", "effective_rank"):
        assert (
            0.8 < min(last(NEVER, what)) / max(last(RUNS, what)) < max(last(NEVER, what)) / min(last(RUNS, what)) < 1.25
        )
    purity = lambda runs: [at(run, "3000")["purity"] for run in runs]
    assert min(purity(RUNS)) > 3 * max(purity(NEVER))


@pytest.mark.parametrize("run", RUNS, ids=lambda r: f"seed {r['seed']}")
def test_the_unseen_answers_do_not_arrive_all_at_once(run):
    first = lambda share: next(step for step, value in run["test"] if value > share)
    assert first(0.95) - first(0.05) >= 1000


def test_without_decay_the_plateau_does_not_end_within_the_run_but_the_accuracy_rises():
    row = DECAY["without_decay"]
    test = dict(row["test"])
    assert row["decay"] == 0 and row["memorized"] == 50 and row["generalized"] is None
    assert 0.05 < test[3000] < 0.2 and test[1000] < test[2000] < test[3000]
    assert all(at(run, "3000")["test"] > 0.99 for run in RUNS)


def test_rank_and_sharpness_go_with_decay_and_not_with_generalization():
    row = DECAY["without_decay"]
    for run in RUNS + NEVER:
        assert row["effective_rank"] > 2 * at(run, "3000")["curvature"]["effective_rank"]
        assert row["top"] < at(run, "3000")["curvature"]["top"] / 3
    for seed in (0, 1):  # the map: both generalize, and only decay differs
        without, with_decay = (figures.of_map(DECAY, d, 0.6)[seed] for d in (0.0, 1.0))
        assert min(without["test"][-1][1], with_decay["test"][-1][1]) > 0.99
        assert without["effective_rank"] > 1.5 * with_decay["effective_rank"]


def test_the_map_decay_matters_where_data_are_scarce_and_not_where_they_are_not():
    final = lambda decay, share: [row["test"][-1][1] for row in figures.of_map(DECAY, decay, share)]
    for seed in (0, 1):
        none, some, full = (final(d, 0.4)[seed] for d in (0.0, 0.3, 1.0))
        assert none < some - 0.05 and some < full and full > 0.99
    steps = {row["generalized"] for row in DECAY["map"] if row["fraction"] == 0.6}
    assert None not in steps and max(steps) - min(steps) <= 20


def test_shuffled_answers_cost_more_with_more_pairs_and_sums_less_once_they_generalize():
    cost = {
        (row["answers"], row["fraction"], row["seed"]): row["cost"] for row in DECAY["prices"] if row["train"] > 0.99
    }
    assert len(cost) == 12
    for seed in (0, 1):
        assert abs(cost["sums", 0.2, seed] / cost["shuffled", 0.2, seed] - 1) < 0.05  # the control: both memorize
        assert cost["shuffled", 0.2, seed] < cost["shuffled", 0.4, seed] < cost["shuffled", 0.6, seed]
        assert cost["sums", 0.2, seed] > cost["sums", 0.4, seed] > cost["sums", 0.6, seed]
        assert cost["sums", 0.4, seed] < 0.8 * cost["shuffled", 0.4, seed]
    for row in DECAY["prices"]:
        if row["answers"] == "sums":
            assert row["test"] < 0.05 if row["fraction"] == 0.2 else row["test"] > 0.95


@pytest.mark.parametrize("p", [5, 7, 13])
def test_equations_of_waves_and_prices(p):
    clock, pairs = g.clock(p), g.all_pairs(p)
    price = decay.cost(clock, pairs, decay.sums(p))
    assert price["margin"] == pytest.approx(9 * p / 4)  # (03.3)
    assert price["squared_norm"] == pytest.approx(27 * p * (p - 1) / 4)
    twice = decay.cost({k: 2 * x for k, x in clock.items()}, pairs, decay.sums(p))
    assert twice["margin"] == pytest.approx(8 * price["margin"]) and twice["cost"] == pytest.approx(price["cost"])
    train, test = g.split(p, 0.4, 0)
    params = {k: x.double() for k, x in g.init(p, 16, 1).items()}
    if len(test) < 3 * p // 2:
        return
    out, answers, target = g.logits(params, test), g.answers(test, p), torch.eye(p, dtype=torch.float64)
    means = g.group_mean(out, test, p)[answers]
    parts = (means - target[answers]).square().mean() + (out - means).square().mean()
    torch.testing.assert_close(parts, (out - target[answers]).square().mean())  # (03.7)


@pytest.mark.parametrize("run", RUNS + NEVER)
def test_sharpness_rises_and_effective_rank_falls_whether_or_not_anything_generalizes(run):
    early, late = at(run, "100")["curvature"], at(run, "3000")["curvature"]
    assert late["top"] > 8 * early["top"]
    assert late["effective_rank"] < early["effective_rank"] / 3 and late["ratio"] < early["ratio"] / 3


@pytest.mark.parametrize("run", RELU, ids=lambda r: f"seed {r['seed']}")
def test_confidence_flattens_before_anything_is_understood(run):
    early, late = at(run, "300"), at(run, "1000")
    assert early["raw"]["top"] > 100 * late["raw"]["top"]
    assert late["test"] < early["test"] + 0.05 and at(run, "3500")["test"] > 0.95
    assert at(run, "3500")["temperature 20"]["top"] > 0.8 * at(run, "500")["temperature 20"]["top"]


@pytest.mark.parametrize("run", RUNS, ids=lambda r: f"seed {r['seed']}")
def test_the_edit_helps_where_a_circuit_exists_and_its_control_does_not(run):
    for step in PLATEAU:
        row = at(run, step)
        if row["test"] < 0.95:
            assert row["edit"]["test"] > row["test"] + 0.05 and row["random"]["test"] < row["test"]
        assert row["edit"]["train"] > 0.999
    assert abs(at(run, "100")["edit"]["test"] - at(run, "100")["test"]) < 0.01


def test_the_edit_does_nothing_where_there_is_no_circuit():
    assert all(abs(row["edit"]["test"] - row["test"]) < 0.01 for run in NEVER for row in run["snapshots"].values())


def test_projecting_on_the_way_is_faster_and_a_random_subspace_explains_part_of_it():
    for row, run in zip(RECORD["on_the_way"], RUNS):
        assert row["projected"] < row["random"] <= run["generalized"]


def test_the_share_of_the_table_sets_the_length_of_the_plateau():
    steps = {f: [r["generalized"] for r in RECORD["fractions"] if r["fraction"] == f] for f in (0.17, 0.2, 0.25, 0.4)}
    assert steps[0.17] == [None] * 3
    assert max(steps[0.4]) < min(steps[0.25]) and 3 * max(steps[0.25]) < min(steps[0.2])


@pytest.mark.parametrize("seed", [11, 12])
def test_a_fresh_small_network_tells_the_same_story(seed):
    train, test = g.split(53, 0.4, seed)
    kept = g.train(g.init(53, 256, seed), train, 400, keep=(100, 200, 275, 400), progress=False)
    assert g.accuracy(kept[100], train) > 0.98 and g.accuracy(kept[100], test) < 0.1
    assert g.restricted_accuracy(kept[100], g.all_pairs(53)) > 0.9 > 0.2 > g.restricted_accuracy(kept[100], test)
    assert g.restricted_accuracy(kept[200], test) > g.accuracy(kept[200], test) + 0.3
    assert g.accuracy(kept[400], test) > 0.9
    right, unseen = figures.right_answers(kept[275], g.logits, 53), torch.ones(53, 53, dtype=torch.bool)
    unseen[train[:, 0], train[:, 1]] = False
    share, count = right[unseen.numpy()].mean(), unseen.sum(1)
    rows = (torch.as_tensor(right) & unseen).sum(1) / count
    by_chance = (share * (1 - share) / count).mean()  # the control: as many right answers, scattered at random
    assert rows.var() > 1.2 * by_chance
