"""Figures of chapter 15, GPU kernels, and text that belongs to the machine at hand."""

import ast
import base64
import io
from pathlib import Path

import ipywidgets
import matplotlib.pyplot as plt
from IPython.display import Markdown, display

from kfaclib.bench import report as records
from kfaclib.collecting import costs
from kfaclib.curvature.layers import linear_layers
from kfcourse.experiments.roofline import roofs
from kfcourse.show import plots, tables
from kfcourse.show.plots import COLORS

PARTS = {  # part of a token's bill: colour, hatch
    "forward": ("blue", ""),
    "backward to the inputs": ("sky", ""),
    "updates": ("orange", ""),
    "weight gradients": ("grey", "//"),
}


def bills(update_flops):
    """Bars of what a token costs in the MLP layers of every model of `costs.SHAPES`, as shares of the plain collector,
    with the sum in GFLOP; update_flops: the reader's function of exercise 15.1.
    """
    rows = {}
    for name in costs.SHAPES:
        model = costs.meta_model(name)
        chosen = linear_layers(model, "*.mlp.*")
        count = costs.flops_per_token(model, chosen)
        passes = {"forward": count["forward"], "backward to the inputs": count["backward"]}
        plain, _ = update_flops([(m.out_features, m.in_features, True) for m in chosen.values()])
        unread = sum(2 * m.weight.numel() for m in chosen.values())
        rows[name, "plain"] = passes | {"updates": plain, "weight gradients": unread}
        rows[name, "enough"] = passes | {"updates": count["updates"]}
    fig, ax = plt.subplots(figsize=(9.5, 4.6))
    whole = {}
    for (model, _), bill in rows.items():
        whole.setdefault(model, sum(bill.values()))
    left = [0.0] * len(rows)
    for part, (color, hatch) in PARTS.items():
        values = [bill.get(part, 0) / whole[model] for (model, _), bill in rows.items()]
        ax.barh(range(len(rows)), values, left=left, color=COLORS[color], hatch=hatch, edgecolor="white", label=part)
        left = [a + b for a, b in zip(left, values)]
    for y, (end, bill) in enumerate(zip(left, rows.values())):
        ax.text(end, y, f" {sum(bill.values()) / 1e9:.3g} GFLOP", va="center")
    ax.set(
        yticks=range(len(rows)),
        yticklabels=[f"{model}, {how}" for model, how in rows],
        xlabel="operations / those of the plain collector",
        xlim=(0, 1.35),
        xticks=[0, 0.25, 0.5, 0.75, 1],
        title="What a token costs",
    )
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return plots.described(
        fig,
        "Stacked bars for four OLMo-2 models, a plain collector above what is enough, as shares of the plain one. The "
        "plain collector's largest part is always the updates; triangles and shared factors halve them, and the weight "
        "gradients fall away.",
    )


def roofline(found, devices, bounds):
    """Roofs and points on logarithmic axes.

    found: {work: {"flops", "bytes", "seconds"}} measured on one processor; devices: {name: costs.Device}, whose roofs
    are data sheets'; bounds: {work: (operations, bytes)} on the last of the devices, set on its roof because nobody
    measured them.
    """
    fig, ax = plt.subplots(figsize=(11, 5.6))
    x = [0.1, 1e5]
    roof = lambda rate, bandwidth: ([x[0], rate / bandwidth, x[1]], [x[0] * bandwidth / 1e9, rate / 1e9, rate / 1e9])
    for (name, device), line in zip(devices.items(), ("-.", "--", ":", (0, (1, 3)))):
        ax.loglog(*roof(device.flops, device.bandwidth), color=COLORS["grey"], linestyle=line, linewidth=1.6,
                  label=f"{name}: data sheet")  # fmt: skip
    ax.loglog(*roof(*roofs(found)), color=COLORS["black"], label="the processor: most that was measured")
    last = list(devices.values())[-1]
    for (work, (flops, moved)), marker in zip(bounds.items(), "osD^vP"):
        height = min(last.flops, flops / moved * last.bandwidth)
        ax.loglog(flops / moved, height / 1e9, marker, markersize=9, mfc="none", mec=COLORS["orange"], linestyle="",
                  label=f"bound: {work}")  # fmt: skip
    marks = zip((w for w in found if found[w]["flops"]), "Xd*osD^vP", list(COLORS.values()) * 2)
    for work, marker, color in marks:
        one = found[work]
        ax.loglog(one["flops"] / one["bytes"], one["flops"] / one["seconds"] / 1e9, marker, color=color, markersize=9,
                  linestyle="", label=f"measured: {work}")  # fmt: skip
    ax.set(
        xlabel="operations per byte moved", ylabel="GFLOP/s", title="Measured points, and roofs of data sheets", xlim=x
    )
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=10)
    return plots.described(
        fig,
        "Rooflines on logarithmic axes: slopes that end in flat roofs. Grey roofs of four GPUs, from data sheets, lie "
        "high above the black one, the most that a processor was measured to reach. Its measured points lie on or "
        "below the black roof, updates with few rows far below; open markers are bounds, set on the H200's roof.",
    )


