"""A folder of submissions in, marks out: a table, a CSV file, a results.json for Gradescope and a plain module for
each.

Every submission gets its rows, whatever it is, and everything that is passed over is named. What is done is written at
once: an export that was interrupted goes on where it stopped.
"""

import csv
import dataclasses
import hashlib
import io
import json
import os
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from kfaclib.io.files import atomic, remove_half_written, write_json
from kfaclib.io.report import table
from kfcourse import paths
from kfcourse.grading import export, identity, marking, sandbox, variants
from kfcourse.notebooks import notebooks

COLUMNS = ("student", "exercise", "state", "points", "message", "file", "remarks", "protection")
OURS = ("marks.csv", "passed_over.csv", "gradescope", "modules", "unfinished.jsonl")  # what an export writes
SYSTEM = ("__macosx", "thumbs.db", "desktop.ini")  # what systems leave in folders
DEEP, MANY = 4, 1000  # folders below a student's own, and files in it, that are looked at


@dataclass(frozen=True)
class Submission:
    """What one student handed in."""

    student: str
    path: Path
    problem: str = ""  # why it cannot be marked
    remarks: tuple[str, ...] = ()


def found(words, out=None):
    """([Submission], [(path, why it is passed over)]) of the files and folders that `words` name.

    In a folder every file is a submission, and so is every folder with one notebook or module in it. The student's
    name is the file's, or that of the folder. `out` is where marks are written, and never a submission. ValueError if
    there is no submission at all.
    """
    submissions, passed_over = [], []
    for word in map(Path, words):
        if not word.exists():
            raise FileNotFoundError(f"{word}: there is no such file or folder")
        if word.is_file():
            submissions.append(Submission(identity.person(student_of(word)), word.resolve()))
            continue
        for path in sorted(word.iterdir()):
            if reason := not_handed_in(path, out):
                passed_over.append((path, reason))
            elif path.is_dir() and not path.is_symlink():
                one, others = in_folder(path)
                submissions.append(one)
                passed_over += others
            else:
                problem = "" if export.kind(path) or path.is_symlink() else export.not_marked(path)
                submissions.append(Submission(identity.person(student_of(path)), path, problem))
    submissions, others = without_doubles(submissions)
    passed_over += others
    if not submissions:
        named = "".join(f"\n  {path}: {why}" for path, why in passed_over[:20])
        raise ValueError(f"no submission in {', '.join(map(str, words))}{':' * bool(named)}{named}")
    return submissions, passed_over


def student_of(path):
    """A file's name without its ending: "ada" for ada.ipynb and for ada.ipynb.txt."""
    match = export.KINDS.search(path.name)
    return (path.name[: match.start()] if match and match.end() == len(path.name) else path.stem) or path.name


def not_handed_in(path, out=None):
    """Why something in a folder of submissions is none; "" if it is one."""
    if path.name.lower() in SYSTEM or path.name.startswith("._"):
        return "left there by the system that packed it"
    if path.name.startswith("."):
        return "hidden"
    if out is not None and path.resolve() == Path(out).resolve():
        return "the folder that the marks are written to"
    if path.is_dir() and all((path / name).exists() for name in OURS[:1] + OURS[2:4]):
        return "the marks of an earlier run"
    return ""


def in_folder(folder):
    """(the Submission in a student's folder, what is passed over in it)."""
    student, others, files = identity.person(folder.name), [], []
    try:
        walk(folder, files, others, DEEP)
    except OSError as error:
        return Submission(student, folder, f"the folder cannot be opened: {error.strerror or error}"), others
    candidates = [p for p in files if export.kind(p) in ("ipynb", "py") and p.suffix.lower() != ".json"]
    candidates = [p for p in candidates if export.kind(p) == "ipynb"] or candidates
    others += [(p, "beside the student's notebook") for p in files if p not in candidates]
    if not candidates:
        there = ", ".join(p.name for p in files[:5]) or "nothing"
        why = f" ({export.not_marked(files[0])})" if len(files) == 1 else ""
        return Submission(student, folder, f"there is no notebook in it, but {there}{why}"), []
    if len({fingerprint(p) for p in candidates}) > 1:
        names = ", ".join(str(p.relative_to(folder)) for p in candidates[:5])
        return Submission(
            student, folder, f"there are {len(candidates)} notebooks in it ({names}); one is wanted"
        ), others
    others += [(p, f"the same as {candidates[0].name}") for p in candidates[1:]]
    return Submission(student, candidates[0]), others


