"""Exercises of chapter 19: is a planted secret above its decoys, could it be chance, and what differs between two "
"runs."""

import math

import torch

from kfcourse import Exercise


def check_above_decoys(function):
    cases = [
        ([3.0, 2.0], [1.0, 0.0], 1.0),
        ([1.0, 0.0], [3.0, 2.0], 0.0),
        ([3.0, 0.0, 1.0], [2.0, 1.0], (2 + 0 + 0.5) / 6),
        ([1.0, 1.0], [1.0], 0.5),
    ]
    for planted, decoys, wanted in cases:
        got = float(function(torch.tensor(planted), torch.tensor(decoys)))
        where = f"planted {planted}, decoys {decoys}"
        above = sum(p > d for p in planted for d in decoys) / (len(planted) * len(decoys))
        assert above == wanted or not math.isclose(got, above, rel_tol=1e-5), (
            f"{where}: a tie counts half, or two lists of equal scores would look like a perfect failure"
        )
        assert wanted == 0.5 or not math.isclose(got, 1 - wanted), f"{where}: turned round: is the planted one above?"
        mean = sum(planted) / len(planted) > sum(decoys) / len(decoys)
        assert math.isclose(got, wanted, abs_tol=1e-6), (
            f"{where}: the share of pairs is {wanted:.2f}, yours says {got:.2f}"
            + ("; comparing two means forgets the spread" if got == mean else "")
        )


def check_p_value(function):
    g = torch.Generator().manual_seed(0)
    apart, alike = torch.randn(12, generator=g) + 3, torch.randn(12, generator=g)
    draws = 200

    def asked(a, b, seed):
        got = float(function(a, b, draws, torch.Generator().manual_seed(seed)))
        assert 0 <= got <= 1, f"a probability lies in [0, 1], not {got:.3g}"
        return got

    clear = asked(apart, alike, 0)
    assert clear > 0, (
        "two groups that never touch gave 0: the split that was observed is one of the possible ones, so count it too"
    )
    assert clear < 0.02, (
        f"two groups three deviations apart gave {clear:.2f}: how many shuffled differences are as large?"
    )
    assert asked(alike, apart, 0) < 0.02, (
        "a difference in the other direction was not counted: compare magnitudes, since nobody knew the sign before"
    )
    found = []
    for k in range(30):
        both = torch.randn(20, generator=g)
        found.append(asked(both[:8], both[8:], k))
    small = sum(p <= 0.1 for p in found) / len(found)
    assert small < 0.3, (
        f"groups from one distribution got p <= 0.1 in {small:.0%} of 30 cases, and 10% is expected: both groups must "
        "be shuffled together, and keep their sizes"
    )
    assert sum(found) / len(found) > 0.3, "groups from one distribution get p values near zero: is p turned round?"


def check_one_change(function):
    base = {"optimizer": "Adam", "seed": 0, "width": 96}
    runs = [base, base | {"optimizer": "SGD"}, base | {"seed": 1}, base | {"optimizer": "SGD", "seed": 1}, dict(base)]
    got = function([dict(run) for run in runs])
    assert isinstance(got, (list, tuple, set)), f"a list of pairs is wanted, not {type(got).__name__}"
    pairs = {tuple(sorted(pair)) for pair in got}
    wanted = {(0, 1), (0, 2), (1, 3), (2, 3), (1, 4), (2, 4)}
    assert (0, 4) not in pairs, "runs 0 and 4 do not differ at all: that is a repetition, not a comparison"
    assert (0, 3) not in pairs, (
        "runs 0 and 3 differ in two settings: whatever differs between them has two explanations"
    )
    assert pairs <= wanted, f"{sorted(pairs - wanted)} differ in more or fewer settings than one"
    assert pairs == wanted, f"{sorted(wanted - pairs)} differ in exactly one setting and are missing"
    assert len(got) == len(pairs), "a pair is listed twice"
    more = function([{"seed": 0}, {"seed": 0, "noise": 0.1}])
    assert {tuple(sorted(pair)) for pair in more} == {(0, 1)}, (
        "a setting that one of the runs does not have is a difference"
    )


EXERCISES = {
    "19.above_decoys": Exercise(
        "Above the decoys",
        1,
        6,
        (
            "Take every planted score together with every decoy's score. How many pairs are there?",
            "Broadcasting compares all pairs at once: one list as a column, the other as a row.",
            "A pair counts one if the planted score is larger, half if the two are equal, nothing otherwise; then a "
            "mean.",
        ),
        check_above_decoys,
        "It is the area under the ROC curve: one half is chance, whatever the scores' scale.",
    ),
    "19.p_value": Exercise(
        "Could it be chance?",
        3,
        15,
        (
            "If both groups came from one distribution, any split of all values into groups of these sizes would have "
            "been as likely as yours.",
            "Put the values together, shuffle them, cut them at the first group's size, and compute the difference of "
            "means again, many times.",
            "Count the shuffles whose difference is at least as large in magnitude as the observed one. Count the "
            "observed split as well, above and below the fraction.",
        ),
        check_p_value,
        "No assumption about the shape of the distribution is needed; with few seeds the smallest p is limited by the "
        "number of splits, which is a reason for more seeds.",
    ),
    "19.one_change": Exercise(
        "What differs?",
        1,
        8,
        (
            "For two runs, collect the names of all settings that either of them has.",
            "Count the names whose values differ; `.get` gives None for a setting that is not there.",
            "Go over all pairs of numbers i < j, and keep those with a count of exactly one.",
        ),
        check_one_change,
        "A table of runs with one change each is most of an experiment's design. The rest is the number of seeds.",
    ),
}
