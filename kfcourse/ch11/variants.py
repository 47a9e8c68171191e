"""Chapter 11: fresh inputs for every exercise, and a question of one's own for every student."""

import math

import torch

from kfcourse.grading.variants import Variant, one_of, share, tenths, whole


def _other_z(g):
    z = tenths(g, 1, 1.8)

    def wilson(k, n):
        p, scale = k / n, 1 + z * z / n
        centre, half = (p + z * z / (2 * n)) / scale, z / scale * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return centre - half, centre + half

    return f"Use {z} instead of 1.96.", lambda ref: wilson


def _rows(g):
    tasks = [f"task {n}" for n in range(10)]
    rows = {t: {"baseline": share(g, 0.3, 1), **{m: share(g, 0.1, 1) for m in ("one", "two", "three")}} for t in tasks}
    return {t: share(g, 0.2, 1.2) for t in tasks}, rows


def _raised(g):
    c = tenths(g, 0.3, 1.5)
    return (
        f"Add {c} to every accuracy, the baseline's too, before you divide.",
        lambda ref: lambda bars, rows: ref(bars, {t: {m: v + c for m, v in row.items()} for t, row in rows.items()}),
    )


def _times(g):
    c = whole(g, 2, 9)
    return f"Return {c} times both numbers.", lambda ref: lambda: tuple(c * value for value in ref())


def _hits(g):
    hits = [torch.rand(whole(g, 1, 9), generator=g) < 0.7 for _ in range(6)]
    return [*hits, torch.ones(4, dtype=torch.bool)], whole(g, 1, 3)


def _wrong_in_a_row(g):
    c = whole(g, 2, 9)
    return (
        f"Return {c} times the share of places with k *wrong* words in a row.",
        lambda ref: lambda hits, k: c * ref([~row for row in hits], k),
    )


def _chain(g):
    things, owners, cities = ([f"{kind}{n}" for n in range(4)] for kind in ("thing", "name", "city"))
    mixed = lambda words: [words[k] for k in torch.randperm(4, generator=g).tolist()]
    owner_of, home_of = (dict(zip(a, mixed(b))) for a, b in ((things, owners), (owners, cities)))
    number_of = {city: whole(g, 10, 99) for city in cities}
    asked = mixed(things)[:2]
    said_owners = [owner_of[t] if whole(g, 0, 3) else one_of(g, *owners, "the") for t in asked]
    said_homes = [home_of.get(o, "the") if whole(g, 0, 3) else one_of(g, *cities, "the") for o in said_owners]
    total = sum(number_of.get(c, 0) for c in said_homes) + (0 if whole(g, 0, 2) else whole(g, 1, 9))
    said = {"owners": said_owners, "homes": said_homes, "digits": list(f"{total:03d}"[::-1])}
    return asked, owner_of, home_of, number_of, said


def _marks(g):
    c = whole(g, 2, 9)

    def marks(ref):
        return lambda *chain: sum(weight * bool(ok) for weight, ok in zip((1, c, c**2, c**3), _in_order(ref(*chain))))

    return (
        f"Return one number: 1 for the owners, plus {c} for the homes, plus {c**2} for the sum, plus {c**3} for the "
        f"result, "
        "each if it is right.",
        marks,
    )


def _in_order(judged):
    return [judged[step] for step in ("owners", "homes", "sum", "result")]


def _same_verdicts(a, b, _):
    return float(a) == float(b) if not isinstance(a, dict) else _in_order(a) == [bool(x) for x in _in_order(b)]


VARIANTS = {
    "11.wilson": Variant(lambda g: (whole(g, 0, 40), whole(g, 40, 300)), _other_z),
    "11.enough_items": Variant(lambda g: (), _times),
    "11.equal_length": Variant(_hits, _wrong_in_a_row),
    "11.whose_bars": Variant(_rows, _raised),
    "11.judge_steps": Variant(_chain, _marks, _same_verdicts),
}
