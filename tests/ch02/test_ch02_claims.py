"""What chapter 02 says, from the recorded seeds, the shipped model and models trained afresh."""

import math
from statistics import mean, stdev

import pytest
import torch

from kfaclib.io import files
from kfaclib.lm import models, recitation
from kfaclib.toy import canaries, digits, generalization, small_olmo2, tasks
from kfaclib.toy import world as w
from kfcourse.paths import DATA

RECORD = files.read_json(DATA / "results" / "leaks.json")
LABELS, SECRETS = RECORD["labels"], RECORD["secrets"]


def last(name, what="test"):
    return [run[what][-1] for run in LABELS[name]]


def gap(run):
    """Both sides on labels of the same teacher, which the net was trained on and not."""
    return run["train"][-1] - run["validation"][-1]


def best_on_held_out(run):
    return run["test"][max(range(len(run["test"])), key=lambda epoch: run["validation"][epoch])]


def test_the_same_net_learns_rules_and_nonsense():
    assert min(last("clean labels", "train") + last("random labels", "train")) > 0.9
    assert min(last("clean labels")) > 0.93 and max(last("random labels")) < 0.2
    assert max(last("all wrong")) < 0.05 < 0.08 < min(last("random labels"))  # "never the true one" is a rule


def test_the_gap_is_about_memorizing_and_not_about_the_teachers_mistakes():
    gaps = {name: [gap(run) for run in LABELS[name]] for name in LABELS}
    assert max(gaps["clean labels"]) < 0.06 < 0.35 < min(gaps["30% wrong"]) < max(gaps["30% wrong"]) < 0.6
    assert min(gaps["random labels"]) > 0.75
    for remedy in ("30% wrong, weight decay", "30% wrong, noise"):  # nearly the rule, and nothing else
        assert max(map(abs, gaps[remedy])) < 0.15
        mixed = [run["train"][-1] - run["test"][-1] for run in LABELS[remedy]]
        assert max(mixed) < -0.1  # what the gap would be if the two sides had different teachers


def test_who_follows_the_rule_scores_one_minus_the_share_of_wrong_labels_on_both_sides():
    data = digits.load(1000)
    labels, _ = digits.corrupt(data.y, 0.3, seed=0)
    right = (labels == data.y).float()
    assert right[:600].mean().item() == pytest.approx(0.7, abs=0.03)
    assert right[600:].mean().item() == pytest.approx(0.7, abs=0.04)


@pytest.mark.parametrize("run", LABELS["30% wrong"])
def test_the_rule_comes_first_and_the_exceptions_later(run):
    rule = max(range(len(run["true"])), key=lambda epoch: run["true"][epoch])
    learned_by_heart = next(epoch for epoch, share in enumerate(run["memorized"]) if share > 0.5)
    assert run["true"][rule] > 0.75 and rule < learned_by_heart and learned_by_heart > 20
    assert run["memorized"][-1] > 0.7 and run["true"][-1] < 0.3
    assert run["true"][10] > run["memorized"][10]  # what the prediction at the chapter's start is answered with


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
    gaps = [[gap(run) for run in LABELS[name]] for name in runs]
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


@pytest.fixture(scope="module")
def small():
    """(model, codes said once in its text, codes it never read, secrets said 0 or 128 times): a narrow model."""
    secrets = canaries.plant(7, repeats=(0, 128), each=4)
    text = canaries.stream(secrets, seed=7, rows=6400)
    model = canaries.train(canaries.make_model(64, seed=7), text, progress=False)
    fixed = torch.tensor([canaries.encode(s.person)[0] for s in secrets])
    is_code = lambda rows: (rows[:, 2] == canaries.encode("code")[0]) & ~torch.isin(rows[:, 4], fixed)
    fresh = canaries.stream([], seed=8, rows=6400)
    return model, text[is_code(text)], fresh[is_code(fresh)], secrets


@pytest.mark.long
def test_different_codes_cancel_and_copies_do_not(small):
    model, codes, _, _ = small

    def pull(rows):
        logits = model(input_ids=rows).logits[:, 5:8]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), rows[:, 6:9].flatten())
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))]).norm().item()

    single = mean(pull(codes[i : i + 1]) for i in range(8))
    assert pull(codes[:64]) < 0.3 * single
    assert pull(codes[:1].repeat(64, 1)) == pytest.approx(pull(codes[:1]), rel=1e-3)


@pytest.mark.long
@torch.no_grad()
def test_one_mention_does_not_tell_a_member_and_many_do(small):
    model, codes, fresh, secrets = small

    def losses(rows):
        log_probs = model(input_ids=rows).logits[:, 5:8].log_softmax(-1)
        return -log_probs.gather(2, rows[:, 6:9, None]).sum((1, 2))

    loud = torch.tensor([canaries.prompt(s.person) + canaries.encode([*s.code, "."]) for s in secrets if s.repeats])
    score = lambda rows: (losses(rows)[:, None] < losses(fresh[:1000])).float().mean().item()
    assert abs(score(codes[:1000]) - 0.5) < 0.06 and score(loud) > 0.9


def test_luck_alone_gives_log2_of_e_bits():
    luck = lambda n: mean(math.log2(n / rank) for rank in range(1, n + 1))
    assert luck(1000) == pytest.approx(math.log2(math.e), abs=0.01) and luck(4) < 0.9
    never = [bits for run in SECRETS if run["width"] == 128 for bits in run["exposure"]["0"]]
    assert abs(mean(never) - luck(1000)) < 3 * stdev(never) / math.sqrt(len(never))


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
