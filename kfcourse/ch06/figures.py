"""Figures and tables of chapter 06."""

import matplotlib.pyplot as plt
import torch

from kfcourse.experiments import sharpness
from kfcourse.show import tables
from kfcourse.show.bands import band
from kfcourse.show.plots import COLORS, described

MEMORIZED, CLEAN = ("red", "D", "-"), ("blue", "o", "--")
LOOKS = {
    "memorized": MEMORIZED,
    "clean": CLEAN,
    "quotes": MEMORIZED,
    "fresh text": CLEAN,
    "sure by grammar": ("green", "s", "-."),
    "sure by copying": ("black", "^", ":"),
}
OTHERS = ("fresh text", "sure by grammar", "sure by copying")
NAMES = {"fresh text": "fresh text", "sure by grammar": "equally sure grammar", "sure by copying": "copied names"}
KINDS = ("memorized", "clean")


def digits_of(record, temperature=1):
    """The rows of the record's digit nets, one per seed, at one temperature."""
    return [row for row in record["digits"] if row["temperature"] == temperature]


def ratios(rows, what, suffix=""):
    """Memorized over clean, one number per seed."""
    return [row["memorized" + suffix][what] / row["clean" + suffix][what] for row in rows]


def span(values, digits=2):
    """Smallest and largest value, as text."""
    return f"{min(values):.{digits}g} to {max(values):.{digits}g}"


def readable(value):
    """A positive number with two digits that count, never with an exponent."""
    digits = 1 - int(torch.tensor(value).log10().floor())
    return f"{value:.{max(0, digits)}f}"


def spread(values):
    """Median of a tensor, with its smallest and largest value in parentheses."""
    low, middle, high = (readable(x.item()) for x in (values.min(), values.quantile(0.5), values.max()))
    return f"{middle} ({low} to {high})"


def digit_ratios(record):
    """Show the table of memorized over clean on the three digit nets, and of memorized over a random direction."""
    rows = digits_of(record)
    above = [round(row["memorized"]["population"] / row["random"]) for row in rows]
    lines = {
        "alone: largest eigenvalue, memorized / clean": ratios(rows, "top"),
        "in the average of the others, memorized / clean": ratios(rows, "population"),
        "how far it falls (alone / average, medians), memorized / clean": ratios(rows, "own_over_population"),
        "in the average of the others, memorized / random direction": above,
    }
    tables.table(["", "seed 0", "seed 1", "seed 2"], [[what, *values] for what, values in lines.items()])


def uncertainty_ratios(record):
    """Show the table of memorized over clean as trained, with softened logits, and in pairs of equal uncertainty."""
    plain, soft = digits_of(record), digits_of(record, sharpness.SOFT)
    rows = []
    for label, group, suffix in (
        ("as trained", plain, ""),
        ("control: logits divided by 20", soft, ""),
        ("control: pairs of equal uncertainty", plain, ", paired"),
    ):
        figures = ("uncertainty", "top", "population", "jacobian")
        rows.append([label, *(span(ratios(group, what, suffix)) for what in figures)])
    header = ["memorized / clean, range over three nets", "uncertainty", "alone", "in the average", "squared Jacobian"]
    tables.table(header, rows)


def company(record, walks):
    """The curvature along an example's own sharpest direction in the average of ever more images.

    walks: {kind: [N, K]}, single images of one net; twelve thin lines of each are drawn.
    """
    fig, ax = plt.subplots(figsize=(8.5, 5))
    sizes = record["company"]
    for kind in KINDS:
        lines = walks[kind][:, :12]
        ax.plot(range(1, len(lines) + 1), lines, color=COLORS[LOOKS[kind][0]], ls=LOOKS[kind][2], lw=0.7, alpha=0.35)
    for kind in KINDS:
        runs = [[row[kind]["company"][k] for row in digits_of(record)] for k in range(len(sizes))]
        band(ax, runs, f"{kind} images", *LOOKS[kind], x=sizes)
    random = sum(row["random"] for row in digits_of(record)) / 3
    ax.axhline(random, color=COLORS["grey"], ls=":", label="the average, along a random direction")
    ax.set(xscale="log", yscale="log", xlabel="images averaged", ylabel="curvature along its own direction")
    ax.set_xticks([1, 10, 100, 1000], ["1", "10", "100", "1000"])
    ax.set_yticks([0.01, 0.1, 1, 10, 100], ["0.01", "0.1", "1", "10", "100"])
    ax.minorticks_off()
    ax.set_title("Sharp alone, ordinary together")
    ax.legend()
    return described(
        fig,
        "Two falling curves on logarithmic axes. Memorized images start several times sharper than clean ones; both "
        "fall as more images are averaged and end at about the same level, hundreds of times above the dotted line of "
        "a random direction.",
    )


