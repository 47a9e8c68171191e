"""Exercises of chapter 09: the kept set, the projection, a cut by pencil, the staircase without its pairs, the
predicted cost, how much to keep, a control for the directions, and the price that the logits tell.
"""

import math
import tracemalloc

import torch

from kfcourse import Exercise
from kfcourse.learning.results import Largest, numbers, parts


def _products(seed, rows=7, columns=5):
    generator = torch.Generator().manual_seed(seed)
    draw = lambda n: (-3 * torch.rand(n, generator=generator, dtype=torch.float64)).exp().sort(descending=True)[0]
    return torch.outer(draw(rows), draw(columns))


def _orthogonal(n, generator):
    return torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))[0]


def _layer(seed, rows=5, columns=3):
    generator = torch.Generator().manual_seed(seed)
    W = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    keep = torch.rand(rows, columns, generator=generator) < 0.5
    return W, _orthogonal(rows, generator), _orthogonal(columns, generator), keep


def check_kept_pairs(function):
    for seed in range(4):
        Pi = _products(seed)
        for mass in (0.3, 0.8, 0.97):
            keep = function(Pi, mass)
            assert torch.is_tensor(keep) and keep.dtype == torch.bool, (
                f"a boolean mask is wanted, not {getattr(keep, 'dtype', type(keep).__name__)}"
            )
            assert keep.shape == Pi.shape, f"the mask has shape {list(keep.shape)}, but Pi has {list(Pi.shape)}"
            held, goal = Pi[keep].sum().item(), mass * Pi.sum().item()
            if keep.any() and (~keep).any():
                assert Pi[keep].min() >= Pi[~keep].max(), (
                    "a kept pair has less curvature than a dropped one: take them from the largest down"
                )
            assert held >= goal * (1 - 1e-9), (
                f"the kept pairs hold {held / Pi.sum():.3f} of the mass, less than {mass}: "
                "one more pair is needed (the one that crosses the line)"
            )
            assert held - Pi[keep].min().item() < goal, (
                f"the set is not the smallest: without its last pair it still holds {mass} of the mass"
            )
    assert function(_products(0), 1.0).all(), (
        "mass 1 keeps every pair; yours drops some: mind the rounding of the last sums"
    )
    tied = function(torch.ones(2, 3, dtype=torch.float64), 0.5)
    assert tied.tolist() == [[True, True, True], [False, False, False]], (
        "equal entries are taken row by row: sort with stable=True"
    )


def check_projected(function):
    W, Q_G, Q_A, keep = _layer(0)
    everything = function(W, Q_G, Q_A, torch.ones_like(keep))
    assert everything.shape == W.shape, f"the result has shape {list(everything.shape)}, but W has {list(W.shape)}"
    assert torch.allclose(everything, W), (
        "with every pair kept you must get W back: is one of the bases transposed the wrong way round?"
    )
    assert function(W, Q_G, Q_A, torch.zeros_like(keep)).abs().max() < 1e-9, (
        "with nothing kept the weight must be zero: is the mask applied?"
    )
    result = function(W, Q_G, Q_A, keep)
    swapped = Q_G.T @ ((Q_G @ W @ Q_A.T) * keep) @ Q_A
    assert not torch.allclose(result, swapped), (
        "the bases are transposed the wrong way round: eigenvectors are columns, so coordinates are Q_G^T W Q_A"
    )
    C = Q_G.T @ result @ Q_A
    assert torch.allclose(C[~keep], torch.zeros(int((~keep).sum()), dtype=C.dtype), atol=1e-9), (
        "a dropped coefficient is not zero in the eigenbasis: mask Q_G^T W Q_A, not W"
    )
    assert torch.allclose(C[keep], (Q_G.T @ W @ Q_A)[keep]), (
        "a kept coefficient changed: the mask multiplies, nothing is rescaled"
    )
    assert torch.equal(W, _layer(0)[0]), "W itself was changed: return a new tensor"


