"""The tables that nobody types, in README.md, pages/ and teaching/, computed from the chapters and recorded results.

A page marks the place of a table with `<!-- NAME: begin -->` and `<!-- NAME: end -->`; words after the name say what
the table is about (`<!-- work 01 02: begin -->`). `python3 course.py execute` brings all of them up to date, and so
does `python -m kfcourse.site.tables`.
"""

import re

from kfaclib.io.files import atomic
from kfcourse import paths
from kfcourse.notebooks import notebooks, outline
from kfcourse.site import readme, runbook, syllabi

BLOCK = re.compile(
    r"(?P<begin><!-- (?P<name>[a-z]+)(?P<words>(?: \w+)*): begin -->\n).*?(?P<end><!-- (?P=name): end -->)", re.S
)
TABLES = {  # page: {name of a table: function(words of its marker, the page's text) -> Markdown}
    "README.md": {
        "map": lambda words, text: readme.course_map(),
        "results": lambda words, text: readme.results(),
        "controls": lambda words, text: readme.controls(),
    },
    "teaching/syllabi.md": {
        "work": lambda words, text: syllabi.work(words),
        "rest": lambda words, text: syllabi.rest(scheduled(text)),
    },
    "pages/olmo2_1b.md": {"bill": lambda words, text: runbook.bill(), "presets": lambda words, text: runbook.presets()},
    "teaching/questions.md": {"questions": lambda words, text: questions()},
}


def scheduled(text):
    """The numbers of the chapters that have a week in the syllabi."""
    return {number for block in BLOCK.finditer(text) if block["name"] == "work" for number in block["words"].split()}


def questions():
    """Markdown list of the chapters' written questions."""
    lines = []
    for path in notebooks.chapters():
        questions = paths.ROOT / "kfcourse" / f"ch{path.name[:2]}" / "questions.md"
        if questions.is_file():
            lines.append(
                f"- [{outline.first_cell(notebooks.read(path)).title}](../kfcourse/ch{path.name[:2]}/questions.md)"
            )
    return "\n".join(lines)


def computed(page, text):
    """The text of a page, named by its path in the checkout, with its tables filled in."""

    def fill(block):
        table = TABLES[page][block["name"]](block["words"].split(), text)
        return block["begin"] + (table + "\n" if table else "") + block["end"]

    return BLOCK.sub(fill, text)


def update():
    """Write the tables into the pages that the checkout has; returns the paths of those that changed."""
    changed = []
    for page in TABLES:
        path = paths.ROOT / page
        before = path.read_text(encoding="utf-8") if path.is_file() else ""
        after = computed(page, before)
        if after != before:
            with atomic(path) as temporary:
                temporary.write_text(after, encoding="utf-8")
            changed.append(path)
    return changed


if __name__ == "__main__":
    for path in update():
        print(path)
