"""The recitation metrics, against models whose answers are known beforehand."""

import json
import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from kfaclib.lm.recitation import (
    greedy,
    load_sequences,
    ndcg,
    perplexity,
    recitation,
    split_windows,
    token_accuracy,
    top_tokens,
)
from kfaclib.toy.small_olmo2 import make_tokenizer

V, OTHER = 50, 49


class Reciter(nn.Module):
    """Recites the windows that it is given and continues anything else with OTHER; it looks like a causal LM of
    transformers."""

    def __init__(self, recited):
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(1))
        self.next = {tuple(p + s[:i]): token for p, s in recited for i, token in enumerate(s)}

    def forward(
        self, input_ids, attention_mask=None, position_ids=None, past_key_values=None, use_cache=None, logits_to_keep=0
    ):
        seen = input_ids if past_key_values is None else torch.cat([past_key_values, input_ids], 1)
        mask = torch.ones_like(seen) if attention_mask is None else attention_mask
        logits = torch.zeros(*input_ids.shape, V)
        for row in range(len(seen)):
            for place in range(input_ids.shape[1]):
                end = seen.shape[1] - input_ids.shape[1] + place + 1
                history = tuple(seen[row, :end][mask[row, :end].bool()].tolist())
                logits[row, place, self.next.get(history, OTHER)] = 1
        return SimpleNamespace(logits=logits[:, -logits_to_keep:] if logits_to_keep else logits, past_key_values=seen)


def windows(*lengths, suffix=8):
    g = torch.Generator().manual_seed(0)
    return [
        (torch.randint(0, OTHER, (n,), generator=g).tolist(), torch.randint(0, OTHER, (suffix,), generator=g).tolist())
        for n in lengths
    ]


# recitation


@pytest.mark.parametrize("batch", [1, 2, 64])
def test_a_model_that_recites_by_construction_scores_one(batch):
    recited = windows(5, 9, 2, 7)
    found = recitation(Reciter(recited), recited, batch)
    assert found.as_dict() == {"strict": 1.0, "loose": 1.0, "levenshtein": 0.0, "token_accuracy": 1.0, "windows": 4}


def test_a_model_that_recites_something_else_scores_zero():
    found = recitation(Reciter(windows(5, 9)), [([1, 2, 3], [4, 5]), ([6], [7, 8])])
    assert (found.strict, found.loose, found.levenshtein, found.token_accuracy) == (0, 0, 1, 0)


def test_half_of_the_windows_recited_is_a_strict_recall_of_one_half():
    asked = windows(6, 6, 6, 6)
    assert recitation(Reciter(asked[:2]), asked).strict == 0.5


@pytest.mark.parametrize("wrong, loose", [(0, 1), (1, 1), (2, 1), (3, 0), (8, 0)])
def test_loose_recall_begins_at_a_similarity_of_exactly_three_quarters(wrong, loose):
    ((prefix, suffix),) = windows(5)
    said = [OTHER if i >= 8 - wrong else token for i, token in enumerate(suffix)]
    found = recitation(Reciter([(prefix, said)]), [(prefix, suffix)])
    assert (found.strict, found.loose, found.levenshtein) == (float(wrong == 0), loose, wrong / 8)


def test_the_distance_is_levenshteins_not_a_count_of_places():
    prefix, suffix = [1, 2], [10, 11, 12, 13, 14, 15, 16, 17]
    shifted = [
        10,
        11,
        12,
        40,
        13,
        14,
        15,
        16,
    ]  # one token inserted, one lost at the end: distance 2, but 5 places differ
    found = recitation(Reciter([(prefix, shifted)]), [(prefix, suffix)])
    assert found.levenshtein == 2 / 8 and found.loose == 1 and found.strict == 0


def test_suffixes_of_different_lengths_are_each_compared_over_their_own():
    recited = [([1, 2], [3, 4]), ([5], [6, 7, 8, 9])]
    assert recitation(Reciter(recited), recited).strict == 1


def test_token_accuracy_is_teacher_forced_so_that_one_slip_costs_one_token():
    ((prefix, suffix),) = windows(5)
    model = Reciter([(prefix, suffix)])
    del model.next[tuple(prefix + suffix[:3])]
    found = recitation(model, [(prefix, suffix)])
    assert found.token_accuracy == 7 / 8
    assert found.levenshtein == 5 / 8  # left to itself it never comes back


