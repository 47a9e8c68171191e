"""Figures and tables of chapter 12."""

from statistics import mean

import matplotlib.pyplot as plt
import torch

from kfaclib.io import report
from kfaclib.lm import relearning
from kfcourse.experiments import evidence
from kfcourse.show import shares, tables
from kfcourse.show.bands import band
from kfcourse.show.plots import COLORS, METHODS, described
from kfcourse.show.tables import spread

MARKS = METHODS | {
    "BalancedSubnet": ("green", "v", "-"),
    "gradient ascent": ("purple", "P", "--"),
    "noise": ("grey", "X", ":"),
}  # colour, marker, line
TRAINED = ("BalancedSubnet", "gradient ascent")
EDITS = ("K-FAC", "flattest block", "uphill", "SVD", "random basis", "noise")  # of the record `evidence`
ABILITIES = {"facts_rare": "rare facts", "arithmetic": "sums", "boolean": "boolean"}


def runs_of(texts, length):
    """The set of all runs of so many words in the texts, lists of words or of token ids."""
    return {tuple(words[k : k + length]) for words in texts for k in range(len(words) - length + 1)}


def training(curves):
    """Token accuracy on seen and unseen quotes after every epoch: {method: {"seen": [...], "unseen": [...]}}, epoch 0
    first.
    """
    fig, axes = plt.subplots(1, len(curves), figsize=(9.5, 3.8), sharey=True)
    for ax, (method, curve) in zip(axes, curves.items(), strict=True):
        for part, line, marker in (("seen", "-", "o"), ("unseen", "--", "s")):
            epochs = range(len(curve[part]))
            color = COLORS[MARKS[method][0]]
            ax.plot(epochs, curve[part], line, marker=marker, color=color, label=f"{part} quotes")
        ax.set(xlabel="epoch", title=method)
        ax.legend(loc="lower left")
    axes[0].set_ylabel("suffix tokens right")
    return described(
        fig,
        "Two panels. Token accuracy falls epoch by epoch on seen quotes for both trained methods; on unseen quotes it "
        "falls later and less.",
    )


def seen_unseen(runs, live=None):
    """How much more is right on unseen quotes than on seen ones, and the price, when every method has forgotten the
    seen ones equally.

    runs: the record's {seed: measured}; live: {method: {"seen", "unseen", "perplexity"}} of this run, as crosses.
    """
    fig, axes = plt.subplots(1, 2, figsize=(9.5, 4.4), sharey=True)
    rows = [run["equal_forgetting"] for run in runs.values()]
    methods = list(rows[0])
    for ax, value in zip(axes, (_gap, lambda row: row["perplexity"]), strict=True):
        for place, method in enumerate(methods):
            color, marker, _ = MARKS[method]
            found = [value(row[method]) for row in rows]
            ends = [min(found), max(found)]
            ax.plot(ends, [place] * 2, color=COLORS[color], lw=7, alpha=0.35, solid_capstyle="round")
            ax.plot(mean(found), place, marker, ms=11, color=COLORS[color])
            if live and method in live:
                ax.plot(value(live[method]), place, "x", ms=9, mew=2.4, color=COLORS["black"])
    axes[0].set_yticks(range(len(methods)), methods)
    axes[0].invert_yaxis()
    axes[0].axvline(0, color=COLORS["black"], lw=1)
    axes[0].set(xlabel="tokens right: unseen minus seen quotes", title="how much of it is the list")
    axes[1].set(xlabel="perplexity of fresh text / before", title="what it costs")
    axes[1].axvline(1, color=COLORS["black"], lw=1)
    return described(
        fig,
        "Left: tokens right on unseen minus seen quotes, about zero for the methods without labels and clearly above "
        "zero for the two trained ones. Right: perplexity over before, one for the trained methods, close to one for "
        "curvature, clearly above for low rank, random basis and noise. Crosses mark this run.",
    )


def _gap(row):
    return row["unseen"]["token_accuracy"] - row["seen"]["token_accuracy"]


def over_seeds(runs, reading, method, pick):
    """pick(row of the method, unedited row) of each seed of the record `baselines`; reading: "equal_forgetting",
    "equal_perplexity" or "few_labels".
    """
    return [pick(run[reading][method], run["baseline"]) for run in runs.values()]