def shrinking(record):
    """Largest eigenvalue of the average of n examples over the mean of their own, as trained and softened."""
    fig, axes = plt.subplots(1, 2, figsize=(11, 4.4), sharey=True)
    sizes = record["sizes"]
    for ax, (title, temperature) in zip(
        axes, (("as trained", 1), ("logits divided by 20", sharpness.SOFT)), strict=True
    ):
        rows = digits_of(record, temperature)
        for kind in KINDS:
            runs = [[row[kind]["shrinking"][k] for row in rows] for k in range(len(sizes))]
            band(ax, runs, kind, *LOOKS[kind], x=sizes)
        ax.plot(sizes, [1 / n for n in sizes], color=COLORS["grey"], ls=":", label="1/n: nothing in common")
        ax.axhline(1, color=COLORS["black"], ls=":", lw=1.2, label="1: everything in common")
        ax.set(xscale="log", yscale="log", title=title, xlabel="images averaged (n)")
        ax.set_xticks(sizes[::2], sizes[::2])
        ax.set_yticks([1, 0.3, 0.1, 0.03], ["1", "0.3", "0.1", "0.03"])
        ax.minorticks_off()
    axes[0].set_ylabel("shared: top of the average / mean top")
    axes[0].legend()
    return described(
        fig,
        "Left: the top eigenvalue of an average falls with its size, for memorized images somewhat faster than for "
        "clean ones, and for both far more slowly than 1/n. Right, with softened logits, the two curves coincide and "
        "level off.",
    )


def of_kind(record, kind):
    """The record's rows for one kind of text, one per block."""
    return [row for row in record["language_model"] if row["kind"] == kind]


def quotes_over(record, what, title):
    """Medians of the quotes over those of three other kinds, block by block, with bootstrap intervals.

    what: "own" (alone) or "population" (in the average).
    """
    fig, ax = plt.subplots(figsize=(9, 5))
    quotes = of_kind(record, "quotes")
    for shift, kind in zip((-0.16, 0, 0.16), OTHERS, strict=True):
        found = [sharpness.ratio_interval(q[what], o[what]) for q, o in zip(quotes, of_kind(record, kind), strict=True)]
        middle, low, high = (torch.tensor(column) for column in zip(*found, strict=True))
        color, marker, _ = LOOKS[kind]
        where = torch.arange(len(middle)) + shift
        bars = torch.stack([middle - low, high - middle])
        ax.errorbar(
            where, middle, bars, color=COLORS[color], marker=marker, ls="", capsize=4, label=f"over {NAMES[kind]}"
        )
    ax.axhline(1, color=COLORS["grey"], lw=1.5)
    ax.set(yscale="log", xlabel="block", ylabel="quotes / others (medians)", title=title)
    ticks = (0.001, 0.01, 0.1, 1, 10, 100)
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_ylim(bottom=0.0003 if what == "population" else 0.02)
    ax.minorticks_off()
    fig.legend(loc="outside lower center", ncols=3)
    words = {
        "own": "Alone: the bars of quotes over grammar lie above 1 in blocks 0 to 4; those over fresh text and over "
        "copied names cross 1 nearly everywhere, and over fresh text the last lies far below.",
        "population": "In the average: quotes over fresh text fall from about a third to about a thousandth, all bars "
        "below 1. Over grammar the bars cross 1 in blocks 0 to 2 and lie below in blocks 3 to 5. Over copied names "
        "they lie below 1 in blocks 0 to 3 and cross it in blocks 4 and 5.",
    }
    return described(fig, "Ratios with intervals over six blocks. " + words[what])


def shared(record):
    """How much eight passages of a kind have in common, block by block."""
    fig, ax = plt.subplots(figsize=(8.5, 4.4))
    for kind in ("quotes", *OTHERS):
        color, marker, line = LOOKS[kind]
        values = [row["shared"] for row in of_kind(record, kind)]
        ax.plot(range(len(values)), values, color=COLORS[color], marker=marker, ls=line, label=kind)
    ax.axhline(1 / 8, color=COLORS["grey"], ls=":", label="1/8: nothing in common")
    ax.set(ylim=(0, 1), xlabel="block", ylabel="top of the average / mean top")
    ax.set_title("Shared by eight passages")
    ax.legend(ncols=2, fontsize=10.5)
    return described(
        fig,
        "Four lines over six blocks. The quotes fall slowly from a third to a fifth and come nearest to the dotted "
        "line at 1/8 in the last block; fresh text rises from a quarter to seven tenths, crossing them before block 4.",
    )


def found(record, alone, alone_in_pairs, together, quotes, fresh):
    """Rows of the chapter's last table: (what, paper, ours, yours).

    alone, alone_in_pairs, together: memorized over clean on this run's net.  quotes, fresh: pairs (own [n], population
    [n]) of this run.
    """
    rows = digits_of(record)
    median = lambda values: torch.as_tensor(values).quantile(0.5).item()

    def over(kind, what):
        pairs = zip(of_kind(record, "quotes"), of_kind(record, kind), strict=True)
        return span([median(q[what]) / median(o[what]) for q, o in pairs])

    return [
        ("digits, alone: memorized / clean", "sharp (sketch)", span(ratios(rows, "top")), alone),
        ("digits, alone, equal uncertainty", None, span(ratios(rows, "top", ", paired")), alone_in_pairs),
        ("digits, in the average", "flat (sketch)", span(ratios(rows, "population")), together),
        (
            "language model, alone: quotes / fresh text",
            None,
            over("fresh text", "own"),
            median(quotes[0]) / median(fresh[0]),
        ),
        (
            "in the average: quotes / fresh text",
            "flat",
            over("fresh text", "population"),
            median(quotes[1]) / median(fresh[1]),
        ),
        ("in the average: quotes / grammar", None, over("sure by grammar", "population"), None),
        ("in the average: quotes / copied names", None, over("sure by copying", "population"), None),
    ]
