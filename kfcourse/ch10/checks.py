"""Exercises of chapter 10: an activity by hand, bands of pairs, activity in a band, inputs where an answer is
predicted, bands of random pairs.
"""

import torch

from kfcourse import Exercise
from kfcourse.learning.results import numbers, parts


def _layer(seed, rows=6, columns=4, tokens=9):
    generator = torch.Generator().manual_seed(seed)
    draw = lambda n: (-3 * torch.rand(n, generator=generator, dtype=torch.float64)).exp().sort(descending=True)[0]
    Q_A = torch.linalg.qr(torch.randn(columns, columns, generator=generator, dtype=torch.float64))[0]
    return (
        torch.outer(draw(rows), draw(columns)),
        Q_A,
        torch.randn(tokens, columns, generator=generator, dtype=torch.float64),
    )


def check_by_hand(function):
    sharper, flatter = (float(v) for v in parts(function(), 2, "the activity of the sharper half, and of the flatter"))
    near = lambda a, b: abs(sharper - a) < 5e-3 and abs(flatter - b) < 5e-3
    assert not near(13 / 3, 5 / 3), "these are the right two numbers in the wrong order: the sharper half comes first"
    assert not near(3, 3), (
        "you took the rows of Pi as the two halves: order all six products, and let the three largest be the sharper "
        "half, whatever row they stand in"
    )
    assert not near(2, 4), (
        "each input direction was counted once in a half: it counts once for every *pair* of the half in which it "
        "occurs"
    )
    assert not near(5, 13), "these are sums over three pairs: an activity is their mean"
    weighted = ((36 + 9 + 24) / 3, (20 + 6 + 5) / 3)
    assert not near(*weighted), "the products only order the pairs: they do not weigh what is averaged"
    assert near(5 / 3, 13 / 3), (
        f"yours are {sharper:.3f} and {flatter:.3f}: write down the six products, mark the three largest, and average "
        "the size of the input along the second index of each marked pair; then do the same for the other three"
    )


def check_bands(function):
    for seed in range(3):
        Pi = _layer(seed, 8, 5)[0]
        for edges in ((0.1, 0.25, 0.5), (0.5,)):
            found = function(Pi, edges)
            assert torch.is_tensor(found) and not found.is_floating_point(), (
                "a tensor of whole numbers is wanted, the band of each pair"
            )
            assert found.shape == Pi.shape, f"the result has shape {list(found.shape)}, but Pi has {list(Pi.shape)}"
            assert found.min() == 0 and found.max() <= len(edges), (
                f"with edges {edges} the bands are numbered from 0 to {len(edges)}, yours are "
                f"{sorted(found.unique().tolist())}"
            )
            sizes = [int((found <= band).sum()) for band in range(len(edges))]
            wanted = [round(e * Pi.numel()) for e in edges]
            assert sizes == wanted, (
                f"up to the ends of the bands there should be {wanted} pairs, yours has {sizes}: edges are shares "
                "of the *number* of pairs, not of the mass, and each counts from the sharpest pair"
            )
            for band in range(len(edges)):
                assert Pi[found == band].min() >= Pi[found > band].max(), (
                    "a pair in a later band has more curvature: band 0 is the sharpest"
                )


