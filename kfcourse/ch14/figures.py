"""Figures and tables of chapter 14."""

from statistics import mean

import matplotlib.pyplot as plt

from kfaclib.lm import relearning
from kfcourse.show import tables
from kfcourse.show.bands import band
from kfcourse.show.plots import COLORS, described
from kfcourse.show.tables import spread

HALF, FRESH = "half of the quotes", "fresh text"  # what a model is trained on
STARTS = {  # (start, edit, trained on): label, colour, marker, line
    ("shallow", "K-FAC", HALF): ("edited, K-FAC", "blue", "o", "-"),
    ("shallow", "random basis", HALF): ("edited, random basis", "red", "D", ":"),
    ("shallow", "never trained", HALF): ("never trained, same start", "black", "s", "--"),
    ("shallow", "K-FAC", FRESH): ("edited, K-FAC, trained on fresh text", "grey", "^", "-."),
}
UNMATCHED = ("unmatched", "never trained", HALF)
SPEEDS = {  # rows of the table of tokens
    ("shallow", "K-FAC", HALF): "edited, K-FAC",
    ("shallow", "random basis", HALF): "edited, random basis",
    ("shallow", "never trained", HALF): "never trained, brought to the same start",
    UNMATCHED: "never trained, from nothing",
}


def runs(record, start, edit, on=HALF):
    """The run with this start, edit and training text of every seed of the record of `course experiments
    relearning`.
    """
    which = (start, edit, on)
    return [
        next(run for run in found if (run["start"], run["edit"], run["trained on"]) == which)
        for found in record["seeds"].values()
    ]


def curves(record, start, edit, on, part, key):
    """(training tokens [looks], values [looks][seeds]) of one kind of run; part: "watched" or "trained"."""
    looks = list(zip(*(run["rows"] for run in runs(record, start, edit, on)), strict=True))
    return [rows[0]["tokens"] for rows in looks], [[row[part][key] for row in rows] for rows in looks]


def gains(record, start, edit, on=HALF):
    """How much the token accuracy of the watched half has risen at the last look: one number for each seed."""
    ends = lambda run: [run["rows"][k]["watched"]["token_accuracy"] for k in (0, -1)]
    return [last - first for first, last in map(ends, runs(record, start, edit, on))]


def tokens_until(record, start, edit, on=HALF, level=0.5):
    """Training tokens until this share of the trained quotes is recited again: one number for each seed."""
    strict = lambda run: [{"tokens": row["tokens"], "strict": row["trained"]["strict"]} for row in run["rows"]]
    return [relearning.tokens_to(strict(run), "strict", level) for run in runs(record, start, edit, on)]


def coming_back(record):
    """Left: token accuracy of the half that is only watched; right: strict recall of the half that is trained on,
    against training tokens. Lines are means, bands reach over the seeds.
    """
    fig, axes = plt.subplots(1, 2, figsize=(11, 4.4))
    for which, look in STARTS.items():
        x, values = curves(record, *which, "watched", "token_accuracy")
        band(axes[0], values, *look, [n / 1000 for n in x])
    lines = {which: look for which, look in STARTS.items() if which[2] == HALF}
    for which, look in (lines | {UNMATCHED: ("never trained, from nothing", "purple", "v", "-.")}).items():
        x, values = curves(record, *which, "trained", "strict")
        band(axes[1], values[1:], *look, x[1:])  # a logarithmic axis has no zero
    axes[0].set(title="the half that is only watched", ylabel="token accuracy", ylim=(0.845, 1.02))
    axes[0].set(xlabel="tokens trained on, in thousands")
    axes[1].set(title="the half that is trained on", ylabel="strict recall", ylim=(-0.03, 1.42))
    axes[1].set(xlabel="tokens trained on", xscale="log")
    for ax in axes:
        ax.legend(fontsize=9.5, loc="upper left")
    return described(
        fig,
        "Left: token accuracy of the half that is only watched. It rises for both edited models, in K-FAC's basis and "
        "in a random one, and falls for the model that was never trained and for the edited one trained on fresh text. "
        "Right: strict recall of the half that is trained on returns first in the edited models, later in the control "
        "from the same start, and last from nothing.",
    )


