"""Figures and tables of chapter 03, grokking."""

import matplotlib.pyplot as plt
import numpy as np
import torch

from kfcourse.show import tables
from kfcourse.show.plots import COLORS as C
from kfcourse.show.plots import described


def span(values, digits=2):
    """Smallest and largest value, as text; numbers of 100 and more without decimals."""
    text = [f"{x:.0f}" if abs(x) >= 100 else f"{x:.{digits}g}" for x in (min(values), max(values))]
    return text[0] if text[0] == text[1] else " to ".join(text)


def at(runs, step, *keys):
    """One number of the snapshot at a step, for every run of the record."""
    found = []
    for run in runs:
        value = run["snapshots"][str(step)]
        for key in keys:
            value = value[key]
        found.append(value)
    return found


def _quiet(ax):
    ax.set(xticks=[], yticks=[])
    ax.grid(False)


def grok(curve, others):
    """The run: curve is [(step, train accuracy, test accuracy)], others the recorded seeds' test curves [[(step,
    accuracy)]]."""
    fig, ax = plt.subplots()
    steps, train, test = zip(*curve)
    for i, other in enumerate(others):
        ax.plot(*zip(*other), color=C["grey"], lw=1, alpha=0.7, label="test, other seeds" if i == 0 else None)
    ax.plot(steps, train, color=C["orange"], ls="--", label="training pairs")
    ax.plot(steps, test, color=C["blue"], label="test pairs, never seen")
    ax.axvspan(
        next(s for s, a, _ in curve if a > 0.99),
        next((s for s, _, a in curve if a > 0.95), steps[-1]),
        color=C["grey"],
        alpha=0.12,
    )
    ax.set(
        xlabel="training step",
        ylabel="share answered right",
        ylim=(-0.02, 1.04),
        title="Memorized at once, generalized much later",
    )
    ax.legend(loc="center left")
    return described(
        fig,
        "Training accuracy jumps to one at the very start; test accuracy climbs to one only after about two thousand "
        "steps, for this seed and for four recorded ones. The stretch between is shaded.",
    )


def answer_maps(maps, train):
    """{step: bool [p, p] of right answers} as pictures; the training pairs [n, 2] are the bright dots that never
    change."""
    fig, axes = plt.subplots(1, len(maps), figsize=(2.4 * len(maps), 2.7), squeeze=False)
    for ax, (step, right) in zip(axes[0], maps.items(), strict=True):
        picture = np.where(right, 0.45, 0.0)
        picture[train[:, 0], train[:, 1]] = np.where(right[train[:, 0], train[:, 1]], 1.0, 0.0)
        ax.imshow(picture, cmap="cividis", vmin=0, vmax=1, interpolation="nearest")
        ax.set(title=f"step {step}", xlabel="b", ylabel="a")
        _quiet(ax)
    if len(maps) == 1:
        return described(fig, f"What is right in the addition table at step {next(iter(maps))}")
    return described(
        fig,
        "Pictures of the addition table at several steps: first only the training pairs are right, then unseen ones in "
        "some rows and columns, then all.",
    )


def rows_of(right, train, seed=0):
    """Accuracy on the unseen pairs of each row: (smallest, largest), and the same if the right answers were scattered
    at random over all unseen pairs.
    """
    unseen = np.ones_like(right)
    unseen[train[:, 0], train[:, 1]] = False
    scattered = np.zeros_like(right)
    scattered[unseen] = np.random.default_rng(seed).permutation(right[unseen])
    shares = [(x & unseen).sum(1) / unseen.sum(1) for x in (right, scattered)]
    return [(float(x.min()), float(x.max())) for x in shares]


