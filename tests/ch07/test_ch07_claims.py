"""What chapter 07 says, held against the record of three seeds and against a live run on the shipped ViT."""

from statistics import mean

import pytest
import torch

from kfaclib.curvature.labels import logit_gradient
from kfaclib.curvature.layers import linear_layers
from kfaclib.editing.edit import edit_weights, edited
from kfaclib.io.files import read_json
from kfaclib.toy import mislabelled
from kfaclib.vision import vit
from kfcourse.ch07 import figures
from kfcourse.experiments import vit as experiment
from kfcourse.paths import DATA

RECORD = read_json(DATA / "results" / "vit.json")
SEEDS, OVERCONFIDENT = RECORD["seeds"], RECORD["overconfident"]
every_seed = pytest.mark.parametrize("seed", SEEDS, ids=lambda s: f"seed {s['seed']}")


def after(seed, method, half="report"):
    return next(r for r in seed["rows"] if r["method"] == method)[half]


def test_three_seeds_are_recorded_with_where_they_come_from():
    assert [s["seed"] for s in SEEDS] == [0, 1, 2]
    assert {"command", "commit", "machine", "date", "seed", "versions"} <= RECORD["provenance"].keys()


@every_seed
def test_before_the_edit_most_wrong_labels_are_memorized_and_clean_images_known(seed):
    before = seed["before"]["report"]
    assert before["memorized"] > 0.7 and before["clean"] > 0.99 and before["recovered_of_memorized"] == 0


@every_seed
def test_the_true_label_came_first_and_test_accuracy_fell_with_memorization(seed):
    log = seed["training"]
    best = max(log, key=lambda line: line["test"])
    assert max(line["recovered"] for line in log) > 0.8 and log[-1]["recovered"] < 0.3
    assert best["epoch"] < 0.7 * log[-1]["epoch"] and best["test"] > log[-1]["test"] + 0.01


@every_seed
def test_the_edit_recovers_about_half_of_what_was_memorized_and_tests_hold(seed):
    before, edit = seed["before"]["report"], after(seed, "K-FAC")
    assert edit["memorized"] < 0.5 * before["memorized"] and edit["recovered_of_memorized"] > 0.4
    assert edit["recovered"] > edit["recovered_of_memorized"]
    assert edit["test"] > before["test"] - 0.02
    noise = after(seed, "random noise")  # the control at the same price: it recovers some, and tests do not hold
    assert 0.1 < noise["recovered_of_memorized"] < edit["recovered_of_memorized"] - 0.2
    assert noise["test"] < edit["test"] - 0.02


@every_seed
def test_all_methods_pay_the_same_price(seed):
    gaps = [abs(row["choose"]["clean"] - RECORD["target"]) for row in seed["rows"]]
    assert max(gaps) < 2.5 / 800  # two of the 800 images that the price is read on
    assert all(abs(row["report"]["clean"] - RECORD["target"]) < 0.03 for row in seed["rows"])


@every_seed
def test_curvature_recovers_more_than_every_control_at_that_price(seed):
    controls = [r["report"]["recovered_of_memorized"] for r in seed["rows"] if r["method"] != "K-FAC"]
    assert len(controls) == 4 and after(seed, "K-FAC")["recovered_of_memorized"] > max(controls)


def test_a_rank_that_misses_the_price_is_mixed_with_its_neighbour(monkeypatch):
    grid, at = [0.1, 0.2, 0.3], {0.1: 0.90, 0.2: 0.97, 0.3: 0.99}
    monkeypatch.setattr(vit, "_clean", lambda *_: at.get)
    (low, a), (high, b) = vit.at_price(None, None, {}, None, 0.98, grid)
    assert (low, high) == (0.2, 0.3) and a == pytest.approx(0.5) and b == pytest.approx(0.5)
    assert vit.at_price(None, None, {}, None, 0.971, grid) == [(0.2, 1.0)]
    monkeypatch.setattr(vit, "outcome", lambda model, images, layers, weights, half, learned: {"clean": weights})
    there = vit.mixed(None, None, {}, at.get, [(low, a), (high, b)], "report", None)
    assert there["clean"] == pytest.approx(0.98)