def check_band_activity(function):
    for seed in range(3):
        Pi, Q_A, x = _layer(seed)
        order = Pi.flatten().argsort(descending=True)
        pairs = torch.empty(Pi.numel(), dtype=torch.int64)
        pairs[order] = torch.bucketize(torch.arange(Pi.numel()), torch.tensor([3, 10]), right=True)
        pairs = pairs.view_as(Pi)
        found = function(x, Q_A, pairs)
        assert torch.is_tensor(found) and found.shape == (3,), (
            f"one number a band is wanted, [3], yours has shape {list(getattr(found, 'shape', []))}"
        )
        along = lambda y: torch.stack([y.expand(len(Pi), -1)[pairs == b].mean() for b in range(3)])
        right = along((x @ Q_A).abs().mean(0))
        assert not torch.allclose(found, along((x @ Q_A.T).abs().mean(0))), (
            "eigenvectors are the columns of Q_A: coordinates are x @ Q_A"
        )
        assert not torch.allclose(found, along((x @ Q_A).mean(0))) and not torch.allclose(
            found, along((x @ Q_A).mean(0).abs())
        ), "positive and negative cancel: take the absolute value at every token, then the mean"
        assert not torch.allclose(found, along((x @ Q_A).square().mean(0))), (
            "this is the mean of squares; an activity is the mean of absolute values"
        )
        once = torch.stack([(x @ Q_A).abs().mean(0)[(pairs == b).any(0)].mean() for b in range(3)])
        assert not torch.allclose(found, once), (
            "an input direction counts once for every *pair* of the band it is in, not once a band"
        )
        assert torch.allclose(found, right), (
            f"the activities should be {right.numpy().round(3)}, yours are {found.detach().numpy().round(3)}"
        )


