"""Exercises of chapter 17: bytes of the factors, how many tokens, choosing from a sweep, what to report."""

import math

from kfcourse import Exercise


def check_factor_bytes(function):
    for hidden, ffn, blocks in ((3, 5, 1), (2048, 8192, 16), (7, 4, 2)):
        one = {"gate": hidden**2 + ffn**2, "up": hidden**2 + ffn**2, "down": ffn**2 + hidden**2}
        for projections in (("gate",), ("down",), ("gate", "up"), ("gate", "up", "down")):
            alone = 4 * blocks * sum(one[p] for p in projections)
            right = alone - (4 * blocks * hidden**2 if {"gate", "up"} <= set(projections) else 0)
            found, case = (
                function(hidden, ffn, blocks, projections),
                f"hidden {hidden}, ffn {ffn}, {blocks} blocks, {' and '.join(projections)}",
            )
            assert isinstance(found, int), f"a whole number of bytes is wanted, not {type(found).__name__}"
            assert 4 * found != right and 2 * found != right, (
                f"{case}: this counts numbers, or two bytes each; float32 takes four"
            )
            assert blocks == 1 or found * blocks != right, f"{case}: this is one block"
            assert found == right or found != alone, (
                f"{case}: gate and up read the same input, so they share one A; you count it twice"
            )
            assert found != 4 * blocks * hidden * ffn * len(projections), (
                f"{case}: this is the size of the weights; A is [I, I] and G is [O, O]"
            )
            assert found == right, f"{case}: should be {right} bytes, yours is {found}"


def check_tokens_wanted(function):
    for widths, per_direction, rate, seconds in (
        ([2048, 8192, 8192], 10, 1000.0, 3600),
        ([8192, 2048], 10, 10.0, 60),
        ([64], 2.5, 16.0, 10),
        ([100, 300, 200], 1, 99.9, 3),
    ):
        found = function(list(widths), per_direction, rate, seconds)
        case = f"widths {widths}, {per_direction} a direction, {rate:g} tokens/s for {seconds} s"
        assert isinstance(found, dict) and {"tokens", "enough"} <= found.keys(), (
            f'{case}: a dict with "tokens" and "enough" is wanted, not {found!r}'
        )
        wanted, affordable = math.ceil(per_direction * max(widths)), math.floor(rate * seconds)
        assert found["tokens"] <= affordable, (
            f"{case}: only {affordable:,} tokens can be collected in that time; yours is {found['tokens']:,}"
        )
        by_sum, right = min(math.ceil(per_direction * sum(widths)), affordable), min(wanted, affordable)
        assert found["tokens"] == right or found["tokens"] != by_sum, (
            f"{case}: every token feeds all factors at once, so the widest one decides and not the sum of the widths"
        )
        assert found["tokens"] >= right, f"{case}: {found['tokens']:,} tokens are fewer than the widest factor wants"
        assert found["tokens"] == right, f"{case}: more than the widest factor wants; the rest of the time is yours"
        assert found["enough"] == (affordable >= wanted), f"{case}: is it enough for the widest factor? {wanted:,} are"


def row(blocks, mass, choose, report):
    """A candidate of a sweep: (strict recall, perplexity) on the two halves."""
    as_dict = lambda pair: dict(zip(("strict", "perplexity"), pair))
    return {"blocks": blocks, "mass": mass, "choose": as_dict(choose), "report": as_dict(report)}


def check_choose(function):
    rows = [
        row(None, 1.0, (0.04, 5.0), (0.04, 5.0)),
        row([2, 4], 0.8, (0.02, 6.3), (0.02, 6.0)),
        row([3, 5], 0.9, (0.05, 6.1), (0.09, 6.6)),
        row([1, 1], 0.9, (0.4, 5.2), (0.01, 5.1)),
        row([3, 5], 0.8, (0.0, 7.5), (0.0, 7.2)),
    ]
    before = [dict(r) for r in rows]
    found = function(rows, 0.05)
    assert rows == before, "leave the rows as they are"
    assert isinstance(found, dict), f"one of the rows is wanted, a dict, not {type(found).__name__}"
    assert found["blocks"] is not None, (
        "the first row is the model without an edit: it is no candidate, whatever it scores"
    )
    assert found != rows[3], (
        "this is the best row by the reporting half: whoever chooses by it has nothing left to report"
    )
    assert found != rows[1], (
        "this one has recall *below* the bar on both halves, but so, on the choosing half, has a cheaper one: at most "
        "`bar` is low enough, and the reporting half must not be looked at"
    )
    assert found != rows[4], (
        "this is the lowest recall; among those with recall of at most `bar` the lowest perplexity is wanted"
    )
    assert found == rows[2], f"the row should be {rows[2]}, yours is {found}"
    assert function(rows[:1] + rows[3:4], 0.05) is None, (
        "no candidate is at or below the bar, and the answer should be None"
    )
    twins = [row([0, 1], 0.8, (0.0, 6.0), (0.0, 6.0)), row([4, 5], 0.8, (0.0, 6.0), (0.0, 5.0))]
    assert function(twins, 0.05) == twins[0], "of equal perplexities on the choosing half the first row is taken"


