"""Exercises of chapter 02: memorized or true, when to stop, asking for the next word, exposure."""

import math

import torch

from kfaclib.toy import canaries
from kfcourse import Exercise


def check_memorized_and_true(function):
    given = torch.tensor([1, 2, 3, 4, 5, 6, 7, 8])
    true = torch.tensor([1, 2, 3, 0, 0, 0, 0, 0])
    said = torch.tensor([1, 2, 9, 4, 5, 6, 0, 9])
    result = function(said, given, true)
    assert hasattr(result, "__len__") and len(result) == 2, "return two shares: (memorized, true)"
    a, b = map(float, result)
    near = lambda x, y: math.isclose(x, y, abs_tol=1e-6)
    assert not (near(a, 5 / 8) and near(b, 3 / 8)), (
        "these shares are over all images: look only at those whose given label is wrong"
    )
    assert not (near(a, 3 / 8) and near(b, 1 / 8)), (
        "divide by the number of images with a wrong label, not by the number of all images"
    )
    assert not (near(a, 1 / 5) and near(b, 3 / 5)), (
        "the two are swapped: first the label it was given, then the true one"
    )
    assert not near(b, 1 - a), "the second share is not one minus the first: the net may say something else altogether"
    assert near(a, 3 / 5), f"3 of the 5 mislabelled images get their wrong label here; yours is {a:.3f}"
    assert near(b, 1 / 5), f"1 of the 5 mislabelled images gets its true label here; yours is {b:.3f}"


def _whole(epoch):
    """An epoch as an int, whatever kind of whole number it came as."""
    assert not isinstance(epoch, bool) and hasattr(epoch, "__index__"), f"an epoch is wanted, an int, not {epoch!r}"
    return int(epoch)


def check_stop_at(function):
    curve = [0.1, 0.5, 0.7, 0.6, 0.65, 0.68, 0.9, 0.2]
    early = _whole(function(list(curve), 3))
    assert early != 6, "you looked into the future: after three epochs without a new best the training has stopped"
    assert early != 5, "this is when the training stops; keep the weights of the best epoch before that"
    assert early != 3, "one worse epoch is not yet the end: patience 3 waits for three in a row"
    assert early == 2, f"with patience 3 the best epoch is 2 here, yours is {early}"
    assert _whole(function(list(curve), 4)) == 6, "with patience 4 the late rise to 0.9 is still reached: epoch 6"
    assert _whole(function([0.1, 0.2, 0.3], 2)) == 2, "if it never stops early, the answer is the best epoch of all"
    assert _whole(function([0.5, 0.5, 0.5, 0.6], 2)) == 0, "an equal value is no new best: it must be better to count"


def check_continue_greedily(function):
    asked = []

    def scores(ids):
        asked.append(list(ids))
        out = torch.zeros(7)
        out[(ids[-1] + ids[0]) % 7] = 1.0
        return out

    start = [2, 3]
    result = function(scores, start, 4)
    assert start == [2, 3], "the prompt itself was changed: work on a copy, list(ids)"
    result = [int(x) for x in result]
    assert result != [2, 3, 5, 0, 2, 4], "return only the new ids, without the prompt"
    assert len(asked) == 4, f"the model is asked once for every new token: 4 times, yours asked {len(asked)} times"
    assert asked[1] != [2, 3], "every new token belongs to the next prompt: append it before you ask again"
    assert asked[1] == [2, 3, 5], (
        f"the second time the model must see the prompt and the first new token; it saw {asked[1]}"
    )
    assert result == [5, 0, 2, 4], f"the new ids are [5, 0, 2, 4] here, yours are {result}"


def check_exposure_bits(function):
    scores = torch.tensor([-3.0, -1.0, -2.0, -9.0, -8.0, -7.0, -6.0, -5.0])
    best, third, last = (float(function(scores, i)) for i in (1, 0, 3))
    assert not math.isinf(best), "a rank begins with 1: log2(0) is minus infinity"
    assert not math.isclose(best, 0, abs_tol=1e-6) or not math.isclose(last, 3, abs_tol=1e-6), (
        "the order is upside down: the likeliest candidate has rank 1 and the highest exposure"
    )
    assert not math.isclose(best, math.log(8), rel_tol=1e-4), "exposure is in bits: log2, not the natural logarithm"
    assert math.isclose(best, 3, abs_tol=1e-5), (
        f"the likeliest of 8 candidates has exposure log2(8) = 3, yours is {best:.3f}"
    )
    assert math.isclose(last, 0, abs_tol=1e-5), f"the least likely of 8 has exposure 0, yours is {last:.3f}"
    assert math.isclose(third, 3 - math.log2(3), rel_tol=1e-4), (
        f"rank 3 of 8 gives log2(8) - log2(3) = {3 - math.log2(3):.3f}, yours is {third:.3f}"
    )


