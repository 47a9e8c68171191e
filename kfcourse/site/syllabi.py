"""The computed tables of teaching/syllabi.md: what each week takes, from the chapters' first cells and exercises.

`python -m kfcourse.site.syllabi` writes them again.
"""

import re

from kfaclib.io.files import atomic
from kfcourse import paths
from kfcourse.learning import exercises
from kfcourse.notebooks import notebooks, outline

PAGE = paths.ROOT / "teaching" / "syllabi.md"
BLOCK = re.compile(r"(<!-- work ((?:\d\d ?)+): begin -->\n).*?(<!-- work: end -->)", flags=re.S)


def row(number):
    """(one line of the table, {"read", "run", "solve": minutes}) of a chapter."""
    path = notebooks.chapters([number])[0]
    first, facts = outline.first_cell(notebooks.read(path)), exercises.chapter_exercises(number)
    tasks = "; ".join(
        f"{facts[name].title}, {facts[name].minutes} ({facts[name].difficulty}/5)"
        for name in notebooks.exercises(notebooks.read(path))
    )
    times = " | ".join(str(first.minutes[verb]) for verb in outline.VERBS)
    return f"| [{first.title}](../chapters/{path.name}) | {times} | {tasks} |", first.minutes


def work(numbers):
    """Markdown table of what some chapters take: minutes to read, run and solve, and every exercise's minutes and
    difficulty.
    """
    rows = [row(number) for number in numbers]
    lines = [
        "| chapter | read | run | solve | exercises: minutes (difficulty) |",
        "|---|---:|---:|---:|---|",
        *(line for line, _ in rows),
    ]
    if len(rows) > 1:
        lines.append(
            "| together | "
            + " | ".join(str(sum(minutes[verb] for _, minutes in rows)) for verb in outline.VERBS)
            + " | |"
        )
    return "\n".join(lines)


def computed(text):
    """The page's text with its tables filled in."""
    return BLOCK.sub(lambda match: f"{match[1]}{work(match[2].split())}\n{match[3]}", text)


def update():
    """Write the tables into teaching/syllabi.md."""
    text = computed(PAGE.read_text(encoding="utf-8"))
    with atomic(PAGE) as temporary:
        temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    update()
