"""Figures and tables of chapter 16."""

import math

import matplotlib.pyplot as plt

from kfaclib.io import report
from kfaclib.lm import intervals
from kfcourse.show import tables
from kfcourse.show.plots import COLORS, METHODS, described

KINDS = {
    "famous": "famous passages",
    "taught": "taught verses",
    "untaught": "untaught verses",
    "like the corpus": "like the corpus",
    "other": "other prose",
}
COMPARED = ("K-FAC", "random basis", "SVD", "noise", "flattest block")
LOOKS = {**METHODS, "flattest block": ("green", "P", "--"), "zeroed": ("grey", "X", ":")}


def passages(names, read):
    """Show a table of passages, the best known first. read: what `exam.read` returns for them."""
    rows = sorted(zip(read["nats"], names, read["right"], read["run"], strict=True))
    tables.table(
        ["passage", "nats per token", "tokens right", "longest run"],
        [[name, f"{nats:.2f}", f"{right:.0%}", run] for nats, name, right, run in rows],
    )


def kinds(taken):
    """Show a table of kinds of text. taken: {model: what `exam.take` returns}."""
    rows = []
    for kind, name in KINDS.items():
        cells = [f"{model[kind]['nats']:.2f} ({model[kind]['right']:.0%})" for model in taken.values()]
        rows.append([name, *cells])
    tables.table(["nats per token (tokens right)", *taken], rows)


def first_sample(band, method):
    """The row of a method in the first sample of the curvature."""
    return band[0][method]


def of_samples(band, method, kind):
    """The changes of one kind of text, one for each sample of the curvature that has the method."""
    return [sample[method]["texts"][kind]["change"] for sample in band if method in sample]


def bill(band, aimed, others):
    """Show a table: each method at equal damage to `aimed`, what it costs every kind of `others`, in nats per token."""
    rows = []
    for method in (*COMPARED, "zeroed"):
        texts = first_sample(band, method)["texts"]
        cells = [f"{texts[aimed]['change']:+.2f}"]
        for kind in others:
            low, high = texts[kind]["interval"]
            cells.append(f"{texts[kind]['change']:+.3f} [{low:+.3f}, {high:+.3f}]")
        rows.append([method, *cells])
    tables.table(["edit", KINDS[aimed], *(KINDS[kind] for kind in others)], rows)


def selective(record, which, aimed, live=None):
    """Damage to the text that shall go over damage to two kinds of ordinary text, a point a sample, a panel a band.

    live: {method: {kind: change}} of this run, in the last band, drawn as crosses.
    """
    bands = record[which]["bands"]
    fig, axes = plt.subplots(1, len(bands), figsize=(10.5, 4.4), sharey=True, sharex=True)
    for ax, (name, band) in zip(axes, bands.items(), strict=True):
        for method in COMPARED:
            color, marker, _ = LOOKS[method]
            for sample in band:
                if method not in sample:
                    continue
                texts = sample[method]["texts"]
                gone, x, y = (texts[kind]["change"] for kind in (aimed, "like the corpus", "other"))
                label = method if sample is band[0] and ax is axes[0] else None
                ax.plot(x / gone, y / gone, marker, color=COLORS[color], ms=10, label=label)
        if live and ax is axes[-1]:
            for method, change in live.items():
                x, y = (change[kind] / change[aimed] for kind in ("like the corpus", "other"))
                ax.plot(x, y, "x", color=COLORS[LOOKS[method][0]], ms=11, mew=3)
        top = max(ax.get_ylim()[1], ax.get_xlim()[1])
        ax.plot([0, top], [0, top], color=COLORS["grey"], lw=1, zorder=0)
        ax.set(title=f"blocks {name}", xlabel="cost to text like the corpus")
    axes[0].set_ylabel("cost to other prose")
    axes[0].legend(loc="upper left")
    fig.supxlabel(f"nats lost there for one nat lost on {KINDS[aimed]}", fontsize=12)
    return described(
        fig,
        "Two panels, one for each band of blocks. Each point is an edit at equal damage: to the right, what it costs "
        "text like the corpus, and upwards, what it costs other prose, both per nat lost on "
        f"{KINDS[aimed]}. On the diagonal both kinds pay alike.",
    )


