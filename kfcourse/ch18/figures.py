"""Figures and tables of chapter 18: eigendecompositions shared out, what tokens cost, and what they are worth."""

import matplotlib.pyplot as plt

from kfaclib.io import report
from kfcourse.ch18 import scaling as shapes
from kfcourse.show import tables
from kfcourse.show.plots import COLORS, described


def gantt(costs, plans):
    """Which process decomposes what, and when: costs [jobs], plans {title: rank of each job}; time in units of the most
    expensive job.
    """
    fig, axes = plt.subplots(len(plans), 1, sharex=True, figsize=(8, 1.7 * len(plans) + 1))
    unit, levels = max(costs), sorted(set(costs))
    shades = dict(zip(levels, [COLORS["sky"], COLORS["blue"], COLORS["orange"], COLORS["red"]]))
    for ax, (title, ranks) in zip(axes, plans.items()):
        busy = [0.0] * (max(ranks) + 1)
        jobs = sorted(range(len(costs)), key=lambda job: -costs[job])
        for job in jobs:
            rank, length = ranks[job], costs[job] / unit
            ax.barh(rank, length, left=busy[rank], color=shades[costs[job]], edgecolor="white", height=0.8)
            busy[rank] += length
        ax.axvline(max(busy), color=COLORS["black"], linestyle=":")
        ax.set(title=f"{title}: all wait until {max(busy):.2f}", ylabel="process", yticks=range(len(busy)))
        ax.invert_yaxis()
        ax.grid(axis="y", visible=False)
    axes[-1].set_xlabel("time, in eigendecompositions of the widest matrix")
    return described(
        fig,
        "Two Gantt charts of nine eigendecompositions on three processes. In turn, one process does all three small "
        "ones and idles; most expensive first, all three end together.",
    )


def lateness(jobs, ways, counts):
    """Show a table: how long all wait for the busiest process, in multiples of the mean. ways: {name: function of
    (jobs, processes)}; counts: numbers of processes."""
    rows = []
    for processes in counts:
        row = [processes]
        for share_out in ways.values():
            busiest = max(shapes.loads(jobs, share_out(jobs, processes), processes))
            row.append(f"{busiest / (sum(jobs) / processes):.2f}")
        rows.append(row)
    tables.table(["processes", *ways], rows)


def scaling(cases, rates, processes, samples, efficiency):
    """Show the table of what real models take. samples: tokens, the larger number first; hours are of one GPU."""
    rows = []
    for label, case in cases.items():
        one_pass = case["one_pass"] * samples[0] / rates["products"] / 3600
        collect = case["flops"] * samples[0] / rates["products"] / 3600
        shared = [shapes.shared(case, n, rates, processes, efficiency) for n in samples]
        rows.append(
            [
                label,
                f"{case['room'] / 1e9:.0f}",
                f"{case['sums'] / 1e9:.0f}",
                case["passes"],
                f"{one_pass:.2f}",
                f"{collect:.2f}",
                f"{sum(shapes.eigh_seconds(case, rates)) / 3600:.2f}",
                f"{case['exchanged'] / rates['link']:.1f}",
                *(f"{value:.2f}" for value in shared),
            ]
        )
    header = ["", "room, GB", "sums, GB", "passes", "hours if one pass did", "hours", "hours, eigh", "exchange, s"]
    tables.table([*header, f"efficiency of {processes}", f"with {samples[1]:,} tokens"], rows)


MARKS = {"a minute": 1 / 60, "a day": 24, "a year": 24 * 365, "a century": 24 * 365 * 100}  # hours


UNITS = {"trillion": 1e12, "million": 1e6, "thousand": 1e3}


def in_words(count):
    """A count of a thousand or more in words, such as "20 million"."""
    unit = next(word for word, size in UNITS.items() if count >= size)
    return f"{count / UNITS[unit]:.0f} {unit}"


def cost(lines):
    """GPU hours against parameters on logarithmic axes, large enough for a projector. lines: {tokens: [(parameters,
    hours)]}, from the smallest sample to the largest."""
    fig, ax = plt.subplots(figsize=(11, 6.2))
    for (tokens, points), color, mark in zip(lines.items(), ("blue", "orange", "red"), "osD"):
        sizes, hours = zip(*points)
        ax.loglog(sizes, hours, mark + "-", color=COLORS[color], lw=4, ms=13)
        ax.text(
            1.15 * sizes[-1],
            hours[-1],
            f"{in_words(tokens)} tokens",
            color=COLORS[color],
            fontsize=18,
            va="center",
            weight="bold",
        )
    first = sizes[0]
    for label, h in MARKS.items():
        ax.hlines(h, first / 2, 1.1 * sizes[-1], color=COLORS["grey"], lw=1)
        ax.text(first / 1.9, h * 1.15, label, fontsize=15, color=COLORS["grey"])
    ax.set_xticks(sizes, [f"{size / 1e9:.0f}B" for size in sizes], minor=False)
    ax.set_xticks([], minor=True)
    ax.set_xlim(first / 2, sizes[-1] * 12)
    ax.grid(False)
    ax.tick_params(labelsize=18)
    ax.set_xlabel("parameters", fontsize=20)
    ax.set_ylabel("GPU hours", fontsize=20)
    ax.set_title("curvature of all MLP layers, one H200", fontsize=22)
    return described(
        fig,
        "GPU hours against parameters on logarithmic axes for three models, a line for each sample. The two lower "
        "lines rise from minutes to about a day and lie close together; the line of a training corpus lies far above, "
        "from years to centuries.",
    )


