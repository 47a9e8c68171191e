"""Plausible wrong answers to the exercises of chapter 17, with a fragment of what their check must say."""

import hashlib


def an_A_for_each(hidden, ffn, blocks, projections):
    return 4 * blocks * len(projections) * (hidden**2 + ffn**2)


def one_block(hidden, ffn, blocks, projections):
    G = sum(hidden**2 if p == "down" else ffn**2 for p in projections)
    return 4 * (G + hidden**2 * bool({"gate", "up"} & set(projections)) + ffn**2 * ("down" in projections))


def numbers_not_bytes(hidden, ffn, blocks, projections):
    return blocks * one_block(hidden, ffn, blocks, projections) // 4


def the_weights(hidden, ffn, blocks, projections):
    return 4 * blocks * hidden * ffn * len(projections)


def largest_first(sizes, room):
    parts, left = [], -1
    for i in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        if sizes[i] > left:
            parts.append([])
            left = room
        parts[-1].append(i)
        left -= sizes[i]
    return parts


def never_full(sizes, room):
    parts, left = [], -1
    for i, size in enumerate(sizes):
        if size >= left:
            parts.append([])
            left = room
        parts[-1].append(i)
        left -= size
    return parts


def one_too_late(sizes, room):
    parts, total = [[]], 0
    for i, size in enumerate(sizes):
        parts[-1].append(i)
        total += size
        if total > room:
            parts.append([])
            total = 0
    return [part for part in parts if part]


def lengths_only(found, manifest):
    return [name for name, known in manifest.items() if len(found.get(name, b"?")) != known["bytes"]]


def missing_is_an_error(found, manifest):
    return [name for name, known in manifest.items() if hashlib.sha256(found[name]).hexdigest() != known["sha256"]]


def what_is_there(found, manifest):
    return [
        name
        for name, content in found.items()
        if hashlib.sha256(content).hexdigest() != manifest.get(name, {}).get("sha256")
    ]


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


WRONG = {
    "17.factor_bytes": [
        (an_A_for_each, "share one A"),
        (one_block, "one block"),
        (numbers_not_bytes, "float32 takes four"),
        (the_weights, "A is [I, I]"),
    ],
    "17.passes": [
        (largest_first, "keep their order"),
        (never_full, "to the last byte"),
        (one_too_late, "more than the room"),
    ],
    "17.damaged": [
        (lengths_only, "its length is right"),
        (missing_is_an_error, "KeyError"),
        (what_is_there, "does not name is no damage"),
    ],
    "17.choose": [
        (by_the_report, "nothing left to report"),
        (lowest_recall, "the lowest recall"),
        (the_model_itself, "without an edit"),
        (strictly_below, "at most"),
    ],
}
