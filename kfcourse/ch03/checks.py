"""Exercises of chapter 03: a neuron that adds, purity, the mean over pairs with one answer, effective rank, the
directions to keep."""

import math

import torch

from kfaclib.toy import grokking as g
from kfcourse import Exercise


def _shape(x, shape, name):
    assert torch.is_tensor(x), f"{name} is a {type(x).__name__}; a tensor is wanted"
    assert list(x.shape) == list(shape), f"{name} has shape {list(x.shape)}, not {list(shape)}"


def check_wave_neuron(function):
    p = 7
    parts = function(p, 2, 0.3, 1.1)
    assert isinstance(parts, tuple) and len(parts) == 3, "return three vectors: u, v and w"
    for name, x in zip("uvw", parts):
        _shape(x, [p], name)
    n = torch.arange(p, dtype=torch.float64)
    angle = 2 * math.pi * 2 / p * n
    close = lambda x, y: torch.allclose(x.double(), y, atol=1e-5)
    u, v, w = parts
    assert not close(u, torch.cos(2 * n + 0.3)), (
        "the angle has no 2 pi / p: a wave of frequency k makes k turns while the number goes from 0 to p"
    )
    assert not close(u, torch.cos(angle)), "u has no phase: add phase_a inside the cosine"
    assert close(u, torch.cos(angle + 0.3)), "u is not cos(2 pi k a / p + phase_a)"
    assert close(v, torch.cos(angle + 1.1)), "v is not cos(2 pi k b / p + phase_b): the same wave with the other phase"
    assert not close(w, torch.cos(angle)), (
        "w answers without the phases: cos x cos y contains cos(x + y), so the phases add up"
    )
    assert not close(w, torch.cos(2 * angle + 1.4)), (
        "w has twice the frequency: the wave in a + b has the same frequency k, only the phases add"
    )
    assert close(w, torch.cos(angle + 1.4)), "w is not cos(2 pi k c / p + phase_a + phase_b)"


def check_purity(function):
    p = 11
    waves = torch.stack([torch.cos(2 * torch.pi * k / p * torch.arange(p) + 0.4) for k in (1, 3, 5)], 1)
    value = function(waves + 2.0)
    _shape(value, [3], "the result")
    assert not torch.allclose(function(waves), torch.zeros(3), atol=1e-3), (
        "a pure wave has purity 1, yours is 0: is the last step a maximum over frequencies?"
    )
    assert torch.allclose(function(waves), torch.ones(3), atol=1e-4), (
        "a pure wave has purity 1: is the power squared, the share taken per column (dim=0), and each frequency "
        "counted once (rfft)?"
    )
    assert torch.allclose(value, torch.ones(3), atol=1e-4), (
        "adding a constant to a column changed its purity: leave frequency 0 out"
    )
    mixed = waves[:, :1] + 0.5 * waves[:, 1:2]
    assert not torch.allclose(function(mixed), torch.full((1,), 2 / 3), atol=1e-3), (
        "these are shares of the amplitude: power is its square"
    )
    assert torch.allclose(function(mixed), torch.full((1,), 0.8), atol=1e-3), (
        f"a wave plus half of another has purity 1 / (1 + 1/4) = .8, yours is {function(mixed).tolist()}"
    )


def check_mean_by_answer(function):
    p, generator = 5, torch.Generator().manual_seed(0)
    pairs = g.all_pairs(p)[torch.randperm(p * p, generator=generator)[:18]]
    outputs = torch.randn(len(pairs), 3, generator=generator, dtype=torch.float64)
    result = function(outputs, pairs, p)
    _shape(result, [p, 3], "the result")
    right = g.group_mean(outputs, pairs, p)
    count = torch.bincount(g.answers(pairs, p), minlength=p)
    assert not torch.allclose(result, right * count[:, None]), (
        "these are sums: divide by how many pairs have each answer"
    )
    assert not torch.allclose(result, right * count[:, None] / p), (
        "divide by how many of *these* pairs have each answer, not by p: some are not among them"
    )
    without = torch.stack([outputs[pairs.sum(1) == c].mean(0) for c in range(p)])
    assert not torch.allclose(result, without, equal_nan=True), (
        "5 + 3 and 4 + 4 have the answer 3 when p is 5: take the sum modulo p"
    )
    assert torch.allclose(result, right), "row c must be the mean of outputs over the pairs with (a + b) mod p = c"


def check_effective_rank(function):
    scaled = float(function(torch.eye(3))), float(function(5 * torch.eye(3)))
    assert math.isclose(*scaled, rel_tol=1e-5), (
        "multiplying the matrix by a number must not change its effective rank: is the trace squared?"
    )
    assert math.isclose(float(function(torch.eye(6))), 6, rel_tol=1e-5), (
        f"the identity of size 6 has effective rank 6, yours is {float(function(torch.eye(6))):.3g}"
    )
    single = torch.outer(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0]))
    assert math.isclose(float(function(single)), 1, rel_tol=1e-5), (
        f"a matrix of rank 1 has effective rank 1, yours is {float(function(single)):.3g}: the trace is squared, and "
        "||G||^2 sums the squares of all entries"
    )
    uneven = torch.diag(torch.tensor([4.0, 2.0, 1.0, 1.0]))
    assert math.isclose(float(function(uneven)), 64 / 22, rel_tol=1e-4), (
        f"eigenvalues 4, 2, 1, 1 give (4+2+1+1)^2 / (16+4+1+1) = 2.91, yours is {float(function(uneven)):.3g}"
    )


