"""Results as text: one table, ours beside the paper's."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from kfaclib.io import files
from kfaclib.io.paths import data

TASKS = {  # task: what a table or a figure calls it; in the order in which they break
    "recitation": "quotes, word for word",
    "facts_rare": "rare facts",
    "arithmetic": "unseen sums",
    "deduction_chain": "if-then, two steps",
    "facts_frequent": "frequent facts",
    "comparison": "comparing numbers",
    "boolean": "boolean logic",
    "tracking": "tracking objects",
    "deduction": "if-then",
    "open_book": "open book",
}
CONTROLS = ("K-FAC", "SVD", "random basis", "noise", "zeroed")  # of a table: the edit, and what stands beside it


def paper() -> dict:
    """The paper's numbers, as a dict, from `data/results/paper.json`."""
    return files.read_json(data("results", "paper.json"))


def relative(row: dict, baseline: dict) -> dict[str, float]:
    """{task: accuracy over the baseline's} of a result row."""
    return {t: row["tasks"][t] / baseline["tasks"][t] for t in row["tasks"] if baseline["tasks"][t] > 0}


def table(header: Sequence, rows: Iterable[Sequence]) -> str:
    """Plain-text table: columns as wide as their longest cell, numbers to the right."""
    cells = [list(map(str, header))] + [[f"{c:.3f}" if isinstance(c, float) else str(c) for c in row] for row in rows]
    widths = [max(len(row[k]) for row in cells) for k in range(len(header))]
    lines = [
        "  ".join(c.ljust(n) if k == 0 else c.rjust(n) for k, (c, n) in enumerate(zip(row, widths))) for row in cells
    ]
    return "\n".join([lines[0], "  ".join("-" * n for n in widths), *lines[1:]])


def within(row: dict, metric: str) -> str:
    """A row's metric with its interval, as text."""
    low, high = row["interval"][metric]
    return f"{row[metric]:.3f} ({low:.3f} to {high:.3f})"


def results_text(result: dict) -> str:
    """The tables that `kfac reproduce` prints, from its result: recitation, tasks, staircase, and the paper beside
    them.
    """
    rows, base = result["rows"], result["rows"][0]
    parts = [
        f"{result['model']}: quotes, fresh text, sums and contexts that were not used to choose anything",
        table(
            [
                "method",
                "strict, 95 %",
                "loose, 95 %",
                "levenshtein",
                "perplexity",
                "x before",
                "like the corpus",
                "other text",
                "nDCG@10",
            ],
            [
                [
                    r["method"],
                    within(r, "strict"),
                    within(r, "loose"),
                    r["levenshtein"],
                    r["perplexity"],
                    r["perplexity"] / base["perplexity"],
                    r["text"]["like_the_corpus"],
                    r["text"]["other"],
                    r["ndcg"],
                ]
                for r in rows
            ],
        ),
    ]
    names = [t for t in TASKS if t in base["tasks"]]
    known = result["paper"]
    edited = next(r for r in known if r["method"] == "K-FAC" and "tasks_relative" in r)
    relatives = [[r["method"], *(relative(r, base).get(t, float("nan")) for t in names)] for r in rows[1:]]
    paper_row = [f"paper, {edited['model']}", *(edited["tasks_relative"].get(t, "-") for t in names)]
    parts += ["accuracy after the edit over accuracy before", table(["method", *names], relatives + [paper_row])]
    texts = [text for text in base["right_in_a_row"] if "2" in base["right_in_a_row"][text]]
    parts += [
        "how often two words in a row are right",
        table(["method", *texts], [[r["method"], *(r["right_in_a_row"][text]["2"] for text in texts)] for r in rows]),
    ]
    if result.get("staircase"):
        parts += [
            "K-FAC at several masses",
            table(
                ["mass", "pairs kept", "strict", "loose", "perplexity", *names[1:]],
                [
                    [
                        f"{s['mass']:g}",
                        s["kept"],
                        s["strict"],
                        s["loose"],
                        s["perplexity"],
                        *(relative(s, result["unedited"]).get(t, float("nan")) for t in names[1:]),
                    ]
                    for s in result["staircase"]
                ],
            ),
        ]
    parts += [
        "the paper's models (strict and loose recall on Dolma windows; perplexity on pile-10k)",
        table(
            ["model", "method", "strict", "loose", "distance", "perplexity", "x baseline"],
            [
                [
                    r["model"],
                    r["method"],
                    r["strict"],
                    r["loose"],
                    r["distance"],
                    r["perplexity"],
                    r["perplexity"] / next(b["perplexity"] for b in known if b["model"] == r["model"]),
                ]
                for r in known
            ],
        ),
    ]
    return "\n\n".join(parts)


def results_table(path: str | Path) -> str:
    """`results_text` of a recorded result."""
    return results_text(files.read_json(path))


def _range(values):
    return f"{sum(values) / len(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def side_by_side(seeds: dict, rows: list[dict]) -> str:
    """Markdown table: the paper's figures, the range over recorded seeds, and the reader's own rows.

    seeds: {seed: result of the pipeline}.  rows: result rows of this run, the baseline first; a method that this run
    has not measured gets a dash.
    """
    known = paper()["rows"]
    theirs = {r["method"]: r for r in known if r["model"] == known[0]["model"]}

    def pick(results, method):
        return next((r for r in results if r["method"] == method), None)

    def line(label, method, their, value):
        """value: function of (the method's row, the baseline)."""
        ours = [value(pick(s["rows"], method), s["rows"][0]) for s in seeds.values()]
        mine = pick(rows, method)
        cells = [their, _range(ours), value(mine, rows[0]) if mine else "-"]
        return " | ".join([f"| {label}", *(c if isinstance(c, str) else f"{c:.3f}" for c in cells)]) + " |"

    lines = [
        f"| | paper, {known[0]['model']} | ours, {len(seeds)} seeds: mean (range) | this run |",
        "|---|---:|---:|---:|",
    ]
    for method in ("baseline", "K-FAC"):
        for label, key, name in (
            ("strict recall", "strict", "strict"),
            ("loose recall", "loose", "loose"),
            ("Levenshtein distance", "levenshtein", "distance"),
        ):
            lines.append(line(f"{label}, {method}", method, theirs[method][name], lambda row, _, k=key: row[k]))
    ratio = lambda row, base: row["perplexity"] / base["perplexity"]
    for method in CONTROLS:
        their = ratio(theirs[method], theirs["baseline"]) if method in theirs else "-"
        lines.append(line(f"perplexity over before, {method}", method, their, ratio))
    for method in CONTROLS:
        lines.append(
            line(f"the same on text unlike the corpus, {method}", method, "-", lambda r, _: r["text"]["other"])
        )
    for task in list(TASKS)[1:]:
        their = theirs["K-FAC"]["tasks_relative"].get(task, "-")
        label = f"{TASKS[task]}, accuracy over before, K-FAC"
        lines.append(line(label, "K-FAC", their, lambda row, base, t=task: relative(row, base)[t]))
    return "\n".join(lines)


def unlearned(seeds: dict[str, dict], enough: float = 0.95) -> str:
    """Sentence about the seeds that had not learned every task before any edit; empty if all had."""
    gaps = [
        f"seed {seed}: " + ", ".join(f"{TASKS[t]} {a:.2f}" for t, a in s["rows"][0]["tasks"].items() if a < enough)
        for seed, s in seeds.items()
        if min(s["rows"][0]["tasks"].values()) < enough
    ]
    return (
        f"Not every seed had learned everything when training ended ({'; '.join(gaps)}, before any edit)."
        if gaps
        else ""
    )
