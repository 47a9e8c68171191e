"""Figures and tables of chapter 13."""

import itertools
from statistics import mean

import matplotlib.pyplot as plt
from scipy.stats import spearmanr

from kfcourse.experiments import evidence
from kfcourse.show import tables
from kfcourse.show.bands import band
from kfcourse.show.plots import COLORS, described
from kfcourse.show.tables import spread

AGAINST = {  # what quotes' tokens are compared with: label, colour, marker, line
    "windows": ("fresh text, whole windows", "black", "o", ":"),
    "sure by grammar": ("tokens sure by grammar", "green", "s", "--"),
    "open_book": ("open-book answers", "blue", "v", "-"),
    "sure by copying": ("tokens copied from the context", "orange", "^", "-."),
    "facts_rare": ("rare facts", "red", "D", ":"),
}
CONTROLS = {
    "flat energy": ("flat energy", "blue", "o", "-"),
    "equally sure": ("flat energy, tokens of equal probability", "green", "s", "--"),
}
RANKINGS = {
    "K-FAC": "K-FAC",
    "EK-FAC": "EK-FAC's eigenvalues",
    "G only": "G alone",
    "A only": "A alone",
    "K-FAC x C^2": "K-FAC times C²",
    "C^2 only": "C² alone",
    "25% arithmetic": "25 % arithmetic mixed in",
    "50% arithmetic": "50 % arithmetic mixed in",
    "100% arithmetic": "arithmetic only",
    "quotes in the sample": "quotes mixed in",
}
LOSSES = {
    "arithmetic": ("unseen sums", "red", "s"),
    "facts_rare": ("rare facts", "orange", "^"),
    "deduction_chain": ("if-then, two steps", "blue", "o"),
}
ABILITIES = {"facts_rare": "rare facts", "arithmetic": "sums", "boolean": "boolean", "open_book": "open book"}


def controls(record):
    """AUC of quotes against fresh text by block: flat energy and what it has to be better than.

    record: of `course experiments detector_controls`.
    """
    fig, ax = plt.subplots(figsize=(9, 4.6))
    seeds = list(record["seeds"].values())
    blocks = list(seeds[0]["flat energy"])
    for what, look in CONTROLS.items():
        band(ax, [[run[what][b] for run in seeds] for b in blocks], *look)
    short = [[1 - run["length of the input"][b] for run in seeds] for b in blocks]
    band(ax, short, "short input (length, turned round)", "orange", "^", "-.")
    strays = [[x for run in seeds for x in run["random basis"][b]] for b in blocks]
    band(ax, strays, "flat energy in a random basis", "red", "D", ":")
    rival = mean(run["probability"] for run in seeds)
    ax.axhline(rival, color=COLORS["purple"], ls="--", label="the model's own probability")
    ax.axhline(0.5, color=COLORS["black"], lw=1)
    ax.set(xlabel="block", ylabel="AUC, quotes against fresh text", ylim=(0, 1.03))
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=10.5)
    return described(
        fig,
        "AUC of quotes against fresh text by block. Flat energy rises from about one half in block 0 to one from block "
        "3 on; among tokens of equal probability it rises later, to about nine tenths. The shortness of the input "
        "rises to one in the last two blocks, and the model's own probability is at one. In a random basis the mean is "
        "one half, and single draws reach from zero to one.",
    )


def rivals(record):
    """Show the last block of `controls` in numbers, a row for each seed."""
    rows = []
    for seed, run in record["seeds"].items():
        last = list(run["flat energy"])[-1]
        stray = run["random basis"][last]
        areas = (run["flat energy"][last], 1 - run["length of the input"][last], run["probability"])
        rows.append([f"seed {seed}", *(f"{area:.3f}" for area in areas), spread(stray)])
    tables.table(["AUC, last block", "flat energy", "short input", "probability", "random bases"], rows)


def telling_apart(seeds):
    """The chance that a token of a quote has more flat energy than a token of another kind, by block.

    seeds: {seed: measured} of the record of `course experiments detector`.
    """
    fig, ax = plt.subplots(figsize=(9, 4.4))
    blocks = list(next(iter(seeds.values()))["auc"])
    for kind, look in AGAINST.items():
        auc = lambda run: run["auc"] if kind == "windows" else run["tokens"][kind]["auc"]
        band(ax, [[auc(run)[b] for run in seeds.values()] for b in blocks], *look)
    ax.axhline(0.5, color=COLORS["black"], lw=1)
    ax.set(xlabel="block", ylabel="AUC, quotes against ...", ylim=(0, 1.03), title="what is taken for a quote?")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=10.5)
    return described(
        fig,
        "The chance that a quote's token has more flat energy than another kind's, by block: near one against whole "
        "fresh windows and against tokens sure by grammar in late blocks, lower against open-book answers and copied "
        "words, and below one half against rare facts in the last two blocks.",
    )


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
    return described(
        fig,
        "AUC against fresh text over the number of times a passage was read, from 1 to 32. Flat energy and the model's "
        "own probability both rise from one half to one; the probability rises a little earlier.",
    )


def rank_correlations(record, controls):
    """{quantity: [Spearman's correlation of each seed]} between a quantity of six blocks and what is left of the quotes
    when one of these blocks alone is edited. record: `detector`; controls: `detector_controls`.
    """
    found = {}
    for seed, run in record["seeds"].items():
        left = [row["token_accuracy"] for row in run["with labels"].values()]
        quantities = run["without labels"] | {"predicted price, exact": controls["seeds"][seed]["exact price"]}
        for what, values in quantities.items():
            found.setdefault(what, []).append(float(spearmanr(list(values.values()), left)[0]))
    return found


