"""Figures and tables of chapter 19."""

import matplotlib.pyplot as plt

from kfcourse.show import plots, tables
from kfcourse.show.plots import COLORS

COLUMNS = ("before", "K-FAC", "random basis")


def bills(found):
    """Test accuracy before and after two edits at equal forgetting, for {case: `starters.compare`}."""
    fig, ax = plt.subplots(figsize=(9.5, 4.4))
    width = 0.26
    for k, (name, color, hatch) in enumerate(zip(COLUMNS, ("black", "blue", "red"), ("", "", "//"))):
        places = [i + (k - 1) * width for i in range(len(found))]
        heights = [one[name]["test"] for one in found.values()]
        bars = ax.bar(places, heights, width, color=COLORS[color], hatch=hatch, edgecolor="white", label=name)
        ax.bar_label(bars, [f"{h:.2f}" for h in heights], fontsize=11)
    ax.set(xticks=range(len(found)), xticklabels=list(found), ylim=(0, 1.15), ylabel="test accuracy")
    ax.set_title("The price of forgetting half")
    ax.grid(axis="x", visible=False)
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return plots.described(
        fig,
        "Bars of test accuracy before and after two edits that forget half of what was recited. For secrets written "
        "into a weight and for wrong labels of digits, K-FAC's edit costs little and the random basis much; for tones, "
        "K-FAC's edit costs more than the random basis.",
    )


def energies(found):
    """Show where changes of a weight lie: {name: {"sharpest tenth", "flattest half"}}."""
    rows = [[name, f"{one['sharpest tenth']:.2f}", f"{one['flattest half']:.2f}"] for name, one in found.items()]
    tables.table(["share of the change in the", "sharpest tenth", "flattest half"], rows)


def prices(found):
    """Show {case: `starters.compare`} as a table: recitation and test accuracy, before and after both edits."""
    rows = []
    for case, one in found.items():
        cells = [f"{one[name]['recited']:.2f}, {one[name]['test']:.2f}" for name in COLUMNS]
        rows.append([case, *cells])
    tables.table(["recited, test accuracy", *COLUMNS], rows)
