"""Exercises of chapter 02: memorized or true, when to stop, asking for the next word, exposure."""

import math

import torch

from kfcourse import Exercise


def check_memorized_and_true(function):
    given = torch.tensor([1, 2, 3, 4, 5, 6, 7, 8])
    true = torch.tensor([1, 2, 3, 0, 0, 0, 0, 0])
    said = torch.tensor([1, 2, 9, 4, 5, 6, 0, 9])
    result = function(said, given, true)
    assert isinstance(result, tuple) and len(result) == 2, "return two shares: (memorized, true)"
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


def check_stop_at(function):
    curve = [0.1, 0.5, 0.7, 0.6, 0.65, 0.68, 0.9, 0.2]
    early = function(curve, 3)
    assert isinstance(early, int) and not isinstance(early, bool), f"an epoch is wanted, an int, not {early!r}"
    assert early != 6, "you looked into the future: after three epochs without a new best the training has stopped"
    assert early != 5, "this is when the training stops; keep the weights of the best epoch before that"
    assert early != 3, "one worse epoch is not yet the end: patience 3 waits for three in a row"
    assert early == 2, f"with patience 3 the best epoch is 2 here, yours is {early}"
    assert function(curve, 4) == 6, "with patience 4 the late rise to 0.9 is still reached: epoch 6"
    assert function([0.1, 0.2, 0.3], 2) == 2, "if it never stops early, the answer is the best epoch of all"
    assert function([0.5, 0.5, 0.5, 0.6], 2) == 0, "an equal value is no new best: it must be better to count"


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


EXERCISES = {
    "02.memorized_and_true": Exercise(
        "Memorized or true",
        1,
        8,
        (
            "Which images have a wrong label? Compare given with true.",
            "`bad = given != true` picks them. Then two comparisons of `said[bad]`.",
            "`(said[bad] == given[bad]).float().mean().item()`, and the same with `true`.",
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
            "Stop as soon as the best epoch lies `patience` epochs back.",
            "For every epoch: if `value > curve[best]`, set best; otherwise, if `epoch - best >= patience`, leave the "
            "loop.",
        ),
        check_stop_at,
        "Only the past may be used. Whoever picks the best epoch of the whole curve has trained to the end after all.",
    ),
    "02.continue_greedily": Exercise(
        "Ask for the next word",
        2,
        10,
        (
            "Ask, append the best one, ask again.",
            "`int(next_scores(ids).argmax())` is the next id; it becomes part of the next prompt.",
            "Copy the prompt with `list(ids)`, append in a loop, and return what comes after the prompt's length.",
        ),
        check_continue_greedily,
        "This is all that an extraction attack needs: no weights, no gradients, only the model's next word.",
    ),
    "02.exposure_bits": Exercise(
        "Exposure",
        2,
        12,
        (
            "How many candidates does the model find likelier than the secret?",
            "Rank = 1 + number of larger scores.",
            "`math.log2(len(scores)) - math.log2(1 + (scores > scores[index]).sum().item())`",
        ),
        check_exposure_bits,
        "A guesser who follows the model's ranking needs `exposure` bits less than one who guesses blindly. "
        "A model that knows nothing gives about 1.4 bits on average, by luck alone.",
    ),
}
