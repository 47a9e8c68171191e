"""Exercises of chapter 03: a neuron that adds, a whole network of waves, what memorizing costs, purity, the mean over
pairs with one answer, a table without a rule, the directions to keep.
"""

import math

import torch

from kfaclib.toy import grokking as g
from kfcourse import Exercise

THIRDS = tuple(2 * math.pi / 3 * i for i in range(3))


def _numbers(x, shape, name):
    """Whatever holds numbers (tensor, array, list) as a float64 tensor of this shape."""
    try:
        x = torch.as_tensor(x)
    except (TypeError, ValueError, RuntimeError):
        raise AssertionError(f"{name} is a {type(x).__name__}; a tensor is wanted") from None
    assert list(x.shape) == list(shape), f"{name} has shape {list(x.shape)}, not {list(shape)}"
    return x.detach().double()


def _neuron(function, p, k, phase_a, phase_b):
    parts = function(p, k, phase_a, phase_b)
    assert isinstance(parts, (tuple, list)) and len(parts) == 3, "return three vectors: u, v and w"
    return [_numbers(x, [p], name) for name, x in zip("uvw", parts, strict=True)]


def _best(x):
    """(the frequency with the largest power, its share of the power) of a vector, frequency 0 left out."""
    power = torch.fft.rfft(x)[1:].abs() ** 2
    return int(power.argmax()) + 1, (power.max() / power.sum()).item()


def check_wave_neuron(function):
    for p, k, phase_a, phase_b in ((7, 2, 0.3, 1.1), (13, 4, 2.0, -0.7), (11, 5, -1.2, 3.0)):
        u, v, w = _neuron(function, p, k, phase_a, phase_b)
        frequency = min(k, p - k)  # the waves of k and p - k are the same
        for name, x in (("u", u), ("v", v)):
            found, share = _best(x)
            assert share > 0.999, (
                f"{name} is not one wave that fits the clock: perhaps there is no 2 pi / p in its angle. A wave of "
                "frequency k makes k whole turns while the number goes from 0 to p"
            )
            assert found == frequency, f"{name} makes {found} turns while the number goes from 0 to p, not k = {k}"
        found, share = _best(w)
        assert found != min(2 * k % p, -2 * k % p), (
            "w has twice the frequency: the wave in a + b has the frequency k, and only the phases are added"
        )
        assert share > 0.999 and found == frequency, f"w is not a wave of frequency k = {k} in the answer c"
        of_u, of_v, of_w = (torch.fft.rfft(x)[frequency] for x in (u, v, w))
        off = torch.angle(of_w * (of_u * of_v).conj()).item()
        assert abs(off) < 0.01 or abs(torch.angle(of_w).item()) > 0.01, (
            "w has no phase of its own: the product u v contains a wave in a + b, in which the phases add up"
        )
        assert abs(abs(off) - math.pi) > 0.01, "w has the wrong sign: it is lowest where c = a + b"
        assert abs(off) < 0.01, (
            f"w is turned by {off:.2f} radians against the wave in a + b that the square produces: which phase has "
            "the product of u and v?"
        )
    for p, k in ((7, 3), (11, 2)):
        total = torch.zeros(p * p, p, dtype=torch.float64)
        for i in THIRDS:
            for j in THIRDS:
                u, v, w = _neuron(function, p, k, i, j)
                total += g.logits({"U": u[:, None], "V": v[:, None], "W": w[:, None]}, g.all_pairs(p))
        total = total - total.mean(1, keepdim=True)
        away = (torch.arange(p) - g.answers(g.all_pairs(p), p)[:, None]) % p
        of_distance = torch.stack([total[away == d].mean() for d in range(p)])
        assert (total - of_distance[away]).abs().max() < 1e-3 * total.abs().max(), (
            "nine such neurons, with phases a third of a turn apart, should cancel all terms but the one in a + b - c. "
            "Does phase_a move u, and phase_b move v?"
        )


