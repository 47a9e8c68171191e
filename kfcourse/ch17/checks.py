"""Exercises of chapter 17: bytes of the factors, passes under a budget, a manifest, choosing from a sweep."""

import hashlib

from kfaclib.collecting import resumable
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


def check_passes(function):
    for sizes, room in (
        ([4, 3, 3, 2, 5], 7),
        ([5, 5, 5], 5),
        ([1, 2, 3, 4], 100),
        ([6, 1, 6, 1, 6], 8),
        ([2, 2, 2, 2], 4),
    ):
        found, case = function(list(sizes), room), f"sizes {sizes}, room {room}"
        assert isinstance(found, list) and all(isinstance(part, list) for part in found), (
            f"{case}: a list of lists of indices is wanted"
        )
        flat = [i for part in found for i in part]
        assert sorted(flat) == list(range(len(sizes))), f"{case}: every index should be there once, yours are {flat}"
        assert flat == sorted(flat), (
            f"{case}: the jobs keep their order, so that a pass over late layers stays a short one; yours is {found}"
        )
        over = next((part for part in found if sum(sizes[i] for i in part) > room), None)
        assert over is None, f"{case}: the pass {over} needs {sum(sizes[i] for i in over or [])}, more than the room"
        right = resumable.fill(sizes, room)
        assert len(found) == len(right), (
            f"{case}: {len(right)} passes are enough, yours needs {len(found)}; a pass may be filled to the last byte"
        )
        assert found == right, f"{case}: fill each pass from the front: {right}, yours is {found}"


def entry(content):
    """What a manifest says of a file."""
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def check_damaged(function):
    good = {"config.json": b"{}", "model.safetensors": bytes(range(200)), "tokenizer.json": b"words"}
    manifest = {name: entry(content) for name, content in good.items()}
    assert function(dict(good), manifest) == [], "all files are as the manifest says, and the list should be empty"
    assert function(good | {"notes.txt": b"mine"}, manifest) == [], (
        "a file that the manifest does not name is no damage"
    )
    try:
        found = function({k: v for k, v in good.items() if k != "config.json"}, manifest)
    except KeyError:
        raise AssertionError("a file that is missing should be in the list; yours stops with a KeyError") from None
    assert found == ["config.json"], f"config.json is missing, and should be in the list; yours is {found}"
    cut = function(good | {"model.safetensors": good["model.safetensors"][:-1]}, manifest)
    assert cut == ["model.safetensors"], f"the last byte of model.safetensors was cut off; your list is {cut}"
    flipped = bytearray(good["model.safetensors"])
    flipped[7] ^= 1
    assert function(good | {"model.safetensors": bytes(flipped)}, manifest) == ["model.safetensors"], (
        "one bit of model.safetensors was turned: its length is right, and its SHA-256 is not"
    )
    both = function({"tokenizer.json": b"swords"}, manifest)
    assert both == list(manifest), f"the names come in the order of the manifest, {list(manifest)}; yours are {both}"


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


EXERCISES = {
    "17.factor_bytes": Exercise(
        "Bytes of the factors",
        2,
        8,
        (
            "A projection of [O, I] has an A of I x I and a G of O x O numbers, four bytes each.",
            "gate and up are [ffn, hidden], down is [hidden, ffn]. Every projection has a G of its own; gate and up "
            "read one input and share one A.",
            "G: `ffn**2` for each of gate and up, `hidden**2` for down. A: `hidden**2` once if gate or up is chosen, "
            "`ffn**2` if down is. "
            "Times `4 * blocks`.",
        ),
        check_factor_bytes,
        "Widths enter squared. That is why factors outgrow weights, and why sharing the small A saves so little.",
    ),
    "17.passes": Exercise(
        "Passes under a budget",
        2,
        10,
        (
            "Go through the jobs once, and keep in mind how much of the present pass is left.",
            "If the next job fits into what is left, it joins the pass; otherwise a new pass begins, with the whole "
            "room.",
            "Start with `parts, left = [], -1`. For each size: if `size > left`, append `[]` and set `left = room`; "
            "then append the index and subtract.",
        ),
        check_passes,
        "For jobs that must keep their order, filling from the front is already the fewest: no plan can have got "
        "further with as many passes.",
    ),
    "17.damaged": Exercise(
        "A manifest",
        2,
        8,
        (
            "For every name of the manifest ask three questions: is it there, is it as long, has it the same SHA-256?",
            "`hashlib.sha256(content).hexdigest()` is the digest; `found.get(name)` is None for a file that is "
            "missing.",
            "A list comprehension over `manifest.items()`: keep the name if it is not in `found`, or its length or "
            "digest differs.",
        ),
        check_damaged,
        "The length is compared for speed and for a better message; the digest decides. It proves that the file is "
        "the one that was listed, "
        "not that the list is honest.",
    ),
    "17.choose": Exercise(
        "Choose, and do not peek",
        3,
        10,
        (
            "Write down which columns you may read: those of the half that is for choosing.",
            'Candidates are the rows with `blocks` that have `row["choose"]["strict"] <= bar`; there may be none.',
            '`min(good, key=lambda row: row["choose"]["perplexity"], default=None)`',
        ),
        check_choose,
        "One half has made the choice and is used up; the other one may now say how good it is, once.",
    ),
}
