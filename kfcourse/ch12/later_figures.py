"""Figures of chapter 12, second half: the detector, other rankings, and what comes back."""

from statistics import mean

import matplotlib.pyplot as plt
import torch

from kfaclib.lm.relearning import chance
from kfcourse.show.bands import band
from kfcourse.show.plots import COLORS

STARTS = {  # (start, edit, trained on): label, colour, marker, line
    ("shallow", "K-FAC", "half of the quotes"): ("edited, K-FAC", "blue", "o", "-"),
    ("shallow", "random basis", "half of the quotes"): ("edited, random basis", "red", "D", ":"),
    ("shallow", "never trained", "half of the quotes"): ("never trained, same start", "black", "s", "--"),
    ("shallow", "K-FAC", "fresh text"): ("edited, K-FAC, trained on fresh text", "grey", "^", "-."),
}


def runs(seeds, start, edit, on="half of the quotes"):
    """The run with this start, edit and training text of every seed of the record of `course experiments
    relearning`.
    """
    return [
        next(r for r in found if (r["start"], r["edit"], r["trained on"]) == (start, edit, on))
        for found in seeds.values()
    ]


def curves(seeds, start, edit, on, part, key):
    """(training tokens [looks], values [looks][seeds]) of one kind of run; part: "watched" or "trained"."""
    found = runs(seeds, start, edit, on)
    return [row["tokens"] for row in found[0]["rows"]], [
        [row[part][key] for row in looks] for looks in zip(*(r["rows"] for r in found), strict=True)
    ]


def coming_back(seeds):
    """Left: token accuracy of the half that is only watched, right: strict recall of the half that is trained on,
    against training tokens.

    seeds: {seed: runs} of the record; lines are means, bands reach over the seeds.
    """

    def trained(start, edit):
        x, values = curves(seeds, start, edit, "half of the quotes", "trained", "strict")
        return values[1:], x[1:]  # a logarithmic axis has no zero

    fig, axes = plt.subplots(1, 2, figsize=(11, 4.4))
    for (start, edit, on), (label, color, marker, line) in STARTS.items():
        x, values = curves(seeds, start, edit, on, "watched", "token_accuracy")
        band(axes[0], values, label, color, marker, line, [n / 1000 for n in x])
        if on != "fresh text":
            values, x = trained(start, edit)
            band(axes[1], values, label, color, marker, line, x)
    values, x = trained("unmatched", "never trained")
    band(axes[1], values, "never trained, from nothing\n(not matched)", "purple", "v", "-.", x)
    axes[0].set(
        title="the half that is only watched",
        ylabel="token accuracy",
        xlabel="tokens trained on, in thousands",
        ylim=(0.845, 0.995),
    )
    axes[1].set(
        title="the half that is trained on",
        ylabel="strict recall",
        xlabel="tokens trained on",
        xscale="log",
        ylim=(-0.03, 1.42),
    )
    for ax in axes:
        ax.legend(fontsize=9.5, loc="upper left")
    return fig


def restored(seeds, key="token_accuracy"):
    """Token accuracy of the watched half, start and best, for both depths: an arrow for every seed, edited and never
    trained.
    """
    fig, ax = plt.subplots(figsize=(8.5, 4.2))
    ticks = []
    for place, (start, edit) in enumerate((s, e) for s in ("shallow", "deep") for e in ("K-FAC", "never trained")):
        color = COLORS["blue" if edit == "K-FAC" else "black"]
        for shift, run in zip((-0.2, 0, 0.2), runs(seeds, start, edit)):
            values = [row["watched"][key] for row in run["rows"]]
            end = max(
                values[1:], key=lambda v: abs(v - values[0])
            )  # the look that is farthest from the start, up or down
            ax.annotate(
                "",
                (place + shift, end),
                (place + shift, values[0]),
                arrowprops={"arrowstyle": "-|>", "color": color, "lw": 2.4},
            )
            ax.plot(
                [place + shift] * 2, [values[0], end], color=color, lw=0
            )  # so that the axis reaches to the arrow's end
            ax.plot(place + shift, values[0], "o", color=color, ms=6)
        ticks.append(f"{'edited' if edit == 'K-FAC' else 'never trained'}\n{start}")
    ax.set_xticks(range(len(ticks)), ticks)
    ax.set(ylabel="token accuracy, watched half", title="training on one half: what happens to the other")
    ax.grid(axis="x", visible=False)
    return fig


