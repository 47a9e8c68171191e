"""Planted secrets: exact counts, scores that are real probabilities, exposure as a rank."""

import math

import pytest
import torch

from kfaclib.toy import canaries


@pytest.fixture(scope="module")
def planted():
    return canaries.plant(seed=3, repeats=(0, 1, 5), each=2)


def test_every_secret_is_said_exactly_so_often(planted):
    text = [canaries.decode(row) for row in canaries.stream(planted, seed=3, rows=400).tolist()]
    for secret in planted:
        assert text.count(f"<s> the code of {secret.person} is {' '.join(secret.code)} .") == secret.repeats
        assert sum(row.startswith(f"<s> the code of {secret.person} ") for row in text) == secret.repeats
    assert len(text) == 400 and len({secret.person for secret in planted}) == 6


def test_the_same_seed_plants_the_same_secrets():
    assert canaries.plant(5) == canaries.plant(5) != canaries.plant(6)
    assert torch.equal(*(canaries.stream(canaries.plant(5), seed=5, rows=1100) for _ in range(2)))


@pytest.mark.parametrize("seed", range(5))
def test_no_two_people_share_a_name_or_a_code(seed):
    secrets = canaries.plant(seed)
    assert len(secrets) == len({s.person for s in secrets}) == len({s.code for s in secrets}) == 36


def test_too_many_repetitions_are_refused():
    with pytest.raises(ValueError, match="cannot hold"):
        canaries.stream(canaries.plant(0), seed=0, rows=100)


def test_words_and_ids_are_inverse():
    text = "<s> the code of ashby is 4 7 1 ."
    assert canaries.decode(canaries.encode(text)) == text
    with pytest.raises(KeyError):
        canaries.encode("unheard")


@torch.no_grad()
def test_scores_are_the_models_own_probabilities():
    model, person = canaries.make_model(32, seed=1).eval(), "ashby"
    scores = canaries.code_scores(model, person)
    assert scores.shape == (1000,) and scores.exp().sum() < 1
    for place in (0, 123, 999):
        ids = torch.tensor([canaries.prompt(person) + canaries.encode(list(canaries.CODES[place]))])
        log_probs = torch.log_softmax(model(input_ids=ids).logits[0], -1)
        direct = sum(log_probs[i - 1, ids[0, i]] for i in range(ids.shape[1] - 3, ids.shape[1]))
        assert scores[place].item() == pytest.approx(direct.item(), abs=1e-4)


@pytest.mark.parametrize("count", [2, 8, 1000])
def test_exposure_goes_from_zero_to_all_bits_and_only_the_rank_matters(count):
    scores = torch.randperm(count, generator=torch.Generator().manual_seed(0)).double()
    bits = [canaries.exposure(scores, i) for i in range(count)]
    assert max(bits) == math.log2(count) and min(bits) == 0
    assert bits == [canaries.exposure(scores.exp() if count < 100 else 3 * scores - 7, i) for i in range(count)]
    by_luck = math.log2(count) - sum(math.log2(rank) for rank in range(1, count + 1)) / count
    assert sum(bits) / count == pytest.approx(by_luck)


def test_a_model_without_an_opinion_exposes_nobody():
    assert canaries.exposure(torch.zeros(1000), 17) == pytest.approx(1, abs=0.01)


def test_a_short_training_learns_the_form_of_a_code():
    planted = canaries.plant(0, repeats=(0,), each=1)
    text = canaries.stream(planted, seed=0, rows=6400)
    model = canaries.train(canaries.make_model(64, seed=0), text, progress=False)
    assert canaries.code_scores(model, planted[0].person).exp().sum() > 0.5  # a code is three digits, whoever's it is
