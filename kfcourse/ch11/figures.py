"""Figures and tables of chapter 11, what breaks."""

from statistics import mean

import matplotlib.pyplot as plt

from kfaclib.io import report
from kfaclib.io.report import TASKS
from kfaclib.lm import harness, intervals
from kfaclib.toy import harness_tasks
from kfaclib.toy import world as w
from kfcourse.experiments import evidence
from kfcourse.show import tables
from kfcourse.show.bands import band
from kfcourse.show.plots import COLORS, METHODS, described
from kfcourse.show.tables import spread

METHOD_ORDER = ("K-FAC", "SVD", "random basis", "noise")
PANELS = {"gate and up, upper half": "upper", "all projections, all blocks": evidence.MUCH}
SAME_LENGTH = {  # text: what it is called, colour, marker, line
    "quotes": ("quotes", "black", "o", "-"),
    "facts_rare": ("rare facts", "red", "v", "--"),
    "arithmetic": ("unseen sums", "orange", "^", "-."),
    "open_book": ("open book", "blue", "*", "-"),
}
BY_CORPUS = {"facts_rare": "rare facts", "arithmetic": "sums", "deduction_chain": "two steps", "open_book": "open book"}
STEPS = {"owners": "two owners", "homes": "two homes", "form": "form of the sum", "sum": "the sum"}
EDITS = ("before", *evidence.DRAWN, "zeroed")  # of the record of chains
CHOICES = 24  # questions of each local task that are asked in both formats


def name_of(group):
    """What a group of questions is called in a table."""
    return {"quotes": TASKS["recitation"]}.get(group) or TASKS[group]


def questions(tokenizer, items):
    """Print one question of each kind with its answer."""
    for name, rows in items.items():
        if name != "fresh text":
            prompt, answer = rows[0]
            print(f"{name_of(name):22} ... {tokenizer.decode(prompt[-14:])} -> {tokenizer.decode(answer[:6])}")


def counted(before, after):
    """Show a table of how many items were right before and after, and the interval of the share after.

    before, after: {group: bool [N]}.
    """
    rows = []
    for group, was in before.items():
        right, asked = int(after[group].sum()), len(was)
        low, high = intervals.share(right, asked)
        rows.append([name_of(group), f"{int(was.sum())} of {asked}", f"{right} of {asked}", f"{low:.2f} to {high:.2f}"])
    tables.table(["this run", "right before", "right after", "share after, 95 %"], rows)


def papers_shares(found, interval):
    """Print the paper's recited windows with the interval that a function (right, asked) gives. found: {method: (right,
    asked)}."""
    for method, (right, asked) in found.items():
        low, high = interval(right, asked)
        print(f"the paper's {method}: {right} of {asked} windows still recited, {low:.3f} to {high:.3f}")


def kept_by_seed(runs):
    """{task: [accuracy after K-FAC's edit over before, of each seed]} of a record of `seeds`."""
    edit = lambda run: next(row for row in run["rows"] if row["method"] == "K-FAC")
    ratios = [report.relative(edit(run), run["rows"][0]) for run in runs.values()]
    return {task: [one[task] for one in ratios] for task in TASKS}


def papers_tasks():
    """{task: the paper's accuracy after K-FAC's edit over before}."""
    return next(row for row in report.paper()["rows"] if "tasks_relative" in row)["tasks_relative"]


