"""Chapter 19: fresh inputs for every exercise, and a question of one's own for every student."""

import torch

from kfcourse.grading.variants import Variant, one_of, real, tenths, whole


def _scores(g):
    return torch.randint(0, 9, (whole(g, 3, 9),), generator=g).float(), torch.randint(
        0, 9, (whole(g, 3, 9),), generator=g
    ).float()


def _lifted(g):
    c = whole(g, 1, 5)
    return f"Every decoy's score is {c} higher.", lambda ref: lambda planted, decoys: ref(planted, decoys + c)


def _groups(g):
    a, b = real(g, whole(g, 6, 12)), real(g, whole(g, 6, 12)) + tenths(g, 0.3, 1.2)
    return a, b, 2000, torch.Generator().manual_seed(whole(g, 0, 10**6))


def _shifted(g):
    c = tenths(g, 2.5, 5)
    return (
        f"Test whether b lies {c} above a: subtract {c} from b first.",
        lambda ref: lambda a, b, *more: ref(a, b - c, *more),
    )


def _runs(g):
    draw = lambda: {"optimizer": one_of(g, "SGD", "Adam"), "seed": whole(g, 0, 1), "width": one_of(g, 48, 96)}
    return ([draw() for _ in range(whole(g, 5, 9))],)


def _without(g):
    name = one_of(g, "optimizer", "seed", "width")
    return (
        f"The setting {name!r} does not count.",
        lambda ref: lambda runs: ref([{k: v for k, v in run.items() if k != name} for run in runs]),
    )


def _same_pairs(a, b, _):
    return {tuple(sorted(pair)) for pair in a} == {tuple(sorted(map(int, pair))) for pair in b} and len(a) == len(b)


VARIANTS = {
    "19.above_decoys": Variant(_scores, _lifted),
    "19.p_value": Variant(_groups, _shifted, lambda a, b, _: abs(a - b) < 0.06),
    "19.one_change": Variant(_runs, _without, _same_pairs),
}