def walk(folder, files, others, depth):
    """Collect the files under a folder, and what is passed over there. OSError if a folder cannot be opened."""
    for path in sorted(folder.iterdir()):
        if reason := not_handed_in(path) or ("a link" if path.is_symlink() else ""):
            others.append((path, reason))
        elif len(files) >= MANY:
            others.append((path, f"the folder holds more than {MANY} files"))
        elif not path.is_dir():
            files.append(path)
        elif depth:
            walk(path, files, others, depth - 1)
        else:
            others.append((path, "too many folders in each other"))


def fingerprint(path):
    """A hash of a file's bytes; of its name where it cannot be read, or is larger than a submission may be."""
    try:
        if path.is_file() and path.stat().st_size <= export.LARGEST:
            return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        pass
    return hashlib.sha256(os.fsencode(path)).hexdigest()


def without_doubles(submissions):
    """(submissions, passed over): a file named twice counts once; what cannot be marked is passed over where the same
    student has handed in what can; and all who share a name say so.
    """
    submissions = list({s.path.resolve() if not s.path.is_symlink() else s.path: s for s in submissions}.values())
    fine = {identity.key(s.student) for s in submissions if not s.problem}
    kept = [s for s in submissions if not s.problem or identity.key(s.student) not in fine]
    others = [(s.path, f"{s.problem}; {s.student} has handed in another") for s in submissions if s not in kept]
    count = Counter(identity.key(s.student) for s in kept)
    for i, s in enumerate(kept):
        if count[identity.key(s.student)] > 1:
            same = [o.path.name for o in kept if o is not s and identity.key(o.student) == identity.key(s.student)]
            remark = f"there are {len(same) + 1} submissions by this name: also {', '.join(same[:5])}"
            kept[i] = dataclasses.replace(s, remarks=(*s.remarks, remark))
    return kept, others


def known(submissions, names):
    """The submissions, each with the name under which its student was asked; a remark where nobody of that name was."""
    result = []
    for s in submissions:
        name = identity.asked(s.student, names)
        if name is None:
            s = dataclasses.replace(s, remarks=(*s.remarks, "nobody was asked questions by this name"))
        elif identity.key(name) != identity.key(s.student):
            remark = f"marked as {name}, the only name on the list that differs in accents alone"
            s = dataclasses.replace(s, student=name, remarks=(*s.remarks, remark))
        result.append(s)
    return result


# --- marking


