"""The small world keeps its promises: what is repeated, what was never seen, which answers are right."""

import random
from collections import Counter

import pytest
import torch

from kfaclib.toy import tasks
from kfaclib.toy import world as w


@pytest.fixture(scope="module")
def world():
    return w.make_world(0)


def rows(world, kind, count, seed=0):
    rng = random.Random(seed)
    return [w.row(world, kind, rng) for _ in range(count)]


def words(ids):
    return [w.VOCABULARY[i] for i in ids]


# words


def test_words_are_their_own_tokens_and_special_tokens_come_first():
    assert len(set(w.VOCABULARY)) == len(w.VOCABULARY)
    assert w.VOCABULARY[:4] == w.SPECIAL and [w.PAD, w.BOS, w.EOS, w.UNK] == [0, 1, 2, 3]
    assert words(w.encode("the cat slept")) == ["the", "cat", "slept"] == words(w.encode(["the", "cat", "slept"]))
    with pytest.raises(KeyError):
        w.encode("xylophone")


def test_lists_that_are_sampled_from_have_no_word_twice():
    """A word twice in one pool would make a rule contradict another, or a chain of rules run in a circle."""
    pools = [[kind] for kind in w.W] + [
        ["color", "weather", "animal", "object"],
        ["object", "first", "city", "container", "color"],
        ["object", "adjective"],
        ["first", "city"],
        ["color", "animal", "container"],
    ]
    for pool in pools:
        joined = sum((w.W[kind] for kind in pool), [])
        assert not [word for word, n in Counter(joined).items() if n > 1], pool


def test_every_word_that_any_generator_says_has_a_token(world):
    rng = random.Random(0)
    for kind in ("text", "refrain", "task"):
        for ids, _ in rows(world, kind, 150):
            assert w.UNK not in ids and w.PAD not in ids
    for passage in world.quotes + sum(world.ladder.values(), []):
        assert len(w.encode(passage)) == w.PREFIX - 1 + w.SUFFIX
    for company in world.rare:
        for statement in (False, True):
            prompt, answer = w.rare_item(world, company, statement)
            assert w.encode(prompt) and len(w.encode(answer)) == 2
    for key in world.frequent:
        for statement in (False, True):
            prompt, answer = w.frequent_item(world, key, statement)
            assert w.encode(prompt) and len(w.encode(answer)) == 1
    for kind in w.TASKS:
        for _ in range(50):
            for prompt, answer in w.items(world, kind, rng, several=True):
                w.encode(prompt + answer)


# truth


def test_the_same_seed_is_the_same_world_and_another_seed_another_one(world):
    assert w.make_world(**w.settings(world)) == world
    other = w.make_world(1)
    assert (
        w.digest(other) != w.digest(world)
        and other.quotes != world.quotes
        and other.rare != world.rare
        and other.frequent != world.frequent
    )


def test_passages_are_all_different(world):
    passages = [tuple(p) for p in world.quotes + sum(world.ladder.values(), [])]
    assert len(set(passages)) == len(passages) == 128 + 6 * 16
    assert len({p[: w.PREFIX - 1] for p in passages}) == len(passages)  # and each prefix has one continuation


def test_companies_have_one_head_each_and_countries_one_capital_of_their_own(world):
    assert len(world.rare) == 120 and all(len(c) == len(boss) == 2 for c, boss in world.rare.items())
    capitals = [v for (relation, _), v in world.frequent.items() if relation == "capital"]
    assert len(set(capitals)) == len(capitals) == len(w.W["country"])


def test_sums_are_right_and_written_least_significant_digit_first():
    assert w.sum_item("+", 57, 68) == (["calc", ":", "5", "7", "+", "6", "8", "="], ["5", "2", "1"])
    assert w.sum_item("-", 57, 48) == (["calc", ":", "5", "7", "-", "4", "8", "="], ["9", "0"])
    assert w.sum_item("+", 10, 11)[1] == ["1", "2", "0"]


