"""Exercises of chapter 16: nats per token, runs, four steps for a weight, equal damage, how selective an edit is."""

import math

import torch

from kfaclib.smollm2 import difference
from kfcourse import Exercise
from kfcourse.learning.results import parts


def _logits(seed, tokens=7, words=11):
    return 3 * torch.randn(tokens, words, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def check_nats_per_token(function):
    for seed, start in ((0, 1), (1, 4), (2, 6)):
        logits = _logits(seed)
        ids = torch.randint(11, (7,), generator=torch.Generator().manual_seed(seed + 10))
        log_p = logits.log_softmax(-1)
        losses = [-log_p[t - 1, ids[t]].item() for t in range(start, 7)]
        right, value = sum(losses) / len(losses), float(function(logits.clone(), ids.clone(), start))
        shifted = -sum(log_p[t, ids[t]].item() for t in range(start, 7)) / len(losses)
        case = f"with 7 tokens of which those from number {start} on are asked"
        assert abs(value - shifted) > 1e-6, (
            "you compare the logits at a token with that token itself: the logits at place t predict the token at t + 1"
        )
        assert abs(value + right) > 1e-6, "the sign: a log-probability is negative, and the loss is positive"
        assert abs(value - right / math.log(2)) > 1e-6, "these are bits: nats use the natural logarithm"
        assert len(losses) == 1 or abs(value - sum(losses)) > 1e-6, "this is the sum over the tokens: take the mean"
        everything = -sum(log_p[t - 1, ids[t]].item() for t in range(1, 7)) / 6
        assert start == 1 or abs(value - everything) > 1e-6, f"{case}: you count the tokens before it as well"
        assert abs(value - right) < 1e-6, f"{case}, the mean loss is {right:.4f} nats, yours is {value:.4f}"


def check_longest_run(function):
    cases = {
        (1, 1, 0, 1, 1, 1, 0): 3,
        (0, 0, 0): 0,
        (1, 1, 1, 1): 4,
        (1, 0, 1, 0, 1): 1,
        (0, 1, 1): 2,
        (1, 1, 1, 0, 1): 3,
    }
    for hits, right in cases.items():
        value = function(torch.tensor(hits, dtype=torch.bool))
        said = "".join(".x"[h] for h in hits)
        assert sum(hits) == right or value != sum(hits), (
            f"{said}: this counts all right tokens; a run ends at the first wrong one"
        )
        assert not (hits[-1] == 1 and value < right), (
            f"{said}: the longest run is {right}, yours is {value}: does a run that reaches the end count?"
        )
        assert value == right, f"{said} (x is right): the longest run is {right}, yours is {value}"


def check_shipped_bytes(function):
    value = function()
    assert isinstance(value, (int, float)), f"a number of bytes is wanted, not {type(value).__name__}"
    assert value != 212_336_640, "these are bits: eight of them make a byte"
    assert value != 26_542_080, "these are the codes alone: every row has a scale of two bytes as well"
    assert value != 26_542_080 + 155_520 * 4, "a scale is a float16: two bytes, not four"
    assert value != 26_853_120 // 30, "this is one block of thirty"
    assert value == 26_853_120, (
        f"{value:,} is not it. Seven matrices a block hold 3,538,944 weights in 5,184 rows; there are thirty blocks, "
        "two bits for a weight and two bytes for a row"
    )


def check_four_steps(function):
    levels = torch.tensor([-3.0, -1.0, 1.0, 3.0], dtype=torch.float64)
    for seed in range(3):
        g = torch.Generator().manual_seed(seed)
        d = torch.randn(200, generator=g, dtype=torch.float64) * 10.0**-seed
        codes, scale = parts(function(d.clone()), 2, "the codes [n] (each -3, -1, 1 or 3) and the scale, a float")
        codes, scale = torch.as_tensor(codes, dtype=torch.float64), float(scale)
        assert codes.shape == d.shape, f"there is one code for each weight: {list(d.shape)}, not {list(codes.shape)}"
        strange = sorted(set(codes.tolist()) - set(levels.tolist()))
        assert not strange, f"a code is -3, -1, 1 or 3, and yours has {strange[0]:g}"
        assert scale > 0, f"the scale is {scale:g}: it is positive"
        lost = ((scale * codes - d).square().sum() / d.square().sum()).item()
        nearest = levels[(d[:, None] / scale - levels).abs().argmin(1)]
        with_nearest = ((scale * nearest - d).square().sum() / d.square().sum()).item()
        assert lost <= with_nearest + 1e-9, (
            f"with your scale {scale:.3g}, other codes lose less ({with_nearest:.3f} of the squares instead of "
            f"{lost:.3f}): each weight takes the nearest of the four steps"
        )
        best = ((codes * d).sum() / codes.square().sum()).item()
        best_loss = ((best * codes - d).square().sum() / d.square().sum()).item()
        ours, ours_scale = difference.encode(d[None])
        reachable = ((difference.decode(ours, ours_scale)[0] - d).square().sum() / d.square().sum()).item()
        mend = (
            f"for your codes the scale {best:.3g} would lose only {best_loss:.3f}, and for that scale other codes are "
            "nearer"
            if best_loss < lost - 1e-3
            else "improve codes and scale in turn, several times"
        )
        assert lost < reachable + 0.01, (
            f"{lost:.3f} of the sum of squares is lost, and {reachable:.3f} can be reached: {mend}"
        )


def check_equal_damage(function):
    calls = []

    def damage(strength, power):
        calls.append(strength)
        assert 0 <= strength <= 1, f"damage was asked for at the strength {strength}, which is not in [0, 1]"
        return 4 * (1 - strength) ** power

    for power, target in ((1.0, 1.0), (3.0, 0.5), (0.4, 2.0)):
        calls.clear()
        strength = function(lambda s, power=power: damage(s, power), target, 0.01)
        assert isinstance(strength, (int, float)), "return the strength, a number"
        right, got = 1 - (target / 4) ** (1 / power), 4 * (1 - float(strength)) ** power
        assert abs(got - target) <= 0.01, (
            f"at your strength {strength:.4f} the damage is {got:.3f}, and {target} was wanted within 0.01 "
            f"(at {right:.4f}): damage falls as the strength rises"
        )
        assert len(calls) <= 30, (
            f"damage was measured {len(calls)} times: every time costs minutes on a real model. Halve the interval"
        )


def check_selectivity(function):
    before = {"taught": 1.0, "like": 3.0, "other": 4.0}
    after = {"taught": 2.5, "like": 3.1, "other": 4.3}
    value = function(before, after)
    assert isinstance(value, dict), "return a dict: {kind of text: damage to the taught text over damage to that kind}"
    assert "taught" not in value, "the taught text is what the others are compared with: leave it out"
    assert set(value) == {"like", "other"}, f"the kinds are like and other, yours are {sorted(map(str, value))}"
    assert abs(float(value["like"]) - 2.5 / 3.1) > 1e-6, (
        "these are losses, not damages: subtract what the unedited model had"
    )
    assert abs(float(value["like"]) - 1 / 15) > 1e-6, "the other way round: the taught text's damage is on top"
    assert abs(float(value["like"]) - 15) < 1e-6 and abs(float(value["other"]) - 5) < 1e-6, (
        f"1.5 nats against 0.1 and 0.3 make 15 and 5, yours are {value}"
    )
    unharmed = function({"taught": 1.0, "like": 3.0}, {"taught": 1.5, "like": 3.0})
    assert unharmed["like"] == math.inf, (
        "text that costs nothing at all makes the ratio infinite: return math.inf there, and do not divide by zero"
    )


EXERCISES = {
    "16.nats_per_token": Exercise(
        "Nats per token",
        2,
        10,
        (
            "The logits at place t are the model's opinion on the token at place t + 1.",
            "Take the log-softmax of all rows, then pick one entry a row: that of the token that really follows.",
            "The tokens asked are start, start + 1, ...; their opinions stand one place earlier; the last is unused.",
        ),
        check_nats_per_token,
        "The mean over tokens makes texts of different length comparable; exp of it is the perplexity.",
    ),
    "16.longest_run": Exercise(
        "The longest run",
        1,
        6,
        (
            "Walk from left to right with a counter.",
            "A right token makes the counter one larger; what does a wrong one do to it?",
            "Keep the largest value that the counter ever had, also when the text ends within a run.",
        ),
        check_longest_run,
        "With all tokens before it given, a run of k says that greedy decoding from its start would recite k tokens.",
    ),
    "16.shipped_bytes": Exercise(
        "How large is the difference?",
        2,
        8,
        (
            "Count the weights of one block, matrix by matrix: rows times columns.",
            "Then count its rows: each matrix [O, I] has O of them, and each row has one scale.",
            "Thirty blocks; two bits are a quarter of a byte, and a float16 has two bytes.",
        ),
        check_shipped_bytes,
        "About a tenth of the model in bfloat16. The embedding, a quarter of all weights, was not trained.",
    ),
    "16.four_steps": Exercise(
        "Two bits for a weight",
        4,
        25,
        (
            "For a fixed scale s the best code of a weight is the step nearest to d / s. Where do two steps meet?",
            "For fixed codes c, the squared error sum (d - s c)^2 is a parabola in s: set its derivative to zero.",
            "Start from a scale of about half the mean magnitude, and take the two in turn: each can only lower the "
            "error. A dozen rounds are enough.",
        ),
        check_four_steps,
        "Lloyd's algorithm from 1957, and k-means in one dimension: it shrinks a difference to an eighth of bfloat16.",
    ),
    "16.equal_damage": Exercise(
        "Bring it to equal damage",
        2,
        12,
        (
            "Damage falls as strength rises from 0 to 1. Between which two strengths is the target at the beginning?",
            "Measure in the middle. If the damage there is too large, where must the strength lie?",
            "Stop as soon as a measured damage is within the tolerance, or after some twenty halvings.",
        ),
        check_equal_damage,
        "Every table of this chapter is made in this way: first equal damage to the text that shall go, then the bill.",
    ),
    "16.selectivity": Exercise(
        "How selective is an edit?",
        1,
        6,
        (
            "Damage is a difference: the loss after minus the loss before, of each kind of text.",
            "Divide the damage to the taught text by that to each of the other kinds.",
            "A text that was not harmed has a damage of zero or less: `math.inf` says so.",
        ),
        check_selectivity,
        "A single number hides the choice of the second text. Report it for text like the corpus and unlike it.",
    ),
}
