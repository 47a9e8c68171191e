"""Mining, against models whose guesses are known beforehand and against generation itself."""

from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from kfaclib.lm import mining
from kfaclib.lm.recitation import greedy
from kfaclib.toy import world as w
from kfaclib.toy.stream import Stream, world_stream

V = 50


class Counting(nn.Module):
    """Guesses that every token is followed by the next number."""

    def __init__(self):
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(1))

    def forward(self, input_ids, use_cache=None):
        return SimpleNamespace(logits=nn.functional.one_hot((input_ids + 1) % V, V).float())


def test_hits_are_about_the_token_that_follows():
    ids = torch.tensor([[3, 4, 5, 9, 10], [1, 1, 2, 2, 3]])
    assert mining.hits(Counting(), ids).tolist() == [[True, True, False, True], [False, True, False, True]]
    assert torch.equal(mining.hits(Counting(), ids, batch=1), mining.hits(Counting(), ids))


@given(st.lists(st.booleans(), min_size=1, max_size=20), st.data())
def test_matched_is_the_length_of_the_run_of_hits(row, data):
    at = data.draw(st.integers(1, len(row)))
    run = 0
    while at - 1 + run < len(row) and row[at - 1 + run]:
        run += 1
    assert mining.matched(torch.tensor([row]), at).tolist() == [run]


@pytest.mark.parametrize("at", [0, -1, 5])
def test_a_continuation_must_start_within_the_text(at):
    with pytest.raises(ValueError, match="one of the tokens 1 to 4"):
        mining.matched(torch.ones(2, 4, dtype=torch.bool), at)


def half_greedy(model, rows, length, seed):
    """Texts that begin with the model's own greedy words and end with random ones, each at its own place: [rows,
    length].
    """
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, 37, (rows, length), generator=generator)
    for row, own in zip(ids, torch.randint(0, length - 6, (rows,), generator=generator).tolist()):
        if own:
            row[6 : 6 + own] = greedy(model, [row[:6].tolist()], own)[0]
    return ids


@pytest.mark.parametrize("seed", range(3))
def test_one_pass_says_how_far_generation_gets(tiny_olmo, seed):
    """The theorem the chapter rests on: a greedy continuation is right exactly as far as the argmax under teacher
    forcing.
    """
    model = tiny_olmo()
    ids = half_greedy(model, 12, 20, seed)
    for at in (6, 9):
        said = greedy(model, [row[:at].tolist() for row in ids], 20 - at)
        right = (said == ids[:, at:]).long().cumprod(1).sum(1)
        assert right.unique().numel() > 3  # otherwise nothing is tested
        assert torch.equal(mining.matched(mining.hits(model, ids), at), right)


def planted(*places, length=60, run=11):
    """A text that counts upwards by `run` tokens from each of `places`, and never elsewhere."""
    ids = torch.zeros(length, dtype=torch.int64)
    for place in places:
        ids[place : place + run] = torch.arange(5, 5 + run)
    return ids


def test_mining_finds_what_is_there_and_nothing_else():
    ids = planted(10, 40)
    # in a window of 4 + 8 the suffix s + 4 ... s + 11 must be tokens 2 to 11 of a run (the first has nothing before it)
    expected = [s for p in (10, 40) for s in range(len(ids) - 11) if p + 1 <= s + 4 and s + 11 <= p + 10]
    assert (
        expected == [7, 8, 9, 37, 38, 39]
        and mining.mine(Counting(), ids, range(len(ids) - 11), 4, 8, progress=False) == expected
    )
    assert mining.mine(Counting(), ids, range(0, len(ids) - 11, 5), 4, 8, progress=False) == [
        s for s in expected if s % 5 == 0
    ]
    assert mining.mine(Counting(), ids, [], 4, 8) == []


def test_mining_does_not_depend_on_the_batch_nor_on_the_rest_of_the_text(tiny_olmo):
    model = tiny_olmo()
    ids = half_greedy(model, 6, 24, 0).flatten()
    starts = range(len(ids) - 11)
    found = mining.mine(model, ids, starts, 4, 3, progress=False)
    assert 0 < len(found) < len(starts)
    assert found == mining.mine(model, ids, starts, 4, 3, batch=5, progress=False)
    for s in starts[:30]:
        assert (s in found) == (greedy(model, [ids[s : s + 4].tolist()], 3)[0].tolist() == ids[s + 4 : s + 7].tolist())


@pytest.mark.parametrize("start", [-1, 49])
def test_a_window_that_does_not_fit_is_named(start):
    with pytest.raises(ValueError, match=f"window of 12 tokens from token {start} does not fit into a text of 60"):
        mining.mine(Counting(), planted(), [0, start], 4, 8, progress=False)


tokens = st.lists(st.integers(0, 3), min_size=0, max_size=12)


@given(tokens, tokens, st.integers(1, 4))
def test_similarity_is_a_similarity(a, b, n):
    s = mining.similarity(a, b, n)
    assert 0 <= s <= 1 and s == mining.similarity(b, a, n)
    assert mining.similarity(a, a, n) == (1 if len(a) >= n else 0)
    if not set(a) & set(b):
        assert s == 0


def test_a_window_moved_by_k_tokens_shares_all_but_k_ngrams():
    text = list(range(200))
    for k in (1, 5, 19, 20, 60):
        assert mining.similarity(text[:112], text[k : k + 112]) == (108 - k) / (108 + k)


