"""Exercises of chapter 14: what one step does to what was not trained, when a level is reached, an attack that leaves
the model as it was, and whether a difference could be luck.
"""

from types import SimpleNamespace

import torch

from kfcourse import Exercise
from kfcourse.learning.results import numbers, parts


def check_one_step(function):
    hidden, new = map(float, parts(function(), 2, "the residual in the edited model, and that in the control"))
    assert abs(hidden - 0.5) > 1e-9, (
        "keys multiply as vectors: k_1 and k_2 share both coordinates, so their product is not 1 times 1 alone"
    )
    assert abs(hidden + 0.5) > 1e-9, "you took a whole step; the step size is one half"
    assert abs(hidden - 1.75) > 1e-9, "a step down the loss makes the trained residual smaller: mind the sign in (14.2)"
    assert abs(hidden - 0.25) < 1e-9, (
        f"{hidden:g} is not the edited model's residual: (14.3) with r_1 = 1 and the product of the two keys"
    )
    assert abs(new - 0.25) > 1e-9, "the control's residual of the watched quote has the other sign at the start"
    assert abs(new + 0.25) > 1e-9, (
        "the step is the same in both models, so the control's residual also moves *down* by the same amount"
    )
    assert abs(new + 1.75) < 1e-9, f"{new:g} is not the control's residual: start from -1 and apply the same change"


def check_tokens_until(function):
    rows = [(0, 0.0), (100, 0.2), (400, 0.5), (800, 0.4), (1600, 1.0)]
    for level, right in ((0.5, 400), (0.35, 250), (0.1, 50), (0.7, 1200), (0.0, 0)):
        found = function(list(rows), level)
        assert found is not None, f"the level {level} is reached in these rows, and yours says that it is not"
        found = float(numbers(found, [], "the number of tokens"))
        if abs(found - right) < 1e-6:
            continue
        later = [tokens for tokens, value in rows if value >= level][0]
        assert abs(found - later) > 1e-6, (
            "this is the first look at which the level is passed; it was reached on the straight line before"
        )
        assert found <= later, "the level may be reached more than once: the *first* time is asked for"
        raise AssertionError(
            f"for the level {level}, yours is {found:g}: on the line between two looks the way is shared out as the "
            "values are"
        )
    assert function(list(rows[:3]), 0.9) is None, "a level that is never reached has no number of tokens: return None"


class _Writer(torch.nn.Module):
    """A tiny next-token model that notes what it is trained on: rows that pass through it while gradients are kept."""

    def __init__(self, seed, words=12, width=6):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        draw = lambda *shape: torch.nn.Parameter(0.5 * torch.randn(*shape, generator=generator))
        self.embed, self.head, self.log = draw(words, width), draw(words, width), []

    def __deepcopy__(self, memo):
        other = _Writer(0)
        other.load_state_dict(self.state_dict())
        for mine, theirs in zip(self.parameters(), other.parameters(), strict=True):
            theirs.requires_grad_(mine.requires_grad)
        other.log = self.log  # one list for the model and all its copies
        return other

    def forward(self, input_ids=None, **_):
        if torch.is_grad_enabled():
            self.log.append(input_ids.clone())
        return SimpleNamespace(logits=self.embed[input_ids] @ self.head.T)


def _loss(model, ids):
    with torch.no_grad():
        logits = model(input_ids=ids).logits[:, :-1]
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).item()


def check_attack(function):
    model = _Writer(1)
    ids = torch.randint(0, 12, (12, 9), generator=torch.Generator().manual_seed(2))
    before = [p.detach().clone() for p in model.parameters()]
    asked, looks = [], (0, 1, 4, 12)

    def measure(m):
        asked.append(m)
        return _loss(m, ids)

    rows = function(model, ids, looks, measure, 0.05, 4)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)), (
        "the model that was handed in has changed: train a copy, or the next attack starts from this one's end"
    )
    assert rows is not None and len(rows) == 4, (
        "one row for each look is wanted, the one before the first step included"
    )
    tokens = [int(row[0]) for row in rows]
    assert tokens != [0, 1, 4, 12], "these are steps; tokens are asked for, and a step has batch times S of them"
    assert tokens[0] == 0, "the first look is before the first step, when no token has been trained on"
    shown = torch.cat(model.log) if model.log else torch.zeros(0, 9, dtype=torch.int64)
    assert len(shown), "no row passed through the copy while gradients were kept: nothing was trained"
    assert shown.shape[1] == 9, "whole rows are trained on; yours were cut"
    assert len(shown) == 48, (
        f"12 steps of 4 rows show 48 rows, and yours showed {len(shown)}: count the steps between the looks, and keep "
        "`measure` out of the training"
    )
    assert tokens == [0, 36, 144, 432], f"yours says {tokens} tokens: each step has 4 rows of 9 tokens"
    times = [(shown == row).all(1).sum().item() for row in ids]
    assert min(times) >= 3 and max(times) <= 5, (
        f"in 48 rows each of the 12 should come 4 times, and here one comes {min(times)} and one {max(times)} times: "
        "go through all of them in a random order before the next round"
    )
    assert not any(torch.equal(a, b) for a, b in zip(model.log, model.log[3:], strict=False)), (
        "the batches come in the same order in every round: shuffle anew"
    )
    assert asked and all(m is not model for m in asked), "measure the trained copy, not the model that was handed in"
    values = [float(row[1]) for row in rows]
    assert abs(values[0] - _loss(model, ids)) < 1e-6, "the first look is before the first step"
    assert values[-1] < values[0] - 0.1, (
        "after twelve steps the loss of the trained rows has not fallen: is the next token the label, and is the step "
        "taken downwards?"
    )


