"""Exercises of chapter 13: energy in flat directions, what it is for ordinary text, how a detector is judged, a
detector made of a hook, and a comparison of tokens of which the model is equally sure.
"""

import torch

from kfcourse import Exercise
from kfcourse.learning.results import numbers, parts


def _orthogonal(generator, n):
    return torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))[0]


def check_energy_in_flat_directions(function):
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        Q_A = _orthogonal(generator, 10)
        x = torch.randn(7, 10, generator=generator, dtype=torch.float64) * torch.linspace(0.5, 3, 7)[:, None].double()
        for share in (0.6, 0.3):
            flat = round(share * 10)
            found = numbers(function(x.clone(), Q_A.clone(), share), [7], "the result, one number for each input,")
            energy = (x @ Q_A).square()
            total = energy.sum(1)
            close = lambda other: torch.allclose(found, other, atol=1e-6)
            if close(energy[:, -flat:].sum(1) / total):
                continue
            assert not close(energy[:, -flat:].sum(1)), (
                "this is the energy itself; a share is divided by the whole, ||x||^2"
            )
            assert not close(energy[:, :flat].sum(1) / total), (
                "these are the sharpest directions: eigenvectors come sorted, the sharpest first, so the flat ones "
                "are the last columns"
            )
            rows = (x @ Q_A.T).square()
            assert not close(rows[:, -flat:].sum(1) / total), (
                "eigenvectors are the columns of Q_A, and you took its rows"
            )
            absolute = (x @ Q_A).abs()
            assert not close(absolute[:, -flat:].sum(1) / absolute.sum(1)), (
                "energy is the square of a coordinate, not its absolute value"
            )
            assert not close(energy[:, -flat:].sum(1) / energy.sum()), (
                "every input has a squared length of its own: divide each by its own, not by that of all together"
            )
            raise AssertionError(
                "the shares are other ones: take the squares of all coordinates, and then the part of the flat ones"
            )


def check_expected_share(function):
    ordinary, stray = parts(function(), 2, "the share in A's eigenvectors, and the share in a random basis")
    ordinary, stray = float(ordinary), float(stray)
    assert abs(ordinary - 0.75) > 1e-6, "that is the share of the sharp directions; the flat ones are asked for"
    assert abs(ordinary - 4) > 1e-6, "that is energy; divide by the trace to make it a share"
    assert abs(ordinary - 0.6) > 1e-6, (
        "0.6 is how many of the directions are flat; how much energy ordinary inputs have there is up to the "
        "eigenvalues"
    )
    assert abs(ordinary - 0.125) > 1e-6, "three of the five directions are flat: the eigenvalues 2, 1 and 1"
    assert abs(ordinary - 0.25) < 1e-6, (
        f"{ordinary:g} is not the share in A's eigenvectors: use (13.3) with the three smallest eigenvalues"
    )
    assert abs(stray - 0.25) > 1e-6, (
        "a random basis knows nothing of A: which eigenvalue would its last three columns have?"
    )
    assert abs(stray - 0.6) < 1e-6, (
        f"{stray:g} is not the share in a random basis: on average all its columns hold equally much, so count them"
    )


def _scored(seed):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(low, 7, (count,), generator=generator).double() for low, count in ((2, 9), (0, 14))]


def _area(positive, negative):
    above, ties = positive[:, None] > negative, positive[:, None] == negative
    return (above.double() + ties.double() / 2).mean().item()


def check_area(function):
    for seed in range(3):
        positive, negative = _scored(seed)
        found = float(numbers(function(positive.clone(), negative.clone()), [], "the area"))
        right, ties = _area(positive, negative), (positive[:, None] == negative).double().mean().item()
        close = lambda other: abs(found - other) < 1e-6
        if close(right):
            continue
        assert not close(1 - right), "this is the chance that a negative has the larger score"
        assert not close(right - ties / 2), "a pair with equal scores counts one half, and yours counts nothing"
        assert not close(right + ties / 2), "a pair with equal scores counts one half, and yours counts a whole"
        assert 0 <= found <= 1, f"a chance lies between 0 and 1; yours is {found:.3g}: divide by the number of pairs"
        raise AssertionError("compare *every* positive with *every* negative, and take the mean over all these pairs")