def check_clock_network(function):
    for p in (7, 11, 13):
        params = function(p)
        assert isinstance(params, dict) and set(params) == {"U", "V", "W"}, 'return a dict with "U", "V" and "W"'
        shape = list(getattr(params["U"], "shape", []))
        assert len(shape) == 2 and shape[0] == p, f"U has shape {shape}, not [{p}, width]: one row for each number"
        params = {name: _numbers(x, shape, name) for name, x in params.items()}
        assert shape[1] <= 5 * p, (
            f"{shape[1]} neurons for p = {p} are too many, at most {5 * p} are allowed: a network that learns the "
            "table by heart would need p^2"
        )
        out = g.logits(params, g.all_pairs(p))
        right = g.answers(g.all_pairs(p), p)
        share = (out.argmax(1) == right).double().mean().item()
        assert share == 1, (
            f"for p = {p}, {share:.0%} of the sums are right: do the unwanted terms cancel? For each frequency that "
            "takes all combinations of three phases for a with three phases for b"
        )
        others = out.scatter(1, right[:, None], -math.inf).max(1).values
        centred = out - out.mean(1, keepdim=True)
        height = centred.gather(1, right[:, None])[:, 0]
        margin = (out.gather(1, right[:, None])[:, 0] - others) / height
        assert margin.min() > 0.5, (
            f"for p = {p} all sums are right, but by too little: the right output exceeds the next one by "
            f"{margin.min():.2f} of its height above the mean, and 0.5 is asked for. Which frequencies do you use?"
        )


def check_memory_price(function):
    result = function()
    assert isinstance(result, (tuple, list)) and len(result) == 2, "return two numbers: D, and D / 97^2"
    count, share = (float(x) for x in result)
    waves = 62856 / 218.25 ** (2 / 3)
    right = waves * 4 ** (2 / 3) / 3
    near = lambda x, y: abs(x / y - 1) < 0.02
    assert not near(count, 62856 / 3), (
        "these are the bare squared norms: the two networks have different margins, so scale both to margin 1 first"
    )
    assert not near(count, waves / 3), "the table's margin is 4, not 1: scale it down as well"
    assert not near(count, 62856 / 218.25 / (3 / 4)), (
        "the squared norm was divided by the margin itself: outputs grow with the third power of the weights, and the "
        "squared norm with the second"
    )
    assert near(count, right), (
        f"at D = {count:g} pairs the table costs {3 * count / 4 ** (2 / 3):.0f} and the waves {waves:.0f}; "
        "they should be equal"
    )
    assert near(share, right / 97**2), f"D out of 97^2 pairs is a share of {count / 97**2:.3f}, not {share:g}"


def check_purity(function):
    p = 11
    waves = torch.stack([torch.cos(2 * torch.pi * k / p * torch.arange(p) + 0.4) for k in (1, 3, 5)], 1)
    value = _numbers(function(waves + 2.0), [3], "the result")
    pure = _numbers(function(waves), [3], "the result")
    one = torch.ones(3, dtype=torch.float64)
    assert not torch.allclose(pure, 0 * one, atol=1e-3), (
        "a pure wave has purity 1, yours is 0: is the last step a maximum over frequencies?"
    )
    assert torch.allclose(pure, one, atol=1e-4), (
        "a pure wave has purity 1: is the power squared, the share taken per column (dim=0), and each frequency "
        "counted once (rfft)?"
    )
    assert torch.allclose(value, one, atol=1e-4), (
        "adding a constant to a column changed its purity: leave frequency 0 out"
    )
    mixed = _numbers(function(waves[:, :1] + 0.5 * waves[:, 1:2]), [1], "the result").item()
    assert abs(mixed - 2 / 3) > 1e-3, "these are shares of the amplitude: power is its square"
    assert abs(mixed - 0.8) < 1e-3, f"a wave plus half of another has purity 1 / (1 + 1/4) = .8, yours is {mixed:.3f}"