def neurons(early, late, p, titles=("memorized", "generalized")):
    """One column of U and its spectrum, early and late: [p] each."""
    fig, axes = plt.subplots(2, 2, figsize=(8.5, 4.1), width_ratios=[1.7, 1])
    for row, (weight, title) in enumerate(zip((early, late), titles)):
        power = np.abs(np.fft.rfft(weight))[1:] ** 2
        color = C["orange"] if row == 0 else C["blue"]
        axes[row, 0].plot(weight, color=color, lw=1.6)
        axes[row, 0].set(ylabel=title, xticks=range(0, p, 16))
        axes[row, 1].bar(range(1, len(power) + 1), power / power.sum(), color=color)
        axes[row, 1].set(ylim=(0, 1))
    axes[0, 0].set_title("What a neuron adds for each number a")
    axes[0, 1].set_title("Share of power")
    axes[1, 0].set_xlabel("a")
    axes[1, 1].set_xlabel("frequency")
    return described(
        fig,
        "One neuron's weights over the numbers: noise of many frequencies when the table is memorized, mostly one wave "
        "at the end",
    )


def replay(step, curve, right, weight, train):
    """The run at one step: where it stands on the accuracy's curve, what of the addition table is right (bool [p, p]),
    one column of U ([p]) and its spectrum."""
    fig, axes = plt.subplots(2, 2, figsize=(8.5, 5), width_ratios=[1.7, 1], height_ratios=[1, 1])
    steps, seen, unseen = zip(*curve)
    now = min(range(len(steps)), key=lambda i: abs(steps[i] - step))
    above, table, wave, spectrum = axes.flat
    above.plot(steps, seen, color=C["orange"], ls="--", label="training pairs")
    above.plot(steps, unseen, color=C["blue"], label="unseen pairs")
    above.axvline(step, color=C["black"], lw=1)
    above.plot([step, step], [seen[now], unseen[now]], "o", color=C["black"])
    above.set(ylim=(-0.04, 1.06), title=f"step {step}: share answered right")
    above.legend(loc="center right", fontsize=9)
    picture = np.where(right, 0.45, 0.0)
    picture[train[:, 0], train[:, 1]] = np.where(right[train[:, 0], train[:, 1]], 1.0, 0.0)
    table.imshow(picture, cmap="cividis", vmin=0, vmax=1, interpolation="nearest")
    table.set(title="the table", xlabel="b", ylabel="a")
    _quiet(table)
    power = np.abs(np.fft.rfft(weight))[1:] ** 2
    wave.plot(weight, color=C["green"], lw=1.6)
    wave.set(xlabel="a", title="one neuron's weights")
    spectrum.bar(range(1, len(power) + 1), power / power.sum(), color=C["green"])
    spectrum.set(ylim=(0, 1), xlabel="frequency", title="share of power")
    return described(
        fig,
        f"The run at step {step}: {seen[now]:.0%} of the training pairs and {unseen[now]:.0%} of the unseen pairs are "
        f"right, and {(power / power.sum()).max():.0%} of the neuron's power sits in one frequency.",
    )


