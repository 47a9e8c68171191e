"""What chapter 03 says, from the recorded seeds and from one small network trained afresh."""

import pytest

from kfaclib.io import files
from kfaclib.toy import grokking as g
from kfcourse.paths import DATA

RECORD = files.read_json(DATA / "results" / "grokking.json")
RUNS, NEVER, RELU = RECORD["quadratic"], RECORD["never"], RECORD["relu"]
PLATEAU = ("1000", "1500", "2000")


def at(run, step):
    return run["snapshots"][step]


@pytest.mark.parametrize("run", RUNS, ids=lambda r: f"seed {r['seed']}")
def test_memorized_at_once_understood_much_later(run):
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


@pytest.mark.parametrize("run", RUNS + NEVER)
def test_sharpness_rises_and_effective_rank_falls_whether_or_not_anything_is_understood(run):
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
    kept = g.train(g.init(53, 256, seed), train, 400, keep=(100, 200, 400), progress=False)
    assert g.accuracy(kept[100], train) > 0.98 and g.accuracy(kept[100], test) < 0.1
    assert g.restricted_accuracy(kept[100], g.all_pairs(53)) > 0.9 > 0.2 > g.restricted_accuracy(kept[100], test)
    assert g.restricted_accuracy(kept[200], test) > g.accuracy(kept[200], test) + 0.3
    assert g.accuracy(kept[400], test) > 0.9
