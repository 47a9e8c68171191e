"""What README.md computes: the course map, the results, the controls. kfcourse/site/tables.py writes them into it."""

from kfaclib.io import report
from kfaclib.io.files import read_json
from kfcourse import paths
from kfcourse.notebooks import notebooks, outline
from kfcourse.show.tables import spread
from kfcourse.site import publishing


def course_map():
    """Markdown table of the chapters that are there: question and minutes, from their first cells; where the course is
    published, links to run them.
    """
    heads = {path.stem: outline.first_cell(notebooks.read(path)) for path in notebooks.chapters()}
    where = publishing.address()
    if not where:
        return outline.table(heads)
    return outline.table(heads, "in Colab", lambda name: f"[open]({publishing.colab_link(where, name)})")


def results():
    """Markdown table of the recorded run and the range over seeds, beside the paper's."""
    recorded = read_json(paths.DATA / "results" / "reproduce-olmo2-tiny.json")
    seeds = read_json(paths.DATA / "results" / "seeds.json")["seeds"]
    table = report.side_by_side(seeds, recorded["rows"]).replace("this run", "the shipped model")
    return "\n\n".join(filter(None, [table, report.unlearned(seeds)]))


def controls():
    """Markdown table of the experiment `evidence` where all projections are edited: every method at the same
    forgetting, the mean over runs with their range."""
    from kfcourse.experiments import evidence  # it loads torch, which `course` must not wait for

    runs = read_json(paths.DATA / "results" / "evidence.json")["seeds"]
    columns = {f"{report.TASKS[t]}, after / before": t for t in ("facts_rare", "arithmetic", "deduction_chain")}
    lines = [
        "| | " + " | ".join(columns) + " | x perplexity, text like the corpus | x perplexity, other text |",
        "|---" + "|---:" * (len(columns) + 2) + "|",
    ]
    for method in ("K-FAC", "SVD", "random basis", "noise"):
        kept, price = (f(runs, evidence.MUCH, method) for f in (evidence.kept, evidence.prices_of))
        values = [kept[task] for task in columns.values()] + [price["like_the_corpus"], price["other"]]
        cells = [spread(v) for v in values]
        lines.append(" | ".join([f"| {method}", *cells]) + " |")
    return "\n".join(lines)