def test_seen_and_unseen_sums_part_all_sums_at_about_one_in_ten():
    seen, unseen = set(w.sums(False)), set(w.sums(True))
    assert not seen & unseen and len(seen | unseen) == 90 * 90 + 90 * 91 // 2
    assert 0.08 < len(unseen) / len(seen | unseen) < 0.12
    assert {op for op, _, _ in unseen} == {"+", "-"}


def spoken_sums(ids):
    """(op, a, b) of every sum in a row of ids."""
    text = words(ids)
    for i in range(len(text) - 5):
        a, b, op, c, d, equals = text[i : i + 6][0], text[i + 1], text[i + 2], *text[i + 3 : i + 6]
        if op in "+-" and equals == "=" and (a + b + c + d).isdigit() and text[i - 2 : i] == ["calc", ":"]:
            yield op, int(a + b), int(c + d)


def test_a_held_out_sum_never_appears_in_training(world):
    unseen, rng, spoken = set(w.sums(True)), random.Random("draw a lot"), Counter()
    for _ in range(20_000):
        (item,) = w.items(world, "arithmetic", rng)
        spoken.update(spoken_sums(w.encode(item[0])))
    assert len(spoken) > 8000  # of 12195: among so many some of the 1200 would have been
    for kind in ("task", "quote", "text", "refrain"):
        for _ in range(150):
            spoken.update(spoken_sums(w.row(world, kind, rng, world.quotes[0] if kind == "quote" else None)[0]))
    assert sum(spoken.values()) > 20_100
    assert not set(spoken) & unseen


def test_the_finder_of_sums_finds_sums(world):
    row = [w.BOS] + w.encode("calc : 5 7 + 6 8 = 5 2 1 . logic : 1 2 above 3 4 = false . calc : 9 9 - 1 0 = 9 8")
    assert list(spoken_sums(row)) == [("+", 57, 68), ("-", 99, 10)]


def facts(context, form):
    """{key: value} that the sentences of a context state, by a pattern like ["put", KEY, VALUE]."""
    sentences, out = " ".join(context).split(" . "), {}
    for sentence in sentences:
        parts = sentence.replace(" .", "").split()
        hits = [(p, q) for p, q in zip(parts, form) if q in ("KEY", "VALUE")]
        if len(parts) == len(form) and all(p == q for p, q in zip(parts, form) if q not in ("KEY", "VALUE")):
            key, value = (next(p for p, q in hits if q == which) for which in ("KEY", "VALUE"))
            out[key] = value  # a later sentence wins
    return out


@pytest.mark.parametrize("seed", range(30))
def test_answers_that_the_context_decides_are_the_ones_it_states(seed):
    rng = random.Random(seed)
    for several in (False, True):
        (prompt, answer), *more = w.tracking(rng, several)
        end = len(prompt) - 2
        stated = facts(prompt[2:end], ["put", "KEY", "VALUE"])
        for question, reply in [(prompt[end:], answer), *more]:
            assert question[0] == "now" and reply == [stated[question[1]], "."]
        (prompt, answer), *more = w.deduction(rng, several)
        end = len(prompt) - 2
        rules = facts(prompt[2:end], ["if", "KEY", "VALUE"])
        for question, reply in [(prompt[end:], answer), *more]:
            chain, word = [], question[1]
            while word in rules:
                word = rules[word]
                chain.append(word)
            assert question[0] == "so" and reply == chain + ["."] and chain
        (prompt, answer), *more = w.open_book(rng, several)
        end = prompt.index("question")
        for question, reply in [(prompt[end:], answer), *more]:
            assert " ".join([*question[2:], *reply]) in " ".join(prompt[:end])


def test_things_that_are_moved_end_up_somewhere_else():
    for seed in range(30):
        (prompt, answer), *more = w.tracking(random.Random(seed), several=True, moves=2)
        lines = [s.split()[1:3] for s in " ".join(prompt[2:-2]).removesuffix(" .").split(" . ")]
        first, last = dict(reversed(lines)), dict(lines)
        assert len(lines) == len(last) + 2 and len({place for _, place in lines}) == len(
            lines
        )  # every move to a new place
        moved = [thing for thing in last if last[thing] != first[thing]]
        assert 1 <= len(moved) <= 2
        asked = {prompt[-1]: answer[0]} | {question[1]: reply[0] for question, reply in more}
        assert all(last[thing] == place for thing, place in asked.items())