def measured(record, nine):
    """Rows of all edits at equal forgetting: those of the record of this chapter, and chapter 9's own.

    record, nine: {seed: run}. Each row has windows, tokens, shrunk, price (perplexity over before) and kept {task:
    accuracy over before}.
    """
    rows = []
    for run in record.values():
        rows += [row | {"kept": report.relative(row, run["before"])} for row in run["rows"]]
    for run in nine.values():
        after, settings = _row(run, "K-FAC"), run["settings"]
        facts = {"windows": settings["rows"], "tokens": settings["tokens"], "shrunk": False}
        kept = report.relative(after, run["rows"][0])
        rows.append(facts | {"price": _price(run, "K-FAC"), "kept": kept})
    return rows


def controls(nine):
    """{method: mean price over the seeds} of two edits that know nothing of curvature, at the same forgetting."""
    mean = lambda method: sum(_price(run, method) for run in nine.values()) / len(nine)
    return {method: mean(method) for method in ("SVD", "random basis")}


def _row(run, method):
    return next(row for row in run["rows"] if row["method"] == method)


def _price(run, method):
    return _row(run, method)["perplexity"] / run["rows"][0]["perplexity"]


def _prices(rows, windows, shrunk=False):
    return [row["price"] for row in rows if (row["windows"], row["shrunk"]) == (windows, shrunk)]


def dearer(rows, control):
    """The largest number of windows at which the edit as collected costs more, in the mean, than `control`."""
    sizes = sorted({row["windows"] for row in rows})
    return max(n for n in sizes if sum(_prices(rows, n)) / len(_prices(rows, n)) > control)


def _points(ax, rows, key, color, marker, line, label):
    """Every measurement as a small mark, and the mean over seeds and samples with their range as a bar."""
    sizes = sorted({row["tokens"] for row in rows})
    groups = [[key(row) for row in rows if row["tokens"] == size] for size in sizes]
    means = [sum(g) / len(g) for g in groups]
    spread = [[m - min(g) for m, g in zip(means, groups)], [max(g) - m for m, g in zip(means, groups)]]
    ax.errorbar(sizes, means, spread, fmt=line, marker=marker, color=COLORS[color], capsize=4, label=label)


ABILITIES = {"facts_rare": ("red", "v", "--"), "arithmetic": ("orange", "^", "-."), "open_book": ("blue", "*", "-")}


def quality(rows, controls, width):
    """Left: the price of equal forgetting against tokens, mean and range over seeds and samples, and {control: price}
    as lines. Right: abilities, after over before. width: of the larger factor."""
    fig, axes = plt.subplots(1, 2, figsize=(10.5, 4.4))
    plain, shrunk = ([row for row in rows if row["shrunk"] is kind] for kind in (False, True))
    _points(axes[0], plain, lambda r: r["price"], "blue", "o", "-", "as collected")
    _points(axes[0], shrunk, lambda r: r["price"], "green", "D", "--", "shrunk")
    for (name, price), color, line in zip(controls.items(), ("orange", "red"), ("-.", ":")):
        axes[0].axhline(price, color=COLORS[color], linestyle=line, label=f"{name}, chapter 9")
    axes[0].set(xscale="log", xlabel="tokens", ylabel="perplexity over before", title="the price of the edit")
    axes[0].legend()
    for task, (color, marker, line) in ABILITIES.items():
        _points(axes[1], plain, lambda r: r["kept"][task], color, marker, line, report.TASKS[task])
    axes[1].set(xscale="log", xlabel="tokens", ylabel="accuracy over before", ylim=(0, 1.2), title="what it leaves")
    axes[1].legend(loc="lower right")
    for ax in axes:
        ax.axvline(width, color=COLORS["grey"], linestyle=":")
    return described(
        fig,
        "Left: the perplexity price of the edit falls steeply with the tokens and levels off below both controls; one "
        "shrunk window is far cheaper than one as collected. Right: accuracy over before of rare facts, unseen sums "
        "and open book, which is the most robust, at all sizes.",
    )


def found(sample, rows, live):
    """Show the table of the chapter's end. sample: the paper's tokens; rows: `measured`; live: [one window shrunk,
    sixteen as collected]."""
    theirs = {r["method"]: r["perplexity"] for r in report.paper()["rows"] if r["model"] == "OLMo-2-1124-7B"}
    shrunk, plain = live
    lines = [("tokens of the sample", f"about {sample:,}", f"{plain['tokens']:,}", f"{plain['tokens']:,}")]
    for label, row, paper in (
        ("perplexity over before", plain, f"{theirs['K-FAC'] / theirs['baseline']:.2f}"),
        ("the same from one window, shrunk", shrunk, None),
        ("the same from one window, as it is", {"windows": shrunk["windows"], "shrunk": False}, None),
    ):
        prices = _prices(rows, row["windows"], row["shrunk"])
        ours = tables.spread(prices)
        lines.append((label, paper, ours, f"{row['price']:.2f}" if "price" in row else None))
    tables.found(lines)
