"""What README.md computes: the course map and the results. kfcourse/site/tables.py writes them into it."""

from kfaclib.io import report
from kfaclib.io.files import read_json
from kfcourse import paths
from kfcourse.notebooks import notebooks, outline
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
