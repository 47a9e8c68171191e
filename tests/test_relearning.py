"""Relearning: ranks and chances by their definitions, and an attack that does what it says."""

import copy
import math

import pytest
import torch

from kfaclib.lm.recitation import recitation, split_windows, token_accuracy
from kfaclib.lm.relearning import chance, examine, relearn, split, tokens_to, train_to, true_tokens, within


def passages(count, seed=0, length=14):
    """Windows of 6 + 8 random tokens."""
    return split_windows(torch.randint(3, 37, (count, length), generator=torch.Generator().manual_seed(seed)), prefix=6)


def test_ranks_and_log_probabilities_are_those_of_one_window_at_a_time(tiny_olmo):
    model, windows = tiny_olmo(), passages(5)
    rank, log_p = true_tokens(model, windows, batch=2)
    for n, (prefix, suffix) in enumerate(windows):
        logits = model(input_ids=torch.tensor([prefix + suffix])).logits[0, len(prefix) - 1 : -1]
        table = logits.log_softmax(-1)
        for k, token in enumerate(suffix):
            assert rank[n, k] == 1 + (logits[k] > logits[k, token]).sum()
            assert log_p[n, k].item() == pytest.approx(table[k, token].item(), abs=1e-12)


def test_rank_one_is_teacher_forced_accuracy_and_strict_recall(tiny_olmo):
    model, windows = tiny_olmo(), passages(6)
    train_to(model, windows, 0.9, learning_rate=1e-2)
    rank, _ = true_tokens(model, windows)
    quotes = recitation(model, windows)
    assert within(rank, 1) == (quotes.token_accuracy, quotes.strict)
    found = examine(model, windows)
    assert (found["strict"], found["loose"], found["token_accuracy"]) == (
        quotes.strict,
        quotes.loose,
        quotes.token_accuracy,
    )
    assert examine(model, windows, decode=False).items() <= found.items()


def test_prefixes_may_differ_in_length_and_suffixes_may_not(tiny_olmo):
    model, windows = tiny_olmo(), passages(2)
    shorter = [(windows[0][0][2:], windows[0][1]), windows[1]]
    together, _ = true_tokens(model, shorter)
    assert together.equal(torch.cat([true_tokens(model, [one])[0] for one in shorter]))
    with pytest.raises(ValueError, match="equally long"):
        true_tokens(model, [windows[0], (windows[1][0], windows[1][1][:-1])])


def test_within_grows_with_k_to_one_and_whole_windows_are_harder():
    rank = torch.randint(1, 37, (40, 5), generator=torch.Generator().manual_seed(1))
    shares = [within(rank, k) for k in range(1, 38)]
    assert shares == sorted(shares) and shares[-1] == (1.0, 1.0)
    assert all(windows <= tokens for tokens, windows in shares)
    assert within(torch.tensor([[1, 1], [1, 6]]), 5) == (0.75, 0.5)


@pytest.mark.parametrize("samples", [1, 3, 100])
def test_chance_is_one_minus_all_draws_failing(samples):
    log_p = torch.tensor([[-0.1, -0.2], [-1.0, -2.0], [0.0, 0.0]], dtype=torch.float64)
    wanted = [1 - (1 - math.exp(s)) ** samples for s in (-0.3, -3.0, 0.0)]
    assert chance(log_p, samples).tolist() == pytest.approx(wanted)


def test_chance_of_the_nearly_impossible_is_not_lost_to_rounding():
    log_p = torch.full((1, 48), -1.65, dtype=torch.float64)  # 1e-34.4: 1 - (1 - p) would be 0
    assert chance(log_p, 10**6).item() == pytest.approx(1e6 * math.exp(-48 * 1.65), rel=1e-6)


def test_chance_is_what_sampling_gives(tiny_olmo):
    """Draw three tokens many times and count how often they are the suffix."""
    model = tiny_olmo()
    prefix, suffix = passages(1)[0]
    window = [(prefix, suffix[:3])]
    train_to(model, window, 1.0, learning_rate=1e-2)
    p = chance(true_tokens(model, window)[1], 1).item()
    generator, ids = torch.Generator().manual_seed(0), torch.tensor([prefix] * 2000)
    with torch.no_grad():
        for _ in range(3):
            p_next = model(input_ids=ids).logits[:, -1].softmax(-1)
            ids = torch.cat([ids, torch.multinomial(p_next, 1, generator=generator)], 1)
    drawn = (ids[:, len(prefix) :] == torch.tensor(suffix[:3])).all(1).double().mean().item()
    assert drawn == pytest.approx(p, abs=4.5 * (p * (1 - p) / 2000) ** 0.5) and 0.01 < p < 0.999


def test_split_shares_nothing_and_leaves_nothing_out():
    windows = passages(7)
    train, watch = split(windows)
    assert len(train) == 4 and len(watch) == 3 and sorted(train + watch) == sorted(windows)


def test_an_attack_learns_its_half_counts_its_tokens_and_can_be_repeated(tiny_olmo):
    windows, model = passages(8), tiny_olmo()
    attack = lambda: relearn(
        copy.deepcopy(model),
        windows,
        (0, 5, 60),
        lambda m: {"right": token_accuracy(m, windows)},
        learning_rate=1e-2,
        batch=4,
    )
    rows = attack()
    assert [row["tokens"] for row in rows] == [0, 5 * 4 * 14, 60 * 4 * 14]
    assert rows[0]["right"] == token_accuracy(model, windows) and rows[-1]["right"] > rows[0]["right"] + 0.3
    assert rows == attack()


def test_an_attack_sees_every_window_once_before_any_twice(tiny_olmo, monkeypatch):
    from kfaclib.lm import relearning

    seen = []
    monkeypatch.setattr(relearning, "_step", lambda model, optimizer, ids: seen.extend(map(tuple, ids.tolist())))
    relearn(tiny_olmo(), passages(6), (6,), lambda m: {}, batch=2)
    assert len(seen) == 12 and len(set(seen[:6])) == len(set(seen[6:])) == 6 and seen[:6] != seen[6:]


def test_training_to_an_accuracy_stops_there(tiny_olmo):
    model, windows = tiny_olmo(), passages(12)
    tokens = train_to(model, windows, 0.6, learning_rate=1e-2)
    assert tokens > 0 and token_accuracy(model, windows) == pytest.approx(0.6, abs=0.05)
    assert train_to(model, windows, 0.3) == 0
    with pytest.raises(RuntimeError, match="allow more steps"):
        train_to(tiny_olmo(), windows, 0.99, limit=4)


def test_tokens_to_half_lie_between_two_looks():
    rows = [
        {"tokens": 0, "strict": 0.1},
        {"tokens": 100, "strict": 0.3},
        {"tokens": 300, "strict": 0.7},
        {"tokens": 400, "strict": 0.2},
    ]
    assert tokens_to(rows, "strict") == pytest.approx(200) and tokens_to(rows, "strict", 0.05) == 0
    assert tokens_to(rows, "strict", 0.8) is None