def spectrum(ours, paper):
    """Accuracy after over before: ours as mean and range over seeds, the paper's as diamonds.

    ours: {task: [ratio per seed]}; paper: {task: ratio}.
    """
    fig, ax = plt.subplots(figsize=(9, 5))
    for place, task in enumerate(TASKS):
        values = ours[task]
        label = f"ours: mean and range of {len(values)} seeds" if not place else None
        ax.plot([min(values), max(values)], [place] * 2, color=COLORS["blue"], lw=7, alpha=0.35, solid_capstyle="round")
        ax.plot(mean(values), place, "o", ms=10, color=COLORS["blue"], label=label)
        if task in paper:
            label = "the paper, OLMo-2 7B" if not place else None
            ax.plot(paper[task], place, "D", ms=9, mfc="white", mec=COLORS["red"], mew=2.4, label=label)
    ax.axvline(1, color=COLORS["black"], lw=1)
    ax.set_yticks(range(len(TASKS)), TASKS.values())
    ax.invert_yaxis()
    ax.set(xlabel="accuracy after the edit / before", title="what one edit does to each ability", xlim=(-0.03, 1.13))
    ax.legend(loc="lower left")
    return described(
        fig,
        "Accuracy after over before the edit. Quotes fall to nearly zero; rare facts and sums lose a part, more in the "
        "paper for rare facts; frequent facts lose little; comparing, boolean logic, tracking, if-then and open book "
        "stay near one, in ours and in the paper's model.",
    )


def zeroed(before, after, gone):
    """Show a table of accuracy over before after the edit and with the edited matrices set to zero."""
    over = lambda found, group: found[group].sum().item() / before[group].sum().item()
    rows = [[name_of(g), f"{over(after, g):.2f}", f"{over(gone, g):.2f}"] for g in before]
    tables.table(["accuracy over before, this run", "after the edit", "matrices set to zero"], rows)


def controls(runs):
    """Accuracy after over before of every method at equal forgetting, one mark a task: the mean over runs, with their
    range. runs: the seeds of `evidence`."""
    fig, axes = plt.subplots(1, 2, sharey=True, figsize=(11, 6.4))
    order = tuple(TASKS)[1:]
    for ax, (title, setting) in zip(axes, PANELS.items(), strict=True):
        for k, method in enumerate(METHOD_ORDER):
            color, marker, _ = METHODS[method]
            found = evidence.kept(runs, setting, method)
            for n, task in enumerate(order):
                values, y = found[task], n + 0.16 * (k - (len(METHOD_ORDER) - 1) / 2)
                ax.plot([min(values), max(values)], [y, y], color=COLORS[color], lw=2)
                ax.plot(mean(values), y, marker, color=COLORS[color], ms=8, label=method if not n else None)
        ax.axvline(1, color=COLORS["black"], lw=1)
        ax.set(xlabel="accuracy after / before", title=title, xlim=(-0.04, 1.1))
    axes[0].set_yticks(range(len(order)), [TASKS[t] for t in order])
    axes[0].invert_yaxis()
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(METHOD_ORDER))
    spoken = []
    for method in METHOD_ORDER:
        found = evidence.kept(runs, evidence.MUCH, method)
        some = (f"{TASKS[t]} {mean(found[t]):.2f}" for t in ("facts_rare", "arithmetic", "deduction_chain"))
        spoken.append(f"{method}: {', '.join(some)}")
    return described(
        fig,
        "Accuracy after over before at equal forgetting. Left, the paper's choice of matrices: the methods lie close "
        "together at the safe end. Right, all projections of all blocks, means: " + "; ".join(spoken) + ".",
    )


def prices(runs):
    """Show a table of what every method costs two kinds of text, and what it leaves of quotes that it was not shown."""
    rows = []
    for method in (*METHOD_ORDER, "flattest block", "uphill"):
        rows.append([method, *map(spread, evidence.prices_of(runs, evidence.MUCH, method).values())])
    tables.table(["method", "x perplexity, like the corpus", "x, other text", "words right, unseen quotes"], rows)


def spared(runs, tasks=("facts_rare", "arithmetic", "deduction_chain")):
    """Show a table of what the staircase and the two further edits leave of some abilities."""
    rows = []
    for method in ("K-FAC", "flattest block", "uphill"):
        found = evidence.kept(runs, evidence.MUCH, method)
        rows.append([method, *(spread(found[task]) for task in tasks)])
    tables.table(["accuracy after / before", *(TASKS[task] for task in tasks)], rows)


