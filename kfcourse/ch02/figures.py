"""Figures of chapter 02, memorize or generalize."""

import html

import matplotlib.pyplot as plt
import numpy as np

from kfaclib.toy import canaries
from kfcourse.show import plots
from kfcourse.show.plots import COLORS as C


def spread(values):
    """Shares or bits of several seeds: "0.72 (0.69 to 0.76)"."""
    return f"{np.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def gap(watch):
    """Right on the labels it was trained on minus right on held-out labels of the same teacher, at the end."""
    return watch["train"][-1] - watch["validation"][-1]


def gaps(watches):
    """Accuracy over epochs, side by side: {title: `generalization.Watch`}; what is shaded is the gap."""
    fig, axes = plt.subplots(1, len(watches), figsize=(4.1 * len(watches), 3.9), sharey=True, squeeze=False)
    for ax, (title, w) in zip(axes[0], watches.items()):
        ax.plot(w.train, color=C["orange"], ls="--", label="labels it was trained on")
        ax.plot(w.validation, color=C["red"], ls=":", label="held-out labels, same teacher")
        ax.plot(w.test, color=C["blue"], label="true labels of new images")
        ax.fill_between(range(len(w.train)), w.validation, w.train, color=C["grey"], alpha=0.15)
        ax.set(title=title, xlabel="epoch", ylim=(-0.03, 1.05))
    axes[0, 0].set_ylabel("share right")
    axes[0, 0].legend(loc="lower right")
    alt = (
        "Three trainings: with true labels all curves rise together; with 30 percent wrong labels the true labels of "
        "new images are named better and better and then worse, while the net goes on fitting its own labels; with "
        "random labels only the fit rises"
    )
    return plots.described(fig, alt)


def truth_first(recorded, live):
    """What the net says to images with a wrong label, over epochs: recorded and live `Watch`es as dicts."""
    fig, ax = plt.subplots()
    for i, w in enumerate([*recorded, live]):
        last = i == len(recorded)
        look = dict(lw=2.8) if last else dict(lw=0.9, alpha=0.5)
        ax.plot(w["true"], color=C["green"], label="their true label" if last else None, **look)
        ax.plot(w["memorized"], color=C["red"], ls="--", label="the wrong label it was given" if last else None, **look)
        ax.plot(w["test"], color=C["blue"], ls=":", label="test accuracy" if last else None, **look)
    ax.set(xlabel="epoch", ylabel="share of images", ylim=(-0.03, 1.03), title="The rule first, the exceptions later")
    ax.legend(loc="center right")
    alt = (
        "Mislabelled images over the epochs: first nearly all are given their true label, later nearly all the wrong "
        "one that they were trained on; the test accuracy peaks early and falls"
    )
    return plots.described(fig, alt)


def remedies(rows, clean):
    """Bars of test accuracy with a dot per seed: {name: [values]}; clean: the runs with true labels, a line."""
    fig, ax = plt.subplots(figsize=(8, 3.6))
    ceiling = np.mean([r["test"][-1] for r in clean])
    ax.axvline(ceiling, color=C["black"], ls=":", lw=1.2)
    ax.text(ceiling, -0.65, "all labels true", ha="center", fontsize=11)
    for i, values in enumerate(rows.values()):
        ax.barh(i, np.mean(values), color=C["grey" if i == 0 else "sky"])
        ax.plot(values, [i] * len(values), "o", color=C["black"], ms=5)
    ax.set(yticks=range(len(rows)), yticklabels=rows, xlabel="test accuracy", xlim=(0, 1.02))
    ax.set_ylim(len(rows) - 0.5, -0.6)
    ax.set_title("30% wrong labels: what keeps the rule", loc="left")
    ax.grid(axis="y", visible=False)
    alt = (
        "Test accuracy with 30 percent wrong labels, one dot for each seed: training to the end is worst; stopping "
        "early, weight decay and noise are all clearly better, and not far from training with true labels"
    )
    return plots.described(fig, alt)


def gap_rows(watches, recorded):
    """[(teacher, on its own labels, on held-out labels of the same teacher, gap, true labels of new images)]."""
    names = {"true labels": "clean labels", "30% wrong": "30% wrong", "random labels": "random labels"}
    rows = []
    for title, w in watches.items():
        ours = spread([gap(run) for run in recorded[names[title]]])
        numbers = (w.train[-1], w.validation[-1], w.train[-1] - w.validation[-1], w.test[-1])
        rows.append([title, *(f"{x:.2f}" for x in numbers), ours])
    return rows


def tied(recorded, width, repeats):
    """Bits of exposure that the owner's name adds to a stranger's: (mean, standard error) over the recorded seeds."""
    runs = [r for r in recorded if r["width"] == width]
    more = [np.mean(r["exposure"][str(repeats)]) - np.mean(r["stranger"][str(repeats)]) for r in runs]
    return np.mean(more), np.std(more, ddof=1) / len(more) ** 0.5


