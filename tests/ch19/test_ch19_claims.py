"""What chapter 19 says: each starter's observation beside its control, and what the report's template asks for."""

import re

import pytest

from kfcourse.ch19 import starters
from kfcourse.paths import ROOT

SEEDS = (1, pytest.param(2, marks=pytest.mark.long))  # besides seed 0, which the chapter shows


@pytest.mark.parametrize("seed", SEEDS)
def test_secrets_in_a_known_place_are_found_by_the_edit_and_decoys_were_never_known(seed):
    found = {place: starters.planted(place, seed) for place in ("any", "flat")}
    for one in found.values():
        before = one["before"]
        assert before["recited"] > 0.6 and one["decoys"] < 0.3
        assert abs(one["K-FAC"]["recited"] - before["recited"] / 2) < 0.1
        assert one["K-FAC"]["test"] > before["test"] - 0.05  # at almost no price ...
        assert one["random basis"]["test"] < before["test"] - 0.3  # ... and the control at a high one
    assert found["flat"]["before"]["test"] > found["any"]["before"]["test"] + 0.05  # the writing alone costs
    sharpest = {place: one["energy"]["sharpest tenth"] for place, one in found.items()}
    assert sharpest["any"] > 2 * sharpest["flat"]


@pytest.mark.parametrize("seed", SEEDS)
def test_both_optimizers_write_among_the_sharp_pairs_sgd_more_and_a_random_change_has_no_preference(seed):
    sgd, adam = (starters.imprint(name, seed) for name in ("SGD", "Adam"))
    assert min(sgd["said"], adam["said"]) >= 0.95 and sgd["steps"] > 3 * adam["steps"]
    assert sgd["energy"]["sharpest tenth"] > adam["energy"]["sharpest tenth"] > 0.4
    assert sgd["energy"]["flattest half"] < adam["energy"]["flattest half"] < 0.2
    assert adam["any direction"]["sharpest tenth"] == pytest.approx(0.1, abs=0.02)
    assert adam["any direction"]["flattest half"] == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_mass_costs_a_net_with_nothing_to_forget_more_than_the_memorizer(seed):
    found = starters.nothing_to_forget(seed)
    assert found["clean"] > found["memorizer"] and found["memorizer"] < 0.03


@pytest.mark.parametrize("seed", SEEDS)
def test_curvature_beats_a_random_basis_on_digits_of_both_widths_and_loses_on_tones(seed):
    digits = [starters.wrong_labels(seed=seed, widths=widths) for widths in ((96, 96), (192, 192))]
    narrow, wide = (one["before"]["recited"] for one in digits)
    assert 0.3 < narrow < wide - 0.1  # the narrower net has less to forget
    for one in digits:
        assert one["K-FAC"]["test"] > one["random basis"]["test"] + 0.1
        assert one["K-FAC"]["test"] > one["before"]["test"] - 0.05
    tones = starters.wrong_labels(starters.tones(seed), seed)
    assert tones["before"]["recited"] > 0.9 and tones["before"]["test"] > 0.8
    assert tones["K-FAC"]["test"] < tones["random basis"]["test"] - 0.02
    for one in (*digits, tones):
        assert abs(one["K-FAC"]["recited"] - one["random basis"]["recited"]) < 0.12  # equal forgetting


PARTS = (
    "Claim",
    "What would refute it",
    "Method",
    "Control",
    "Result",
    "What came out against us",
    "Limits",
    "Next",
    "Provenance",
)


def test_the_reports_template_names_every_part_and_says_what_belongs_there():
    text = (ROOT / "teaching" / "report.md").read_text(encoding="utf-8")
    parts = dict(re.findall(r"(?ms)^## (.*?)\n\n(.*?)(?=\n## |\Z)", text))
    assert tuple(parts) == PARTS
    assert all(len(body.split()) >= 15 for body in parts.values())
    assert "kfcourse/ch19/questions.md" in text and "chapters/19_capstone.ipynb" in text