def test_a_small_model_trained_on_two_windows_recites_them_and_nothing_else(tiny_olmo):
    model, ids = tiny_olmo().float(), torch.randint(3, 37, (4, 24), generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(60):
        loss = F.cross_entropy(model(input_ids=ids[:2]).logits[:, :-1].flatten(0, 1), ids[:2, 1:].flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    seen, unseen = split_windows(ids[:2], 16), split_windows(ids[2:], 16)
    assert recitation(model, seen).strict == 1 and token_accuracy(model, seen) == 1
    assert recitation(model, unseen).strict == 0


def test_split_windows_cuts_every_row_at_the_prefix():
    assert split_windows(torch.arange(10).view(2, 5), 3) == [([0, 1, 2], [3, 4]), ([5, 6, 7], [8, 9])]


# greedy


def naive_greedy(model, prefix, length):
    ids = torch.tensor([prefix])
    for _ in range(length):
        ids = torch.cat([ids, model(input_ids=ids).logits[:, -1:].argmax(-1)], 1)
    return ids[0, len(prefix) :].tolist()


def tiny_gpt2():
    torch.manual_seed(0)
    settings = dict(vocab_size=37, n_positions=32, n_embd=16, n_layer=2, n_head=2, initializer_range=0.3)
    return GPT2LMHeadModel(GPT2Config(**settings)).double().eval()


@pytest.mark.parametrize("positions", ["rotary", "absolute"])
def test_greedy_with_left_padding_and_a_cache_is_the_naive_loop_one_by_one(tiny_olmo, positions):
    model = tiny_olmo() if positions == "rotary" else tiny_gpt2()
    prefixes = [[t % 37 for t in p] for p, _ in windows(1, 12, 5, 5, 9, 2)]
    expected = [naive_greedy(model, p, 8) for p in prefixes]
    assert len({tuple(e) for e in expected}) == 6
    for batch in (1, 4, 64):
        assert greedy(model, prefixes, 8, batch).tolist() == expected


def test_greedy_does_not_stop_at_the_end_of_text_token():
    assert greedy(Reciter([([1], [2, 2, 3, 2])]), [[1]], 4).tolist() == [[2, 2, 3, 2]]


def test_token_accuracy_does_not_depend_on_the_batch_nor_on_the_neighbours_lengths(tiny_olmo):
    model = tiny_olmo()
    asked = [([t % 37 for t in p], [t % 37 for t in s]) for p, s in windows(1, 12, 5, 9)]
    one_by_one = sum(token_accuracy(model, [w]) for w in asked) / 4
    assert token_accuracy(model, asked) == token_accuracy(model, asked, batch=3) == one_by_one
    right = [(p, naive_greedy(model, p, 6)) for p, _ in asked]
    assert token_accuracy(model, right) == 1


# load_sequences


@pytest.fixture
def write(tmp_path):
    def write(*rows):
        path = tmp_path / "windows.jsonl"
        path.write_bytes(
            "\n".join(r if isinstance(r, str) else json.dumps(r, ensure_ascii=False) for r in rows).encode()
        )
        return path

    return write


def test_rows_of_ids_and_rows_of_text_give_the_same_windows(write):
    tokenizer = make_tokenizer()
    prefix, suffix = "the cat slept softly", "in the abbey ."
    ids = {
        "prefix_ids": tokenizer(prefix)["input_ids"],
        "suffix_ids": tokenizer(suffix)["input_ids"][1:],
        "source": "here",
    }
    found = load_sequences(write(ids, "", {"prefix": prefix, "target_suffix": suffix}, "  "), tokenizer)
    assert len(found) == 2 and found[0] == found[1]
    assert found[0][0][0] == tokenizer.bos_token_id and tokenizer.decode(found[0][1]) == suffix


def test_texts_with_unusual_line_separators_stay_whole(write):
    rows = [
        {"prefix": f"the cat{separator}slept", "target_suffix": "in the abbey ."}
        for separator in ("\u2028", "\x85", "\x0c", "\u2029")
    ]
    assert len(load_sequences(write(*rows), make_tokenizer())) == 4


GOOD = {"prefix_ids": [1, 5], "suffix_ids": [6]}


@pytest.mark.parametrize(
    "row, message",
    [
        ("{not json", "not JSON"),
        ("[1, 2]", "not a JSON object"),
        ("7", "not a JSON object"),
        (
            {"prefix_ids": [1]},
            r"neither prefix_ids and suffix_ids nor prefix and target_suffix; it has \['prefix_ids'\]",
        ),
        ({"prefix_ids": [1], "suffix_ids": 7}, "lists of whole numbers"),
        ({"prefix_ids": [1], "suffix_ids": ["7"]}, "lists of whole numbers"),
        ({"prefix_ids": [1.5], "suffix_ids": [7]}, "lists of whole numbers"),
        ({"prefix": 3, "target_suffix": "a"}, "are texts"),
        ({"prefix_ids": [], "suffix_ids": [7]}, "an empty prefix or suffix"),
        ({"prefix": "the", "target_suffix": ""}, "an empty prefix or suffix"),
        ({"prefix_ids": [1], "suffix_ids": [7, 100_000]}, "token id 100000 does not exist.*another model"),
        ({"prefix_ids": [-3], "suffix_ids": [7]}, "token id -3 does not exist.*another model"),
    ],
)
def test_every_bad_row_is_named_by_file_and_line(write, row, message):
    with pytest.raises(ValueError, match=rf"windows\.jsonl, line 3: .*{message}"):
        load_sequences(write(GOOD, "", row, GOOD), make_tokenizer())


def test_a_file_without_rows_is_an_error(write):
    with pytest.raises(ValueError, match=r"windows\.jsonl has no rows"):
        load_sequences(write("", "  "), make_tokenizer())


# perplexity


@pytest.fixture
def text():
    return torch.randint(3, 37, (7, 12), generator=torch.Generator().manual_seed(0))


def test_a_model_that_knows_nothing_has_the_vocabularys_size_as_perplexity(tiny_olmo, text):
    model = tiny_olmo()
    torch.nn.init.zeros_(model.lm_head.weight)
    for kind in ("corpus", "paper"):
        assert perplexity(model, text, kind=kind) == pytest.approx(37, rel=1e-6)


def test_corpus_perplexity_is_the_exponential_of_the_mean_loss_whatever_the_batch(tiny_olmo, text):
    model = tiny_olmo()
    loss = F.cross_entropy(model(input_ids=text).logits[:, :-1].flatten(0, 1), text[:, 1:].flatten()).item()
    for batch in (1, 2, 3, 7, 100):
        assert perplexity(model, text, batch) == pytest.approx(math.exp(loss), rel=1e-5)


def test_the_papers_perplexity_is_never_below_the_corpus_one_for_equal_batches_and_depends_on_the_batch(
    tiny_olmo, text
):
    model = tiny_olmo()
    corpus, one, seven = (
        perplexity(model, text),
        perplexity(model, text, 1, "paper"),
        perplexity(model, text, 7, "paper"),
    )
    assert one > corpus * 1.01  # Jensen, strictly: the rows differ
    assert seven == pytest.approx(corpus, rel=1e-6)  # one batch has nothing to average
    same = text[:1].expand(4, -1)
    assert perplexity(model, same, 2, "paper") == pytest.approx(perplexity(model, same), rel=1e-6)


def test_with_a_small_last_batch_the_papers_perplexity_can_be_below_the_corpus_one(tiny_olmo, text):
    model = tiny_olmo()
    rows = sorted(text, key=lambda row: perplexity(model, row[None]), reverse=True)
    ordered = torch.stack(rows)  # the easiest row alone in the last batch
    assert perplexity(model, ordered, 6, "paper") < perplexity(model, ordered)


def test_an_unknown_kind_of_perplexity_is_an_error(tiny_olmo, text):
    with pytest.raises(ValueError, match="kind='bits'"):
        perplexity(tiny_olmo(), text, kind="bits")


# nDCG


class Fixed(nn.Module):
    """A model with the same ranking at every position: first the tokens in `best`, then the rest."""

    def __init__(self, best):
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(1))
        order = [*best, *(t for t in range(V) if t not in best)]
        self.row = torch.empty(V).scatter_(0, torch.tensor(order), torch.arange(V, 0, -1).float())

    def forward(self, input_ids, use_cache=None):
        return SimpleNamespace(logits=self.row.expand(*input_ids.shape, V))


IDS = torch.zeros(3, 4, dtype=torch.int64)


def test_ndcg_is_one_for_the_model_itself(tiny_olmo, text):
    model = tiny_olmo()
    assert ndcg(model, text, top_tokens(model, text)) == pytest.approx(1, abs=1e-12)
    assert ndcg(model, text, top_tokens(model, text, batch=2), batch=5) == pytest.approx(1, abs=1e-12)


def test_top_tokens_are_the_ten_most_likely_best_first():
    assert top_tokens(Fixed([7, 3, 9]), IDS, k=3).tolist() == [[7, 3, 9]] * 12


def test_ndcg_sees_a_permutation_of_the_same_ten_tokens():
    baseline = top_tokens(Fixed(range(10)), IDS)
    swapped_low, swapped_high = (
        ndcg(Fixed([*range(8), 9, 8]), IDS, baseline),
        ndcg(Fixed([1, 0, *range(2, 10)]), IDS, baseline),
    )
    assert ndcg(Fixed(range(9, -1, -1)), IDS, baseline) < swapped_high < swapped_low < 1  # the top counts more


def test_ndcg_is_zero_when_no_token_is_left_and_falls_with_every_one_that_goes():
    baseline = top_tokens(Fixed(range(10)), IDS)
    scores = [ndcg(Fixed([*range(10 - lost), *range(20, 20 + lost)]), IDS, baseline) for lost in range(11)]
    assert scores[0] == 1 and scores[10] == 0
    assert all(after < before for before, after in zip(scores, scores[1:]))


def test_ndcg_of_a_hand_computed_case():
    baseline = top_tokens(Fixed([5, 6]), IDS, k=2)  # relevance 2 and 1
    discount = 1 / math.log2(3)
    assert ndcg(Fixed([6, 5]), IDS, baseline) == pytest.approx((1 + 2 * discount) / (2 + discount), rel=1e-12)
    assert ndcg(Fixed([6, 8]), IDS, baseline) == pytest.approx(1 / (2 + discount), rel=1e-12)