def check_mean_by_answer(function):
    p, generator = 5, torch.Generator().manual_seed(0)
    pairs = g.all_pairs(p)[torch.randperm(p * p, generator=generator)[:18]]
    outputs = torch.randn(len(pairs), 3, generator=generator, dtype=torch.float64)
    result = _numbers(function(outputs, pairs, p), [p, 3], "the result")
    right = g.group_mean(outputs, pairs, p)
    count = torch.bincount(g.answers(pairs, p), minlength=p)
    close = lambda x: torch.allclose(result, x, atol=1e-6, equal_nan=True)
    assert not close(right * count[:, None]), "these are sums: divide by how many pairs have each answer"
    assert not close(right * count[:, None] / p), (
        "divide by how many of *these* pairs have each answer, not by p: some are not among them"
    )
    without = torch.stack([outputs[pairs.sum(1) == c].mean(0) for c in range(p)])
    assert not close(without), "5 + 3 and 4 + 4 have the answer 3 when p is 5: take the sum modulo p"
    assert close(right), "row c must be the mean of outputs over the pairs with (a + b) mod p = c"


def check_no_rule(function):
    for p in (11, 13):
        table = _numbers(function(p, 0), [p, p], "the table")
        assert torch.equal(table, table.round()) and table.min() >= 0 and table.max() < p, (
            f"the entries are the answers 0 to {p - 1}, whole numbers"
        )
        table = table.long()
        counts = torch.bincount(table.flatten(), minlength=p)
        assert (counts == p).all(), (
            f"each answer occurs {p} times in the addition table, in yours between {int(counts.min())} and "
            f"{int(counts.max())} times: then guessing alone would do better or worse than before"
        )
        for of_a in range(p):
            for of_b in range(p):
                if not of_a and not of_b:
                    continue
                which = (of_a * g.all_pairs(p)[:, 0] + of_b * g.all_pairs(p)[:, 1]) % p
                common = max(torch.bincount(table.flatten()[which == s]).max().item() for s in range(p))
                assert common < 0.8 * p, (
                    "there is still a rule: the pairs that share one sum (or one number) share one answer, under "
                    "whatever name. Such a table can be generalized"
                )
        rows = [len(set(row.tolist())) for row in table] + [len(set(column.tolist())) for column in table.T]
        assert min(rows) < p, (
            "there is still a rule: every row and column holds each answer once, as an addition table does whose "
            "numbers have new names. Every place has to be drawn by itself"
        )
        assert (table == table.T).double().mean() < 0.5, (
            "there is still a rule: a pair has the answer of its mirror image, so half of the table tells the other"
        )
        assert torch.equal(table, _numbers(function(p, 0), [p, p], "the table").long()), (
            "the same seed gave another table: draw with a torch.Generator that has the seed"
        )
        assert not torch.equal(table, _numbers(function(p, 1), [p, p], "the table").long()), (
            "another seed gave the same table"
        )


