"""Exercises of chapter 09: the kept set, the projection, its predicted cost, and how much to keep."""

import math

import torch

from kfcourse import Exercise


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
    assert not function(W, Q_G, Q_A, torch.zeros_like(keep)).any(), (
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


EXERCISES = {
    "09.kept_pairs": Exercise(
        "The kept set",
        2,
        8,
        (
            "You did it by hand above: sort, add up, count. The mask has the shape of `Pi`, so flatten first and "
            "reshape last.",
            "A pair is kept if the sum of all pairs *before* it in the order has not yet reached the goal.",
            "`order = values.argsort(descending=True, stable=True)`, then `values[order].cumsum(0) - values[order] < "
            "mass * values.sum()`. "
            "At mass 1 rounding may lose the last pair: make the goal smaller by a factor 1 - 1e-12.",
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
            "Three steps: into the eigenbasis, mask, back.",
            "Eigenvectors are columns, so coordinates are `Q.T @ x`. For a matrix that happens on both sides.",
            "`C = Q_G.T @ W @ Q_A`; the way back is `Q_G @ (...) @ Q_A.T`.",
        ),
        check_projected,
        "The two rotations are orthogonal, so this really is a projection: doing it twice changes nothing, and no "
        "kept coefficient moves.",
    ),
    "09.predicted_cost": Exercise(
        "What should it cost?",
        3,
        10,
        (
            "Dropping a coefficient moves the weight by exactly that coefficient.",
            "In the eigenbasis the quadratic form has no cross terms: every dropped pair pays for itself.",
            "`0.5 * (Pi * (C * ~keep) ** 2).sum()`, as a Python float with `.item()`.",
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
            "`x = (low + high) / 2; s = 1 - math.exp(-x)`; then `low = x` if `score(s) < target` else `high = x`; "
            "return the last s.",
        ),
        check_find_strength,
        "The scale is logarithmic in what is dropped, so masses like 0.9 and 0.999 are equally easy to reach.",
    ),
}