def test_at_the_price_the_bands_do_not_overlap_and_towards_more_damage_controls_catch_up():
    """What the figure of trade-offs shows: K-FAC's range over seeds lies above each control's at the agreed price."""
    gaps = []
    for damage in (0.88, RECORD["target"]):
        at = {m: [float(figures.curve(s, m, damage)) for s in SEEDS] for m in figures.LINES}
        gaps.append({m: mean(at["K-FAC"]) - mean(at[m]) for m in ("SVD", "random basis", "magnitude")})
    assert all(min(at["K-FAC"]) > max(at[m]) for m in at if m != "K-FAC")
    assert all(gaps[0][m] < gaps[1][m] for m in gaps[0])


@every_seed
def test_only_curvature_raises_the_test_accuracy_in_every_seed_and_noise_and_the_random_basis_lower_it(seed):
    before = seed["before"]["report"]["test"]
    assert after(seed, "K-FAC")["test"] > before
    for control in ("random basis", "random noise"):
        assert after(seed, control)["test"] < before


def test_a_surprise_outweighs_all_other_images():
    """The toy of the lottery. The control: without a surprise all images weigh the same."""
    logits = 4 * torch.eye(3, dtype=torch.float64)[[0, 1, 2, 0]]
    favourites = logits.argmax(1)
    surprised = favourites.clone()
    surprised[1] = 2
    calm, wild = (logit_gradient(logits, y).square().sum(1) for y in (favourites, surprised))
    assert calm.max() / calm.sum() < 0.26 and wild.max() / wild.sum() > 0.99
    p = torch.softmax(logits, 1)
    expected = (1 - p.square().sum(1)).mean()
    assert calm.mean() < 0.1 * expected and wild.mean() > 5 * expected


@pytest.fixture(scope="module")
def shipped():
    return mislabelled.load()


def test_a_few_images_hold_most_of_the_trace_in_one_draw_on_the_vit(shipped):
    """The control: under the expectation over labels the same share of images holds far less."""
    model, images = shipped
    with torch.no_grad():
        z = model(pixel_values=images.x[images.half("choose")]).logits
    p = z.softmax(1)
    y = torch.multinomial(p, 1, generator=torch.Generator().manual_seed(3))[:, 0]
    drawn, surprised = logit_gradient(z, y).square().sum(1), y != z.argmax(1)
    assert surprised.double().mean() < 0.05 and drawn[surprised].sum() > 0.75 * drawn.sum()
    expected = (1 - p.square().sum(1)).sort(descending=True)[0]
    assert expected[: int(surprised.sum())].sum() < 0.6 * expected.sum()


def test_by_a_margin_on_average():
    for control in ("SVD", "random basis", "magnitude", "random noise"):
        assert (
            mean(
                after(s, "K-FAC")["recovered_of_memorized"] - after(s, control)["recovered_of_memorized"] for s in SEEDS
            )
            > 0.04
        ), control


def test_every_control_recovers_something_and_noise_of_equal_norm_less_than_the_edit():
    """Any damage forgets the noise first: the chapter says so."""
    assert all(r["report"]["recovered_of_memorized"] > 0.1 for s in SEEDS for r in s["rows"])
    assert all(
        s["equal_norm"]["recovered_of_memorized"] < after(s, "K-FAC")["recovered_of_memorized"] - 0.1 for s in SEEDS
    )


def test_block_0_does_most_of_the_work():
    own = {s["seed"]: {r["layers"]: r["choose"]["recovered_of_memorized"] for r in s["layers"]} for s in SEEDS}
    assert mean(o["block 0"] - o["block 1"] for o in own.values()) > 0.1
    paid = {s["seed"]: {r["layers"]: r["choose"]["clean"] for r in s["layers"]} for s in SEEDS}
    assert all(abs(p["block 0"] - p["block 1"]) < 0.01 for p in paid.values())  # at one price