def kept(ability):
    """A `pick` for `over_seeds`: what is left of an ability, as a share of what it was."""
    return lambda row, base: row["tasks"][ability] / base["tasks"][ability]


def mean_unseen(runs):
    """{method: loose recall of unseen quotes at equal forgetting of the seen ones, mean over the seeds}."""
    methods = next(iter(runs.values()))["equal_forgetting"]
    loose = lambda row, _: row["unseen"]["loose"]
    return {method: mean(over_seeds(runs, "equal_forgetting", method, loose)) for method in methods}


def comparison(runs, reading, asked):
    """Show one table of the record `baselines`: what each method leaves of unseen quotes, and its price, as means over
    the seeds. asked: unseen quotes of each seed.
    """
    lines = []
    for method in next(iter(runs.values()))[reading]:
        of = lambda pick: over_seeds(runs, reading, method, pick)
        lines.append(
            [
                method,
                mean(of(lambda row, _: row["seen"]["token_accuracy"])),
                mean(of(lambda row, _: row["unseen"]["token_accuracy"])),
                mean(of(lambda row, _: row["unseen"]["loose"])),
                shares.pooled(of(lambda row, _: row["unseen"]["strict"]), asked),
                mean(of(lambda row, _: row["perplexity"])),
                *(mean(of(kept(ability))) for ability in ABILITIES),
            ]
        )
    strict = f"strict [95 % of {asked * len(runs)}]"
    header = ["", "seen: tokens", "unseen: tokens", "loose", strict, "perplexity ×", *ABILITIES.values()]
    tables.table(header, lines)


def effort(runs):
    """Show what each method was given: labelled quotes for its directions, and CPU seconds, from the record."""
    first, lines = next(iter(runs.values())), []
    for method, labelled in first["labelled"]["directions"].items():
        seconds = mean(run["cpu_seconds"].get(method, 0) for run in runs.values())
        lines.append([method, labelled, first["labelled"]["strength"], round(seconds)])
    tables.table(["", "labelled quotes, directions", "labelled quotes, strength", "CPU seconds"], lines)


def edits_of_2026(runs):
    """Show price and unseen quotes of two later edits beside K-FAC and the controls, from the record `evidence`."""
    lines = []
    for method in EDITS:
        paid, whole = (read(runs, "upper", method) for read in (evidence.prices_of, evidence.kept))
        values = (*paid.values(), whole["facts_rare"], whole["arithmetic"])
        lines.append([method, *map(spread, values)])
    names = ("perplexity ×, like the corpus", "other text", "unseen: tokens", "rare facts", "sums")
    tables.table(["", *names], lines)


def staircases(record):
    """[rows of one seed], perplexity over before, of the record `seeds`."""
    return [
        [{**step, "perplexity": step["perplexity"] / run["rows"][0]["perplexity"]} for step in run["staircase"]]
        for run in record["seeds"].values()
    ]


def masses(record, live):
    """Recall of the unseen quotes and perplexity against the share of curvature dropped, 1 - mass, on a logarithmic
    axis.

    record: `seeds`; live: {"mass", "strict", "loose", "token_accuracy", "perplexity"} of this run, as crosses.
    """
    fig, axes = plt.subplots(1, 2, figsize=(9.5, 4.2))
    runs = staircases(record)
    dropped = [1 - row["mass"] for row in runs[0]]
    lines = (
        (axes[0], "token_accuracy", "tokens right", "green", "^", ":"),
        (axes[0], "loose", "loose recall", "orange", "s", "--"),
        (axes[0], "strict", "strict recall", "blue", "o", "-"),
        (axes[1], "perplexity", "perplexity", "red", "D", "-"),
    )
    for ax, key, label, color, marker, line in lines:
        values = [[run[k][key] for run in runs] for k in range(len(dropped))]
        band(ax, values, label, color, marker, line, dropped)
        mine = {"ms": 9, "mew": 2.4, "color": COLORS["black"], "ls": ""}
        ax.plot(1 - live["mass"], live[key], "x", label="this run" if key == "perplexity" else None, **mine)
    for ax, title in zip(axes, ("the unseen quotes", "fresh text: perplexity / before"), strict=True):
        ax.set_xscale("log")
        ax.set(xlabel="curvature dropped, 1 - mass", title=title)
        ax.legend()
    return described(
        fig,
        "Against the share of curvature dropped, token accuracy falls gently while strict recall drops from nearly one "
        "to zero within one step; perplexity stays near one until a tenth is dropped and then rises steeply.",
    )


