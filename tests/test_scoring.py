"""Teacher forcing: against generation, one row at a time, and whatever else shares the batch."""

import math

import pytest
import torch
import transformers

from kfaclib.lm import recitation
from kfaclib.lm.recitation import greedy
from kfaclib.lm.scoring import teacher_forced


def rows(lengths, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(3, 37, (n,), generator=generator).tolist() for n in lengths]


def test_a_row_scores_the_same_alone_and_among_longer_ones(tiny_olmo):
    model, some = tiny_olmo(), rows((5, 17, 9, 9, 30))
    together = teacher_forced(model, some, [2, 1, 8, 4, 29], batch=3, detail=True)
    for row, start, found in zip(some, (2, 1, 8, 4, 29), together):
        (alone,) = teacher_forced(model, [row], [start], detail=True)
        assert len(found.hit) == len(row) - start
        assert torch.equal(found.hit, alone.hit) and torch.equal(found.rank, alone.rank)
        assert torch.allclose(found.log_p, alone.log_p, atol=1e-12)


def test_ranks_and_probabilities_are_those_of_the_logits(tiny_olmo):
    model, (row,) = tiny_olmo(), rows((12,))
    (found,) = teacher_forced(model, [row], detail=True)
    logits = model(input_ids=torch.tensor([row])).logits[0].detach()
    for t in range(1, 12):
        by_rank = logits[t - 1].argsort(descending=True).tolist()
        assert by_rank.index(row[t]) + 1 == found.rank[t - 1] and found.hit[t - 1] == (by_rank[0] == row[t])
        assert found.log_p[t - 1].item() == pytest.approx(logits[t - 1].log_softmax(-1)[row[t]].item())


def test_what_the_model_writes_itself_is_right_in_every_token(tiny_olmo):
    model, prefixes = tiny_olmo(), rows((4, 7, 11), seed=1)
    said = greedy(model, prefixes, 6).tolist()
    found = teacher_forced(model, [p + s for p, s in zip(prefixes, said)], [len(p) for p in prefixes])
    assert all(row.hit.all() and len(row.hit) == 6 for row in found)
    other = [p + [(s[0] + 1) % 37, *s[1:]] for p, s in zip(prefixes, said)]
    assert not any(row.hit[0] for row in teacher_forced(model, other, [len(p) for p in prefixes]))


@pytest.mark.parametrize("start", [0, 5])
def test_a_start_without_a_token_before_or_after_it_is_refused(tiny_olmo, start):
    with pytest.raises(ValueError, match=f"row 1 has 5 tokens and is asked about from token {start} on"):
        teacher_forced(tiny_olmo(), rows((5, 5)), [1, start])


def bert():
    sizes = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2)
    return transformers.BertLMHeadModel(transformers.BertConfig(vocab_size=40, **sizes))


WAYS = {  # every way to ask a model for its next tokens
    "teacher_forced": lambda model: teacher_forced(model, [[3, 4, 5]]),
    "by_one_pass": lambda model: recitation.by_one_pass(model, [([3, 4], [5])]),
    "recitation": lambda model: recitation.recitation(model, [([3, 4], [5])]),
    "greedy": lambda model: greedy(model, [[3, 4]], 2),
    "perplexity": lambda model: recitation.perplexity(model, torch.tensor([[3, 4, 5]])),
    "top_tokens": lambda model: recitation.top_tokens(model, torch.tensor([[3, 4, 5]])),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_model_that_sees_what_follows_is_never_asked_for_the_next_token(way):
    with pytest.raises(ValueError, match="lets a token see those that follow it"):
        WAYS[way](bert())


@pytest.mark.parametrize("way", WAYS)
def test_a_weight_that_is_no_number_gives_no_number(tiny_olmo, way):
    model = tiny_olmo()
    WAYS[way](model)
    next(model.model.layers[1].mlp.parameters()).data[0, 0] = float("nan")
    with pytest.raises(FloatingPointError, match="logits are not numbers"):
        WAYS[way](model)


def test_a_model_without_weights_says_so(tiny_olmo):
    with pytest.raises(ValueError, match="not loaded.*meta device"):
        teacher_forced(tiny_olmo().to("meta"), [[3, 4, 5]])


def test_the_papers_perplexity_asks_no_model_for_more_positions_than_it_has():
    sizes = dict(vocab_size=40, n_positions=16, n_embd=16, n_layer=1, n_head=2)
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes)).eval()
    ids = torch.tensor(rows([160])).view(10, 16)
    assert recitation.papers_perplexity(model, ids) == pytest.approx(recitation.perplexity(model, ids))


def test_a_perplexity_beyond_all_numbers_is_infinite(tiny_olmo):
    model = tiny_olmo()
    model.lm_head.weight.data *= 1e6
    for kind in ("corpus", "paper"):
        assert recitation.perplexity(model, torch.tensor(rows([30])), kind=kind) == math.inf
