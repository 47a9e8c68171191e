"""Chapter 02: fresh inputs for every exercise, and a question of one's own for every student."""

import math

import torch

from kfcourse.grading.variants import Variant, real, some_labels, tenths, whole


def _without_class(g):
    c = whole(g, 0, 5)
    return (
        f"Leave out every image whose true label is {c}.",
        lambda ref: lambda said, given, true: ref(said[true != c], given[true != c], true[true != c]),
    )


def _curve(g):
    rises = real(g, whole(g, 12, 25)) + 0.25
    return [round(x, 3) for x in (rises.cumsum(0) / 10).tolist()], whole(g, 1, 4)


def _clearly_better(g):
    c = tenths(g, 0.05, 0.3)

    def function(ref):
        def stop_at(curve, patience):
            best = 0
            for epoch, value in enumerate(curve):
                if value > curve[best] + c:
                    best = epoch
                elif epoch - best >= patience:
                    break
            return best

        return stop_at

    return f"A value is a new best only if it is larger than the best so far by *more than {c}*.", function


def _next_word(g):
    table, words = real(g, 7, 7), [whole(g, 0, 6) for _ in range(3)]
    return (lambda ids: table[ids[-1]] + 0.5 * table[ids[0]].flip(0)), words, whole(g, 3, 8)


def _never(g):
    c = whole(g, 0, 6)

    def without(next_scores):
        return lambda ids: torch.where(
            torch.arange(7) == c, -math.inf, torch.as_tensor(next_scores(ids), dtype=torch.float64)
        )

    return (
        f"Never say word {c}: take the likeliest of the others.",
        lambda ref: lambda next_scores, ids, count: ref(without(next_scores), ids, count),
    )


def _other_base(g):
    c = whole(g, 3, 20)
    return (
        f"Use logarithms of base {c} instead of base 2.",
        lambda ref: lambda scores, index: ref(scores, index) / math.log2(c),
    )


VARIANTS = {
    "02.memorized_and_true": Variant(some_labels, _without_class),
    "02.stop_at": Variant(_curve, _clearly_better),
    "02.continue_greedily": Variant(_next_word, _never),
    "02.exposure_bits": Variant(lambda g: (real(g, n := whole(g, 5, 40)), whole(g, 0, n - 1)), _other_base),
}