def ranks(found):
    """Show {model: (rank [N, S], log_p [N, S])}: how far down the true words stand, and what sampling would find."""
    lines = []
    for name, (rank, log_p) in found.items():
        inside = [relearning.within(rank, k) for k in (1, 5, 10)]
        drawn = relearning.chance(log_p, 10_000).mean().item()
        lines.append([name, *(f"{share:.2f}" for pair in inside for share in pair), f"{drawn:.3f}"])
    header = ["", "words: first", "all of the quote", "among 5", "all", "among 10", "all", "found in 10 000 draws"]
    tables.table(header, lines)


def samples(record, most=9):
    """The mean chance that at least one of n sampled continuations is the quote, word for word, against n: before,
    edited, never trained.

    record: `variants`, whose "remains" hold log-probabilities of whole suffixes.
    """
    fig, ax = plt.subplots(figsize=(8, 4.2))
    numbers = [10**k for k in range(most + 1)]
    looks = {
        "before": ("before the edit", "black", "o", ":"),
        "edited": ("edited, K-FAC", "blue", "o", "-"),
        "never trained": ("never trained on them", "grey", "s", "--"),
    }
    for kind, look in looks.items():
        remains = [run["remains"][kind]["suffix_log_p"] for run in record["seeds"].values()]
        logs = [torch.tensor(values, dtype=torch.float64)[:, None] for values in remains]
        values = [[relearning.chance(x, n).mean().item() for x in logs] for n in numbers]
        band(ax, values, *look, numbers)
    ax.set_xscale("log")
    ax.set(xlabel="continuations sampled", ylabel="share of quotes found", ylim=(-0.02, 1.03))
    ax.set_title("what patience brings back")
    ax.legend(loc="center left", bbox_to_anchor=(0.02, 0.62))
    return described(
        fig,
        "Share of quotes found word for word against the number of continuations sampled: at once before the edit; "
        "after it none at a hundred, some at ten thousand, most at a thousand million; a model never trained on them "
        "finds none.",
    )


def found(runs, asked, live):
    """Rows of the table at the chapter's end. The paper's windows are held out, so they stand beside our unseen quotes.

    live: {method: {"seen", "unseen", "perplexity"}} of this run, at equal forgetting of its seen quotes.
    """
    paper = {row["method"]: row for row in report.paper()["rows"] if row["model"].endswith("7B")}
    rows = []
    for method in ("K-FAC", "BalancedSubnet", "SVD"):
        theirs, mine = paper[method], live.get(method)
        of = lambda pick: over_seeds(runs, "equal_forgetting", method, pick)
        price = f"{theirs['perplexity'] / paper['baseline']['perplexity']:.2f}"
        strict = shares.pooled(of(lambda row, _: row["unseen"]["strict"]), asked)
        loose = {half: of(lambda row, _: row[half]["loose"]) for half in ("seen", "unseen")}
        yours = "{:.2f}".format
        rows += [
            [
                f"{method}: loose recall, seen quotes",
                None,
                spread(loose["seen"]),
                mine and yours(mine["seen"]["loose"]),
            ],
            [
                f"{method}: loose recall, held out (here: unseen quotes)",
                f"{theirs['loose']:.2f}",
                spread(loose["unseen"]),
                mine and yours(mine["unseen"]["loose"]),
            ],
            [
                f"{method}: strict recall, held out [95 % of {asked * len(runs)}]",
                f"{theirs['strict']:.3f}",
                strict,
                mine and f"{mine['unseen']['strict']:.3f}",
            ],
            [f"{method}: loose recall, famous quotes", f"{theirs['quotes_loose']:.2f}", None, None],
            [
                f"{method}: perplexity over before",
                price,
                spread(of(lambda row, _: row["perplexity"])),
                mine and yours(mine["perplexity"]),
            ],
        ]
    return rows