class _Reader(torch.nn.Module):
    """A tiny causal model: each place sees a running mean of embeddings; `up` is square, as wide out as in."""

    def __init__(self, seed, width=8, words=20):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        draw = lambda *shape: torch.nn.Parameter(torch.randn(*shape, generator=generator, dtype=torch.float64))
        self.embed, self.head = draw(words, width), draw(words, width)
        self.up = torch.nn.Linear(width, width, bias=False, dtype=torch.float64)
        self.up.weight = draw(width, width)
        self.calls, self.fail = [], False

    def forward(self, input_ids=None, **_):
        self.calls.append(tuple(input_ids.shape))
        x = self.embed[input_ids]
        x = x.cumsum(1) / torch.arange(1, x.shape[1] + 1, dtype=x.dtype)[:, None]
        hidden = self.up(x)
        if self.fail:
            raise RuntimeError("out of memory, say")
        return hidden.relu() @ self.head.T


def _watched(seed):
    model = _Reader(seed)
    generator = torch.Generator().manual_seed(seed + 50)
    ids = torch.randint(0, 20, (5, 11), generator=generator)
    return model, _orthogonal(generator, 8), ids


def _energies(model, Q, ids, share=0.5):
    """Flat energy of the inputs of `up` at every place, [N, S]."""
    x = model.embed.detach()[ids]
    x = x.cumsum(1) / torch.arange(1, x.shape[1] + 1, dtype=x.dtype)[:, None]
    flat = lambda z: (z @ Q).square()[..., -round(share * len(Q)) :].sum(-1) / z.square().sum(-1)
    return flat(x), flat(x @ model.up.weight.detach().T), x, flat


def check_watch(function):
    first = 6
    for seed in range(3):
        model, Q, ids = _watched(seed)
        found = function(model, model.up, Q, 0.5, ids, first)
        hooks = len(model.up._forward_pre_hooks) + len(model.up._forward_hooks)
        assert not hooks, "your hook is still on the layer: every later forward pass would run it again. Remove it"
        assert model.up.weight.grad is None, "no gradient is needed, and yours left one in the layer's weight"
        found = numbers(found, [5], "the result, one number for each row,")
        inside, outputs, x, flat = _energies(model, Q, ids)
        close = lambda other: torch.allclose(found, other, atol=1e-6)
        if close(inside[:, first - 1 : -1].mean(1)):
            continue
        assert not close(inside.mean(1)), "only places from which the tokens from `first` on are predicted count"
        assert not close(inside[:, first:].mean(1)), (
            "the token at place t is predicted from place t - 1, so the places begin one earlier, and the last place "
            "predicts nothing that we know"
        )
        assert not close(inside[:, first - 1 :].mean(1)), "the last place predicts no token of the row: leave it out"
        assert not close(inside[:, first:-1].mean(1)), (
            "the token at place `first` is predicted from the place before it"
        )
        assert not close(outputs[:, first - 1 : -1].mean(1)), "these are the layer's outputs; its inputs are asked for"
        assert not close(flat(x[:, first - 1 : -1].mean(1))), (
            "you averaged the inputs first; take each token's flat energy, and then the mean"
        )
        raise AssertionError("the numbers are other ones: check which places count, and that rows are not mixed")
    model, Q, ids = _watched(9)
    model.fail = True
    try:
        function(model, model.up, Q, 0.5, ids, first)
    except RuntimeError:
        pass
    hooks = len(model.up._forward_pre_hooks) + len(model.up._forward_hooks)
    assert not hooks, "when the forward pass fails, your hook stays on the layer: remove it in a `finally`"


def _strata(seed):
    generator = torch.Generator().manual_seed(seed)
    by = [
        torch.rand(count, generator=generator, dtype=torch.float64) * 4 + low for count, low in ((25, 1.0), (18, 0.0))
    ]
    scores = [b.floor() + torch.randint(0, 3, (len(b),), generator=generator) for b in by]
    scores[0] += torch.where(by[0] > 3, 2.0, 0.0)
    return (*scores, *by, [1.0, 2.0, 3.0])


