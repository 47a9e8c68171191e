"""Chapter 14: fresh inputs for every exercise, and a question of one's own for every student."""

import math

import torch

from kfcourse.ch14 import checks
from kfcourse.grading.variants import Variant, tenths, whole


def _times(g):
    c = whole(g, 2, 9)
    return (f"Multiply both results by {c}.", lambda ref: lambda: tuple(c * part for part in ref()))


def _looks(g):
    tokens = torch.randint(50, 400, (5,), generator=g).cumsum(0).tolist()
    values = (torch.rand(5, generator=g, dtype=torch.float64) * 0.3).cumsum(0).tolist()
    return [(0, 0.0), *zip(tokens, values, strict=True)], tenths(g, 0.1, 0.3)


def _doubled_level(g):
    c = tenths(g, 0.2, 0.9)
    return (f"The level is {c} times `level`.", lambda ref: lambda rows, level: ref(rows, c * level))


def _attacked(g):
    model = checks._Writer(whole(g, 10, 9999))
    ids = torch.randint(0, 12, (8, 7), generator=g)
    return model, ids, (0, 2, 8), lambda m: checks._loss(m, ids), 0.05, 4


def _as_effective(a, b, _):
    """The same tokens, the same first look, and a last one that is about as low."""
    tokens, values = ([float(row[k]) for row in b] for k in (0, 1))
    wanted, reference = ([float(row[k]) for row in a] for k in (0, 1))
    fell = reference[0] - reference[-1]
    return tokens == wanted and abs(values[0] - reference[0]) < 1e-4 and values[0] - values[-1] > 0.5 * fell


def _in_thousands(g):
    c = whole(g, 2, 9)
    return (
        f"Count {c} for every token trained on.",
        lambda ref: lambda *arguments: [(c * tokens, value) for tokens, value in ref(*arguments)],
    )


def _two_groups(g):
    return checks._gains(whole(g, 10, 9999), whole(g, 2, 4), whole(g, 2, 4))


def _shifted(g):
    c = tenths(g, 0.1, 0.4)
    return (
        f"Subtract {c} from every gain of the edited models first.",
        lambda ref: lambda edited, control: ref([gain - c for gain in edited], control),
    )


def _same_number(a, b, _):
    return b is None if a is None else math.isclose(float(a), float(b), rel_tol=1e-6, abs_tol=1e-9)


VARIANTS = {
    "14.one_step": Variant(lambda g: (), _times),
    "14.tokens_until": Variant(_looks, _doubled_level, _same_number),
    "14.attack": Variant(_attacked, _in_thousands, _as_effective),
    "14.by_chance": Variant(_two_groups, _shifted, _same_number),
}