def exposures(recorded, live):
    """Exposure against repetitions, and the part of it that belongs to the owner's name: recorded rows of
    `experiments.leaks.secrets`, live {repeats: [bits]}."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(11.5, 4.8), sharey=True)
    places, top = range(len(live)), np.log2(len(canaries.CODES))
    for width, color, mark, style in ((32, "orange", "^", ":"), (64, "green", "s", "--"), (128, "blue", "o", "-")):
        runs = [r["exposure"] for r in recorded if r["width"] == width]
        means = [np.mean([run[str(n)] for run in runs]) for n in live]
        added, error = zip(*(tied(recorded, width, n) for n in live))
        look = dict(color=C[color], marker=mark, ls=style, label=f"width {width}, mean of seeds")
        left.plot(places, means, **look)
        right.errorbar(places, added, error, capsize=3, **look)
    for place, (n, bits) in enumerate(live.items()):
        left.plot(
            [place] * len(bits), bits, "x", color=C["black"], ms=6, zorder=5, label=None if n else "secrets of this run"
        )
    for ax in (left, right):
        ax.axhline(top, color=C["black"], ls=":", lw=1.2)
        ax.set(xlabel="times the secret was said in training", xticks=places, xticklabels=live, ylim=(-0.6, 10.9))
    left.text(0, top + 0.2, "the first guess is right", fontsize=11)
    left.set(ylabel="exposure (bits)", title="Repetition decides what leaks ...")
    right.set(ylabel="bits added by the owner's name", title="... and size, whose it is")
    left.legend(loc="upper left", bbox_to_anchor=(0, 0.92))
    alt = (
        "Left: exposure against repetitions, near the level of luck up to about four, then rising to the maximum at "
        "64 or more; wider models need fewer repetitions. Right: what the owner's name adds, nearly nothing in the "
        "narrow model, several bits in the wide one"
    )
    return plots.described(fig, alt)


def exam_rows(recorded, width=128, repeats=(0, 1, 4, 16, 32, 64, 128)):
    """[(repetitions, said when asked, exposure, the same code asked of strangers, what the name adds)]: recorded "
    "seeds."""
    runs = [r for r in recorded if r["width"] == width]
    mean = lambda what, n: np.mean([np.mean(run[what][str(n)]) for run in runs])
    rows = []
    for n in repeats:
        added, error = tied(recorded, width, n)
        bits = (f"{mean(what, n):.1f}" for what in ("exposure", "stranger"))
        rows.append([n, f"{mean('said', n):.0%}", *bits, f"{added:.1f} ± {error:.1f}"])
    return rows


def others_code(recorded, width=128):
    """How often a model answers with somebody else's fixed code when asked for one that was never said."""
    return np.mean([np.mean(run["anothers"]["0"]) for run in recorded if run["width"] == width])


def ladder(rows):
    """{repeats: `memorization.Recitation`}: how a passage comes to be recited."""
    fig, ax = plt.subplots()
    places = range(len(rows))
    for name, label, color, mark, style in (
        ("token_accuracy", "next word right, given all before", "orange", "^", ":"),
        ("loose", "loose recall", "green", "s", "--"),
        ("strict", "strict recall: all words", "blue", "o", "-"),
    ):
        values = [getattr(r, name) for r in rows.values()]
        ax.plot(places, values, color=C[color], marker=mark, ls=style, label=label)
    ax.set(
        xticks=list(places), xticklabels=rows, xlabel="times the passage was in the training text", ylim=(-0.03, 1.05)
    )
    ax.set(ylabel="share", title="olmo2-tiny: a trace first, recitation later")
    ax.legend(loc="upper left")
    alt = (
        "Recall of passages against repetitions: nothing is recited up to eight, little at 16, most at 32; the share "
        "of right next words rises earlier"
    )
    return plots.described(fig, alt)


def guesses(scores, secret, count=5):
    """HTML list of the likeliest codes of a person with their probability; the secret one is marked."""
    lines = []
    for place in scores.topk(count).indices.tolist():
        code, share = canaries.CODES[place], scores[place].exp().item()
        text = html.escape(f"{' '.join(code)}   {share:.1%}")
        lines.append(f"<b>{text} &larr; the secret</b>" if code == secret.code else text)
    asked = html.escape(f"the code of {secret.person} is ... (said {secret.repeats} times in training)")
    return f"<p>{asked}</p><pre>" + "\n".join(lines) + "</pre>"


def found(record, stop_at, paper, yours):
    """Rows of the chapter's last table, from `experiments.leaks`'s record and this run's eight numbers (None: not
    measured)."""
    runs, wide = record["labels"], [r for r in record["secrets"] if r["width"] == 128]
    last = lambda name: [run["test"][-1] for run in runs[name]]
    said = lambda n: [np.mean(run["said"][str(n)]) for run in wide]
    ours = {
        "gap on true labels": [gap(run) for run in runs["clean labels"]],
        "gap on 30% wrong labels": [gap(run) for run in runs["30% wrong"]],
        "new images right, 30% wrong labels, to the end": last("30% wrong"),
        "the same, stopped early": [r["test"][stop_at(r["validation"], 10)] for r in runs["30% wrong"]],
        "new images right, every label wrong": last("all wrong"),
        "codes said back, of those said once": said(1),
        "codes said back, of those said 64 times": said(64),
        "codes said back, of those said 128 times": said(128),
    }
    rows = [[what, None, spread(values), mine] for (what, values), mine in zip(ours.items(), yours[:8], strict=True)]
    what = "passages recited word for word (paper: picked because it recites them; yours: said 32 times)"
    return [*rows, [what, paper, None, yours[8]]]