def _parts_of(positive, negative, positive_by, negative_by, edges):
    """[(area, pairs, positives)] of every stratum that has both sides."""
    borders = torch.as_tensor(edges, dtype=torch.float64)
    first, second = (torch.bucketize(by, borders, right=True) for by in (positive_by, negative_by))
    found = []
    for k in range(len(edges) + 1):
        p, n = positive[first == k], negative[second == k]
        if len(p) and len(n):
            found.append((_area(p, n), len(p) * len(n), len(p)))
    return found


def check_area_among_equals(function):
    for seed in range(3):
        arguments = _strata(seed)
        found = float(numbers(function(*(torch.clone(x) for x in arguments[:4]), arguments[4]), [], "the area"))
        strata = _parts_of(*arguments)
        weighted = lambda k: sum(s[0] * s[k] for s in strata) / sum(s[k] for s in strata)
        close = lambda other: abs(found - other) < 1e-6
        if close(weighted(1)):
            continue
        assert not close(_area(*arguments[:2])), "all pairs are compared, whether or not they are equally sure"
        assert not close(sum(s[0] for s in strata) / len(strata)), (
            "a stratum with two pairs counts as much as one with hundreds: give each the weight of its pairs"
        )
        assert not close(weighted(2)), (
            "the weight of a stratum is its number of *pairs*, positives times negatives, not that of its positives"
        )
        assert not close(1 - weighted(1)), "this is the chance that a negative has the larger score"
        raise AssertionError(
            "the value is another one: within each stratum compare every positive with every negative, ties one half; "
            "a value on a border belongs to the stratum above it"
        )


EXERCISES = {
    "13.energy_in_flat_directions": Exercise(
        "Energy in flat directions",
        2,
        8,
        (
            "Write the input in the eigenvectors of $A$. Squares of the coordinates add up to its squared length: "
            "that is the energy, and it can be shared out.",
            "All coordinates of all inputs at once are one matrix product. Which side do the eigenvectors stand on?",
            "The eigenvectors are sorted, the sharpest first, so the flat ones are the last columns. How many are "
            "they?",
        ),
        check_energy_in_flat_directions,
        "The eigenvectors are orthonormal, so the squares add up to the squared length and the share does not depend "
        "on how long an input is.",
    ),
    "13.expected_share": Exercise(
        "What ordinary text has",
        2,
        8,
        (
            "By (13.3), what is the energy of ordinary inputs along an eigenvector of A?",
            "Three fifths of the directions are flat. Which eigenvalues do they have, and what is the trace?",
            "In a random basis, no column is special. If all hold equally much of the energy, how much do three of "
            "five hold?",
        ),
        check_expected_share,
        "No basis leaves ordinary text less flat energy than A's own eigenvectors do. This is what makes an input "
        "stand out that does not keep to them.",
    ),
    "13.area": Exercise(
        "The area under the curve",
        1,
        6,
        (
            "There are as many comparisons as there are pairs of a positive and a negative.",
            "`positive[:, None]` against `negative` makes them all at once.",
            "A comparison is won, lost or tied; a tie counts one half. What is the mean?",
        ),
        check_area,
        "It depends on the order of the scores alone: any rising function of a detector has the same area.",
    ),
    "13.watch": Exercise(
        "A detector made of a hook",
        3,
        25,
        (
            "`layer.register_forward_pre_hook(f)` calls f(layer, inputs) before every forward pass of the layer, and "
            "returns a handle with `.remove()`.",
            "Let the hook put the layer's input, [N, S, I], into a list; run the model on the ids without gradients; "
            "then compute. The token at place t is predicted from place t - 1.",
            "Put the removal into a `finally`. Keep the places first - 1 to S - 2, take every token's flat energy, and "
            "then the mean over the places of a row.",
        ),
        check_watch,
        "One forward pass and one matrix product: that is the whole detector. The hook is gone even if the pass fails.",
    ),
    "13.area_among_equals": Exercise(
        "Among equally sure tokens",
        3,
        20,
        (
            "Sort both sides into strata by how sure the model is. Pairs are only made within a stratum.",
            "`torch.bucketize(values, borders, right=True)` gives each value the number of its stratum, with a value "
            "on a border above it.",
            "Every stratum has an area and a number of pairs. What is the mean over all pairs of all strata?",
        ),
        check_area_among_equals,
        "If flat energy did nothing but repeat how sure the model is, the area among equals would be one half.",
    ),
}