def mark_all(number, submissions, out, secret=None, with_variants=False, passed_over=(), say=None):
    """Mark submissions for one chapter and write everything to the folder `out`. Returns [Mark].

    Whatever happens with one, the others get their marks. If it is interrupted, the next run with the same submissions
    and settings takes over what was done. A row of an earlier run stays in marks.csv until this one replaces it.
    """
    say = say or (lambda text: print(harmless(text)))
    about, out = marking.chapter(number), writable(out)
    for name in ("marks.csv", "passed_over.csv"):
        remove_half_written(out / name)
    write(out / "passed_over.csv", as_rows(("file", "why"), [(str(path), why) for path, why in passed_over]))
    settings = [notebooks.to_bytes(about.worked).hex(), (secret or b"").hex(), with_variants, sandbox.missing(())]
    settings = hashlib.sha256(json.dumps(settings).encode()).hexdigest()
    journal = Journal(out / "unfinished.jsonl")
    names = unique([identity.file_name(s.student) for s in submissions])
    ahead = {harmless(os.fspath(s.path)) for s in submissions}  # what this run has not reached yet
    earlier = [m for m in marks_in(out / "marks.csv") if m.exercise.startswith(f"{about.number}.")]
    marks, again = [], 0
    for submission, name in tqdm(
        zip(submissions, names, strict=True),
        total=len(submissions),
        desc=f"chapter {about.number}",
        unit="submission",
        leave=False,
        disable=None,
    ):
        stamp = [settings, dataclasses.astuple(submission), fingerprint(submission.path)]
        stamp = hashlib.sha256(json.dumps(stamp, default=str).encode()).hexdigest()
        before = journal.done.get(stamp)
        if before is None:
            source, theirs = mark_one(submission, about, secret, with_variants)
        else:
            source, theirs = before["source"], [marking.Mark(**mark) for mark in before["marks"]]
            again += 1
        module, scores = out / "modules" / f"{name}.py", out / "gradescope" / name / "results.json"
        for path in (module, scores):
            remove_half_written(path)
        if source is not None:
            write(module, source)
        write_json(scores, gradescope(theirs))
        marks += theirs
        if before is None:
            journal.add(stamp, {"source": source, "marks": [dataclasses.asdict(mark) for mark in theirs]})
        ahead.discard(harmless(os.fspath(submission.path)))
        interrupted = journal.of_others({m.file for m in marks})
        done = {m.file for m in interrupted}
        finished = [m for m in earlier if m.file in ahead - done]
        write(out / "marks.csv", as_csv([*marks, *interrupted, *finished]))
        for remark in dict.fromkeys(m.remarks for m in theirs if m.remarks):
            say(f"{submission.student}: {remark}")
    write(out / "marks.csv", as_csv(marks))
    journal.close()
    if again:
        say(f"{again} of {len(submissions)} submissions had been marked before this run; they are taken over.")
    say(f"Protection: {sandbox.in_words(about.preload)}.")
    for path, why in passed_over:
        say(f"passed over: {path}: {why}")
    say(f"Written: {out / 'marks.csv'}, and for every student a module and a results.json for Gradescope.")
    return marks


def mark_one(submission, about, secret, with_variants):
    """(the module with one submission's answers or None, its [Mark]). It raises nothing, whatever was handed in."""
    remarks, source = list(submission.remarks), None
    try:
        if submission.problem:
            raise ValueError(submission.problem)
        answers = export.answers(submission.path, about.worked, with_variants)
        source = answers.source
        theirs = marking.mark(submission.student, answers, about, secret, with_variants)
        remarks += answers.remarks
        if not answers.written and len(answers.missing) == len(about.ids):
            remarks.append(why_nothing(submission.path, about))
    except ValueError as error:
        theirs = [marking.Mark(submission.student, i, "unreadable", str(error)) for i in about.ids]
    except Exception as error:  # a fault of ours, perhaps, but the others want their marks
        why = f"it could not be marked ({type(error).__name__}: {error}); please report this"[:300]
        theirs = [marking.Mark(submission.student, i, "unreadable", why) for i in about.ids]
    remark = "; ".join(dict.fromkeys(harmless(r) for r in remarks))
    file = harmless(os.fspath(submission.path))
    return source, [dataclasses.replace(m, file=file, remarks=remark) for m in theirs]


def why_nothing(path, about):
    """Why none of the chapter's exercises is in a submission."""
    cells = export.cells_of(path)
    others = [number for number in export.other_chapters(cells) if number != about.number]
    if others:
        return f"it holds exercises of chapter {', '.join(others)}, not of {about.number}"
    return "none of the chapter's functions is in it" if any(map(str.strip, cells)) else "there is no code in it"