class _Causal(torch.nn.Module):
    """Embeds tokens, sums up what came before, and hands it to a layer: a model that cannot look ahead."""

    def __init__(self, width=5, vocabulary=30, seed=0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.table = torch.randn(vocabulary, width, generator=generator)
        self.layer = torch.nn.Linear(width, 3, bias=False)

    def inputs(self, ids):
        """What the layer is given, [.., S, width]."""
        return self.table[ids].cumsum(-2)

    def forward(self, input_ids, attention_mask=None, **ignored):
        return self.layer(self.inputs(input_ids))


def check_answer_inputs(function):
    model = _Causal()
    items = [([1, 2, 3], [4, 5]), ([6, 7], [8]), ([9, 10, 11, 12], [13, 14, 15])]
    where = lambda first, last: torch.cat(
        [model.inputs(torch.tensor(p + a))[len(p) + first : len(p) + len(a) + last] for p, a in items]
    )
    found = function(model, "layer", [(list(p), list(a)) for p, a in items])
    assert not model.layer._forward_hooks and not model.layer._forward_pre_hooks, (
        "a hook is still on the layer after your function has returned: keep its handle and call `handle.remove()`"
    )
    assert torch.is_tensor(found), f"one tensor [T, I] is wanted, not {type(found).__name__}"
    everything = sum(len(p + a) for p, a in items)
    assert len(found) != everything, (
        f"there are {everything} rows, one for each token of the texts: only those count from which a token of an "
        "answer is predicted"
    )
    assert len(found) != len(items), (
        "there is one row an item: every token of the answer is predicted from a token of its own"
    )
    assert found.shape == (6, 5), (
        f"the answers have 6 tokens in all and the layer 5 inputs: [6, 5], not {list(found.shape)}"
    )
    assert not torch.allclose(found, where(0, 0)), (
        "these are the inputs *at* the answer's tokens, one place too late: the first token of an answer is predicted "
        "from the prompt's last"
    )
    right = where(-1, -1)
    same_rows = torch.allclose(found.sort(0)[0], right.sort(0)[0], atol=1e-5)
    assert torch.allclose(found, right, atol=1e-5) or not same_rows, (
        "the rows are the right ones in another order: item after item, and in each from the first token on"
    )
    assert torch.allclose(found, right, atol=1e-5), (
        "the rows are not the inputs of the layer at these places: is it the input that you keep, and not the output, "
        "and does each item begin where its own prompt ends?"
    )
    assert not found.requires_grad, (
        "no gradient is needed here: detach what the hook sees, or run under torch.no_grad()"
    )


def check_shuffled_bands(function):
    pairs = torch.tensor([0] * 12 + [1] * 18 + [2] * 30).view(6, 10)
    before = pairs.clone()
    mixed = [function(pairs, torch.Generator().manual_seed(seed)) for seed in range(40)]
    assert torch.equal(pairs, before), "your function has changed the bands that it was given: leave `pairs` as it is"
    for one in mixed:
        numbers(one, [6, 10], "the control")
        sizes = torch.as_tensor(one).flatten().long().bincount(minlength=3).tolist()
        assert sizes == [12, 18, 30], (
            f"the bands should have 12, 18 and 30 pairs, yours have {sizes}: a control changes *which* pairs are in a "
            "band and not how many"
        )
    mixed = torch.stack([torch.as_tensor(one).long() for one in mixed])
    assert not (mixed == pairs).all(), "nothing was mixed"
    again = torch.as_tensor(function(pairs, torch.Generator().manual_seed(0))).long()
    assert torch.equal(again, mixed[0]), (
        "the same generator state gives two different results: draw with `generator`, so that the control can be "
        "repeated"
    )
    assert len(mixed.flatten(1).unique(dim=0)) > 1, "every generator gives the same result: draw with `generator`"
    first = (mixed == 0).double()
    per_row, per_column = (first.sum(axis).unique(dim=0) for axis in (2, 1))
    assert len(per_row) > 1 and len(per_column) > 1, (
        "whole rows or columns were moved, or each was mixed within itself: every pair must be able to go anywhere"
    )
    assert (first.mean(0) - 0.2).abs().max() < 0.35, (
        "some pairs hardly ever change their band: every pair must be able to go anywhere with the same chance"
    )


EXERCISES = {
    "10.by_hand": Exercise(
        "Two halves by hand",
        2,
        10,
        (
            "First order the six pairs: write down Pi, two rows and three columns, and mark its three largest entries.",
            "What is averaged over the marked pairs is the size of the input along the pair's *input* direction, so "
            "only the column of a pair matters.",
            "A column with two marked pairs counts twice in the mean, and a column with none does not count at all.",
        ),
        check_by_hand,
        "The sharper half holds two pairs of the first column: its small input counts twice there.",
    ),
    "10.bands": Exercise(
        "Bands of pairs",
        2,
        8,
        (
            "A pair's rank decides: sort all of them, then ask which edges its rank has passed.",
            "`rank[order] = torch.arange(n)` turns an order into ranks. The first band ends after `round(edges[0] * "
            "n)` pairs.",
            "A pair of rank r lies in the band whose number is how many ends its rank has reached. Comparisons of the "
            "tensor of ranks with one end after the other give this for all pairs at once.",
        ),
        check_bands,
        "Bands are shares of the number of pairs. The first tenth of the pairs holds most of the curvature mass.",
    ),
    "10.band_activity": Exercise(
        "Activity in a band",
        3,
        10,
        (
            "The size of u v^T x is |v^T x|: only the input direction of a pair matters, so first find |v_j^T x| for "
            "every token and j.",
            "Average over tokens, which leaves a vector [I]. A band's pairs are (i, j); each contributes the entry j.",
            "Either repeat that vector for every row of `pairs` and average where `pairs == b`, or count how many "
            "pairs "
            "of the band each column has and take the weighted mean.",
        ),
        check_band_activity,
        "A direction that is in a band with many output directions counts for each of them, as a random pair of the "
        "band would.",
    ),
    "10.answer_inputs": Exercise(
        "Inputs where an answer is predicted",
        3,
        25,
        (
            "A forward pre-hook is called with the module and the tuple of its inputs. Let it append the first of them "
            "to a list, and remove it when all items have passed.",
            "Run the model on prompt and answer together, one item at a time. The output at place t predicts the token "
            "at place t + 1: from which place is the first token of the answer predicted, and from which the last?",
            "With a prompt of P tokens and an answer of n, places P - 1 to P + n - 2 are wanted (counted from 0). "
            "Remove the hook in a `finally`, so that an error does not leave it behind.",
        ),
        check_answer_inputs,
        "The last token of an answer is never an input: nothing that is asked for is predicted from it.",
    ),
    "10.shuffled_bands": Exercise(
        "Bands of random pairs",
        2,
        10,
        (
            "Keep everything about the bands that is not curvature. What is left to change?",
            "The numbers in `pairs` stay the same numbers; only their places are drawn at random, over the whole "
            "matrix.",
            "`torch.randperm` takes a generator. Apply a permutation to the flattened bands and restore the shape.",
        ),
        check_shuffled_bands,
        "If a result comes out the same with random pairs, it is about the number of pairs and not about curvature.",
    ),
}