def check_predicted_cost(function):
    generator = torch.Generator().manual_seed(1)
    C, Pi = torch.randn(7, 5, generator=generator, dtype=torch.float64), _products(1)
    keep = Pi > Pi.median()
    assert function(C, Pi, torch.ones_like(keep)) == 0, (
        "nothing is dropped, so nothing can cost: sum over the pairs that are *not* kept"
    )
    dropped = ~keep
    right = 0.5 * (Pi[dropped] * C[dropped] ** 2).sum().item()
    value = float(function(C, Pi, keep))
    assert not math.isclose(value, 2 * right, rel_tol=1e-6), (
        "twice too much: the second-order term carries a factor 1/2"
    )
    kept = 0.5 * (Pi[keep] * C[keep] ** 2).sum().item()
    assert not math.isclose(value, kept, rel_tol=1e-6), "this is the cost of what stays: sum over ~keep"
    assert not math.isclose(value, 0.5 * (Pi[dropped] * C[dropped].abs()).sum().item(), rel_tol=1e-6), (
        "the cost is quadratic: square the coefficients"
    )
    assert not math.isclose(value, 0.5 * (C[dropped] ** 2).sum().item(), rel_tol=1e-6), (
        "every direction costs the same here: weight each square by its curvature Pi"
    )
    assert math.isclose(value, right, rel_tol=1e-6), f"the cost should be {right:.4f} here, yours is {value:.4f}"


def check_find_strength(function):
    for goal in (0.2, 0.9, 0.999):
        asked = []

        def score(strength):
            asked.append(strength)
            return strength

        found = function(score, goal, 14)
        assert isinstance(found, float), f"a float is wanted, not {type(found).__name__}"
        assert all(0 < s < 1 for s in asked), (
            f"score was asked at {next(s for s in asked if not 0 < s < 1)}: the strength is 1 - exp(-x), between 0 "
            "and 1"
        )
        assert len(asked) <= 16, (
            f"score was called {len(asked)} times for 14 steps: each call is a whole evaluation, so one per step"
        )
        assert abs(asked[0] - (1 - math.exp(-6))) < 1e-6, (
            "the first midpoint is x = 6, strength 1 - exp(-6): halve x, not the strength"
        )
        assert abs(found - goal) < 2e-3, (
            f"for a score equal to the strength and target {goal} the answer is {goal}, yours is {found:.4f}: "
            "where the score is below the target, keep more (raise the lower end)"
        )
    few = function(lambda s: s, 0.5, 1)
    assert abs(few - (1 - math.exp(-6))) < 1e-6, (
        "with one step the answer is the first midpoint: use the argument `steps`"
    )


def check_by_hand(function):
    W, price = parts(function(), 2, "the edited weight [2, 2], and its price")
    W, price = numbers(W, [2, 2], "the edited weight"), numbers(price, [], "the price").item()
    is_ = lambda values: torch.allclose(W, torch.tensor(values, dtype=torch.float64), atol=1e-3)
    assert not is_([[3, 0], [2, 0]]), "this drops entries of W itself: rotate into the eigenvectors first"
    root = 2**0.5
    assert not is_([[4 / root, 0], [6 / root, 0]]), (
        "these are the kept coefficients, still in the eigenvectors: the way back to W's own coordinates is missing"
    )
    assert not is_([[2, 2], [0, 0]]), (
        "only the sharpest pair is kept here. It holds less than three quarters of the mass: one more pair is needed"
    )
    assert not is_([[3, 1], [3, 3]]), "three pairs are kept here; two hold enough already"
    assert not is_([[3, 1], [0, 0]]), (
        "a whole row of pairs is kept here: which pair has the second largest product of eigenvalues?"
    )
    assert not is_([[1, -1], [-1, 1]]), "this is the part that is dropped: return the part that is kept"
    assert is_([[2, 2], [3, 3]]), (
        "this is not the edited weight. Write W in the eigenvectors, set the coefficients of the flatter pairs to "
        "zero, and rotate back"
    )
    assert not math.isclose(price, 16, abs_tol=1e-3), "the weight is right; in the price the factor 1/2 is missing"
    assert not math.isclose(price, 8 * 24 / 2 + 18 * 8 / 2, abs_tol=1e-3), (
        "the weight is right; this price is that of the kept pairs: sum over what is dropped"
    )
    assert not math.isclose(price, 2, abs_tol=1e-3), (
        "the weight is right; in the price every square is to be multiplied by its pair's curvature"
    )
    assert math.isclose(price, 8, abs_tol=1e-3), (
        "the weight is right, the price is not: half the sum, over the dropped pairs, of curvature times coefficient "
        "squared"
    )


