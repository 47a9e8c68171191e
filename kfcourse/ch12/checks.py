"""Exercises of chapter 12: which weights a subnet drops, the gradient of its scores, a loss with two signs, a subnet
that is trained, halves that share nothing, and how often one has to draw.
"""

import math

import torch

from kfcourse import Exercise
from kfcourse.learning.results import numbers, parts


def _draw(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _without(order, count, shape):
    """A mask [shape] that is false at the first `count` of the flat places in `order`."""
    keep = torch.ones(math.prod(shape), dtype=torch.bool)
    keep[order[:count]] = False
    return keep.view(shape)


def _mask(result, shape):
    """A result as a bool mask, or a sentence that says what it is."""
    values = numbers(result, list(shape), "the mask")
    assert ((values == 0) | (values == 1)).all(), "a mask holds true where a weight is kept and false where it is not"
    return values.bool()


def check_subnet_mask(function):
    for seed, (ratio, shape) in enumerate(((0.25, (4, 8)), (0.1, (5, 8)), (0.6, (3, 5)), (0.0, (2, 3)))):
        scores = _draw(seed, *shape)
        found, drop = _mask(function(scores.clone(), ratio), shape), round(ratio * scores.numel())
        order = scores.abs().flatten().argsort()
        wanted = _without(order, drop, shape)
        if found.equal(wanted):
            continue
        assert not found.equal(~wanted), "true should stand for *kept*: this is the mask of the dropped weights"
        assert not found.equal(_without(scores.flatten().argsort(), drop, shape)), (
            "a large negative score is a large one: rank by the *absolute* value"
        )
        assert not found.equal(_without(order.flip(0), drop, shape)), "this drops the highest scores; the lowest go"
        dropped = int((~found).sum())
        assert dropped == drop, (
            f"with ratio {ratio} exactly {drop} of {scores.numel()} weights are dropped, yours drops {dropped}"
        )
        raise AssertionError(
            "the right number is dropped, but not the lowest of the whole matrix: rank all its scores together"
        )


def check_score_gradient(function):
    for seed in range(3):
        W, scores, a, g = (_draw(10 * seed + k, *shape) for k, shape in enumerate(((3, 4), (3, 4), (7, 4), (7, 3))))
        found = numbers(function(W, scores, a, g), [3, 4], "the gradient of the scores")
        at_weights = g.T @ a
        right = at_weights * W * scores.sign()
        close = lambda other: torch.allclose(found, other, atol=1e-6)
        if close(right):
            continue
        assert not close(at_weights * scores.sign()), (
            "the mask multiplies the weight, so the gradient at the mask is the one at the product *times W*"
        )
        assert not close(at_weights * W), "the mask depends on |score|: where the score is negative, the sign turns"
        assert not close(at_weights * W * scores), (
            "you multiply by the score itself: the derivative of |score| is only its sign"
        )
        assert not close(right / len(a)), "g already holds each token's share of the loss: add the tokens up, no mean"
        assert not close(-right), "this is the step downhill; the gradient itself is asked for"
        dropped = (found == 0) & (right != 0)
        others = torch.allclose(found[~dropped], right[~dropped], atol=1e-6)
        assert not (dropped.any() and others), (
            "straight through means that dropped weights get their gradient, too: otherwise none could ever come back"
        )
        raise AssertionError(
            "the numbers are none that we know of: go back to (12.3), and check the order of the outer product and "
            "that all tokens are added up"
        )


def check_balanced_loss(function):
    for seed, (weight, bound) in enumerate(((0.7, 1.0), (0.3, 0.8), (0.6, 50.0))):
        clean, memorized = _draw(seed, 9).abs() * 2, _draw(seed + 50, 6).abs() * 2
        found = float(numbers(function(clean, memorized, weight, bound), [], "the loss"))
        up = memorized.clamp(max=bound).mean()
        same = lambda value: abs(found - float(value)) < 1e-6
        if same((1 - weight) * clean.mean() - weight * up):
            continue
        assert not same(weight * up - (1 - weight) * clean.mean()), (
            "both signs are turned: descending this learns the quotes and unlearns the clean text"
        )
        assert not same((1 - weight) * clean.mean() + weight * up), (
            "this is lowest when the quotes are known best: their loss must go *up* when this one goes down"
        )
        assert not same(weight * clean.mean() - (1 - weight) * up), (
            "`weight` belongs to the memorized windows, 1 - weight to the clean text"
        )
        assert not same((1 - weight) * clean.mean() - weight * memorized.mean()), (
            "a memorized token above the bound must push no further: cap each token's loss before the mean"
        )
        assert not same((1 - weight) * clean.mean() - weight * memorized.mean().clamp(max=bound)), (
            "you cap the mean; one token far above the bound would still hide the others: cap each token"
        )
        raise AssertionError(
            "the value is another one: two means, each with its own share of the loss, and a cap on one of them"
        )


def _memories(seed, O=12, I=24, forget=2, keep=6):
    """A matrix that maps `forget` + `keep` inputs exactly to their outputs: (W, memorized pairs, clean pairs)."""
    inputs, outputs = _draw(seed, forget + keep, I), _draw(seed + 100, forget + keep, O)
    W = (torch.linalg.pinv(inputs) @ outputs).T
    return W, (inputs[:forget], outputs[:forget]), (inputs[forget:], outputs[forget:])


def _error(W, pairs):
    return (pairs[0] @ W.T - pairs[1]).square().mean().item()


def check_train_subnet(function):
    ratio, count = 0.2, 6
    found, chance = torch.zeros(2), torch.zeros(2)  # mean squared error of the memorized and of the clean pairs
    for seed in range(count):
        W, memorized, clean = _memories(seed)
        mask = _mask(function(W.clone(), memorized, clean, ratio), W.shape)
        drop, dropped = round(ratio * W.numel()), int((~mask).sum())
        assert dropped == drop, f"{drop} of the {W.numel()} weights have to be dropped, yours drops {dropped}"
        draw = torch.randperm(W.numel(), generator=torch.Generator().manual_seed(seed))
        for kept, total in ((mask, found), (_without(draw, drop, W.shape), chance)):
            total += torch.tensor([_error(W * kept, pairs) for pairs in (memorized, clean)]) / count
    times = (found[0] / found[1]).item()
    assert found[0] > 0.8 * chance[0] or found[1] < chance[1], (
        "the memorized pairs suffer less, and the clean ones more, than when weights are dropped at random: descend "
        "the loss with the signs of (12.4), clean down and memorized up"
    )
    assert found[1] < 1.15 * chance[1], (
        "the clean pairs suffer more than when weights are dropped at random: their loss has to pull as well, downwards"
    )
    assert found[0] > chance[0], (
        "the memorized pairs are better off than when weights are dropped at random: their loss has to be driven up"
    )
    assert times > 2, (
        f"the memorized pairs' error is {times:.1f} times the clean pairs', and more than twice is within reach: take "
        "enough steps, and let dropped weights come back, which needs their gradient as well"
    )


def check_draws_needed(function):
    chance, draws = parts(function(), 2, "the chance of one draw, and the number of draws")
    p = 0.9**48
    assert abs(float(chance) - 0.9 * 48) > 1e-6 and float(chance) <= 1, (
        "a chance is at most one: independent chances multiply, they do not add up"
    )
    assert abs(float(chance) - 0.9**47) > 1e-6, "all 48 words have to be right, the first one too"
    assert abs(float(chance) - p) < 2e-5, (
        f"one draw succeeds with the chance that all 48 words are right at once; {float(chance):.4g} is another number"
    )
    assert float(draws) not in (78, 79), (
        "that is 1 / (2p), as if the chances of the draws added up; two draws may both succeed, so ask when *none* does"
    )
    assert float(draws) not in (157, 158), "that is 1 / p, the number of draws until the first success on average"
    assert float(draws) != 108, "with 108 draws the chance is still a little below one half"
    assert float(draws) == 109, (
        f"{float(draws):g} is not the smallest number: no draw succeeds with the chance (1 - p)^n, and this has to be "
        "one half or less"
    )


def _some_quotes(seed):
    """Quotes of numbers, some of which share a run of four with another one, some of three."""
    draw = torch.Generator().manual_seed(seed)
    quotes = [torch.randint(100, 10_000, (9,), generator=draw).tolist() for _ in range(14)]
    quotes[5][5:] = quotes[0][5:]  # the last run alone is shared
    quotes[9][:4] = quotes[5][:4]  # a chain: 9 with 5, and 5 with 0
    quotes[11][2:7] = quotes[3][1:6]  # at another place
    quotes[12][:3] = quotes[1][:3]  # three in a row only
    order = torch.randperm(14, generator=draw).tolist()
    return [quotes[i] for i in order]


def _runs(words, n):
    return {tuple(words[k : k + n]) for k in range(len(words) - n + 1)}


def check_disjoint_halves(function):
    for seed in range(4):
        quotes = _some_quotes(seed)
        halves = parts(function([list(words) for words in quotes], 4), 2, "the indices of the two halves")
        first, second = ([int(i) for i in half] for half in halves)
        assert sorted(first + second) == list(range(14)), (
            "every quote belongs to exactly one half: return indices of the quotes, all of them, each once"
        )
        shared = [(i, j) for i in first for j in second if _runs(quotes[i], 4) & _runs(quotes[j], 4)]
        last = [(i, j) for i, j in shared if not _runs(quotes[i][:-1], 4) & _runs(quotes[j][:-1], 4)]
        assert not shared or shared != last, (
            "two quotes in different halves share the *last* words of one of them: a text of L words has L - n + 1 runs"
        )
        assert not shared, (
            f"quotes {shared[0][0]} and {shared[0][1]} share four words in a row, and stand in different halves"
        )
        assert min(len(first), len(second)) >= 5, (
            f"the halves hold {len(first)} and {len(second)} quotes; fill the smaller one first, group by group"
        )


EXERCISES = {
    "12.subnet_mask": Exercise(
        "What the subnet drops",
        2,
        8,
        (
            "Everything is decided by the size of the scores. Sort all of them, whatever row they are in.",
            "`argsort` of the flat magnitudes lists the weights from the lowest to the highest. How many of them go?",
            "Start from a flat tensor of ones, set the entries that go to False, and give it the shape of the scores.",
        ),
        check_subnet_mask,
        "By rank and not by a threshold, so that exactly the wanted share is dropped whatever the scores look like.",
    ),
    "12.score_gradient": Exercise(
        "The gradient of a score",
        3,
        10,
        (
            "Go through the drawing from the right to the left. What is the gradient at the product W ⊙ M, a matrix?",
            "At the product it is the sum over tokens of the outer products of g and a. The product rule for one "
            "entry, (W ⊙ M)_ij = W_ij M_ij, gives the gradient at the mask.",
            "What is left is the derivative of the magnitude of a number by the number itself. It is applied "
            "everywhere, whether the weight is kept or not.",
        ),
        check_score_gradient,
        "The hard mask has no gradient of its own. Pretending that it is |score| sends every weight a signal, the "
        "dropped ones as well.",
    ),
    "12.balanced_loss": Exercise(
        "Up on one, down on the other",
        2,
        6,
        (
            "Two means with two shares. Training goes downhill: what should become larger has to enter with a minus.",
            "Share 1 - weight for the clean text, with a plus; share weight for the memorized tokens, with a minus.",
            "The cap belongs to single tokens: apply it before the mean, with `clamp`.",
        ),
        check_balanced_loss,
        "Without a cap the loss of a few tokens would run off to minus infinity, and the model with it.",
    ),
    "12.train_subnet": Exercise(
        "Train a subnet",
        4,
        25,
        (
            "You have nearly all parts: a mask from scores, and the gradient of the scores from inputs and output "
            "gradients. What is missing is the loop and the output gradients of a squared error.",
            "For the mean squared error of outputs y = (W ⊙ M) a against targets, the output gradient is 2 (y - "
            "target) over the number of entries. Add the scores' gradients of both sets, with opposite signs.",
            "Draw the first scores uniformly between 0 and 1, and take a few hundred steps of size 0.1. Compute the "
            "mask anew in each step, and once more at the end.",
        ),
        check_train_subnet,
        "The same matrix holds both kinds of pairs, and yet a fifth of its weights can be chosen whose absence hurts "
        "one kind far more than the other. That is what labels buy.",
    ),
    "12.disjoint_halves": Exercise(
        "Halves that share nothing",
        3,
        20,
        (
            "Make the set of all runs of n words for every quote. Two quotes must stay together if their sets meet.",
            "Being together is passed on: if A meets B and B meets C, all three belong to one group. Build the groups "
            "quote by quote: a new quote joins, and thereby merges, all groups that it meets.",
            "Deal the groups out, the largest first, always to the half that has fewer quotes so far.",
        ),
        check_disjoint_halves,
        "Only now does a fall on the unseen half say that a method reached beyond its list. With shared runs, a part "
        "of the unseen quotes would have been on it.",
    ),
    "12.draws_needed": Exercise(
        "How often must one draw?",
        2,
        8,
        (
            "First the chance that one continuation has all 48 words right: each word counts on the condition that all "
            "before it were right.",
            "Then the chance that none of n continuations is right. When is it one half?",
            "Take logarithms of (1 - p)^n = 1/2, solve for n, and round up.",
        ),
        check_draws_needed,
        "A text that is drawn once in a hundred times is not gone, even if greedy decoding never says it.",
    ),
}
