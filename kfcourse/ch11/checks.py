"""Exercises of chapter 11: an interval for a share, how many items a claim needs, the same test for all, whose bars
these are, and a chain judged step by step.
"""

import math

import torch

from kfcourse import Exercise
from kfcourse.learning.results import parts


def check_wilson(function):
    for k, n in ((17, 500), (0, 60), (60, 60), (143, 200)):
        low, high = (float(v) for v in function(k, n))
        z, p = 1.96, k / n
        centre, half = (
            (p + z * z / (2 * n)) / (1 + z * z / n),
            z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)),
        )
        assert low <= high, "return the lower end first"
        assert not (0 < k < n and math.isclose(low, p - z * math.sqrt(p * (1 - p) / n), abs_tol=1e-9)), (
            "this is p plus or minus 1.96 standard errors; Wilson's interval moves its centre towards 1/2 and is not "
            "empty at 0 and 1"
        )
        assert high > low, f"for {k} of {n} the interval is empty: nobody is that sure after {n} items"
        assert not math.isclose(high - low, half, rel_tol=1e-6), (
            "the interval is half as wide as it should be: centre minus *and* plus the half width"
        )
        assert -1e-12 <= low and high <= 1 + 1e-12, f"an end lies outside 0 and 1 for {k} of {n}"
        assert math.isclose(low, centre - half, abs_tol=1e-9) and math.isclose(high, centre + half, abs_tol=1e-9), (
            f"for {k} of {n} the interval is {centre - half:.4f} to {centre + half:.4f}, yours is {low:.4f} to "
            f"{high:.4f}"
        )


def check_whose_bars(function):
    rows = {
        "a": {"baseline": 0.8, "one": 0.4, "two": 0.6},
        "b": {"baseline": 0.5, "one": 0.45, "two": 0.5},
        "c": {"baseline": 0.9, "one": 0.9, "two": 0.81},
    }
    bars = {"a": 0.751, "b": 0.899, "c": 0.9}
    found = function(bars, rows)
    assert isinstance(found, dict) and set(found) == set(bars), "return a dict with one entry a bar: {task: method}"
    absolute = {t: min((m for m in rows[t] if m != "baseline"), key=lambda m: abs(rows[t][m] - bars[t])) for t in bars}
    assert found != absolute, "a bar is accuracy *over the baseline's*: divide before you compare"
    assert "baseline" not in found.values(), "the baseline over itself is 1 and no method: leave it out"
    wanted = {"a": "two", "b": "one", "c": "two"}
    assert found != {t: ("one" if wanted[t] == "two" else "two") for t in bars}, (
        "the *nearest* ratio is wanted: take the smallest distance"
    )
    assert found == wanted, f"the bars belong to {wanted}, yours says {found}: judge each bar by its own task"


def check_enough_items(function):
    count, upper = parts(function(), 2, "the smallest number of items, and the upper end for 500 windows")
    count, upper = float(count), float(upper)
    assert count not in (299, 300, 301), (
        "this is the rule of three (3/n), a rough version of another interval: set k = 0 in Wilson's and see what is "
        "left"
    )
    assert count not in (380, 381) or count == 381, (
        "at 380 items the upper end is still a little above 1 %: 3.8416 / 383.8416"
    )
    assert count != 379, "z^2 / (n + z^2) and not z^2 / n, and the result has to be rounded up"
    assert count not in (384, 385), "z^2 / n is not quite the upper end: the denominator is n + z^2"
    assert abs(upper - 0.0) > 1e-12, (
        "none of 500 does not prove that the share is zero: an upper end above zero is left"
    )
    assert upper < 0.1, f"the upper end is a share: {upper:g} looks like per cent"
    assert count == 381, (
        f"with {count:g} items: put k = 0, so p = 0, into Wilson's formula. Both terms of the upper end have "
        f"z^2/(2n) in "
        "them; solve for n where it equals 0.01"
    )
    assert abs(upper - 3.8416 / 503.8416) < 2e-5, (
        f"the number of items is right, but the upper end for none of 500 is {3.8416 / 503.8416:.5f}, and yours is "
        f"{upper:.5f}"
    )


def _rows(*rows):
    return [torch.tensor(row, dtype=torch.bool) for row in rows]