def equal_lengths(runs):
    """How often k words in a row are right after K-FAC's edit of all projections and before any, one line a text of
    SAME_LENGTH: the mean over runs with their range."""
    fig, ax = plt.subplots(figsize=(8, 4.4))
    found = evidence.in_a_row(runs, evidence.MUCH, "K-FAC", SAME_LENGTH)
    for text, (name, color, marker, line) in SAME_LENGTH.items():
        lengths = sorted(found[text], key=int)
        band(ax, [found[text][k] for k in lengths], name, color, marker, line, x=[int(k) for k in lengths])
    ax.set_xticks([1, 2, 3])
    ax.set(xlabel="words in a row", ylabel="share that is right", ylim=(0, 1.05), title="the same test for all")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    spoken = (f"{SAME_LENGTH[t][0]} " + ", ".join(f"{mean(v):.2f}" for v in rows.values()) for t, rows in found.items())
    return described(fig, "Share of places where one, two, three words in a row are right: " + "; ".join(spoken) + ".")


def two_words(runs):
    """Show a table of the share of two words in a row that are right after each method's edit of all projections."""
    rows = []
    for method in METHOD_ORDER:
        found = evidence.in_a_row(runs, evidence.MUCH, method, SAME_LENGTH)
        rows.append([method, *(spread(found[text]["2"]) for text in SAME_LENGTH)])
    tables.table(["two words in a row", *(name for name, *_ in SAME_LENGTH.values())], rows)


def corpora(runs):
    """Show a table of K-FAC's edit of all projections by the curvature of several texts, at equal forgetting."""
    rows = []
    for corpus, found in evidence.by_corpus(runs).items():
        price = [mean(row["text"][kind] for row, _ in found) for kind in ("like_the_corpus", "other")]
        kept = [mean(report.relative(row, base)[task] for row, base in found) for task in BY_CORPUS]
        rows.append([corpus, *(f"{value:.2f}" for value in price + kept)])
    tables.table(["curvature of", "x, mixture", "x, other text", *BY_CORPUS.values()], rows)


def accuracies(paper):
    """{task: {method: accuracy}} of the paper's table of downstream tasks."""
    return {row["task"]: {m: row[m] for m in ("baseline", "BalancedSubnet", "K-FAC")} for row in paper["tasks"]}


def bars(drawn, rows, owner):
    """Show a table of the paper's bars, what each method's bar would be, and whose the bar is."""
    lines = []
    for task, height in drawn.items():
        ratios = [f"{rows[task][m] / rows[task]['baseline']:.3f}" for m in ("BalancedSubnet", "K-FAC")]
        lines.append([task, f"{height:.3f}", *ratios, owner[task]])
    tables.table(["open book", "bar as drawn", "BalancedSubnet", "K-FAC", "the bar is"], lines)


def as_told(problem):
    """A chain's problem as plain dicts: (things asked, {thing: owner}, {owner: city}, {city: number})."""
    asked = [problem.things[k] for k in problem.asked]
    owner_of, home_of = dict(zip(problem.things, problem.owners)), dict(zip(problem.owners, problem.cities))
    return asked, owner_of, home_of, problem.numbers


def step_of(record, edit, step):
    """[share of chains in which a step is right under an edit, in each seed] of a record of `directions`."""
    return [run["steps"][edit]["chains"][step] for run in record.values()]


def steps(record):
    """Share of chains in which a step is right, before and under every edit at equal forgetting, with the seeds'
    range."""
    looks = {**METHODS, "before": ("black", "o", ":"), "zeroed": ("grey", "X", "-")}
    fig, ax = plt.subplots(figsize=(10.5, 4.4))
    for k, edit in enumerate(EDITS):
        color, marker, _ = looks[edit]
        for place, step in enumerate(STEPS):
            values, x = step_of(record, edit, step), place + 0.12 * (k - (len(EDITS) - 1) / 2)
            ax.plot([x, x], [min(values), max(values)], color=COLORS[color], lw=2)
            ax.plot(x, mean(values), marker, color=COLORS[color], ms=9, label=edit if not place else None)
    ax.set_xticks(range(len(STEPS)), STEPS.values())
    ax.set(ylabel="share of chains", ylim=(-0.04, 1.08), title="which step of a chain fails")
    ax.grid(axis="x", visible=False)
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    spoken = (f"{edit}: " + ", ".join(f"{name} {mean(step_of(record, edit, step)):.2f}" for step, name in STEPS.items())
              for edit in EDITS)  # fmt: skip
    return described(fig, "Share of chains in which a step is right, means over seeds. " + "; ".join(spoken) + ".")


