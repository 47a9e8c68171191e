"""Teacher forcing: against generation, one row at a time, and whatever else shares the batch."""

import pytest
import torch

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
