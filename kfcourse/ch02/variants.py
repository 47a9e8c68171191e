"""Chapter 02: fresh inputs for every exercise, and a question of one's own for every student."""

import math

import torch

from kfcourse.grading.variants import Variant, one_of, real, some_labels, tenths, whole


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


def _luck_to_the_base(g):
    c = whole(g, 3, 20)
    return (
        f"Exposure is measured with logarithms of base {c} instead of base 2.",
        lambda ref: lambda n: float(ref(n)) / math.log2(c),
    )


def _people(g):
    """(name, place of the code, repetitions): some never said, some often."""
    names = [f"p{i}" for i in range(whole(g, 7, 10))]
    places = torch.randperm(12, generator=g).tolist()
    said = [0, 0, 0, *(one_of(g, 1, 4, 16) for _ in names[3:])]
    return list(zip(names, places, said))


def _people_and_owner(g):
    people = _people(g)
    return people, people[whole(g, 0, len(people) - 1)]


def _rarely(g):
    c = whole(g, 1, 15)
    return (
        f"A stranger is anybody else whose code was said at most {c} times.",
        lambda ref: lambda people, owner: [p[0] for p in people if p[2] <= c and p[0] != owner[0]],
    )


def _examined(g):
    people = _people(g)
    table = {name: real(g, 12) for name, *_ in people}
    return people, lambda name: table[name].clone()


def _weighted(g):
    c = tenths(g, 1.5, 9)

    def function(ref):
        def canary_exam(secrets, scores_of):
            report = ref(secrets, scores_of)
            return {n: dict(row, added=c * (row["owner"] - row["stranger"])) for n, row in report.items()}

        return canary_exam

    return f'Every entry also has "added": {c} times (owner - stranger).', function


def _reports(a, b, _):
    return set(a) == set(b) and all(
        set(a[n]) == set(b[n])
        and all(math.isclose(float(a[n][k]), float(b[n][k]), rel_tol=1e-5, abs_tol=1e-6) for k in a[n])
        for n in a
    )


VARIANTS = {
    "02.luck_bits": Variant(
        lambda g: (whole(g, 2, 3000),), _luck_to_the_base, lambda a, b, _: math.isclose(a, float(b), rel_tol=1e-5)
    ),
    "02.strangers": Variant(_people_and_owner, _rarely, lambda a, b, _: set(a) == set(b)),
    "02.canary_exam": Variant(_examined, _weighted, _reports),
    "02.memorized_and_true": Variant(some_labels, _without_class),
    "02.stop_at": Variant(_curve, _clearly_better),
    "02.continue_greedily": Variant(_next_word, _never),
    "02.exposure_bits": Variant(lambda g: (real(g, n := whole(g, 5, 40)), whole(g, 0, n - 1)), _other_base),
}