def check_keep_directions(function):
    generator = torch.Generator().manual_seed(0)
    h = torch.randn(40, 6, generator=generator, dtype=torch.float64) * torch.tensor([3.0, 2.0, 1.0, 0.5, 0.2, 0.1]) + 1
    for mass in (0.5, 0.9, 0.99):
        Q = function(h, mass)
        assert torch.is_tensor(Q) and Q.ndim == 2 and len(Q) == 6, (
            f"a matrix [width, rank] is wanted, yours is {list(getattr(Q, 'shape', []))}: eigenvectors are columns"
        )
        held = lambda q: ((h @ q).square().sum() / h.square().sum()).item()
        values, vectors = torch.linalg.eigh(h.T @ h)
        assert torch.allclose(Q.T @ Q, torch.eye(Q.shape[1], dtype=Q.dtype), atol=1e-8), (
            "the columns are not orthonormal: take eigenvectors"
        )
        centred = torch.linalg.eigh(torch.cov(h.T))[1].flip(1)[:, : Q.shape[1]]
        assert Q.shape[1] == 6 or not torch.allclose(centred @ centred.T, Q @ Q.T, atol=1e-6), (
            "you took the mean off first: the curvature factor A = mean of h h^T is uncentred"
        )
        assert held(Q) >= mass - 1e-9, (
            f"the directions hold {held(Q):.3f} of the mass, less than {mass}: are they the largest (eigh sorts "
            "ascending), and is the one that crosses the line kept?"
        )
        assert Q.shape[1] == 1 or held(vectors.flip(1)[:, : Q.shape[1] - 1]) < mass, (
            f"{Q.shape[1]} directions are more than needed for {mass} of the mass: take the largest eigenvalues, and "
            "compare their running sum with mass times the total"
        )


EXERCISES = {
    "03.wave_neuron": Exercise(
        "A neuron that adds",
        3,
        15,
        (
            "Expand $(\\cos x + \\cos y)^2$. Which term knows about $x + y$?",
            "$2\\cos x\\cos y = \\cos(x+y) + \\cos(x-y)$. With $x = 2\\pi k a/p + \\varphi_a$ and $y = 2\\pi k b/p + "
            "\\varphi_b$, what is $x + y$?",
            "`angle = 2 * torch.pi * k / p * torch.arange(p)`; u is `torch.cos(angle + phase_a)`, v the same with "
            "`phase_b`; "
            "in w both phases are added.",
        ),
        check_wave_neuron,
        "The product of two waves is a wave in $a + b$. The read-out w is the same wave in the answer c, so that "
        "$\\cos(x+y)\\cos z$ is largest where $c = a + b$. All other terms depend on the phases and cancel between "
        "neurons.",
    ),
    "03.purity": Exercise(
        "One frequency or many?",
        2,
        10,
        (
            "`torch.fft.rfft(weight, dim=0)` gives one complex number per frequency and column.",
            "Power is the squared absolute value. Drop the first row: it is the constant.",
            "`spectrum = torch.fft.rfft(weight, dim=0)[1:].abs() ** 2`, then the largest entry of each column over the "
            "column's sum.",
        ),
        check_purity,
        "A neuron that draws one wave has purity 1, noise has little. It must be taken per neuron: this network uses "
        "all frequencies, "
        "so the average spectrum over its neurons is flat before and after.",
    ),
    "03.mean_by_answer": Exercise(
        "Keep only what depends on a + b",
        2,
        10,
        (
            "Pairs with one answer form a group. You want a mean within every group.",
            "`(pairs.sum(1) % p) == c` picks the pairs of answer c.",
            "Stack `outputs[answers == c].mean(0)` over all c in `range(p)`.",
        ),
        check_mean_by_answer,
        "Whatever depends on a and b otherwise is averaged away; what depends on a + b alone stays. On the whole table "
        "this is a projection, "
        "and on test pairs no training label can be part of it.",
    ),
    "03.effective_rank": Exercise(
        "How many directions carry the curvature?",
        1,
        5,
        (
            "For equal eigenvalues the answer must be how many there are.",
            "The trace is the sum of the eigenvalues, the squared Frobenius norm the sum of their squares.",
            "`G.trace() ** 2 / G.square().sum()`",
        ),
        check_effective_rank,
        "It is 1 for a single direction and n for n equal ones, and it does not care about the scale. That is what "
        "makes it comparable "
        "between networks whose weights have different sizes.",
    ),
    "03.keep_directions": Exercise(
        "Which directions to keep",
        3,
        15,
        (
            "A = mean of h h^T, and its eigenvectors. No mean is taken off.",
            "`torch.linalg.eigh` sorts ascending: turn values and vectors round. How many values does the running sum "
            "need?",
            "`count = int((values.cumsum(0) < mass * values.sum()).sum()) + 1`, then the first `count` columns.",
        ),
        check_keep_directions,
        "The output factor of the squared error is the identity, so every row of W keeps the same directions, and the "
        "staircase of chapter "
        "9 becomes a plain cut. The direction that crosses the line is kept.",
    ),
}
