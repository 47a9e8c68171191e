"""Plausible wrong answers to the exercises of chapter 17, with a fragment of what their check must say."""

import math


def an_A_for_each(hidden, ffn, blocks, projections):
    return 4 * blocks * len(projections) * (hidden**2 + ffn**2)


def one_block(hidden, ffn, blocks, projections):
    G = sum(hidden**2 if p == "down" else ffn**2 for p in projections)
    return 4 * (G + hidden**2 * bool({"gate", "up"} & set(projections)) + ffn**2 * ("down" in projections))


def numbers_not_bytes(hidden, ffn, blocks, projections):
    return blocks * one_block(hidden, ffn, blocks, projections) // 4


def the_weights(hidden, ffn, blocks, projections):
    return 4 * blocks * hidden * ffn * len(projections)


def by_the_sum(widths, per_direction, rate, seconds):
    wanted, affordable = math.ceil(per_direction * sum(widths)), math.floor(rate * seconds)
    return {"tokens": min(wanted, affordable), "enough": affordable >= wanted}


def all_that_it_wants(widths, per_direction, rate, seconds):
    wanted = math.ceil(per_direction * max(widths))
    return {"tokens": wanted, "enough": wanted <= rate * seconds}


def all_the_time(widths, per_direction, rate, seconds):
    return {"tokens": math.floor(rate * seconds), "enough": rate * seconds >= per_direction * max(widths)}


def always_enough(widths, per_direction, rate, seconds):
    return {"tokens": min(math.ceil(per_direction * max(widths)), math.floor(rate * seconds)), "enough": True}


def by_the_report(rows, bar):
    good = [r for r in rows if r["blocks"] and r["report"]["strict"] <= bar]
    return min(good, key=lambda r: r["report"]["perplexity"], default=None)


def lowest_recall(rows, bar):
    return min((r for r in rows if r["blocks"]), key=lambda r: r["choose"]["strict"])


def the_model_itself(rows, bar):
    return min((r for r in rows if r["choose"]["strict"] <= bar), key=lambda r: r["choose"]["perplexity"], default=None)


def strictly_below(rows, bar):
    good = [r for r in rows if r["blocks"] and r["choose"]["strict"] < bar]
    return min(good, key=lambda r: r["choose"]["perplexity"], default=None)


def reported(rows, bar, half="report", naive=False, tried=0, before="report"):
    """The report of the worked notebook, with one thing done in another way."""
    good = [row for row in rows if row["blocks"] and row["choose"]["strict"] <= bar]
    if not good:
        return None
    best = min(good, key=lambda row: row["choose"]["perplexity"])
    p, n, z = best[half]["strict"], best["report"]["windows"], 1.96
    middle, width = p + z**2 / (2 * n), z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    low, high = (middle - width) / (1 + z**2 / n), (middle + width) / (1 + z**2 / n)
    if naive:
        low, high = (p + sign * z * math.sqrt(p * (1 - p) / n) for sign in (-1, 1))
    return {
        "blocks": best["blocks"],
        "tried": len(rows) - 1 + tried,
        "strict": p,
        "interval": [low, high],
        "ratio": best["report"]["perplexity"] / rows[0][before]["perplexity"],
        "optimism": p - best["choose"]["strict"],
    }


def on_the_half_that_chose(rows, bar):
    return reported(rows, bar, half="choose")


def an_interval_of_nothing(rows, bar):
    return reported(rows, bar, naive=True)


def the_unedited_was_tried(rows, bar):
    return reported(rows, bar, tried=1)


def halves_mixed(rows, bar):
    return reported(rows, bar, before="choose")


WRONG = {
    "17.factor_bytes": [
        (an_A_for_each, "share one A"),
        (one_block, "one block"),
        (numbers_not_bytes, "float32 takes four"),
        (the_weights, "A is [I, I]"),
    ],
    "17.tokens_wanted": [
        (by_the_sum, "the widest one decides"),
        (all_that_it_wants, "in that time"),
        (all_the_time, "the rest of the time is yours"),
        (always_enough, "is it enough"),
    ],
    "17.choose": [
        (by_the_report, "nothing left to report"),
        (lowest_recall, "the lowest recall"),
        (the_model_itself, "without an edit"),
        (strictly_below, "at most"),
    ],
    "17.report": [
        (on_the_half_that_chose, "the half that chose"),
        (an_interval_of_nothing, "width 0 at p = 0"),
        (the_unedited_was_tried, "was not tried"),
        (halves_mixed, "both on the reporting half"),
    ],
}
