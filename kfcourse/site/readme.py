"""The parts of README.md that are computed: the course map, the results, and the picture at the top."""

import re

from kfaclib.io import report
from kfaclib.io.files import atomic, read_json
from kfcourse import paths
from kfcourse.ch09 import figures
from kfcourse.notebooks import notebooks, outline
from kfcourse.show import plots
from kfcourse.site import publishing

PICTURE = paths.DATA / "results" / "abilities.png"


def course_map():
    """Markdown table of the chapters that are there: question and minutes, from their first cells; where the course is
    published, links to run them.
    """
    heads, where = (
        {path.stem: outline.first_cell(notebooks.read(path)) for path in notebooks.chapters()},
        publishing.address(),
    )
    if not where:
        return outline.table(heads)
    return outline.table(heads, "in Colab", lambda name: f"[open]({publishing.colab_link(where, name)})")


def results():
    """Markdown table of the recorded run and the range over seeds, beside the paper's."""
    recorded = read_json(paths.DATA / "results" / "reproduce-olmo2-tiny.json")
    seeds = read_json(paths.DATA / "results" / "seeds.json")["seeds"]
    table = report.side_by_side(seeds, recorded["rows"]).replace("this run", "the shipped model")
    return "\n\n".join(filter(None, [table, report.unlearned(seeds)]))


def computed(text):
    """README's text with its computed blocks filled in."""
    for name, block in (("map", course_map()), ("results", results())):
        text = re.sub(
            rf"(<!-- {name}: begin -->\n).*?(<!-- {name}: end -->)",
            lambda m, b=block: f"{m[1]}{b}\n{m[2]}",
            text,
            flags=re.S,
        )
    return text


def update():
    """Write the computed blocks into README.md and draw its picture."""
    path = paths.ROOT / "README.md"
    text = computed(path.read_text(encoding="utf-8"))
    recorded = read_json(paths.DATA / "results" / "reproduce-olmo2-tiny.json")
    plots.style()
    figure = figures.abilities(
        recorded["staircase"], recorded["rows"][0], title="keep less curvature: what goes first?"
    )
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    with atomic(PICTURE) as temporary:
        temporary.write_bytes(plots.picture(figure, "the README's picture").png)


if __name__ == "__main__":
    update()