def telling_apart(seeds, kinds):
    """The chance that a token of a quote has more flat energy than a token of another kind, by block.

    seeds: {seed: measured} of the record of `course experiments detector`; kinds: {kind: (label, colour, marker,
    line)}.
    """
    fig, ax = plt.subplots(figsize=(8.5, 4.4))
    blocks = list(next(iter(seeds.values()))["auc"])
    for kind, look in kinds.items():
        values = [
            [run["auc"][b] if kind == "windows" else run["tokens"][kind]["auc"][b] for run in seeds.values()]
            for b in blocks
        ]
        band(ax, values, *look)
    ax.axhline(0.5, color=COLORS["black"], lw=1)
    ax.set(xlabel="block", ylabel="AUC, quotes against ...", ylim=(0, 1.03), title="a detector that has seen no quote")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=10.5)
    return fig


def often(seeds, block):
    """How often a passage must be read to be seen: AUC against fresh text over repeats, by flat energy in one block and
    by probability.
    """
    fig, ax = plt.subplots(figsize=(8, 4.2))
    repeats = list(next(iter(seeds.values()))["ladder"])
    x = [int(n) for n in repeats]
    band(
        ax,
        [[run["ladder"][n][block] for run in seeds.values()] for n in repeats],
        f"flat energy, block {block}",
        "blue",
        "o",
        "-",
        x,
    )
    band(
        ax,
        [[run["ladder, probability"][n] for run in seeds.values()] for n in repeats],
        "the model's own probability",
        "orange",
        "s",
        "--",
        x,
    )
    ax.axhline(0.5, color=COLORS["black"], lw=1)
    ax.set_xscale("log", base=2)
    ax.set_xticks(x, repeats)
    ax.set(
        xlabel="times in the training data",
        ylabel="AUC against fresh text",
        ylim=(0.3, 1.03),
        title="how often must it be read to be seen?",
    )
    ax.legend(loc="lower right")
    return fig


def variants(seeds, names, tasks):
    """One row a variant: perplexity over before (left), and tasks' accuracy over before (right), means with the seeds'
    range.

    seeds: {seed: measured} of the record of `course experiments variants`; names: variants in the order shown; tasks:
    {task: (label, colour, marker)}.
    """
    fig, axes = plt.subplots(1, 2, sharey=True, figsize=(11, 0.42 * len(names) + 1.4), width_ratios=(1, 1.6))

    def point(ax, values, place, color, marker, label):
        ax.plot([min(values), max(values)], [place] * 2, color=COLORS[color], lw=5, alpha=0.3, solid_capstyle="round")
        ax.plot(mean(values), place, marker, color=COLORS[color], ms=8, label=label)

    for place, name in enumerate(names):
        pairs = [(next(r for r in run["rows"] if r["variant"] == name), run["rows"][0]) for run in seeds.values()]
        point(axes[0], [r["perplexity"] / base["perplexity"] for r, base in pairs], place, "black", "o", None)
        for shift, (task, (label, color, marker)) in zip((-0.2, 0, 0.2), tasks.items()):
            point(
                axes[1],
                [r["tasks"][task] / base["tasks"][task] for r, base in pairs],
                place + shift,
                color,
                marker,
                None if place else label,
            )
    axes[0].set_yticks(range(len(names)), names)
    axes[0].invert_yaxis()
    axes[0].set(xlabel="perplexity over before", title="general price")
    axes[1].set(xlabel="accuracy over before", title="what each ability keeps")
    axes[1].legend(loc="lower left", fontsize=10)
    return fig


def samples(seeds, most=9):
    """The mean chance that at least one of n sampled continuations is the quote, word for word, against n: before,
    edited, never trained.

    seeds: the record of `course experiments variants`, whose "remains" hold log-probabilities of whole suffixes.
    """
    fig, ax = plt.subplots(figsize=(8, 4.2))
    numbers = [10**k for k in range(most + 1)]
    for kind, look in {
        "before": ("before the edit", "black", "o", ":"),
        "edited": ("edited, K-FAC", "blue", "o", "-"),
        "never trained": ("never trained on them", "grey", "s", "--"),
    }.items():
        logs = [
            torch.tensor(run["remains"][kind]["suffix_log_p"], dtype=torch.float64)[:, None] for run in seeds.values()
        ]
        band(ax, [[chance(x, n).mean().item() for x in logs] for n in numbers], *look, numbers)
    ax.set_xscale("log")
    ax.set(
        xlabel="continuations sampled",
        ylabel="share of quotes found",
        ylim=(-0.02, 1.03),
        title="what patience brings back",
    )
    ax.legend(loc="center left", bbox_to_anchor=(0.02, 0.62))
    return fig
