"""The picture at the top of README.md, from the recorded results. `python -m kfcourse.site.picture` draws it again."""

from statistics import mean

import matplotlib.pyplot as plt

from kfaclib.io.files import atomic, read_json, renew
from kfcourse import paths
from kfcourse.show import plots

PICTURE = paths.DATA / "results" / "controls.png"
ALT = (
    "Four edits that forget the quotes equally. K-FAC costs ordinary text least, keeps most of the sums and of the "
    "chains of two steps, which a random basis and noise destroy, and loses more of the rare facts than any other"
)
METHODS = ("K-FAC", "SVD", "random basis", "noise")
ABILITIES = {
    "facts_rare": "rare facts",
    "arithmetic": "sums",
    "deduction_chain": "if-then,\ntwo steps",
    "comparison": "comparing\nnumbers",
    "tracking": "tracking\nobjects",
}
TEXTS = {"like_the_corpus": "like the\ncorpus", "other": "unlike it"}


def dots(ax, groups, values):
    """The mean of each method's runs as a point and their range as a bar, group by group: values[method][group]."""
    for place, method in enumerate(METHODS):
        color, marker, _ = plots.METHODS[method]
        for x, group in enumerate(groups):
            runs = values[method][group]
            at = x + 0.17 * (place - 1.5)
            ax.plot([at, at], [min(runs), max(runs)], color=plots.COLORS[color], lw=2, alpha=0.5)
            ax.plot(at, mean(runs), marker, color=plots.COLORS[color], ms=9, label=None if x else method)
    ax.set_xticks(range(len(groups)), groups.values(), fontsize=12)
    ax.grid(axis="x", visible=False)


def figure(runs):
    """What each edit leaves of five abilities, and what it costs two kinds of text, at the same forgetting."""
    from kfcourse.experiments import evidence  # it loads torch, which `course` must not wait for

    left, price = (
        {method: of(runs, evidence.MUCH, method) for method in METHODS} for of in (evidence.kept, evidence.prices_of)
    )
    fig, (abilities, texts) = plt.subplots(1, 2, figsize=(11, 4.4), width_ratios=(5, 2.2))
    dots(abilities, ABILITIES, left)
    abilities.set(ylabel="accuracy after / before", ylim=(0, 1.08))
    abilities.set_title("the quotes are equally forgotten: what is left?", loc="left")
    abilities.legend(loc="lower right", ncols=2)
    dots(texts, TEXTS, price)
    texts.axhline(1, color=plots.COLORS["black"], lw=1)
    texts.set(ylabel="perplexity after / before")
    texts.set_title("ordinary text", loc="left")
    return plots.described(fig, ALT)


def draw():
    """Draw the picture and write it to data/results/controls.png."""
    plots.style()
    runs = read_json(paths.DATA / "results" / "evidence.json")["seeds"]
    with atomic(PICTURE) as temporary:
        temporary.write_bytes(plots.picture(figure(runs)).png)
    renew(PICTURE)


if __name__ == "__main__":
    draw()