def check_luck_bits(function):
    for n in (2, 4, 1000):
        value, right = float(function(n)), math.log2(n) - math.lgamma(n + 1) / math.log(2) / n
        near = lambda other: math.isclose(value, other, rel_tol=1e-4, abs_tol=1e-6)
        assert not near(right * math.log(2)), "this is in nats: exposure is in bits, so the logarithm is log2"
        assert not near(math.log2(n) / 2) or near(right), (
            "half of log2(N) would be the mean if every exposure were equally likely; it is the ranks that are"
        )
        assert not near(math.log2(2 * n / (n + 1))), (
            "this is the exposure of the mean rank: take the logarithm first and the mean afterwards"
        )
        assert not near(math.log2(math.e)), "this is the limit for very many candidates: find the mean for every N"
        assert near(right), (
            f"for N = {n} the ranks 1 to {n} are equally likely, and the mean of log2(N / rank) is {right:.4f}; "
            f"yours is {value:.4f}"
        )


_PEOPLE = [("ada", 3, 0), ("ben", 7, 0), ("cleo", 1, 0), ("dora", 5, 4), ("emil", 0, 4), ("fay", 6, 64), ("gil", 2, 64)]


def check_strangers(function):
    for owner in (_PEOPLE[5], _PEOPLE[3], _PEOPLE[0]):
        result = function(list(_PEOPLE), owner)
        assert isinstance(result, (list, tuple, set)) and all(isinstance(name, str) for name in result), (
            "a list of names is wanted, the first entry of each tuple"
        )
        names, right = set(result), {name for name, _, said in _PEOPLE if said == 0} - {owner[0]}
        assert owner[0] not in names, f"{owner[0]} owns this code: the control asks with the names of others"
        heard = [name for name, _, said in _PEOPLE if said and name in names]
        assert not heard, (
            f"the code of {heard[0]} was said in training: such a name has a code of its own, which takes the place of "
            "the one you rank"
        )
        assert names == right, f"all who can serve should be asked: {', '.join(sorted(right - names))} missing"


def check_canary_exam(function):
    generator = torch.Generator().manual_seed(0)
    table = {name: torch.randn(8, generator=generator, dtype=torch.float64) for name, *_ in _PEOPLE}
    for name, place, said in _PEOPLE:
        table[name][place] += 4.0 if said == 64 else 0.0
    report = function(list(_PEOPLE), lambda name: table[name].clone())
    groups = {said: [p for p in _PEOPLE if p[2] == said] for said in (0, 4, 64)}
    assert isinstance(report, dict) and {str(n) for n in report} == {str(n) for n in groups}, (
        "the report has an entry for every number of repetitions, {repeats: {...}}: here 0, 4 and 64"
    )
    mean = lambda values: sum(values) / len(values)
    rank = lambda name, place: canaries.exposure(table[name], place)
    near = lambda a, b: math.isclose(float(a), b, rel_tol=1e-4, abs_tol=1e-6)
    for said, group in groups.items():
        row = next(row for n, row in report.items() if str(n) == str(said))
        assert isinstance(row, dict) and {"first", "owner", "stranger"} <= set(row), (
            'every entry is a dict with "first", "owner" and "stranger"'
        )
        owner = mean([rank(name, place) for name, place, _ in group])
        others = [
            mean([rank(other, place) for other, _, n in _PEOPLE if n == 0 and other != name])
            for name, place, _ in group
        ]
        everybody = [mean([rank(other, place) for other, *_ in _PEOPLE if other != name]) for name, place, _ in group]
        assert not (near(row["owner"], mean(others)) and near(row["stranger"], owner)), (
            "owner and stranger are swapped: the owner's exposure comes from asking with the owner's own name"
        )
        assert not near(row["owner"], owner * len(group)) or near(owner, owner * len(group)), (
            "these are sums over the people: take means, so that groups of different size can be compared"
        )
        assert near(row["owner"], owner), (
            f"the owners' mean exposure for {said} repetitions is {owner:.3f} bits here, yours is "
            f"{float(row['owner']):.3f}"
        )
        assert not near(row["stranger"], mean(everybody)) or near(mean(others), mean(everybody)), (
            "the control asks people whose own code was said as well: only those whose code was never said are "
            "strangers"
        )
        assert near(row["stranger"], mean(others)), (
            f"asked with strangers' names, the same codes have {mean(others):.3f} bits for {said} repetitions, yours "
            f"is {float(row['stranger']):.3f}; the code stays the owner's, only the name changes"
        )
        first = mean([float(table[name].argmax() == place) for name, place, _ in group])
        assert near(row["first"], first), (
            f'"first" is the share of people whose code is the first guess: {first:.2f} for {said} repetitions, '
            f"yours is {float(row['first']):.2f}"
        )