def progress(rows):
    """{step: {"test", "restricted", "leak", "excluded", "restricted loss", "excluded loss"}} in two panels: accuracies
    and losses."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(10.4, 4.6))
    steps = list(rows)
    for name, label, color, style, mark in (
        ("leak", "mean over all pairs (leaks)", "grey", ":", "v"),
        ("restricted", "restricted to the circuit", "green", "-", "s"),
        ("test", "test accuracy", "blue", "-", "o"),
        ("excluded", "training pairs, circuit excluded", "orange", "--", "^"),
    ):
        left.plot(steps, [rows[s][name] for s in steps], color=C[color], ls=style, marker=mark, label=label)
    for name, label, color, style, mark in (
        ("test loss", "test loss", "blue", "-", "o"),
        ("restricted loss", "restricted loss", "green", "-", "s"),
        ("excluded loss", "excluded loss (training pairs)", "orange", "--", "^"),
    ):
        right.plot(steps, [rows[s][name] for s in steps], color=C[color], ls=style, marker=mark, label=label)
    right.axhline(1, color=C["grey"], lw=1, ls=":")
    left.set(xlabel="training step", ylabel="share right", ylim=(-0.04, 1.06), title="Answers")
    right.set(xlabel="training step", ylabel="loss / loss of the answer zero", title="Losses")
    for ax in (left, right):
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), fontsize=10.5)
    return described(
        fig,
        "Left: the mean over test pairs is right long before the test accuracy rises, and the leaking mean over all "
        "pairs is at one from the start. Right: the restricted loss falls from the beginning, while the test loss "
        "first rises above two; the excluded loss rises after an early dip and ends near one.",
    )


def curvature(recorded, never, live):
    """Three panels over the steps: the record's runs, those of the control, and {step: `grokking.Curvature`} live."""
    fig, axes = plt.subplots(1, 3, figsize=(10.4, 3.8))
    of = lambda run: {int(step): row["curvature"] for step, row in run["snapshots"].items() if step != "0"}
    recorded, never = ([of(run) for run in runs] for runs in (recorded, never))
    panels = (
        ("top", "sharpness (top eigenvalue)", "red"),
        ("effective_rank", "effective rank", "blue"),
        ("ratio", "single pair / average", "purple"),
    )
    for ax, (name, title, color) in zip(axes, panels):
        for i, rows in enumerate(recorded):
            label = "generalizes" if i == 0 else None
            ax.plot(list(rows), [r[name] for r in rows.values()], color=C["grey"], lw=1.3, label=label)
        for i, rows in enumerate(never):
            label = "never does (control)" if i == 0 else None
            ax.plot(list(rows), [r[name] for r in rows.values()], color=C["black"], lw=1.6, ls="--", label=label)
        ax.plot(
            list(live), [getattr(c, name) for c in live.values()], color=C[color], marker="o", ls="", label="this run"
        )
        ax.set(title=title, xlabel="training step", ylim=(0, None))
        ax.legend()
    return described(
        fig,
        "Three panels over the training steps. The largest eigenvalue rises, the effective rank and the ratio of "
        "single to average sharpness fall, and three networks that never generalize draw the same curves.",
    )


def confidence(runs):
    """Raw and softened sharpness and test accuracy of the recorded cross-entropy networks."""
    fig, axes = plt.subplots(1, 3, figsize=(10.4, 3.8))
    for seed, run in enumerate(runs):
        rows = {int(step): row for step, row in run["snapshots"].items() if step != "0"}
        steps = list(rows)
        columns = (
            [row["raw"]["top"] for row in rows.values()],
            [row["temperature 20"]["top"] for row in rows.values()],
            [row["test"] for row in rows.values()],
        )
        for ax, values, color in zip(axes, columns, ("red", "purple", "blue"), strict=True):
            ax.plot(steps, values, color=C[color], marker="osD"[seed], lw=1.4, label=f"seed {seed}")
            ax.axvline(1000, color=C["black"], ls=":", lw=1.2)
    axes[0].set(yscale="log", title="sharpness")
    axes[0].set_yticks([1, 0.01, 0.0001], ["1", "0.01", "0.0001"])
    axes[0].minorticks_off()
    axes[1].set(ylim=(0, None), title="sharpness, logits / 20")
    axes[2].set(ylim=(0, 1.04), title="test accuracy")
    axes[2].legend(loc="lower right")
    for ax in axes:
        ax.set_xlabel("training step")
    return described(
        fig,
        "Three panels for three seeds. The sharpness of the cross-entropy network falls by orders of magnitude before "
        "step 1000, marked by a line. With all logits divided by twenty it does not collapse. Test accuracy rises "
        "mainly after step 1000.",
    )


def _effects(runs):
    """For each run {step: (test accuracy before, after the edit, after the random projection)}."""
    return [
        {
            int(step): (row["test"], row["edit"]["test"], row["random"]["test"])
            for step, row in run["snapshots"].items()
            if step != "0"
        }
        for run in runs
    ]


def moved_by_the_edit(runs):
    """By how much the edit moves the test accuracy of these runs at any step, at most."""
    return max(abs(after - before) for rows in _effects(runs) for before, after, _ in rows.values())


