"""The parts of README.md that are computed: the course map, the results, and the picture at the top."""

import re

from kfaclib import paths, plots, report
from kfaclib.course import notebooks, publishing
from kfaclib.figures import ch09
from kfaclib.files import atomic, read_json

PICTURE = paths.DATA / "results" / "abilities.png"


def course_map():
    """Markdown table of the chapters that are there: question and minutes, from their first cells; where the course is published, links to run them."""
    where = publishing.address()
    lines = ["| chapter | the question | read | run | solve |" + " in Colab |" * bool(where), "|---|---|---:|---:|---:|" + "---|" * bool(where)]
    for path in notebooks.chapters():
        first = notebooks.read(path).cells[0].source
        title, question = [block.strip("#* _\n") for block in re.split(r"\n\s*\n", first)[:2]]
        minutes = [re.search(rf"(\d+)(?: min\w*)? to {verb}", first)[1] for verb in ("read", "run", "solve")]
        question = " ".join(question.split())
        lines.append(f"| [{title}](chapters/{path.name}) | {question} | {' | '.join(minutes)} |"
                     + (f" [open]({publishing.colab_link(where, path.stem)}) |" if where else ""))
    return "\n".join(lines)


def results():
    """Markdown table of the recorded run and the range over seeds, beside the paper's."""
    recorded = read_json(paths.DATA / "results" / "reproduce-olmo2-tiny.json")
    seeds = read_json(paths.DATA / "results" / "seeds.json")["seeds"]
    table = report.side_by_side(seeds, recorded["rows"]).replace("this run", "the shipped model")
    return "\n\n".join(filter(None, [table, report.unlearned(seeds)]))


def computed(text):
    """README's text with its computed blocks filled in."""
    for name, block in (("map", course_map()), ("results", results())):
        text = re.sub(rf"(<!-- {name}: begin -->\n).*?(<!-- {name}: end -->)", lambda m, b=block: f"{m[1]}{b}\n{m[2]}", text, flags=re.S)
    return text


def update():
    """Write the computed blocks into README.md and draw its picture."""
    path = paths.ROOT / "README.md"
    text = computed(path.read_text(encoding="utf-8"))
    recorded = read_json(paths.DATA / "results" / "reproduce-olmo2-tiny.json")
    plots.style()
    figure = ch09.abilities(recorded["staircase"], recorded["rows"][0], title="keep less curvature: what goes first?")
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    with atomic(PICTURE) as temporary:
        temporary.write_bytes(plots.picture(figure, "the README's picture").png)


if __name__ == "__main__":
    update()