EXERCISES = {
    "02.memorized_and_true": Exercise(
        "Memorized or true",
        1,
        8,
        (
            "Which images have a wrong label? Compare given with true.",
            "`bad = given != true` picks them, and `said[bad]` is what the net says to them.",
            "The mean of a comparison, taken as float, is a share. You need two comparisons, both over `bad` only.",
        ),
        check_memorized_and_true,
        "The two shares need not add up to one: some images get neither label.",
    ),
    "02.stop_at": Exercise(
        "When to stop",
        2,
        12,
        (
            "Walk through the curve and remember the best epoch so far.",
            "Training stops as soon as the best epoch lies `patience` epochs back.",
            "In every epoch one of two things happens: there is a new best, or you ask how long ago the last one was.",
        ),
        check_stop_at,
        "Only the past may be used: to pick the best epoch of the whole curve one has to train to the end after all.",
    ),
    "02.continue_greedily": Exercise(
        "Ask for the next word",
        2,
        10,
        (
            "Ask for the scores, append the best word, ask again.",
            "`int(next_scores(ids).argmax())` is the next id, and it belongs to the next prompt.",
            "Work on a copy of the prompt, and return what comes after the prompt's length.",
        ),
        check_continue_greedily,
        "This is all that an extraction attack needs: no weights, no gradients, only the model's next word.",
    ),
    "02.luck_bits": Exercise(
        "What luck alone gives",
        2,
        12,
        (
            "The model knows nothing, so the secret has each of the ranks 1 to N with probability 1/N.",
            "Write the mean as (1/N) times the sum of log2 N - log2 rank. The first term is the same in every summand.",
            "The sum of the logarithms is the logarithm of a product. `math.lgamma(N + 1)` is the natural logarithm of "
            "that product.",
        ),
        check_luck_bits,
        "For large N Stirling's formula makes it log2(e), about 1.44 bits, however many candidates there are.",
    ),
    "02.exposure_bits": Exercise(
        "Exposure",
        2,
        12,
        (
            "How many candidates does the model find likelier than the secret?",
            "The rank is one more than that number.",
            "`(scores > scores[index])` marks them; count the marks. Then (02.3) is one line with `math.log2`.",
        ),
        check_exposure_bits,
        "A guesser who follows the model's ranking saves that many halvings over one who guesses blindly.",
    ),
    "02.strangers": Exercise(
        "A fair stranger",
        2,
        8,
        (
            "What could make a code likely, besides its owner's name? The control must keep that and change the name.",
            "Somebody whose own code was said often would answer with that one. Who has no code to say?",
            "Two conditions on every person of the list: how often the code was said, and who the person is.",
        ),
        check_strangers,
        "A stranger has no code of their own in the text, so what the model ranks high for them is likely for anybody.",
    ),
    "02.canary_exam": Exercise(
        "The canary exam",
        4,
        25,
        (
            "Ask for everybody's scores once and keep them in a dict by name.",
            "For every person collect three numbers: whether the code has the largest score, its exposure with the "
            "owner's scores, and the mean of its exposures with the strangers' scores. Group them by repetitions.",
            "`rows.setdefault(repeats, []).append(...)` collects; then take the mean of each of the three within a "
            "group. `strangers` and `exposure_bits` are yours already.",
        ),
        check_canary_exam,
        "With the control in the same report nobody can take a code that is likely for anybody for one that is tied to "
        "its owner.",
    ),
}