def test_open_book_keys_are_asked_about_only_once_so_that_one_answer_is_right():
    for seed in range(100):
        ((prompt, _),) = w.open_book(random.Random(seed))
        end = prompt.index("question")
        key = prompt[end + 2 :]
        assert " ".join(prompt[:end]).count(" ".join(key)) == 1


@pytest.mark.parametrize("seed", range(60))
def test_truth_values_are_what_python_makes_of_the_expression(seed):
    prompt, (answer,) = w.boolean(random.Random(seed))
    python = " ".join(prompt[2:-1]).replace("true", "True").replace("false", "False")
    if python.count(" and ") and python.count(" or ") and "(" not in python:
        pytest.fail(f"ambiguous without brackets: {python}")
    assert str(eval(python)).lower() == answer
    prompt, (answer,) = w.comparison(random.Random(seed))
    left, right = int("".join(prompt[2:4])), int("".join(prompt[5:7]))
    assert answer == str(left > right if prompt[4] == "above" else left < right).lower() and left != right


def test_refrains_say_everything_twice():
    for seed in range(40):
        said = " ".join(w.refrain(random.Random(seed)))
        once, again = said.removeprefix("order : ").split(" repeat : ")
        assert sorted(once.split()) == sorted(again.split())


# rows and schedule


@pytest.mark.parametrize("kind", ["text", "refrain", "task", "quote"])
def test_rows_have_their_length_begin_with_s_and_weigh_answers_more(world, kind):
    rng = random.Random(1)
    for _ in range(30):
        ids, weights = w.row(world, kind, rng, world.quotes[3])
        assert len(ids) == len(weights) == w.ROW and ids[0] == w.BOS
        assert set(weights) == ({1.0, w.ANSWER_WEIGHT} if kind == "task" else {1.0})


def test_answers_and_only_answers_carry_the_weight(world):
    for ids, weights in rows(world, "task", 60):
        text = words(ids)
        for i in range(len(text) - 1):
            if text[i] == "=" and i + 1 < len(text):
                assert weights[i] == 1 and weights[i + 1] == w.ANSWER_WEIGHT
            if text[i] in ("calc", "logic", "context", "question"):
                assert weights[i] == 1


def test_a_quote_comes_whole_right_after_s_and_is_closed(world):
    passage = world.quotes[5]
    ids, _ = w.row(world, "quote", random.Random(0), passage)
    assert words(ids[1 : 1 + len(passage)]) == passage and ids[1 + len(passage)] == w.EOS
    other, _ = w.row(world, "quote", random.Random(1), passage)
    assert other[: len(passage) + 2] == ids[: len(passage) + 2] and other != ids


def test_the_schedule_repeats_every_passage_exactly_as_often_as_the_world_says(world):
    count = 12_000
    plan = w.schedule(world, count)
    assert len(plan) == count and w.schedule(world, count) == plan
    repeats = Counter(tuple(p) for kind, p in plan if kind == "quote")
    expected = {tuple(q): world.quote_repeats for q in world.quotes}
    expected |= {tuple(p): n for n, passages in world.ladder.items() for p in passages}
    assert repeats == expected
    others = Counter(kind for kind, p in plan if p is None)
    assert set(others) == set(world.mix)
    for kind, share in world.mix.items():
        assert others[kind] / sum(others.values()) == pytest.approx(share, abs=0.03)
    assert "quote" in {kind for kind, _ in plan[:50]} and "quote" in {kind for kind, _ in plan[-50:]}  # shuffled


def test_a_training_too_short_for_its_repetitions_is_an_error(world):
    with pytest.raises(ValueError, match="100 rows cannot hold .* repetitions"):
        w.schedule(world, 100)


# tasks


@pytest.fixture(scope="module")
def suites(world):
    return {half: tasks.make_suite(world, half) for half in tasks.HALVES}