def _gains(seed, n, m):
    generator = torch.Generator().manual_seed(seed)
    draw = lambda count, shift: (torch.randint(0, 9, (count,), generator=generator) + shift).tolist()
    return [x / 10 for x in draw(n, 5)], [x / 10 for x in draw(m, 0)]


def _all_splits(edited, control, better):
    from itertools import combinations
    from statistics import mean

    pool, n = [*edited, *control], len(edited)
    seen, hits, every = mean(edited) - mean(control), 0, 0
    for chosen in combinations(range(len(pool)), n):
        first = [pool[i] for i in chosen]
        second = [pool[i] for i in range(len(pool)) if i not in chosen]
        hits += better(mean(first) - mean(second), seen)
        every += 1
    return hits / every


def check_by_chance(function):
    at_least = lambda found, seen: found >= seen - 1e-9
    for seed, (n, m) in enumerate(((3, 3), (4, 2), (3, 4), (2, 5))):
        edited, control = _gains(seed, n, m)
        found = float(numbers(function(list(edited), list(control)), [], "the chance"))
        right = _all_splits(edited, control, at_least)
        close = lambda other: abs(found - other) < 1e-6
        if close(right):
            continue
        assert not close(_all_splits(edited, control, lambda found, seen: found > seen + 1e-9)), (
            "the split that was really observed is one of them, and counts: at least as large, not larger"
        )
        assert not close(_all_splits(edited, control, lambda found, seen: abs(found) >= abs(seen) - 1e-9)), (
            "a difference in the other direction does not speak for the edit: compare with the sign"
        )
        assert not close(1 - right), "this is the chance of a smaller difference"
        assert 0 <= found <= 1, f"a chance lies between 0 and 1, and yours is {found:.3g}"
        raise AssertionError(
            "the chance is another one: put both groups into one pool, go through *every* way to choose a first group "
            "of the same size, and compare differences of means"
        )


EXERCISES = {
    "14.one_step": Exercise(
        "One step on another quote",
        2,
        10,
        (
            "Write what the step adds to W', a row [1, 2] here: step size, trained residual, trained key.",
            "The watched residual changes by what this addition makes of the watched key: a product of the two keys.",
            "The products of keys and the trained residual are the same in both models. Only the watched residual at "
            "the start differs.",
        ),
        check_one_step,
        "The same step helps the watched quote where the two residuals have the same cause, and harms it where they "
        "are unrelated. This is why the control is needed, and why it may even fall.",
    ),
    "14.tokens_until": Exercise(
        "When is a level reached?",
        2,
        10,
        (
            "Find the first look whose value is at least the level.",
            "If it is not the very first look, the level was reached between it and the look before.",
            "Share out the tokens between these two looks as the values are shared out: which part of the rise lies "
            "below the level?",
        ),
        check_tokens_until,
        "Looks are rare, because each of them costs a measurement. The straight line between them makes speeds "
        "comparable that were looked at in different places.",
    ),
    "14.attack": Exercise(
        "An attack that leaves the model as it was",
        3,
        25,
        (
            "Three things have to be kept apart: the model that was handed in, the copy that is trained, and what is "
            "only measured.",
            "For every step take the next `batch` rows of a random order of all rows; when the order is used up, "
            "shuffle anew. Look before the step whose number is among the looks.",
            "The loss is the cross-entropy of the logits at all places but the last against the ids from the second "
            "on. Count batch times S tokens for each step.",
        ),
        check_attack,
        "An attack that changes the model it attacks makes every later one look stronger. The same holds for a look "
        "that trains.",
    ),
    "14.by_chance": Exercise(
        "Could it be luck?",
        3,
        20,
        (
            "If the two kinds of models did not differ, any of the values could as well stand in the other group.",
            "`itertools.combinations(range(n + m), n)` goes through all ways to choose the first group from the pool.",
            "For every choice compute the difference of the two means. Which share of the choices reaches the observed "
            "difference? The observed choice is one of them.",
        ),
        check_by_chance,
        "With three models on each side there are twenty choices, so no result whatever can have a smaller chance than "
        "one in twenty.",
    ),
}
