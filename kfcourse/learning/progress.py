"""What is solved in the learner's copies. The answers run in a process of their own, as they do when they are
marked.
"""

from kfaclib.io.report import table
from kfcourse import paths
from kfcourse.grading import export, marking
from kfcourse.learning import copies
from kfcourse.learning.exercises import exercise_facts
from kfcourse.notebooks import notebooks

SIGNS = {"right": "solved", "empty": "to do", "missing": "not there"}


def progress(words=()):
    """[(chapter, exercise id, title, state, message)] for the newest copy of every chapter in work/."""
    rows = []
    for path in notebooks.chapters(words):
        copy = copies.newest(paths.WORK, path.stem)
        if copy is None:
            continue
        worked = notebooks.read(path)
        try:
            answers = export.answers(copy, worked)
        except ValueError as error:
            rows.append((path.stem, copy.name, "", "unreadable", str(error)))
            continue
        about = marking.chapter(path.name[:2]) if answers.written else None
        states = {m.exercise: m for m in marking.mark("you", answers, about)} if about else {}
        for i in notebooks.exercises(worked):
            mark = states.get(i)
            state, message = (mark.state, mark.message) if mark else ("empty" if i in answers.empty else "missing", "")
            rows.append((path.stem, i, exercise_facts(i).title, state, message))
    return rows


def report(words=()):
    """The progress as text."""
    rows = progress(words)
    if not rows:
        return "No copies yet: `python3 course.py lab` makes them, in work/."
    shown = table(
        ("exercise", "title", "state"), [(i, title, SIGNS.get(state, state)) for _, i, title, state, _ in rows]
    )
    wrong = [f"{i}: {message}" for _, i, _, state, message in rows if message]
    solved = sum(state == "right" for *_, state, _ in rows)
    return "\n".join([shown, "", f"{solved} of {len(rows)} solved.", *wrong])