def edit(runs, live):
    """Test accuracy before and after the edit and its control: the record's runs, and {step: 3 shares} live."""
    fig, ax = plt.subplots()
    recorded = _effects(runs)
    steps = list(recorded[0])
    mean = np.array([[rows[s] for s in steps] for rows in recorded]).mean(0)
    for column, (label, color, style) in enumerate(
        (("before", "black", ":"), ("K-FAC edit of W", "blue", "-"), ("random subspace, same rank", "red", "--"))
    ):
        ax.plot(steps, mean[:, column], color=C[color], ls=style, label=label + ", mean of seeds")
        every = np.array([[rows[s][column] for s in steps] for rows in recorded])
        ax.fill_between(steps, every.min(0), every.max(0), color=C[color], alpha=0.12, lw=0)
    ax.plot(list(live), [v[1] for v in live.values()], color=C["blue"], marker="o", ls="", label="edit, this run")
    ax.set(
        xlabel="edited at training step",
        ylabel="test accuracy",
        ylim=(-0.02, 1.04),
        title="The edit tips the balance once a circuit exists",
    )
    ax.legend(loc="lower right")
    return described(
        fig,
        "Test accuracy before and after the edit, five seeds: no difference on the early plateau, a clear gain from "
        "step 1000 on, while a random subspace of the same rank lowers it.",
    )


def right_answers(params, forward, p):
    """bool [p, p] as an array: which (a, b) of the whole table the network answers right."""
    pairs = torch.cartesian_prod(torch.arange(p), torch.arange(p))
    with torch.no_grad():
        return (forward(params, pairs).argmax(1) == pairs.sum(1) % p).view(p, p).numpy()


def prices(record, live):
    """What one network costs by the number of pairs it was trained on: sums and shuffled answers.

    live: {"sums" or "shuffled": (pairs, cost)} of this run.
    """
    fig, ax = plt.subplots()
    for answers, color, mark, style in (("shuffled", "orange", "^", "--"), ("sums", "blue", "o", "-")):
        rows = [row for row in record["prices"] if row["answers"] == answers]
        sizes = sorted({row["pairs"] for row in rows})
        mean = [np.mean([row["cost"] for row in rows if row["pairs"] == size]) for size in sizes]
        ax.plot(sizes, mean, color=C[color], ls=style, label=f"{answers}, mean of seeds")
        ax.plot([row["pairs"] for row in rows], [row["cost"] for row in rows], mark, color=C[color], ms=6)
        ax.plot(*live[answers], "*", color=C[color], ms=17, mec=C["black"], label=f"{answers}, this run")
    ax.set(
        xlabel="training pairs (clock of 53 numbers)",
        ylabel="squared norm at margin 1",
        ylim=(0, None),
        title="The price of the answers",
    )
    ax.legend()
    return described(
        fig,
        "Squared norm at margin one by the number of training pairs. On shuffled answers it rises with the number of "
        "pairs. On sums it begins at the same height and falls.",
    )


def of_map(record, decay, share):
    """The rows of the map for one strength of decay and one share of the table, one per seed."""
    return [row for row in record["map"] if row["decay"] == decay and row["fraction"] == share]