def check_keep_directions(function):
    generator = torch.Generator().manual_seed(0)
    h = torch.randn(40, 6, generator=generator, dtype=torch.float64) * torch.tensor([3.0, 2.0, 1.0, 0.5, 0.2, 0.1]) + 1
    for mass in (0.5, 0.9, 0.99):
        Q = function(h, mass)
        shape = list(getattr(Q, "shape", []))
        assert len(shape) == 2 and shape[0] == 6, (
            f"a matrix [width, rank] is wanted, yours is {shape}: eigenvectors are columns"
        )
        Q = _numbers(Q, shape, "the result")
        held = lambda q: ((h @ q).square().sum() / h.square().sum()).item()
        values, vectors = torch.linalg.eigh(h.T @ h)
        assert torch.allclose(Q.T @ Q, torch.eye(Q.shape[1], dtype=Q.dtype), atol=1e-6), (
            "the columns are not orthonormal: take eigenvectors"
        )
        centred = torch.linalg.eigh(torch.cov(h.T))[1].flip(1)[:, : Q.shape[1]]
        assert Q.shape[1] == 6 or not torch.allclose(centred @ centred.T, Q @ Q.T, atol=1e-6), (
            "you took the mean off first: the curvature factor A = mean of h h^T is uncentred"
        )
        assert held(Q) >= mass - 1e-6, (
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
        12,
        (
            "A wave with k turns on a clock of p numbers has the angle 2 pi k n / p at the number n.",
            "By (03.2), which wave in a + b comes out of the square, and which phase has it?",
            "Compute the angle once for all numbers, as a vector. u and v add their own phase to it. The phase of w "
            "must be that of the wave in (03.2), since w is compared with it.",
        ),
        check_wave_neuron,
        "The square holds a wave in a + b, and w is the same wave in the answer c. Their product is largest where "
        "c = a + b. All other terms depend on the phases.",
    ),
    "03.clock_network": Exercise(
        "A network of waves",
        3,
        25,
        (
            "Try one frequency first, with all nine combinations of phases. How many of the sums are right for p = 7?",
            "You need a list of neurons for all frequencies and phases; each neuron is one column of U, V and W.",
            "Three loops (frequency, phase of a, phase of b) collect the triples (u, v, w). `torch.stack` with dim 1 "
            "turns the list of all u into U, and so on.",
        ),
        check_clock_network,
        "No training took place, and every sum is right. With fewer frequencies the peak at c = a + b is lower, "
        "because the other waves no longer cancel each other there.",
    ),
    "03.memory_price": Exercise(
        "The price of a table",
        2,
        10,
        (
            "Use (03.4) twice, once for each network. What are the squared norm and the margin of a table of D pairs?",
            "The table's price is proportional to D: three for each pair, over 4 to the power 2/3.",
            "Compute the waves' price as a number, set both equal, and solve for D. The share is D over 97 squared.",
        ),
        check_memory_price,
        "With fewer pairs it is cheaper to write them down, with more it is cheaper to add. Real networks find better "
        "solutions of both kinds than these, so the number is only a rough guide.",
    ),
    "03.purity": Exercise(
        "One frequency or many?",
        2,
        10,
        (
            "`torch.fft.rfft(weight, dim=0)` gives one complex number for each frequency and column.",
            "Power is the squared absolute value. Drop the first row, which belongs to the constant.",
            "What is left has one row for each frequency. For each column you need its largest entry and its sum.",
        ),
        check_purity,
        "A neuron that draws one wave has purity 1, noise has little. It must be taken for each neuron: this network "
        "uses all frequencies, so the average over its neurons would look flat before and after.",
    ),
    "03.mean_by_answer": Exercise(
        "Keep what depends on a + b",
        2,
        10,
        (
            "Pairs with the same answer form a group. You want a mean within every group.",
            "Compute the answer of every pair first. Comparing it with c gives a mask of the rows in group c.",
            "For every c from 0 to p - 1, average the masked rows of outputs, and stack the p results.",
        ),
        check_mean_by_answer,
        "Whatever else depends on a and b is averaged away, and what depends on a + b stays. If the pairs are test "
        "pairs, no training label can be part of it.",
    ),
    "03.no_rule": Exercise(
        "A table without a rule",
        2,
        12,
        (
            "The control should differ in one thing. What has to stay as it is in the addition table?",
            "If only the names of the answers or of the numbers change, there is still a rule to be found.",
            "Take the p x p answers of the addition table as one long list, and put that list in a random order that "
            "depends on the seed.",
        ),
        check_no_rule,
        "The same answers, equally often, in places that nothing predicts: a network can only memorize them.",
    ),
    "03.keep_directions": Exercise(
        "Which directions to keep",
        3,
        15,
        (
            "A is the mean of h h^T, a [width, width] matrix. No mean of h is taken off before.",
            "`torch.linalg.eigh` sorts ascending: turn values and vectors round. How many values does the running sum "
            "need?",
            "Count for how many of the largest eigenvalues the running sum stays below mass times the total. One more "
            "direction crosses the line, and it is kept.",
        ),
        check_keep_directions,
        "The output factor of the squared error is the identity, so every row of W keeps the same directions, and the "
        "edit of chapter 09 becomes a plain cut.",
    ),
}