def reached(found):
    """Show a table of what each measured work reached: {work: {"flops", "bytes", "seconds"}}."""
    rate, bandwidth = roofs(found)
    rows = []
    for work, one in found.items():
        least = max(one["flops"] / rate, one["bytes"] / bandwidth)
        limit = "arithmetic" if one["flops"] / rate >= one["bytes"] / bandwidth else "memory"
        rows.append(
            (
                work,
                f"{one['flops'] / one['bytes']:.2g}",
                f"{1e3 * one['seconds']:.2f}",
                f"{1e3 * least:.2f}",
                limit,
                f"{least / one['seconds']:.0%}",
            )
        )
    tables.table(["work", "operations a byte", "ms", "at least", "limited by", "of the roof"], rows)


LINES = {"bfloat16": ("red", "-", "o"), "float16": ("orange", "--", "^"), "float32": ("blue", "-", "s")}


def sums(rows):
    """Relative error and negative eigenvalues against the number of tokens, from {dtype: [(tokens, error,
    negative)]}.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2))
    for name, found in rows.items():
        color, line, marker = LINES[name]
        tokens, errors, negative = zip(*found)
        left.loglog(tokens, errors, line, color=COLORS[color], marker=marker, label=f"sums in {name}")
        right.semilogx(tokens, negative, line, color=COLORS[color], marker=marker)
    left.set(xlabel="tokens added", ylabel="relative error", title="How wrong the sum is")
    right.set(xlabel="tokens added", ylabel="eigenvalues below zero", title="A covariance that is none")
    left.legend()
    return plots.described(
        fig,
        "Left: the relative error of sums in bfloat16 rises from two thousandths to nearly a fifth, in float16 it "
        "stays below a hundredth, in float32 below a millionth. Right: bfloat16 sums have over ten eigenvalues below "
        "zero, float16 sums about half as many, float32 sums none.",
    )


def tiles(d, block, needed, limits, published):
    """Left: the tiles of C [d, d], those in `needed` filled. Right: {width: how many times faster} that tiles alone
    allow, and what was published."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(12, 4.8), width_ratios=(1, 1.3))
    height, width = block
    for i in range(-(-d // height)):
        for j in range(-(-d // width)):
            corner, size = (j * width, i * height), (min(width, d - j * width), min(height, d - i * height))
            filled = (i, j) in needed
            left.add_patch(
                plt.Rectangle(
                    corner,
                    *size,
                    facecolor=COLORS["blue"] if filled else "white",
                    edgecolor=COLORS["grey"],
                    alpha=0.75 if filled else 1,
                )
            )
    left.plot([0, d], [0, d], color=COLORS["orange"])
    left.set(
        xlim=(0, d),
        ylim=(d, 0),
        aspect="equal",
        xlabel="column of C",
        ylabel="row of C",
        title=f"Tiles of {height} x {width}, d = {d}",
    )
    left.grid(False)
    right.plot(
        limits.keys(),
        limits.values(),
        color=COLORS["black"],
        drawstyle="steps-mid",
        linewidth=1.5,
        label="our tiles, limit on 132 processors",
    )
    for row, color, marker in zip(published, ("orange", "green", "purple"), "o^s"):
        right.plot(
            [int(x) for x in row["times"]],
            row["times"].values(),
            marker,
            color=COLORS[color],
            markersize=9,
            label=f"{row['kernel']}, {row['device']}",
        )
    right.axhline(1, color=COLORS["grey"], linestyle=":")
    right.set(
        xscale="log",
        xticks=[512, 1024, 2048, 4096, 8192],
        xticklabels=["512", "1024", "2048", "4096", "8192"],
        ylim=(0, 2.3),
        xlabel="width d",
        ylabel="times as fast as the full product",
        title="What the triangle can save",
    )
    right.minorticks_off()
    right.legend(loc="lower right", fontsize=10.5)
    return plots.described(
        fig,
        "Left: a matrix of 2000 by 2000 cut into tiles, those on or below the diagonal filled. Right: our limit is 1 "
        "up to width 2048, then jumps between 1.3 and 2; published kernels lie between 0.7 and 1.7 at width 2048 and "
        "narrower, and around 1.5 at width 8192.",
    )


def record(found):
    """A record of `kfac bench`: the plain collector's time over ours, and how time and memory grow with the tokens."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(12, 4.2), width_ratios=(1, 1.1))
    times = {"ours": 1.0} | {
        name.removeprefix("plain, "): value for name, value in found["collection"]["times_plain"].items()
    }
    bars = left.barh(list(times), times.values(), color=[COLORS["blue"]] + [COLORS["grey"]] * (len(times) - 1))
    left.bar_label(bars, [f" {value:.2f}" for value in times.values()])
    left.set(
        xlabel="time / ours",
        title=f"The plain collector, {found['collection']['model']}",
        xlim=(0, 1.2 * max(times.values())),
    )
    left.invert_yaxis()
    left.grid(axis="y", visible=False)
    growth = found["growth"]["tokens"]
    first = growth[0]
    tokens = [row["size"] for row in growth]
    clock = "cpu_seconds" if found["device"].startswith("CPU") else "seconds"
    for key, label, color, marker, line in (
        (clock, "time", "blue", "o", "-"),
        ("peak_bytes", "memory at its peak", "orange", "s", "--"),
    ):
        right.plot(
            tokens, [row[key] / first[key] for row in growth], line, color=COLORS[color], marker=marker, label=label
        )
    right.set(
        xscale="log",
        yscale="log",
        xticks=tokens,
        xticklabels=tokens,
        yticks=[1, 2, 4, 8],
        yticklabels=[1, 2, 4, 8],
        xlabel="tokens",
        ylabel=f"times that of {tokens[0]} tokens",
        title="More tokens",
    )
    right.minorticks_off()
    right.legend()
    return plots.described(
        fig,
        "Left: on the small model the plain collector takes more than twice our time with four blocks a pass, and a "
        "little more than ours at its best. Right: our time grows in proportion to the tokens, while memory soon stays "
        "flat.",
    )


def source(path, function):
    """Display one function of a Python file as it stands there."""
    text = Path(path).read_text(encoding="utf-8")
    node = next(n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef) and n.name == function)
    lines = text.splitlines()[
        node.decorator_list[0].lineno - 1 if node.decorator_list else node.lineno - 1 : node.end_lineno
    ]
    display(Markdown("\n".join(["```python", *lines, "```"])))


def live_figure(fig, stored):
    """Show a figure that belongs to this machine alone; what is kept in the notebook is the sentence `stored`."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png")
    plt.close(fig)
    live(f'<img alt="{fig.alt}" src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">', stored)


def found(flops, bill, device, tiles, rounded):
    """Show the chapter's last table.

    flops: the library's bill of the 1B model; bill: the reader's, operations a token; tiles: those that the reader's
    function finds for d = 11008, of 128 by 256; rounded: {dtype: `sums.follow`}.
    """
    seven = costs.meta_model("OLMo-2-1124-7B")
    every = linear_layers(seven, "*.mlp.*")
    four = {name: m for name, m in every.items() if int(name.split(".")[2]) >= 28}
    minutes = lambda some: sum(costs.flops_per_token(seven, some).values()) * 20e6 / device.flops / 60
    share = len(tiles) / (-(-11008 // 128) * -(-11008 // 256))
    tokens, wrong, _ = rounded["bfloat16"][-1]
    passes = len(every) // len(four)
    tables.found(
        [
            ("GFLOP a token, the 1B's MLPs", None, sum(flops.values()) / 1e9, bill / 1e9),
            ("7B, its last four blocks, minutes", "50", f"at least {minutes(four):.0f}", None),
            ("7B, all its blocks, minutes", f"{passes} times 50", f"at least {minutes(every):.0f}", None),
            ("tiles computed, d = 11008", "100%", None, f"{share:.0%}"),
            (f"relative error of a sum of {tokens} tokens", None, f"{rounded['float32'][-1][1]:.0e}",
             f"{wrong:.2f}, had it been kept in bfloat16"),
        ]
    )  # fmt: skip


def bench(recorded):
    """Show the records of `kfac bench` as tables beside their targets; what has no record is named as missing."""
    for where, record in recorded.items():
        display(Markdown(f"**Recorded: {record['device']}, {record['provenance']['date']}**"))
        tables.table([where, "measured", "target"], records.rows(record))
    if "gpu" not in recorded:
        missing = "; ".join(recorded["cpu"]["missing"])
        display(
            Markdown(
                f"**No GPU has been measured.** Missing are: {missing}. On a GPU, `{records.COMMAND}` measures them, "
                "and this cell then shows them."
            )
        )


def live(text, stored):
    """Show HTML that belongs to this machine alone, such as times; what is kept in the notebook is `stored`."""
    view = ipywidgets.HTML(text)
    display(
        {
            "application/vnd.jupyter.widget-view+json": {
                "version_major": 2,
                "version_minor": 0,
                "model_id": view.model_id,
            },
            "text/plain": stored,
        },
        raw=True,
    )