class Journal:
    """What an export has done, line by line in a file, until it is finished."""

    def __init__(self, path):
        self.path, self.done = path, {}
        if path.is_file():
            for line in path.read_bytes().split(b"\n"):
                try:
                    entry = json.loads(line)
                    self.done[entry["of"]] = entry
                except (ValueError, TypeError, KeyError):
                    continue  # the line that was being written when it was killed

    def add(self, stamp, entry):
        """Add what was done for one submission, so that it survives a loss of power too."""
        self.done[stamp] = entry
        with open(self.path, "ab") as file:
            file.write(b"\n" + json.dumps({"of": stamp, **entry}).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def of_others(self, reached):
        """[Mark] of the submissions done by an interrupted run, but not of those whose files this run has `reached`."""
        marks = [marking.Mark(**m) for entry in self.done.values() for m in entry["marks"]]
        return [m for m in marks if m.file not in reached]

    def close(self):
        self.path.unlink(missing_ok=True)


def unique(names):
    """Names, a number added to those that were there before: a, b, a_2."""
    taken, result = set(), []
    for name in names:
        number, made = 1, name
        while made in taken:
            number += 1
            made = f"{name}_{number}"
        taken.add(made)
        result.append(made)
    return result


def writable(out):
    """A folder to write to, made. OSError, before the work, if nothing can be written there."""
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"--out {out}: this is a file, and a folder is wanted")
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise OSError(f"--out {out}: nothing can be written there ({error.strerror or error})") from None
    return out


# --- what is written


def as_csv(marks):
    """The marks as text for a spreadsheet. No cell can be taken for a formula."""
    return as_rows(COLUMNS, [[getattr(m, column) for column in COLUMNS] for m in marks])


def marks_in(path):
    """[Mark] in the marks.csv of an earlier run; none where there is no such file, or none that can be read."""
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    except (OSError, ValueError, csv.Error):
        return []
    fields = [field.name for field in dataclasses.fields(marking.Mark)]
    return [marking.Mark(**{f: row[f] for f in fields}) for row in rows if all(row.get(f) is not None for f in fields)]


def as_rows(columns, rows):
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([harmless(str(value)) for value in row])
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


def summary(marks, passed_over=()):
    """A table: a line for each submission, a column for each exercise; then what was passed over."""
    exercises = list(dict.fromkeys(m.exercise for m in marks))
    states = {(m.student, m.file, m.exercise): m.state for m in marks}
    students = list(dict.fromkeys((m.student, m.file) for m in marks))
    rows = [
        (
            harmless(s),
            *(states[s, file, e] for e in exercises),
            f"{sum(states[s, file, e] == 'right' for e in exercises)}/{len(exercises)}",
        )
        for s, file in students
    ]
    lines = [table(("student", *(e.partition(".")[2] for e in exercises), "points"), rows)]
    if passed_over:
        lines += ["", f"{len(passed_over)} passed over (passed_over.csv says why): "]
        lines[-1] += ", ".join(harmless(path.name) for path, _ in passed_over[:20])
    without = len({(m.student, m.file) for m in marks if m.protection == "limits only"})
    if without:
        lines += [
            "",
            f"{without} of {len(students)} ran with limits only, without bubblewrap: see teaching/grading.md.",
        ]
    return "\n".join(lines)


# --- questions


def questions(number, students, secret, out):
    """Write every student's own questions to `out`, one Markdown file each, and remember who was asked. Returns the
    paths.
    """
    about, written = marking.chapter(number), []
    students = list({identity.key(student): student for student in reversed(students)}.values())[::-1]
    for student, name in zip(students, unique([identity.file_name(s) for s in students]), strict=True):
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
        path = Path(out) / f"{name}.md"
        write(path, "\n".join(lines) + "\n")
        written.append(path)
    before = was_asked(about.number, secret)
    write_json(record_of(about.number, secret), list(dict.fromkeys([*before, *students])))
    return written


def record_of(number, secret):
    """Where the names of those who were asked are kept: for each chapter and secret."""
    return paths.BUILD / "asked" / f"{number}-{variants.number(secret, 'who was asked'):016x}.json"


def was_asked(number, secret):
    """The names of those who were asked about a chapter with this secret, as far as this computer knows."""
    try:
        names = json.loads(record_of(number, secret).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def names_in(path):
    """The names in a file, one a line."""
    names = [line.strip() for line in marking.text_of(path).replace("\r", "\n").split("\n") if line.strip()]
    if not names:
        raise ValueError(f"{path}: there is no name in it; one name a line is wanted")
    return names


def write(path, text):
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="replace", newline="\n")
