"""What teaching/syllabi.md computes: what each week takes, from the chapters' first cells and exercises.

kfcourse/site/tables.py writes it into the page.
"""

from kfcourse.learning import exercises
from kfcourse.notebooks import notebooks, outline


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


def rest(scheduled):
    """Markdown about the chapters that are not among the `scheduled` ones (their numbers); empty if there are none."""
    left = [path.name[:2] for path in notebooks.chapters() if path.name[:2] not in scheduled]
    return f"These chapters have no week yet:\n\n{work(left)}" if left else ""