@settings(max_examples=60)
@given(st.lists(st.lists(st.integers(0, 2), min_size=4, max_size=9), max_size=10), st.floats(0.1, 1))
def test_deduplication_keeps_no_two_alike_and_drops_nothing_else(windows, threshold):
    kept = mining.deduplicate(windows, threshold, n=2)
    alike = lambda i, j: mining.similarity(windows[i], windows[j], 2) >= threshold
    assert kept == sorted(set(kept))
    assert not any(alike(i, j) for i in kept for j in kept if i < j)
    assert all(any(alike(i, j) for j in kept if j < i) for i in range(len(windows)) if i not in kept)
    assert mining.deduplicate([windows[i] for i in kept], threshold, n=2) == list(range(len(kept)))


def test_position_stress_keeps_the_own_place_apart_from_the_others(tiny_olmo):
    model = tiny_olmo()
    ids = half_greedy(model, 10, 24, 1)
    own, best = mining.position_stress(model, ids, prefix=12, longer=range(1, 5), drop=range(1, 5))
    there = mining.hits(model, ids)
    assert torch.equal(own, mining.matched(there, 12))
    # places further on have fewer tokens left: with them alone the best may lie below the own place
    _, late = mining.position_stress(model, ids, prefix=12, longer=(11,), drop=())
    assert torch.equal(late, mining.matched(there, 23)) and (late < own).any()
    with pytest.raises(ValueError, match="no other place"):
        mining.position_stress(model, ids, prefix=12, longer=(), drop=())


def test_position_stress_asks_at_the_papers_63_places_by_default(monkeypatch):
    asked = []
    monkeypatch.setattr(mining, "hits", lambda model, ids: ids)
    monkeypatch.setattr(mining, "matched", lambda hit, at: asked.append(at) or torch.zeros(1, dtype=torch.int64))
    mining.position_stress(None, torch.zeros(1, 112, dtype=torch.int64))
    assert len(asked) == 1 + 63 and len(set(asked)) == 1 + 63


def test_position_stress_finds_what_stands_only_at_another_place():
    ids = torch.tensor(
        [[0, 5, 6, 7, 30, 8, 9, 10, 11]]
    )  # from token 4 on the first guess is wrong, from token 6 on all are right
    own, best = mining.position_stress(Counting(), ids, prefix=4, longer=(2,), drop=())
    assert own.tolist() == [0] and best.tolist() == [3]
    assert mining.position_stress(Counting(), ids, prefix=4, longer=(), drop=(1, 2))[1].tolist() == [0]


def test_position_stress_is_what_generation_from_the_moved_prefix_gives(tiny_olmo):
    model = tiny_olmo()
    ids = half_greedy(model, 8, 24, 2)
    places = [(ids[:, : 12 + k], ids[:, 12 + k :]) for k in (0, 1, 2)]
    places += [(torch.cat([ids[:, :1], ids[:, 1 + k : 12]], 1), ids[:, 12:]) for k in (1, 2, 3)]
    scores = []
    for prefix, rest in places:
        said = greedy(model, prefix.tolist(), rest.shape[1])
        scores.append((said == rest).long().cumprod(1).sum(1))
    own, best = mining.position_stress(model, ids, prefix=12, longer=(1, 2), drop=(1, 2, 3))
    assert torch.equal(own, scores[0]) and torch.equal(best, torch.stack(scores[1:]).amax(0))


@pytest.fixture(scope="module")
def world():
    return w.make_world(3, quotes=6, rung=2)


def test_the_stream_holds_what_it_says(world):
    stream = world_stream(world, seed=0, quotes=4, again=2, rung=2, fresh=3, echoes=2)
    assert stream.rows == {"quotes": 6, "ladder": 12, "fresh": 3, "echoes": 2}
    rows = stream.ids.view(-1, w.ROW).tolist()
    assert len(rows) == 23 and len(stream.repeats) == len(stream.ids) and all(r[0] == w.BOS for r in rows)
    held = Counter(tuple(r[1:112]) for r in rows)
    quotes = [tuple(w.encode(q)) for q in world.quotes]
    assert [held[q] for q in quotes] == [2, 2, 1, 1, 0, 0]
    for n, passages in world.ladder.items():
        for p in passages:
            start = rows.index(next(r for r in rows if r[1:112] == w.encode(p))) * w.ROW
            assert stream.known(start) == n and set(stream.repeats[start : start + 113].tolist()) == {n}
            assert not stream.repeats[start + 113 : start + w.ROW].any()


def test_fresh_rows_and_echoes_were_never_in_training(world):
    stream = world_stream(world, seed=0, quotes=0, again=0, rung=0, fresh=3, echoes=2)
    assert not stream.repeats.any() and stream.known(0) == 0
    twice = [r for r in stream.ids.view(-1, w.ROW).tolist() if r[1:64] == r[65:128]]
    assert len(twice) == 2


def test_a_stream_is_drawn_by_its_seed(world):
    make = lambda seed: world_stream(world, seed, quotes=2, again=0, rung=1, fresh=2, echoes=1).ids
    assert torch.equal(make(1), make(1)) and not torch.equal(make(1), make(2))


def test_a_window_belongs_to_what_most_of_its_suffix_belongs_to(world):
    stream = world_stream(world, seed=0, quotes=1, again=0, rung=0, fresh=0, echoes=0)
    n = world.quote_repeats
    # the passage and its </s> end before token 113, so a suffix from 64 + s has 49 - s of its 48 tokens there
    assert (
        Stream(torch.cat([stream.ids, stream.ids]), torch.cat([stream.repeats, stream.repeats * 0]), {}).known(16) == n
    )
    assert (
        Stream(torch.cat([stream.ids, stream.ids]), torch.cat([stream.repeats, stream.repeats * 0]), {}).known(40) == 0
    )