def test_no_edit_beats_stopping_early_by_much():
    assert all(after(s, "K-FAC")["test"] < max(line["test"] for line in s["training"]) + 0.01 for s in SEEDS)


def estimated(record, name, what):
    return [what(r) for r in record["estimates"]["rows"] if r["estimate"] == name]


def test_one_draw_on_clean_images_needs_another_mass_and_recovers_a_little_less():
    recovered, mass = (lambda r: r["report"]["recovered_of_memorized"]), (lambda r: r["strength"])
    for s in SEEDS:
        assert min(estimated(s, "one draw, clean images", mass)) > max(estimated(s, "exact, clean images", mass)) + 0.02
    assert (
        mean(
            mean(estimated(s, "exact, clean images", recovered))
            - mean(estimated(s, "one draw, clean images", recovered))
            for s in SEEDS
        )
        > 0
    )


def test_the_cls_token_alone_was_worse_on_the_two_nets_on_which_it_was_measured():
    """One net of each kind, which the chapter says; if more are recorded, its sentence is to be written again."""
    measured = [s for s in (*SEEDS, OVERCONFIDENT) if estimated(s, "exact, CLS token only", bool)]
    assert measured == [SEEDS[0], OVERCONFIDENT]
    for record in measured:
        every, cls = (
            estimated(record, n, lambda r: r["report"]["recovered_of_memorized"])[0]
            for n in ("exact, noisy images", "exact, CLS token only")
        )
        assert cls < every - 0.1


def test_the_overconfident_net_has_no_surprises_and_recovers_less_but_the_draw_is_not_to_blame():
    """A negative result: with no surprise at all the drawn estimate is as good as the exact one."""
    recovered = lambda r: r["report"]["recovered_of_memorized"]
    drawn = estimated(OVERCONFIDENT, "one draw, clean images", recovered)
    assert max(estimated(OVERCONFIDENT, "one draw, clean images", lambda r: r["surprises"])) < 1
    assert abs(mean(drawn) - estimated(OVERCONFIDENT, "exact, clean images", recovered)[0]) < 0.1
    assert max(drawn) < min(estimated(s, "exact, noisy images", recovered)[0] for s in SEEDS)


@pytest.mark.long
@pytest.mark.slow
def test_the_shipped_vit_recovers_labels_again_at_the_recorded_strength():
    model, images = mislabelled.load()
    layers = linear_layers(model, mislabelled.LAYERS)
    _, learned = vit.measure(model, images, "report")
    said = vit.predict(model, images.x)
    bases = experiment.curvature(model, images, layers, noise=True, seed=5)  # other noise than in the record
    mass = next(r for r in SEEDS[0]["rows"] if r["method"] == "K-FAC")["strength"]
    with edited(layers, edit_weights(layers, bases, mass)):
        now, _ = vit.measure(model, images, "report", learned)
        back = vit.predict(model, images.x)
    assert now["recovered_of_memorized"] > 0.4 and now["clean"] > 0.95 and now["memorized"] < 0.45
    noise = next(r for r in SEEDS[0]["rows"] if r["method"] == "random noise")["strength"]
    with edited(layers, vit.methods(layers, bases)["random noise"](noise)):
        by_noise = vit.predict(model, images.x)
    # near-duplicates: more rightly labelled copies help within the intervals, and K-FAC leads without them, too
    asked = images.wrong & (said == images.given)
    copies = torch.bincount(images.base[~images.wrong], minlength=mislabelled.BASE)[images.base]
    answer, _ = figures.copies_answer((back == images.true)[asked], copies[asked])
    assert answer == "about as often"
    few = asked & (copies < 2)
    recovered = lambda said: (said == images.true)[few].double().mean().item()
    assert recovered(back) > 1.4 * recovered(by_noise)
