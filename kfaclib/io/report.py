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


def results_text(result: dict) -> str:
    """The tables that `kfac reproduce` prints, from its result: recitation, tasks, staircase, and the paper beside
    them.
    """
    rows, base = result["rows"], result["rows"][0]
    parts = [
        f"{result['model']}: quotes, fresh text, sums and contexts that were not used to choose anything",
        table(
            ["method", "strict", "loose", "levenshtein", "perplexity", "x baseline", "nDCG@10"],
            [
                [
                    r["method"],
                    r["strict"],
                    r["loose"],
                    r["levenshtein"],
                    r["perplexity"],
                    r["perplexity"] / base["perplexity"],
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
                        *(relative(s, base).get(t, float("nan")) for t in names[1:]),
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


def side_by_side(seeds: dict[str, dict], rows: list[dict]) -> str:
    """Markdown table: the paper's figures, the range over recorded seeds, and the reader's own rows.

    seeds: {seed: result of the pipeline}.  rows: result rows of this run, the baseline first.
    """
    known = paper()["rows"]
    theirs = {r["method"]: r for r in known if r["model"] == known[0]["model"]}

    def pick(results, method):
        return next((r for r in results if r["method"] == method), None)

    def line(label, their, value):
        ours = [value(s["rows"]) for s in seeds.values()]
        return (
            f"| {label} | {their if isinstance(their, str) else f'{their:.3f}'} | {_range(ours)} | {value(rows):.3f} |"
        )

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
            lines.append(line(f"{label}, {method}", theirs[method][name], lambda r, m=method, k=key: pick(r, m)[k]))
    for method in ("K-FAC", "SVD", "random basis"):
        paper_ratio = theirs[method]["perplexity"] / theirs["baseline"]["perplexity"] if method in theirs else "-"
        lines.append(
            line(
                f"perplexity over before, {method}",
                paper_ratio,
                lambda r, m=method: pick(r, m)["perplexity"] / r[0]["perplexity"],
            )
        )
    for task in list(TASKS)[1:]:
        lines.append(
            line(
                f"{TASKS[task]}, accuracy over before, K-FAC",
                theirs["K-FAC"]["tasks_relative"].get(task, "-"),
                lambda r, t=task: relative(pick(r, "K-FAC"), r[0])[t],
            )
        )
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