def wilson(p, n, z=1.96):
    """[low, high] of a share p of n, by Wilson's formula."""
    middle, half = p + z**2 / (2 * n), z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return [(middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)]


def check_report(function):
    rows = [
        row(None, 1.0, (0.99, 5.0), (0.98, 4.0)),
        row([0, 1], 0.9, (0.6, 5.1), (0.0, 4.1)),
        row([3, 4], 0.9, (0.02, 6.0), (0.1, 5.0)),
        row([3, 5], 0.9, (0.0, 6.4), (0.0, 5.2)),
    ]
    for one in rows:
        one["report"]["windows"] = 40
    found = function(rows, 0.05)
    keys = ("blocks", "tried", "strict", "interval", "ratio", "optimism")
    assert isinstance(found, dict) and set(keys) <= found.keys(), f"a dict with {', '.join(keys)} is wanted"
    assert found["blocks"] == [3, 4], f"by the choosing half the blocks are [3, 4], yours are {found['blocks']}"
    assert found["tried"] != 4, "the unedited model was not tried, it is what the others are compared with"
    assert found["tried"] == 3, f"{found['tried']} candidates; there were 3, and all of them count, good or bad"
    assert found["strict"] != 0.02, "this is recall on the half that chose; the reporting half says something else"
    assert math.isclose(found["strict"], 0.1), f"strict recall on the reporting half is 0.1, yours is {found['strict']}"
    low, high = found["interval"]
    naive = 1.96 * math.sqrt(0.1 * 0.9 / 40)
    assert not math.isclose(high - low, 2 * naive, rel_tol=1e-6), (
        "this is the interval p plus and minus z sqrt(p (1 - p) / n), which has width 0 at p = 0; (17.5) is wanted"
    )
    assert max(abs(x - y) for x, y in zip((low, high), wilson(0.1, 40))) < 5e-3, (
        f"the interval of 0.1 of 40 is not [{low:.3f}, {high:.3f}]; look at what is divided by 1 + z^2 / n"
    )
    assert not math.isclose(found["ratio"], 5.0 / 5.0) and math.isclose(found["ratio"], 5.0 / 4.0), (
        "the ratio is perplexity over the unedited model's, both on the reporting half"
    )
    assert math.isclose(found["optimism"], 0.08, abs_tol=1e-9), (
        f"recall is 0.1 where it is reported and 0.02 where it was chosen, so the choice flattered itself by 0.08, not "
        f"{found['optimism']}"
    )
    assert function(rows[:2], 0.05) is None, "nothing forgot enough, and the answer should be None"
    rows[3]["choose"]["perplexity"] = 5.5
    found = function(rows, 0.05)
    assert found["strict"] == 0 and 0.05 < found["interval"][1] < 0.12, (
        "none of 40 windows recited still leaves room up to about a tenth: the interval should say so"
    )


EXERCISES = {
    "17.factor_bytes": Exercise(
        "Bytes of the factors",
        2,
        8,
        (
            "A projection of [O, I] has an A of I x I and a G of O x O numbers, four bytes each.",
            "gate and up are [ffn, hidden], down is [hidden, ffn]. Every projection has a G of its own; gate and up "
            "read one input and share one A.",
            "Add up numbers first and multiply by bytes and blocks at the end. Try it on one block with gate alone, "
            "then with gate and up: what is added, and what is not?",
        ),
        check_factor_bytes,
        "Widths enter squared. That is why factors outgrow weights, and why sharing the small A saves so little.",
    ),
    "17.tokens_wanted": Exercise(
        "How many tokens",
        2,
        8,
        (
            "Two numbers decide: what the factors want, and what the time affords.",
            "Every token adds one outer product to every factor at once. Which factor is filled last?",
            "Round what is wanted up and what is affordable down, compare the two, and remember which of them won.",
        ),
        check_tokens_wanted,
        "The corpus has no say in it: what counts is tokens for each direction of the widest factor.",
    ),
    "17.choose": Exercise(
        "Choose, and do not peek",
        3,
        10,
        (
            "Write down which columns you may read: those of the half that is for choosing.",
            'Candidates are the rows with `blocks` that have `row["choose"]["strict"] <= bar`; there may be none.',
            "`min` takes a `key`, a function of a row, and a `default` for an empty list.",
        ),
        check_choose,
        "One half has made the choice and is used up; the other one may now say how good it is, once.",
    ),
    "17.report": Exercise(
        "What to report",
        4,
        25,
        (
            "Choose first, with your function of the exercise before; everything else is read from that one row and "
            "from the first.",
            "Work out the two parts of (17.5), the middle and the half width, on their own, and test them with p = 0: "
            "the lower end must be 0.",
            "Optimism is positive if the choice looked better than it is. The number of trials counts what was tried, "
            "not what was good.",
        ),
        check_report,
        "With the number of trials and the optimism beside it, a reader can judge how much of the result was luck.",
    ),
}