def decay_map(record, grokking):
    """Left: test accuracy with and without decay in the chapter's world. Right: the map of decay and share."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(10.2, 4.2), width_ratios=[1.2, 1])
    for i, run in enumerate(grokking["quadratic"]):
        left.plot(
            *zip(*run["test"], strict=True), color=C["blue"], lw=1.4, label="decay 1, five seeds" if not i else None
        )
    left.plot(*zip(*record["without_decay"]["test"], strict=True), color=C["red"], ls="--", label="no decay, one seed")
    left.set(
        xlabel="training step", ylabel="test accuracy", ylim=(-0.02, 1.04), title="97 numbers, a fifth of the table"
    )
    left.legend(loc="upper left")
    decays = sorted({row["decay"] for row in record["map"]})
    shares = sorted({row["fraction"] for row in record["map"]})
    final = np.array([[np.mean([r["test"][-1][1] for r in of_map(record, d, f)]) for d in decays] for f in shares])
    right.imshow(final, cmap="cividis", vmin=0, vmax=1, origin="lower", aspect="auto")
    for i, f in enumerate(shares):
        for j, d in enumerate(decays):
            values = [row["test"][-1][1] for row in of_map(record, d, f)]
            ink = "white" if final[i, j] < 0.55 else "black"
            right.text(j, i, "\n".join(f"{v:.2f}" for v in values), ha="center", va="center", color=ink, fontsize=14)
    right.set_xticks(range(len(decays)), [f"{d:g}" for d in decays])
    right.set_yticks(range(len(shares)), [f"{f:g}" for f in shares])
    right.set(xlabel="weight decay", ylabel="share of the table", title="53 numbers: accuracy at the end, two seeds")
    right.title.set_fontsize(13)
    right.grid(False)
    return described(
        fig,
        "Left: with weight decay the test accuracy of five seeds climbs to one before step 3000, without decay it "
        "stays low. Right: a grid of the final test accuracy for three strengths of decay and two shares of the "
        "table. It grows with decay at the smaller share and is one everywhere at the larger.",
    )


def decay_table(record, grokking):
    """Curvature, norm and purity after 3000 steps in the chapter's world, with and without decay."""
    without = record["without_decay"]
    rows = []
    for name, key, digits in (
        ("test accuracy", ("test",), 2),
        ("effective rank", ("curvature", "effective_rank"), 2),
        ("sharpness", ("curvature", "top"), 2),
        ("mean purity of a neuron", ("purity",), 2),
    ):
        own = without["test"][-1][1] if key == ("test",) else without[key[-1]]
        rows.append(
            (
                name,
                span(at(grokking["quadratic"], 3000, *key), digits),
                span(at(grokking["never"], 3000, *key), digits),
                span([own], digits),
            )
        )
    tables.table(["after 3000 steps", "decay 1, generalizes", "decay 1, never does (control)", "no decay"], rows)


def found(record, decay, live):
    """Rows of the chapter's last table: (what, paper, ours, yours). live: {name: number} of this run."""
    runs, never = record["quadratic"], record["never"]
    growth = lambda rows: [b / a for a, b in zip(at(rows, 100, "curvature", "top"), at(rows, 3000, "curvature", "top"))]
    fall = lambda rows: [
        a / b
        for a, b in zip(at(rows, 100, "curvature", "effective_rank"), at(rows, 3000, "curvature", "effective_rank"))
    ]
    gain = lambda rows: [b - a for a, b in zip(at(rows, 1500, "test"), at(rows, 1500, "edit", "test"))]
    return [
        ("step at which all training pairs are right", None, span([r["memorized"] for r in runs]), live["memorized"]),
        ("step at which 95 % of unseen pairs are right", None, span([r["generalized"] for r in runs]), live["done"]),
        ("test accuracy at step 1000", None, span(at(runs, 1000, "test")), live["test"]),
        ("restricted accuracy at step 1000", None, span(at(runs, 1000, "restricted_test")), live["restricted"]),
        ("growth of sharpness, steps 100 to 3000", None, span(growth(runs)), live["growth"]),
        ("the same where nothing generalizes (control)", None, span(growth(never)), None),
        ("fall of the effective rank, steps 100 to 3000", None, span(fall(runs)), live["fall"]),
        ("the same where nothing generalizes (control)", None, span(fall(never)), None),
        ("test accuracy without decay, step 3000", None, span([decay["without_decay"]["test"][-1][1]]), None),
        ("test accuracy gained by the edit, step 1500", "recites less, reasons on", span(gain(runs)), live["gain"]),
        ("the same where nothing generalizes (control)", None, span(gain(never)), None),
    ]
