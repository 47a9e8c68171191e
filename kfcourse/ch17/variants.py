"""Chapter 17: fresh inputs for every exercise, and a question of one's own for every student."""

from kfcourse.grading.variants import Variant, one_of, share, whole


def _shapes(g):
    projections = one_of(g, ("gate",), ("up",), ("down",), ("gate", "up"), ("up", "down"), ("gate", "up", "down"))
    return whole(g, 2, 200), whole(g, 201, 900), whole(g, 2, 40), projections


def _other_number(g):
    c = one_of(g, 2, 3, 6, 8, 10, 16)
    return f"Every number takes {c} bytes instead of four.", lambda ref: lambda *shape: ref(*shape) // 4 * c


def _budget(g):
    widths = [whole(g, 50, 5000) for _ in range(whole(g, 2, 6))]
    return widths, whole(g, 2, 12), float(whole(g, 5, 400)), whole(g, 10, 400)


def _whole_windows(g):
    c = one_of(g, 64, 112, 128, 256, 512)
    text = f"Round the number of tokens up to whole windows of {c} tokens at the end."
    rounded = lambda found: {**found, "tokens": -(-found["tokens"] // c) * c}
    return text, lambda ref: lambda *budget: rounded(ref(*budget))


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


def _trials(g):
    rows, bar = _candidates(g)
    for row in rows:
        row["report"]["windows"] = 64
    return rows, bar


def _percent(g):
    c = one_of(g, "strict", "ratio", "optimism")

    def scaled(found):
        return found and {**found, c: 100 * found[c]}

    return f"Give `{c}` as a percentage.", lambda ref: lambda rows, bar: scaled(ref(rows, bar))


VARIANTS = {
    "17.factor_bytes": Variant(_shapes, _other_number),
    "17.tokens_wanted": Variant(_budget, _whole_windows),
    "17.choose": Variant(_candidates, _charged),
    "17.report": Variant(_trials, _percent),
}