def _spectrum(seed, n, decay):
    generator = torch.Generator().manual_seed(seed)
    return (-decay * torch.rand(n, generator=generator, dtype=torch.float64)).exp().sort(descending=True)[0]


def check_stairs(function):
    for seed, (rows, columns, decay) in enumerate(((4, 3, 2.0), (7, 11, 4.0), (60, 40, 9.0), (40, 60, 16.0))):
        G, A = _spectrum(seed, rows, decay), _spectrum(seed + 10, columns, decay)
        Pi = torch.outer(G, A)
        for mass in (0.3, 0.9, 0.999):
            prefix = numbers(function(G, A, mass), [rows], "the staircase")
            assert torch.equal(prefix, prefix.round()) and prefix.min() >= 0 and prefix.max() <= columns, (
                f"each row keeps a whole number of pairs from 0 to {columns}; yours are "
                f"{prefix.min().item():g} to {prefix.max().item():g}"
            )
            assert (prefix.diff() <= 0).all(), (
                "a row keeps more pairs than a sharper row above it: that is no staircase. Which inputs pass the "
                "threshold in a row depends on the row's own eigenvalue"
            )
            keep = torch.arange(columns)[None, :] < prefix[:, None]
            held, goal = Pi[keep].sum().item(), mass * Pi.sum().item()
            assert held >= goal * (1 - 1e-9), (
                f"the staircase holds {held / Pi.sum().item():.4f} of the mass, less than {mass}: the threshold ends "
                "on the wrong side, where the mass is not reached yet, or the search stops too early"
            )
            if keep.any() and (~keep).any():
                assert Pi[keep].min() >= Pi[~keep].max() * (1 - 1e-9), (
                    "a kept pair is flatter than a dropped one: one threshold for the products decides in all rows"
                )
            assert held - Pi[keep].min().item() < goal * (1 + 1e-9), (
                f"the staircase is not the smallest one: without its flattest pair it still holds {mass} of the mass"
            )
    rows = columns = 300
    G, A = _spectrum(5, rows, 9.0), _spectrum(6, columns, 9.0)
    with Largest():  # what is only imported now does not count
        function(G, A, 0.9)
    tracemalloc.start()
    try:
        with Largest(G, A) as largest:
            function(G, A, 0.9)
        elsewhere = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert largest.entries < rows * columns / 4 and elsewhere < 4 * rows * columns, (
        "the staircase is right, but on the way all pairs were listed. A real layer has millions: ask each row how "
        "many of its inputs pass the threshold, and get their mass from sums of lambda_A that you have added up before"
    )


def _operator(function, keep, seed):
    """The matrix of W -> function(W, keep, generator) with that seed, [O I, O I] over entries row by row."""
    O, I = keep.shape
    columns = []
    for k in range(O * I):
        W = torch.zeros(O * I, dtype=torch.float64)
        W[k] = 1
        result = function(W.view(O, I), keep, torch.Generator().manual_seed(seed))
        columns.append(numbers(result, [O, I], "the control's weight").flatten())
    return torch.stack(columns, 1)