def restored(record):
    """Token accuracy of the watched half from the start to the last look, for two depths of the edit: an arrow for
    every seed, edited and never trained.
    """
    fig, ax = plt.subplots(figsize=(8.5, 4.2))
    ticks = []
    for place, (start, edit) in enumerate((s, e) for s in ("shallow", "deep") for e in ("K-FAC", "never trained")):
        color = COLORS["blue" if edit == "K-FAC" else "black"]
        for shift, run in zip((-0.2, 0, 0.2), runs(record, start, edit), strict=True):
            first, last = (run["rows"][k]["watched"]["token_accuracy"] for k in (0, -1))
            arrow = {"arrowstyle": "-|>", "color": color, "lw": 2.4}
            ax.annotate("", (place + shift, last), (place + shift, first), arrowprops=arrow)
            ax.plot([place + shift] * 2, [first, last], color=color, lw=0)  # the axis reaches to the arrow's end
            ax.plot(place + shift, first, "o", color=color, ms=6)
        ticks.append(f"{'edited' if edit == 'K-FAC' else 'never trained'}\n{start}")
    ax.set_xticks(range(len(ticks)), ticks)
    ax.set(ylabel="token accuracy, watched half", title="training on one half: what happens to the other")
    ax.grid(axis="x", visible=False)
    return described(
        fig,
        "Arrows from the start to the end of training, three for each kind. For edited models they point upwards, from "
        "the deep start further than from the shallow one; for models that were never trained on the quotes they point "
        "downwards.",
    )


def speeds(record):
    """Show how many training tokens it takes until half of the trained quotes are recited again."""
    rows = []
    for which, label in SPEEDS.items():
        found = tokens_until(record, *which)
        before = [run.get("before", 0) for run in runs(record, *which)]
        rows.append([label, *(f"{tokens:,.0f}" for tokens in found), f"{mean(before):,.0f}"])
    seeds = [f"seed {seed}" for seed in record["seeds"]]
    tables.table(["tokens until half is recited", *seeds, "spent before, to reach the start"], rows)


def speed_ratio(record):
    """How many times more tokens a model needs that never read the quotes, from nothing, than the edited one: mean over
    the seeds.
    """
    pairs = zip(tokens_until(record, *UNMATCHED), tokens_until(record, "shallow", "K-FAC"), strict=True)
    return mean(slow / fast for slow, fast in pairs)


def attacks(found):
    """Show {model: [(tokens, trained half, watched half)]} of this run, the first and the last look."""
    rows = []
    for name, looks in found.items():
        (_, trained, watched), (tokens, trained_after, watched_after) = looks[0], looks[-1]
        rows.append([name, f"{trained:.3f} → {trained_after:.3f}", f"{watched:.3f} → {watched_after:.3f}"])
    tables.table([f"after {tokens:,} tokens: words right", "trained half", "watched half"], rows)


def found(record, mine):
    """Rows of the table at the chapter's end. mine: {model: gain of the watched half} of this run."""
    yours = {name: f"{gain:+.3f}" for name, gain in mine.items()}
    signed = lambda values: f"{mean(values):+.3f} ({min(values):+.3f} to {max(values):+.3f})"
    half = lambda which: " / ".join(f"{tokens:,.0f}" for tokens in tokens_until(record, *which))
    rows = [
        [f"watched half gains: {label}", None, signed(gains(record, *which)), yours.get(which[1])]
        for which, label in SPEEDS.items()
        if which != UNMATCHED
    ]
    last = [run["rows"][-1]["watched"]["strict"] for run in runs(record, "shallow", "K-FAC")]
    rows.append(["trained on fresh text, K-FAC", None, signed(gains(record, "shallow", "K-FAC", FRESH)), None])
    rows.append(["watched half, strict recall at the end, K-FAC", None, spread(last), None])
    rows.append(["tokens until half is recited, K-FAC", None, half(("shallow", "K-FAC", HALF)), None])
    rows.append(["the same, never trained, from nothing", None, half(UNMATCHED), None])
    return rows