def weakest_step(record):
    """The step, but for the mere form of the sum, of which K-FAC leaves the smallest share of what was right."""
    left = {
        name: mean(step_of(record, "K-FAC", step)) / mean(step_of(record, "before", step))
        for step, name in STEPS.items()
        if step != "form"
    }
    return min(left, key=left.get)


def digits(record):
    """Show a table of which digits of a sum are right under every edit, with a carry and without."""
    rows = []
    for edit in EDITS:
        for which in ("carry", "no carry"):
            of = lambda place: [run["steps"][edit]["digits"][which][place] for run in record.values()]
            rows.append([f"{edit}, {which}", *(spread(of(place)) for place in ("form", "ones", "tens", "hundreds"))])
    tables.table(["sums alone", "form", "ones", "tens", "hundreds"], rows)


def formats(model, world, after):
    """Show a table of local tasks in two formats: one of some answers chosen, and the answer written.

    after: {task: bool [N]}, which written answers are right.
    """
    rows = []
    for task, questions in harness_tasks.rows(world, count=CHOICES).items():
        if "choices" not in questions[0]:
            continue
        right = []
        for one in questions[:CHOICES]:
            choices = [w.encode(choice) for choice in one["choices"]]
            scores = harness.choice_scores(model, [w.BOS, *w.encode(one["question"])], choices)
            right.append(scores.argmax().item() == one["label"])
        luck = mean(1 / len(one["choices"]) for one in questions[:CHOICES])
        written = after[task][:CHOICES].float().mean().item()
        form = harness_tasks.FORMATS[task][0]
        rows.append([task, form, f"{mean(map(float, right)):.2f}", f"{luck:.2f}", f"{written:.2f}"])
    tables.table(["task", "in the format of", "chosen", "chosen by luck", "written"], rows)


def harness_record(found):
    """Print what lm-evaluation-harness itself said of an edited model. found: {task: {metric: value}}."""
    for name, metrics in found.items():
        print(f"{name:32}", ", ".join(f"{metric} {value:.2f}" for metric, value in metrics.items()))


def first_to_fall(runs, method):
    """Which of rare facts and unseen sums keeps less under a method, all projections edited, as an answer."""
    found = evidence.kept(runs, evidence.MUCH, method)
    return min((TASKS["facts_rare"], TASKS["arithmetic"]), key=lambda name: mean(found[_task(name)]))


def _task(name):
    return next(task for task, called in TASKS.items() if called == name)


def found(kept, paper, before, after, runs, record, cut):
    """Rows of the chapter's last table: (what, paper, ours, yours).

    kept, paper: as in `spectrum`; before, after: this run's {group: bool [N]}; runs: the seeds of `evidence`; record:
    those of `directions`; cut: this run's rates of the steps after the edit.
    """
    rows = []
    for task in TASKS:
        group = {"recitation": "quotes"}.get(task, task)
        yours = after[group].sum().item() / before[group].sum().item()
        theirs = f"{paper[task]:.2f}" if task in paper else None
        rows.append((f"{TASKS[task]}, after / before", theirs, spread(kept[task]), f"{yours:.2f}"))
    for method in METHOD_ORDER:
        ratios = evidence.kept(runs, evidence.MUCH, method)
        for task in ("facts_rare", "arithmetic"):
            rows.append((f"all projections, {method}: {TASKS[task]}", None, spread(ratios[task]), None))
    for step in ("homes", "sum"):
        rows.append((f"chains: {STEPS[step]} right after the edit", None, spread(step_of(record, "K-FAC", step)),
                     f"{cut[step]:.2f}"))  # fmt: skip
        rows.append((f"chains: {STEPS[step]} right, noise", None, spread(step_of(record, "noise", step)), None))
    return rows