def check_control(function):
    prefix = torch.tensor([3, 2, 2, 0])
    keep = torch.arange(3)[None, :] < prefix[:, None]
    O, I, kept = 4, 3, int(prefix.sum())
    W = torch.randn(O, I, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    untouched, mask = W.clone(), keep.clone()
    function(W, keep, torch.Generator().manual_seed(0))
    assert torch.equal(W, untouched) and torch.equal(keep, mask), (
        "the function changes its arguments: return a new weight"
    )
    P = _operator(function, keep, 0)
    result = numbers(function(W, keep, torch.Generator().manual_seed(0)), [O, I], "the control's weight")
    assert torch.allclose(P @ W.flatten(), result.flatten(), atol=1e-8), (
        "what the control does is not the same for every weight: its directions may not depend on W, nor on anything "
        "but the generator"
    )
    assert not torch.allclose(P, torch.eye(O * I, dtype=torch.float64), atol=1e-8), "nothing is dropped"
    diagonal = P.diagonal()
    assert (P - torch.diag(diagonal)).abs().max() > 1e-8, (
        "this sets single entries of W to zero. That is a control too, but of another question: the edit works in "
        "directions that mix entries, and so must its control"
    )
    again = _operator(function, keep, 1)
    assert not torch.allclose(P, again, atol=1e-6), (
        "two generators give the same control: draw the directions from `generator`, so that they have nothing to do "
        "with the model"
    )
    assert torch.allclose(P @ P, P, atol=1e-8), (
        "making the cut twice changes the weight twice. K-FAC's edit is a projection, because its directions are at "
        "right angles and of length one; random numbers alone are neither"
    )
    assert torch.allclose(P, P.T, atol=1e-8), (
        "the way back does not belong to the way there: rotate back with the same orthogonal matrices"
    )
    assert abs(P.trace().item() - kept) < 1e-6, (
        f"{P.trace().item():.0f} directions are kept and {kept} should be: a control that drops more, or less, than "
        "the edit compares two things at once"
    )
    table = P.view(O, I, O, I)
    by_row = torch.linalg.eigvalsh(torch.einsum("ijkj->ik", table)).flip(0)
    by_column = torch.linalg.eigvalsh(torch.einsum("ijil->jl", table)).flip(0)
    assert torch.allclose(by_row, keep.sum(1).sort(descending=True)[0].double(), atol=1e-6) and torch.allclose(
        by_column, keep.sum(0).sort(descending=True)[0].double(), atol=1e-6
    ), (
        "as many directions are kept as in the edit, but not in a cut of the same shape: take random output directions "
        "and random input directions, and keep the same pairs of them"
    )


def check_price_of_change(function):
    generator = torch.Generator().manual_seed(2)
    p = torch.softmax(2 * torch.randn(6, 5, generator=generator, dtype=torch.float64), -1)
    dz = torch.randn(6, 5, generator=generator, dtype=torch.float64)
    mean = (p * dz).sum(-1)
    variance = (p * dz**2).sum(-1) - mean**2
    value, right = numbers(function(p, dz), [], "the price").item(), 0.5 * variance.mean().item()
    close = lambda x: math.isclose(value, x, rel_tol=1e-6)
    assert not close(2 * right), "twice too much: the second-order term carries a factor 1/2"
    assert not close(right * 6), "this is the sum over the tokens: the price is in nats a token"
    assert not close(0.5 * (p * dz**2).sum(-1).mean().item()), (
        "a change that is the same for all words moves no probability, and yet here it costs: subtract the mean of the "
        "change, under p, before squaring"
    )
    assert not any(close(0.5 * dz.var(-1, correction=c).mean().item()) for c in (0, 1)), (
        "every word counts the same here: the variance is taken under the model's probabilities p"
    )
    assert not close(0.5 * (p * dz**2).sum(-1).mean().item() - 0.5 * mean.mean().item() ** 2), (
        "one mean was taken over all tokens: every token has its own distribution, and its own mean"
    )
    assert close(right), f"the price should be {right:.4f} here, yours is {value:.4f}"
    shifted = numbers(function(p, dz + 3), [], "the price").item()
    assert math.isclose(shifted, right, rel_tol=1e-6), (
        "the price changes when the same number is added to all logits of a token, although no probability does"
    )


EXERCISES = {
    "09.kept_pairs": Exercise(
        "The kept set",
        2,
        8,
        (
            "You did it by hand above: sort, add up, count. The mask has the shape of `Pi`, so flatten first and "
            "reshape last.",
            "A pair is kept if the sum of all pairs *before* it in the order has not yet reached the goal.",
            "`argsort(descending=True, stable=True)` gives the order. The sum before a pair is the cumulative sum up "
            "to it, without the pair itself. At mass 1 rounding may lose the last pair: make the goal smaller by a "
            "factor of 1 - 1e-12.",
        ),
        check_kept_pairs,
        "The comparison is made with the sum *before* each pair, so the pair that crosses the line is in, and no "
        "smaller set would do.",
    ),
    "09.projected": Exercise(
        "The projection",
        2,
        6,
        (
            "Three steps: into the eigenvectors, cut, back.",
            "Eigenvectors are columns, so the coordinates of a vector x are `Q.T @ x`. A matrix has two sides.",
            "A rotation is undone by its transpose, on each side by its own.",
        ),
        check_projected,
        "The two rotations are orthogonal, so this really is a projection: doing it twice changes nothing, and no "
        "kept coefficient moves.",
    ),
    "09.by_hand": Exercise(
        "A cut with pencil",
        2,
        10,
        (
            "The eigenvectors of A are (1, 1) and (1, -1), divided by the root of 2; those of G are the two axes.",
            "C has a row for each output and a column for each eigenvector of A: multiply W by the two eigenvectors.",
            "Write the four products of eigenvalues into a table of the same shape as C, and add them up from the "
            "largest down until you have three quarters of their sum.",
        ),
        check_by_hand,
        "Both rows keep only their mean: the layer no longer sees the difference of its two inputs, which is the "
        "direction in which inputs vary least.",
    ),
    "09.stairs": Exercise(
        "The staircase without its pairs",
        4,
        25,
        (
            "Guess a threshold t for the products. In row i the inputs with lambda_A[j] >= t / lambda_G[i] pass, and "
            "because lambda_A is sorted they are the first ones.",
            "The mass of row i is lambda_G[i] times the sum of its first inputs. One cumulative sum of lambda_A, "
            "with a zero in front, serves all rows and all thresholds.",
            "`torch.searchsorted` wants ascending numbers: search among -lambda_A. Bisect t between 0, where "
            "everything passes, and a number above the largest product; go on until the two ends hardly differ, and "
            "answer for the lower one.",
        ),
        check_stairs,
        "A threshold costs one search for each row, so a layer with millions of pairs is done in milliseconds, and "
        "no list of pairs is ever made.",
    ),
    "09.predicted_cost": Exercise(
        "What should it cost?",
        3,
        10,
        (
            "Dropping a coefficient moves the weight by exactly that coefficient.",
            "In the eigenvectors the quadratic form has no cross terms: every dropped pair pays for itself.",
            "Square the coefficients outside `keep`, weight each square by its curvature, add up, halve. `.item()` "
            "makes a float.",
        ),
        check_predicted_cost,
        "It is a second-order bill for the average text in the sample. It says nothing about texts whose directions "
        "the average does not know.",
    ),
    "09.find_strength": Exercise(
        "How much to keep",
        3,
        15,
        (
            "It is ordinary bisection, on x instead of on the strength, because everything interesting happens close "
            "to strength 1.",
            "If the score at the midpoint is below the target, too little is kept: continue in the upper half.",
            "Keep two ends, `low` and `high`, of x. In each step ask `score` once, at the midpoint's strength, and "
            "move one end there; the answer is the strength that was asked about last.",
        ),
        check_find_strength,
        "The scale is logarithmic in what is dropped, so masses like 0.9 and 0.999 are equally easy to reach.",
    ),
    "09.control": Exercise(
        "As many, in other directions",
        3,
        15,
        (
            "List what K-FAC's edit does: two rotations, a staircase of pairs, the way back. Which of these would you "
            "change, if the question is whether the directions matter?",
            "The columns of a random square matrix are not at right angles. A QR decomposition makes an orthogonal "
            "matrix from it.",
            "You need one orthogonal matrix for the outputs and one for the inputs, both drawn with `generator`. The "
            "rest of the edit is Exercise 09.2.",
        ),
        check_control,
        "Everything is as in the edit but the directions. What the two differ in is due to them.",
    ),
    "09.price_of_change": Exercise(
        "The price in the logits",
        2,
        8,
        (
            "For one token: the logits of all words change by dz. How much does that change vary over the words?",
            "A variance is the mean of the square minus the square of the mean. Both means are taken under p.",
            "Sum over the last axis with the weights p, first of the squares, then of the changes themselves; one "
            "number for each token, and at the end half their mean.",
        ),
        check_price_of_change,
        "Nothing was factorised and no label was drawn: this is the quadratic form itself, for all layers at once.",
    ),
}
