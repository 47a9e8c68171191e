"""Chapter 17: fresh inputs for every exercise, and a question of one's own for every student."""

import hashlib

from kfcourse.grading.variants import Variant, one_of, share, whole


def _shapes(g):
    projections = one_of(g, ("gate",), ("up",), ("down",), ("gate", "up"), ("up", "down"), ("gate", "up", "down"))
    return whole(g, 2, 200), whole(g, 201, 900), whole(g, 2, 40), projections


def _other_number(g):
    c = one_of(g, 2, 3, 6, 8, 10, 16)
    return f"Every number takes {c} bytes instead of four.", lambda ref: lambda *shape: ref(*shape) // 4 * c


def _jobs(g):
    return [whole(g, 1, 9) for _ in range(whole(g, 8, 16))], whole(g, 20, 30)


def _reserved(g):
    c = whole(g, 3, 11)
    return (
        f"Of the room, {c} bytes are taken by something else in every pass.",
        lambda ref: lambda sizes, room: ref(sizes, room - c),
    )


def _download(g):
    content = lambda: bytes(whole(g, 0, 255) for _ in range(whole(g, 1, 60)))
    good = {f"part-{i}": content() for i in range(12)}
    manifest = {name: {"bytes": len(x), "sha256": hashlib.sha256(x).hexdigest()} for name, x in good.items()}
    found = {"notes": b"mine"}
    for name, x in good.items():
        kind = whole(g, 0, 3)
        if kind:  # 0: it is missing
            found[name] = {1: x, 2: x[:-1], 3: bytes([x[0] ^ 1]) + x[1:]}[kind]
    return found, manifest


def _only_large(g):
    c = whole(g, 12, 45)
    return (
        f"Name only those that have at least {c} bytes by the manifest.",
        lambda ref: lambda found, manifest: [name for name in ref(found, manifest) if manifest[name]["bytes"] >= c],
    )


def _candidates(g):
    score = lambda: {"strict": round(share(g, 0, 0.2), 3), "perplexity": round(share(g, 5, 6), 3)}
    spans = [None, *([i, i + whole(g, 0, 3)] for i in range(15))]
    return [{"blocks": span, "mass": 0.8, "choose": score(), "report": score()} for span in spans], 0.15


def _charged(g):
    c = one_of(g, 0.2, 0.3, 0.4, 0.5, 0.6)

    def function(ref):
        def choose(rows, bar):
            dearer = [
                row
                | {
                    "choose": row["choose"]
                    | {"perplexity": row["choose"]["perplexity"] + c * (row["blocks"][1] - row["blocks"][0] + 1)}
                }
                if row["blocks"]
                else row
                for row in rows
            ]
            picked = ref(dearer, bar)
            return rows[next(i for i, row in enumerate(dearer) if row is picked)]

        return choose

    return (
        f"For every block that is edited, first and last included, {c} is added to the perplexity before it is "
        "compared; return the row as it was.",
        function,
    )


VARIANTS = {
    "17.factor_bytes": Variant(_shapes, _other_number),
    "17.passes": Variant(_jobs, _reserved),
    "17.damaged": Variant(_download, _only_large),
    "17.choose": Variant(_candidates, _charged),
}
