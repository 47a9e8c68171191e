"""What chapter 10 says, held against the records of three seeds, the paper's own figures, and a small live measurement:
every claim with the figure of its control."""

from statistics import mean

import pytest
import torch

from kfaclib.curvature.eigenbasis import decompose
from kfaclib.curvature.factors import collect_factors
from kfaclib.curvature.layers import linear_layers
from kfaclib.io.files import read_json
from kfaclib.lm import activations, models
from kfaclib.lm.recitation import split_windows
from kfaclib.toy import small_olmo2, tasks
from kfaclib.toy.rows import world_rows
from kfcourse.ch10 import figures
from kfcourse.ch10.figures import BOTTOM, TOP, UP, kept_without, lost, ratio, use
from kfcourse.paths import DATA

RECORD = read_json(DATA / "results" / "abilities.json")
SEEDS = RECORD["seeds"]
CONTROLS = read_json(DATA / "results" / "directions.json")
COMPARED = CONTROLS["seeds"]
PAPER = read_json(DATA / "results" / "paper_abilities.json")
every_seed = pytest.mark.parametrize("run", SEEDS.values(), ids=[f"seed {s}" for s in SEEDS])
each_control = pytest.mark.parametrize("run", COMPARED.values(), ids=[f"seed {s}" for s in COMPARED])
FIRST, LAST = UP[0], UP[-1]


def test_three_seeds_are_recorded_with_where_they_come_from():
    for record in (RECORD, CONTROLS):
        assert len(record["seeds"]) == 3
        assert {"command", "commit", "machine", "date", "seed", "versions"} <= record["provenance"].keys()
    assert "dirty" not in CONTROLS["provenance"]["commit"]


@every_seed
def test_late_blocks_recite_in_flat_directions_and_the_first_does_not(run):
    table = run["activity"]
    assert ratio(table, LAST, TOP) < 0.85 and ratio(table, LAST, BOTTOM) > 1.1
    assert all(abs(ratio(table, FIRST, number) - 1) < 0.1 for number in (TOP, BOTTOM))


# CLAIMS


@every_seed
def test_the_order_of_tasks_in_the_quotient_is_that_of_fresh_text(run):
    """The identity behind the table: the text on top changes all rows by one factor."""
    for number in (TOP, BOTTOM):
        over, control = (
            {task: figures.late(run["activity"], number, text, task) for task in list(run["tasks"])[1:]}
            for text in ("quotes", "fresh text")
        )
        factors = [over[task] / control[task] for task in over]
        assert max(factors) / min(factors) < 1.06
    paper = PAPER["figure_4"]
    for number in (0, 1):
        factors = [
            mean(paper["mem_over_task"][task][number]) / mean(paper["clean_over_task"][task][number])
            for task in paper["mem_over_task"]
        ]
        assert max(factors) / min(factors) < 1.06


@every_seed
def test_sums_drive_the_flat_half_least_and_yet_they_are_among_what_falls(run):
    others = ("quotes", "facts_rare", "open_book", "deduction")
    assert use(run, "arithmetic", BOTTOM) < min(use(run, group, BOTTOM) for group in others)


def test_sums_fall_in_two_of_three_models():
    assert sorted(lost(run, "arithmetic") > 0.2 for run in SEEDS.values()) == [False, True, True]


@every_seed
def test_no_correlation_with_the_loss_is_beyond_luck_and_the_quotes_make_half_of_it(run):
    count = len(run["tasks"])
    for number in (TOP, BOTTOM):
        assert abs(figures.rank_correlation(run, number)) < figures.by_luck(count)
    whole, rest = (figures.rank_correlation(run, BOTTOM, without) for without in ((), ("quotes",)))
    assert 0 < whole and rest < 0.55 * whole


@every_seed
def test_within_an_ability_the_removed_share_does_not_tell_what_breaks(run):
    found = [one for one in run["within"].values() if one["auc"] is not None]
    assert all(one["auc"] < 0.5 + figures.chance(one) for one in found)


@pytest.mark.long
@pytest.mark.slow
def test_a_small_sample_of_curvature_shows_the_ratios_again():
    model, _ = models.load(DATA / "olmo2-tiny")
    world = small_olmo2.load_world(DATA / "olmo2-tiny")
    chosen = linear_layers(model, "model.layers.[05].mlp.up_proj")
    rows = world_rows(world, 32, seed=9).split(16)
    bases = decompose(collect_factors(model, rows, chosen, generator=torch.Generator().manual_seed(9), progress=False))
    quotes, _ = activations.inputs(model, chosen, split_windows(tasks.quote_windows(world, "report"))[:24])
    fresh, _ = activations.inputs(model, chosen, split_windows(tasks.fresh_text("claims of chapter 10", 24)))
    found = {n: activations.ratio(quotes[n], fresh[n], bases[n], activations.bands(bases[n])) for n in chosen}
    assert (found["model.layers.0.mlp.up_proj"] - 1).abs().max() < 0.15
    assert found["model.layers.5.mlp.up_proj"][0] < 0.85 and found["model.layers.5.mlp.up_proj"][3] > 1.05
