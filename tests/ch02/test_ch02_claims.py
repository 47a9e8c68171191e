"""What chapter 02 says, from the recorded seeds, the shipped model and models trained afresh."""

import math
from statistics import mean, stdev

import pytest
import torch

from kfaclib.io import files
from kfaclib.lm import models, recitation
from kfaclib.toy import canaries, generalization, small_olmo2, tasks
from kfaclib.toy import world as w
from kfcourse.paths import DATA

RECORD = files.read_json(DATA / "results" / "leaks.json")
LABELS, SECRETS = RECORD["labels"], RECORD["secrets"]


def last(name, what="test"):
    return [run[what][-1] for run in LABELS[name]]


def best_on_held_out(run):
    return run["test"][max(range(len(run["test"])), key=lambda epoch: run["validation"][epoch])]


def test_the_same_net_learns_rules_and_nonsense():
    assert min(last("clean labels", "train") + last("random labels", "train")) > 0.9
    assert min(last("clean labels")) > 0.93 and max(last("random labels")) < 0.2
    assert max(last("all wrong")) < min(last("random labels"))  # "never the true one" is a rule


@pytest.mark.parametrize("run", LABELS["30% wrong"])
def test_the_rule_comes_first_and_the_exceptions_later(run):
    rule = max(range(len(run["true"])), key=lambda epoch: run["true"][epoch])
    learned_by_heart = next(epoch for epoch, share in enumerate(run["memorized"]) if share > 0.5)
    assert run["true"][rule] > 0.75 and rule < learned_by_heart and learned_by_heart > 20
    assert run["memorized"][-1] > 0.7 and run["true"][-1] < 0.3


def test_each_remedy_helps_on_every_seed():
    plain = LABELS["30% wrong"]
    for run in plain:
        assert best_on_held_out(run) > run["test"][-1] + 0.1
    for remedy in ("30% wrong, weight decay", "30% wrong, noise"):
        assert all(helped > run["test"][-1] + 0.05 for helped, run in zip(last(remedy), plain, strict=True))


@pytest.mark.parametrize("remedy, used", [("shrink", 0.1), ("noise", 1.0)])
def test_the_strengths_are_those_that_held_out_labels_chose(remedy, used):
    assert max((row for row in RECORD["strengths"] if remedy in row), key=lambda row: row["held_out"])[remedy] == used


def test_more_clean_images_make_a_smaller_gap():
    runs = "clean labels", "clean, 300 images", "clean, 75 images"
    gaps = [[a - b for a, b in zip(last(name, "train"), last(name), strict=True)] for name in runs]
    assert mean(gaps[0]) < mean(gaps[1]) < mean(gaps[2]) and max(gaps[0]) < min(gaps[2])


def by_seed(width, what, repeats):
    """The mean over the secrets of each seed: one number per model."""
    return [mean(map(float, run[what][str(repeats)])) for run in SECRETS if run["width"] == width]


@pytest.mark.parametrize("width", [32, 64, 128])
@pytest.mark.parametrize("repeats", [1, 2])
def test_what_is_said_once_or_twice_is_no_more_exposed_than_to_strangers(width, repeats):
    more = [
        a - b for a, b in zip(by_seed(width, "exposure", repeats), by_seed(width, "stranger", repeats), strict=True)
    ]
    assert mean(more) < max(0.5, 3 * stdev(more) / math.sqrt(len(more)))
    assert mean(by_seed(width, "said", repeats)) < 0.1


def test_repetition_decides_and_wider_models_need_less_of_it():
    bits = {(width, n): mean(by_seed(width, "exposure", n)) for width in (32, 64, 128) for n in canaries.REPEATS}
    assert bits[128, 64] > 8 and bits[128, 128] > 9 > 3 > bits[128, 4]
    for repeats in (32, 64):
        assert bits[128, repeats] > bits[64, repeats] > bits[32, repeats]
    assert mean(by_seed(128, "said", 64)) > 0.25 and mean(by_seed(128, "said", 128)) > 0.7


@pytest.mark.parametrize("repeats", [64, 128])
def test_whose_code_it_is_takes_a_larger_model(repeats):
    own, strange = (
        {width: mean(by_seed(width, what, repeats)) for width in (32, 64, 128)} for what in ("exposure", "stranger")
    )
    added = {width: own[width] - strange[width] for width in own}
    assert added[128] > 2 > 1 > added[32] and added[128] > added[64] > added[32]
    assert min(strange.values()) > 3  # said often, a code is likely for anybody


def test_a_model_that_cannot_know_gives_away_the_codes_of_others():
    assert mean(by_seed(128, "anothers", 0)) > 0.1  # by chance it would be 32 of 1000


@pytest.mark.long
def test_different_codes_cancel_and_copies_do_not():
    secrets = canaries.plant(7, repeats=(0,), each=1)
    text = canaries.stream(secrets, seed=7, rows=6400)
    model = canaries.train(canaries.make_model(64, seed=7), text, progress=False)
    codes = text[text[:, 2] == canaries.encode("code")[0]]

    def pull(rows):
        logits = model(input_ids=rows).logits[:, 5:8]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), rows[:, 6:9].flatten())
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))]).norm().item()

    single = mean(pull(codes[i : i + 1]) for i in range(8))
    assert pull(codes[:64]) < 0.3 * single
    assert pull(codes[:1].repeat(64, 1)) == pytest.approx(pull(codes[:1]), rel=1e-3)


@pytest.mark.long
def test_passages_are_recited_from_a_threshold_on_and_leave_a_trace_before():
    model, _ = models.load(DATA / "olmo2-tiny")
    ladder = small_olmo2.load_world(DATA / "olmo2-tiny").ladder
    ids = {n: torch.tensor([[w.BOS] + w.encode(p) for p in ladder[n]]) for n in (8, 16, 32)} | {
        0: tasks.fresh_text(0, 16)
    }
    recall = {n: recitation.recitation(model, recitation.split_windows(rows)) for n, rows in ids.items()}
    assert recall[32].strict > 0.5 and recall[16].strict < 0.3 and recall[8].strict == recall[0].strict == 0
    assert recall[16].token_accuracy > recall[0].token_accuracy + 0.1


@pytest.mark.parametrize("seed", [31, 32])
def test_a_fresh_net_unlearns_the_rule(seed):
    run = generalization.watch(0.3, seed=seed)
    assert best_on_held_out(vars(run)) > run.test[-1] + 0.08 and max(run.true) > 0.7 > 0.4 > run.true[-1]