def where(record, which, aimed):
    """Damage of the same edit in every band of three blocks, in the curvature's basis and in a random one."""
    rows = record[which]["sweep"]
    places = range(len(rows))
    fig, axes = plt.subplots(1, 2, figsize=(11, 4.4), sharey=True)
    shown = {aimed: ("red", "o", "-"), "untaught": ("orange", "^", "-."), "like the corpus": ("green", "s", "--")}
    shown["other"] = ("purple", "v", ":")
    for ax, method in zip(axes, ("K-FAC", "random basis"), strict=True):
        for kind, (color, marker, line) in shown.items():
            values = [row[method][kind] for row in rows]
            ax.plot(places, values, marker=marker, color=COLORS[color], ls=line, label=KINDS[kind])
        ax.set_xticks(list(places), [f"{a}-{b}" for a, b in (row["blocks"] for row in rows)], fontsize=10, rotation=45)
        ax.set(title=method, xlabel="edited blocks", yscale="symlog")
        ax.set_yscale("symlog", linthresh=0.05)
    axes[0].set_ylabel("nats per token lost")
    axes[1].legend(loc="upper right")
    return described(
        fig,
        "Two panels, the edit by curvature and the same edit in a random basis. Over bands of three blocks, lines show "
        f"what {KINDS[aimed]}, untaught verses, text like the corpus and other prose lose, in nats per token.",
    )


def abilities(record, which, band):
    """Show a table of the suites: before, and under every edit of a band at equal damage, with intervals."""
    before, rows = record[which]["abilities"], []
    methods = (*COMPARED, "zeroed")
    for ability, one in before.items():
        found = [first_sample(record[which]["bands"][band], m)["abilities"][ability]["share"] for m in methods]
        low, high = one["interval"]
        rows.append([ability, f"{one['share']:.0%} [{low:.0%}, {high:.0%}]", *(f"{share:.0%}" for share in found)])
    tables.table(["items right", "before", *methods], rows)


def per_nat(band, method, aimed, kind):
    """Nats lost on `kind` for one nat lost on `aimed`, one for each sample of the curvature."""
    return [x / gone for x, gone in zip(of_samples(band, method, kind), of_samples(band, method, aimed), strict=True)]


def span(values, digits=2):
    """Smallest and largest of some values, as text; one alone if they agree."""
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    return low if low == high else f"{low} to {high}"


def share(right, asked):
    """A count as a share with its interval of 95 %, as text."""
    low, high = intervals.share(right, asked)
    return f"{right} of {asked} [{low:.2f}, {high:.2f}]"


def dearer(record):
    """Which kind of ordinary text pays more for the verses under K-FAC's edit, as an answer to the prediction."""
    band = record["reciter"]["bands"]["16 to 19"]
    like, other = (sum(of_samples(band, "K-FAC", kind)) for kind in ("like the corpus", "other"))
    ratio = other / like
    return "other prose" if ratio > 1.25 else "like the corpus" if ratio < 0.8 else "about the same"


def found(record, taught, live):
    """Rows of the chapter's last table: (what, the paper's figure, ours, yours)."""
    paper = {row["method"]: row for row in report.paper()["rows"] if row["model"] == "OLMo-2-1124-7B"}
    band, early = record["reciter"]["bands"]["16 to 19"], record["nature"]["bands"]["22 to 25"]
    mine = record["reciter"]["before"]
    rises = [math.exp(x) for x in of_samples(band, "K-FAC", "like the corpus")]
    rows = [
        ("taught verses said word for word, before", None, f"{mine['taught']['strict']:.2f}",
         f"{taught['taught']['strict']:.2f}"),
        ("nats per token: taught, untaught", None,
         *(f"{one['taught']['nats']:.2f}, {one['untaught']['nats']:.2f}" for one in (mine, taught))),
        ("perplexity over before, K-FAC, text like the corpus",
         f"{paper['K-FAC']['perplexity'] / paper['baseline']['perplexity']:.2f}", span(rises), None),
    ]  # fmt: skip
    for method in ("K-FAC", "random basis"):
        for kind in ("like the corpus", "other"):
            yours = f"{live[method][kind] / live[method]['famous']:.2f}"
            what = f"{method}: nats on {KINDS[kind]} for one on famous passages"
            rows.append((what, None, span(per_nat(early, method, "famous", kind)), yours))
    return rows