def check_equal_length(function):
    hits = _rows([1, 1, 0, 1, 1, 1], [1, 1], [0], [1, 1, 1, 0])
    clone = lambda: [row.clone() for row in hits]
    wanted = {1: (5 / 6 + 1 + 0 + 3 / 4) / 4, 2: (3 / 5 + 1 + 2 / 3) / 3, 3: (1 / 4 + 1 / 2) / 2}
    for k, right in sorted(wanted.items(), reverse=True):
        value = float(function(clone(), k))
        glued = torch.cat(hits).unfold(0, k, 1).all(1).double().mean().item()
        whole = sum(bool(row.all()) for row in hits if len(row) >= k) / sum(len(row) >= k for row in hits)
        assert abs(value - whole) > 1e-6, (
            "this is the share of answers that are right as a whole, so a long answer has more chances to fail: look "
            "at "
            "every place where k words stand in a row"
        )
        padded = sum(r.unfold(0, k, 1).all(1).double().mean().item() for r in hits if len(r) >= k) / len(hits)
        assert k == 1 or abs(value - padded) > 1e-6, (
            f"an answer shorter than {k} words cannot be right or wrong at this length: leave it out of the mean"
        )
        places = torch.cat([row.unfold(0, k, 1).all(1) for row in hits if len(row) >= k]).double().mean().item()
        assert k == 1 or abs(value - glued) > 1e-6, (
            "the answers were joined into one, so that a run may begin in one answer and end in the next: look into "
            "each "
            "answer by itself"
        )
        assert abs(value - places) > 1e-6, (
            "every *place* counts the same here, so the longest answer has the most to say: take the mean inside each "
            "answer first, and then over the answers"
        )
        apart = [row[: len(row) // k * k].view(-1, k).all(1).double().mean().item() for row in hits if len(row) >= k]
        assert k == 1 or abs(value - sum(apart) / len(apart)) > 1e-6, (
            "you cut the answers into pieces that do not overlap: a run may begin at any word"
        )
        assert abs(value - right) < 1e-6, (
            f"for k = {k} the share is {right:.4f}, and yours is {value:.4f}: for each answer of at least k words, the "
            "share of places at which k words in a row are right; then the mean over these answers"
        )
    only_short = function(_rows([1], [0]), 1)
    assert abs(float(only_short) - 0.5) < 1e-6, "answers of exactly k words have one place: count them"


_OWNERS = {"drum": "ann", "fiddle": "bob", "rope": "eve"}
_HOMES = {"ann": "thorp", "bob": "merle", "eve": "ulver"}
_NUMBERS = {"thorp": 19, "merle": 25, "ulver": 30}


def check_judge_steps(function):
    def judged(asked, owners, homes, digits):
        said = {"owners": list(owners), "homes": list(homes), "digits": list(digits)}
        found = function(list(asked), dict(_OWNERS), dict(_HOMES), dict(_NUMBERS), said)
        assert isinstance(found, dict) and set(found) == {"owners", "homes", "sum", "result"}, (
            'return a dict with the keys "owners", "homes", "sum" and "result"'
        )
        return {step: bool(value) for step, value in found.items()}

    def expect(case, wanted, message):
        assert judged(*case) == dict(zip(("owners", "homes", "sum", "result"), wanted)), message

    asked = ("drum", "fiddle")
    perfect = (asked, ("ann", "bob"), ("thorp", "merle"), "440")
    expect(
        perfect,
        (1, 1, 1, 1),
        ("owners, homes and sum are all right here: 19 + 25 = 044, and the model writes the last digit first, 4 4 0"),
    )
    expect(
        (asked, ("ann", "bob"), ("thorp", "merle"), "450"),
        (1, 1, 0, 0),
        ("both lookups are right and the sum is not: only the sum and the result have failed"),
    )
    found = judged(asked, ("ann", "eve"), ("thorp", "ulver"), "940")
    assert not found["owners"], "one of the two owners is wrong, so the step is wrong"
    assert found["homes"], (
        "the model named a wrong owner and then found that person's home: judge a step by what it was given, and not "
        "by "
        "what it should have been given"
    )
    assert found["sum"], (
        "19 + 30 = 049 is right for the cities that the model named: judge the sum by what it was given"
    )
    assert not found["result"], (
        "the sum is right for the wrong cities: the result is the sum that the *problem* asks for"
    )
    expect(
        (asked, ("ann", "bob"), ("merle", "thorp"), "440"),
        (1, 0, 1, 1),
        (
            "the homes are exchanged, so neither person lives where the model says. Their sum is still the right "
            "one, and "
            "so is the result"
        ),
    )
    expect(
        (asked, ("ann", "table"), ("thorp", "merle"), "440"),
        (0, 0, 1, 1),
        ("a word that is no person at all has no home: that step is wrong, without an error"),
    )
    expect(
        (asked, ("ann", "bob"), ("thorp", "the"), "440"),
        (1, 0, 0, 1),
        (
            "a word that is no city has no number: the sum cannot be right for it, but the result is still what was "
            "asked"
        ),
    )
    expect(
        (("rope", "fiddle"), ("eve", "bob"), ("ulver", "merle"), "550"),
        (1, 1, 1, 1),
        ("another pair of things, in the order in which they are asked: 30 + 25 = 055"),
    )
    expect(
        (asked, ("ann", "bob"), ("thorp", "merle"), ("4", ".", "0")),
        (1, 1, 0, 0),
        ("what stands in the place of a digit may be any word: then the sum is wrong, without an error"),
    )


EXERCISES = {
    "11.wilson": Exercise(
        "An interval for a share",
        2,
        8,
        (
            "It is a formula; the work is in transcribing it. Compute p, the common denominator, the centre and the "
            "half width.",
            "The denominator of both is 1 + z^2/n. The centre's numerator is p + z^2/(2n).",
            "The half width has the root of p (1 - p) / n + z^2 / (4 n^2), times z, over the same denominator. It is "
            "subtracted for the one end and added for the other.",
        ),
        check_wilson,
        "At 0 of 60 it still reaches up to some per cent: sixty failures do not prove that it never happens.",
    ),
    "11.whose_bars": Exercise(
        "Whose bars are these?",
        2,
        6,
        (
            "For every bar compute what each method's bar would be, and see which is closest.",
            "A method's bar for a task is `rows[task][method] / rows[task]['baseline']`.",
            "`min` takes a `key`: the distance of a method's ratio from the bar of that task. Leave the baseline out "
            "of "
            "the methods that are compared.",
        ),
        check_whose_bars,
        "Three numbers with four digits each agree with one row of the table: that is no accident.",
    ),
    "11.enough_items": Exercise(
        "How many items?",
        2,
        10,
        (
            "Put p = 0 into (11.3). What becomes of the term under the root?",
            "The centre and the half width are then equal, and the upper end is twice one of them.",
            "The upper end is z^2 / (n + z^2), with z^2 = 3.8416. For the first number solve for n and round up; for "
            "the "
            "second put n = 500.",
        ),
        check_enough_items,
        "Several hundred failures in a row are needed before one may say 'less than one per cent'.",
    ),
    "11.equal_length": Exercise(
        "The same test for all",
        3,
        15,
        (
            "Inside one answer there are `len(row) - k + 1` places at which k words stand in a row. At each of them "
            "all "
            "k may be right or not.",
            "`row.unfold(0, k, 1)` gives all these places as rows of k. Answers that are too short have none.",
            "Take the share inside each answer first and the mean over the answers afterwards, so that every answer "
            "counts the same, however long it is.",
        ),
        check_equal_length,
        "With k = 1 a quote of 48 words and an answer of one word are asked the same question.",
    ),
    "11.judge_steps": Exercise(
        "A chain, step by step",
        3,
        25,
        (
            "The first step is given the things that are asked. What is each later step given: what is right, or what "
            "the model said before?",
            "`dict.get` answers None for a word that is no key, which equals no word that the model said. For the sum "
            "make sure that both cities have a number.",
            'The digits of a total, last one first, are `f"{total:03d}"[::-1]`. Compare them with what the model '
            "wrote, "
            "once for the cities that it named and once for those of the problem.",
        ),
        check_judge_steps,
        "A wrong number at the end of a chain may come from a wrong lookup. Only a judgement of each step tells.",
    ),
}
