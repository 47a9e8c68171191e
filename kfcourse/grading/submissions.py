"""A folder of submissions in, marks out: a table, a CSV file, a results.json for Gradescope and a plain module for
each.
"""

import csv
import io
import re
from collections import Counter
from pathlib import Path

from tqdm import tqdm

from kfaclib.io.files import atomic, write_json
from kfaclib.io.report import table
from kfcourse.grading import export, marking, variants

COLUMNS = ("student", "exercise", "state", "points", "message")


def found(words):
    """{student: path} of the submissions named by files and folders.

    In a folder every notebook or module counts, and every notebook that lies alone in a folder of its own. The
    student's name is the file's, or that of the folder of its own. ValueError if two would be written to the same
    place.
    """
    pairs = []
    for word in map(Path, words):
        if not word.exists():
            raise FileNotFoundError(f"{word}: there is no such file or folder")
        if word.is_file():
            pairs.append((word.stem, word))
            continue
        pairs += [(p.stem, p) for p in sorted(word.iterdir()) if p.suffix in (".ipynb", ".py")]
        for folder in sorted(
            p for p in word.iterdir() if p.is_dir() and not p.is_symlink() and not p.name.startswith(".")
        ):
            inside = [p for p in sorted(folder.iterdir()) if p.suffix in (".ipynb", ".py")]
            if len(inside) != 1:
                raise ValueError(f"{folder} holds {len(inside)} notebooks or modules; one is wanted")
            pairs.append((folder.name, inside[0]))
    twice = [name for name, count in Counter(safe(name).lower() for name, _ in pairs).items() if count > 1]
    if twice:
        raise ValueError(f"two submissions have the same name: {', '.join(twice)}")
    return dict(pairs)


def mark_all(number, submissions, out, secret=None, with_variants=False, say=print):
    """Mark {student: path} for one chapter and write everything to the folder `out`. Returns [Mark]."""
    about, out = marking.chapter(number), Path(out)
    marks, layers = [], None
    for student, path in tqdm(
        submissions.items(), desc=f"chapter {about.number}", unit="submission", leave=False, disable=None
    ):
        try:
            answers = export.answers(path, about.worked, with_variants)
        except ValueError as error:
            theirs = [marking.Mark(student, i, "unreadable", str(error)) for i in about.ids]
        else:
            write(out / "modules" / f"{safe(student)}.py", answers.source)
            theirs, on = marking.mark(student, answers, about, secret, with_variants)
            layers = layers or on or None
            for remark in answers.remarks:
                say(f"{student}: {remark}")
        marks += theirs
        write_json(out / "gradescope" / safe(student) / "results.json", gradescope(theirs))
    write(out / "marks.csv", as_csv(marks))
    if layers:
        say("The answers ran in a process of their own; protected by: " + ", ".join(layers) + ".")
        if "files" not in layers or "calls" not in layers:
            say(
                "This system has no lock in its kernel for files and calls: see teaching/grading.md before you mark "
                "strangers' work."
            )
    say(f"Written: {out / 'marks.csv'}, and for every student a module and a results.json for Gradescope.")
    return marks


def as_csv(marks):
    """The marks as text for a spreadsheet. No cell can be taken for a formula."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for m in marks:
        writer.writerow([harmless(str(getattr(m, column))) for column in COLUMNS])
    return stream.getvalue()


def harmless(text):
    """One line of text: no control characters, no half characters, and nothing that a spreadsheet would compute."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    text = "".join(c if c.isprintable() else " " for c in text)[:600]
    return "'" + text if text[:1] in "=+-@" and text[:1] else text


def gradescope(marks):
    """The marks of one student as Gradescope's results.json."""
    tests = [
        {
            "name": m.exercise,
            "score": m.points,
            "max_score": 1,
            "status": "passed" if m.points else "failed",
            "output_format": "text",
            "output": harmless(m.message or m.state),
            "visibility": "visible",
        }
        for m in marks
    ]
    return {
        "score": sum(m.points for m in marks),
        "output_format": "text",
        "stdout_visibility": "hidden",
        "tests": tests,
    }


def summary(marks):
    """A table: a line for each student, a column for each exercise."""
    exercises = list(dict.fromkeys(m.exercise for m in marks))
    states = {(m.student, m.exercise): m.state for m in marks}
    students = list(dict.fromkeys(m.student for m in marks))
    rows = [
        (
            harmless(s),
            *(states[s, e] for e in exercises),
            f"{sum(states[s, e] == 'right' for e in exercises)}/{len(exercises)}",
        )
        for s in students
    ]
    return table(("student", *(e.partition(".")[2] for e in exercises), "points"), rows)


def questions(number, students, secret, out):
    """Write every student's own questions to `out`, one Markdown file each. Returns the paths."""
    about, written = marking.chapter(number), []
    for student in students:
        lines = [
            f"# Chapter {about.number}: your own questions, {student}",
            "",
            "For each exercise write a second function under the name given here, with the same arguments. It does "
            "what the exercise asks, "
            "with one change. Hand it in in the same notebook.",
            "",
        ]
        for i in about.ids:
            if variants.of(i):
                lines += [f"- `{i.partition('.')[2]}_variant`: {variants.question(i, secret, student).text}"]
        path = Path(out) / f"{safe(student)}.md"
        write(path, "\n".join(lines) + "\n")
        written.append(path)
    return written


def safe(name):
    """A student's name as a file name."""
    return re.sub(r"[^\w.@-]+", "_", name).strip(".")[:100] or "_"


def write(path, text):
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="replace")