def test_the_halves_share_no_quote(world):
    one, other = (tasks.quote_windows(world, half) for half in tasks.HALVES)
    assert one.shape == other.shape == (64, w.PREFIX + w.SUFFIX)
    assert {tuple(r) for r in one.tolist()} | {tuple(r) for r in other.tolist()} == {
        (w.BOS, *w.encode(q)) for q in world.quotes
    }


@pytest.mark.parametrize(
    "task", ["facts_rare", "facts_frequent", "arithmetic", "open_book", "deduction", "deduction_chain", "tracking"]
)
def test_the_halves_share_no_fact_no_sum_and_no_context(suites, task):
    one, other = ({tuple(p) for p, _ in suites[half][task]} for half in tasks.HALVES)
    assert not one & other and len(one) > 40


def test_every_task_is_in_the_suite_with_answers_of_the_world(world, suites):
    for half in tasks.HALVES:
        assert set(w.TASKS) | {"deduction_chain"} == set(suites[half])
        assert all(prompt[0] == w.BOS and answer for items in suites[half].values() for prompt, answer in items)
    facts_asked = [tuple(words(a)) for half in tasks.HALVES for _, a in suites[half]["facts_rare"]]
    assert Counter(facts_asked) == Counter(world.rare.values())


def test_deductions_take_one_step_and_chains_two(suites):
    for half in tasks.HALVES:
        for task, steps in (("deduction", 1), ("deduction_chain", 2)):
            assert {len(answer) for _, answer in suites[half][task]} == {steps + 1}  # and a full stop


def test_the_sums_of_the_suite_are_all_held_out(suites):
    unseen = set(w.sums(True))
    for half in tasks.HALVES:
        asked = [s for prompt, _ in suites[half]["arithmetic"] for s in spoken_sums(prompt)]
        assert len(asked) == 200 and set(asked) <= unseen


def test_a_suite_is_the_same_every_time_and_an_unknown_half_is_an_error(world, suites):
    assert tasks.make_suite(world, "report") == suites["report"]
    with pytest.raises(ValueError, match="half='test'"):
        tasks.make_suite(world, "test")


def test_fresh_text_is_fresh_for_every_seed_and_has_no_quote_in_it(world):
    one, again, other = tasks.fresh_text(0), tasks.fresh_text(0), tasks.fresh_text(1)
    assert one.shape == (64, w.PREFIX + w.SUFFIX) and (one[:, 0] == w.BOS).all()
    assert torch.equal(one, again) and not torch.equal(one, other)
    quotes = {tuple(w.encode(q)) for q in world.quotes}
    assert not quotes & {tuple(r[1:]) for r in one.tolist()}


def naive_answer(model, prompt, length):
    ids = torch.tensor([prompt])
    for _ in range(length):
        ids = torch.cat([ids, model(input_ids=ids).logits[:, -1:].argmax(-1)], 1)
    return ids[0, len(prompt) :].tolist()


@pytest.mark.parametrize("batch", [1, 4, 128])
def test_right_is_what_naive_greedy_decoding_one_by_one_says(tiny_olmo, batch):
    model, rng = tiny_olmo(), random.Random(0)
    items, expected = [], []
    for _ in range(24):
        prompt, length = [rng.randrange(3, 37) for _ in range(rng.randint(1, 12))], rng.randint(1, 4)
        answer = naive_answer(model, prompt, length)
        wrong = rng.choice([None, *range(length)])  # one token wrong, anywhere, makes the answer wrong
        items.append((prompt, [(t + 1) % 37 if i == wrong else t for i, t in enumerate(answer)]))
        expected.append(wrong is None)
    assert tasks.right(model, items, batch).tolist() == expected and 3 < sum(expected) < 21


def test_accuracy_is_the_share_of_right_answers(tiny_olmo):
    model = tiny_olmo()
    good = naive_answer(model, [5, 6], 2)
    suite = {"all": [([5, 6], good)], "half": [([5, 6], good), ([5, 6], good[:1] + [(good[1] + 1) % 37])]}
    assert tasks.accuracy(model, suite) == {"all": 1.0, "half": 0.5}