def by_luck(blocks, chance=0.05):
    """The smallest |rank correlation| of so many blocks that a random order reaches in fewer than `chance` of cases."""
    places = list(range(blocks))
    every = sorted(abs(float(spearmanr(places, order)[0])) for order in itertools.permutations(places))
    return min(value for value in every if sum(v >= value - 1e-9 for v in every) < chance * len(every))


def without_labels(record, controls):
    """Show `rank_correlations`, a row for each quantity and a column for each seed."""
    found = rank_correlations(record, controls)
    rows = [[what, *(f"{value:+.2f}" for value in values), f"{mean(values):+.2f}"] for what, values in found.items()]
    tables.table(["rank correlation with what is left", *(f"seed {s}" for s in record["seeds"]), "mean"], rows)


def variants(record):
    """One row a ranking: perplexity over before (left), and abilities over before (right), means with the seeds' range.

    record: of `course experiments variants`.
    """
    seeds = record["seeds"]
    fig, axes = plt.subplots(1, 2, sharey=True, figsize=(11, 0.42 * len(RANKINGS) + 1.4), width_ratios=(1, 1.6))

    def point(ax, values, place, color, marker, label):
        ends = [min(values), max(values)]
        ax.plot(ends, [place] * 2, color=COLORS[color], lw=5, alpha=0.3, solid_capstyle="round")
        ax.plot(mean(values), place, marker, color=COLORS[color], ms=8, label=label)

    for place, name in enumerate(RANKINGS):
        pairs = [(variant(run, name), run["rows"][0]) for run in seeds.values()]
        point(axes[0], [row["perplexity"] / base["perplexity"] for row, base in pairs], place, "black", "o", None)
        for shift, (task, (label, color, marker)) in zip((-0.2, 0, 0.2), LOSSES.items(), strict=True):
            values = [row["tasks"][task] / base["tasks"][task] for row, base in pairs]
            point(axes[1], values, place + shift, color, marker, None if place else label)
    axes[0].set_yticks(range(len(RANKINGS)), RANKINGS.values())
    axes[0].invert_yaxis()
    axes[0].set(xlabel="perplexity over before", title="general price")
    axes[1].set(xlabel="accuracy over before", title="what each ability keeps")
    axes[1].legend(loc="upper center", bbox_to_anchor=(0.4, -0.14), ncols=3, fontsize=10.5)
    return described(
        fig,
        "Ten rankings at the same forgetting. Left, perplexity over before: near one for K-FAC, EK-FAC, mixtures and "
        "K-FAC times C squared, higher for G alone, C squared alone and arithmetic only. Right: unseen sums have wide "
        "ranges for most and are almost whole wherever arithmetic is in the sample; rare facts are kept best by "
        "arithmetic only.",
    )


def variant(run, name):
    """The row of one ranking in one seed of the record `variants`."""
    return next(row for row in run["rows"] if row["variant"] == name)


def kept_sums(record, name):
    """What is left of unseen sums under one ranking, as a share of what it was: one number for each seed."""
    sums = lambda row: row["tasks"]["arithmetic"]
    return [sums(variant(run, name)) / sums(run["rows"][0]) for run in record["seeds"].values()]


def corpora(runs):
    """Show what K-FAC's edit costs when its curvature was collected on other text, beside controls that read no text:
    all projections edited, at one token accuracy of the quotes. runs: the seeds of the record `evidence`.
    """
    lines = []
    found = {f"K-FAC, {corpus}": pairs for corpus, pairs in evidence.by_corpus(runs).items()}
    for method in ("random basis", "SVD", "noise"):
        found[method] = evidence.of_method(runs, evidence.MUCH, method)
    for name, pairs in found.items():
        paid = [spread([row["text"][kind] for row, _ in pairs]) for kind in ("like_the_corpus", "other")]
        left = [[row["tasks"][task] / base["tasks"][task] for row, base in pairs] for task in ABILITIES]
        lines.append([name, mean(row["token_accuracy"] for row, _ in pairs), *paid, *map(mean, left)])
    header = ["", "unseen: tokens", "perplexity ×, the mixture", "another hand", *ABILITIES.values()]
    tables.table(header, lines)


def live(found):
    """Show {what: AUC} of this run."""
    tables.table(["quotes against fresh text, this run", "AUC"], [[what, f"{auc:.2f}"] for what, auc in found.items()])


def found(controls, record, mine):
    """Rows of the table at the chapter's end. mine: {what: AUC} of this run."""
    last = list(next(iter(controls["seeds"].values()))["flat energy"])[-1]
    of = lambda what: spread([run[what][last] for run in controls["seeds"].values()])
    every = [x for run in controls["seeds"].values() for x in run["random basis"][last]]
    rare = [run["tokens"]["facts_rare"]["auc"][last] for run in record["seeds"].values()]
    yours = {what: f"{auc:.2f}" for what, auc in mine.items()}
    return [
        ["AUC, quotes against fresh text, last block: flat energy", None, of("flat energy"), yours["flat energy"]],
        ["the same in a random basis", None, spread(every), yours["random basis"]],
        [
            "short input (length, turned round)",
            None,
            spread([1 - run["length of the input"][last] for run in controls["seeds"].values()]),
            yours["short input"],
        ],
        [
            "the model's own probability",
            None,
            spread([run["probability"] for run in controls["seeds"].values()]),
            yours["probability"],
        ],
        ["flat energy, tokens of equal probability", None, of("equally sure"), yours["equally sure"]],
        ["short input, tokens of equal probability", None, None, yours["short, equally sure"]],
        ["flat energy, quotes against rare facts", None, spread(rare), None],
    ]
