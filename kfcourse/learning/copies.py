"""The learner's copies in work/: made once, never overwritten, and updated beside the learner's answers.

A copy carries in its metadata which version of the chapter it came from; `work/.given` keeps every version as it was
handed out. So an update can tell what the learner wrote from what the course wrote, whatever the files are called.
"""

import copy as copying
import hashlib
import re

import nbformat

from kfaclib.io.files import atomic
from kfcourse import paths
from kfcourse.grading import export
from kfcourse.notebooks import notebooks

GIVEN = ".given"


def fresh(path):
    """(the learner's copy of a chapter, its version)."""
    nb = notebooks.learner_copy(notebooks.read(path))
    version = hashlib.sha256(notebooks.to_bytes(nb)).hexdigest()[:16]
    nb.metadata["kfaclib"] = {"version": version}
    return nb, version


def files(work, stem):
    """The copies of a chapter in the order in which they were made: NAME.ipynb, NAME.new.ipynb, NAME.new2.ipynb ..."""
    numbered = []
    for path in work.glob(f"{stem}*.ipynb"):
        match = re.fullmatch(r"(?:\.new(\d*))?", path.stem[len(stem) :])
        if match:
            numbered.append((0 if path.stem == stem else int(match[1] or 1), path))
    return [path for _, path in sorted(numbered)]


def newest(work, stem):
    """The copy that was made last, or None."""
    return (files(work, stem) or [None])[-1]


def make_copies(work):
    """Give the learner a copy of every chapter in `work`, and a new one beside it where the chapter has changed.

    What is there is never written to. Returns a report, as lines.
    """
    report = []
    for path in notebooks.chapters():
        new, version = fresh(path)
        there = files(work, path.stem)
        versions = [version_of(p) for p in there]
        if version in versions:
            continue
        work.mkdir(parents=True, exist_ok=True)
        keep(work, new, version)
        if not there:
            notebooks.write(new, work / path.name)
            continue
        own = there[-1]
        number = len(there)
        while (target := work / f"{path.stem}.new{'' if number == 1 else number}.ipynb").exists():
            number += 1
        given = work / GIVEN / f"{versions[-1]}.ipynb"
        base = notebooks.read(given) if versions[-1] and given.is_file() else None
        lines = (
            summary(base, new)
            if base
            else ["it is not known which version your copy came from, so only your answers are carried over"]
        )
        try:
            carried, moved = carry(base, notebooks.read_own(own), new)
        except Exception as error:  # the learner's file: it may be anything
            carried, moved, lines = (
                new,
                [],
                [f"{own.name} cannot be read as a notebook ({type(error).__name__}); nothing was carried over"],
            )
        notebooks.write(carried, target)
        report += [
            f"{path.stem} has changed. Your copy {own.name} is as you left it; the new one, with your answers, is "
            f"{target.name}:",
            *("  - " + line for line in lines + moved),
        ]
    return report


def give_pages(work):
    """Put the glossary and the notation beside the copies, to which they link. A page that the learner has written in
    is left alone.
    """
    for path in sorted((paths.ROOT / "pages").glob("*.md")):
        page = path.read_text(encoding="utf-8").replace("(../chapters/", "(").encode()
        target, given = work / path.name, work / GIVEN / path.name
        if target.exists() and not (given.exists() and target.read_bytes() == given.read_bytes() != page):
            continue
        for place in (target, given):
            with atomic(place) as temporary:
                temporary.write_bytes(page)


def keep(work, nb, version):
    """Remember a version as it was handed out."""
    target = work / GIVEN / f"{version}.ipynb"
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        with atomic(target) as temporary:
            temporary.write_bytes(notebooks.to_bytes(nb))


def version_of(path):
    """The version that a copy came from; "" where it does not say."""
    try:
        found = notebooks.read_own(path).metadata.get("kfaclib", {}).get("version", "")
    except Exception:  # the learner's file: it may be anything
        return ""
    return found if isinstance(found, str) and re.fullmatch("[0-9a-f]{16}", found) else ""


def stubs(nb):
    """{exercise id: its cell}. A cell that does not parse is found by its decorator."""
    found = {}
    for cell in notebooks.code_cells(nb):
        for exercise_id in re.findall(r"""^@exercise\(["']([^"']+)["']\)""", cell.source, flags=re.M):
            found[exercise_id] = cell
    return found


def sections(nb):
    """{heading: the text of all cells under it}."""
    found, here = {}, "the beginning"
    for cell in nb.cells:
        heading = re.match(r"#{1,3} +(.+)", cell.source) if cell.cell_type == "markdown" else None
        here = heading[1].strip() if heading else here
        found[here] = found.get(here, "") + cell.source + "\n"
    return found


def summary(base, new):
    """What a new version changes, in lines: exercises first, then sections."""
    lines, before, after = [], stubs(base), stubs(new)
    lines += [f"exercise {i} is new" for i in after if i not in before]
    lines += [f"exercise {i} is no longer there" for i in before if i not in after]
    lines += [
        f"exercise {i}: the task has changed" for i in after if i in before and after[i].source != before[i].source
    ]
    old, now = sections(base), sections(new)
    for word, names in (
        ("new", [h for h in now if h not in old]),
        ("gone", [h for h in old if h not in now]),
        ("changed", [h for h in now if h in old and now[h] != old[h]]),
    ):
        if names:
            lines.append(f"sections {word}: " + "; ".join(names))
    return lines or ["only small things, such as the order"]


def carry(base, own, new):
    """(the new version with everything the learner wrote in the old one, lines that say where it is).

    base: the version that the learner started from, or None if it is not known; then only answers are carried over.
    """
    new, lines = copying.deepcopy(new), []
    original = {cell.id: cell for cell in base.cells} if base else {}
    before, mine, now = (stubs(base) if base else {}), stubs(own), stubs(new)
    place = {cell.id: cell for cell in new.cells}

    for exercise_id, cell in mine.items():
        answered = cell.source != before[exercise_id].source if exercise_id in before else not _untouched(cell.source)
        if not answered:
            continue
        target = now.get(exercise_id)
        if target is None:
            _after(
                new,
                _last(new),
                "markdown",
                f"Your answer to `{exercise_id}`, which is no longer part of the chapter:\n\n{_quoted(cell.source)}",
            )
            lines.append(f"your answer to {exercise_id} is at the end")
        elif base and target.source == before.get(exercise_id, cell).source:
            target.source = cell.source
            lines.append(f"your answer to {exercise_id} is carried over")
        else:
            target.source += "\n\n\n# Your answer to the earlier version of this exercise:\n" + _commented(cell.source)
            lines.append(f"your answer to {exercise_id} stands below the new task, commented out")

    if not base:
        return new, lines
    answers, anchor, added = {cell.id for cell in mine.values()}, None, 0
    for cell in own.cells:
        theirs = original.get(cell.id)
        if cell.id in answers or (theirs is not None and theirs.source == cell.source):
            pass
        elif theirs is not None and cell.id in place and place[cell.id].source == theirs.source:
            place[cell.id].source = cell.source  # the learner changed it, the course did not
            added += 1
        elif cell.source.strip():
            source = (
                cell.source if theirs is None else "Your version of a cell that has changed:\n\n" + _quoted(cell.source)
            )
            kind = cell.cell_type if theirs is None else "markdown"
            place[cell.id] = _after(new, place.get(anchor) or _last(new), kind, source)
            added += 1
        anchor = cell.id if cell.id in place else anchor
    if added:
        lines.append(f"{added} further cell{'s' * (added > 1)} of yours {'are' if added > 1 else 'is'} there too")
    return new, lines


def _untouched(source):
    try:
        return all(export.is_empty(function) for _, function in notebooks.exercises_in(source))
    except (SyntaxError, ValueError):
        return False


def _last(nb):
    return nb.cells[-1]


def _after(nb, cell, kind, source):
    """Insert a cell after `cell`. Its id comes from its place and text, so that an update is the same every time."""
    where = next(i for i, c in enumerate(nb.cells) if c is cell)
    made = (nbformat.v4.new_code_cell if kind == "code" else nbformat.v4.new_markdown_cell)(source)
    made["id"] = "own-" + hashlib.sha256(f"{where} {source}".encode()).hexdigest()[:12]
    nb.cells.insert(where + 1, made)
    return nb.cells[where + 1]


def _quoted(source):
    return f"````python\n{source}\n````"


def _commented(source):
    lines = source.replace("\r\n", "\n").replace("\r", "\n").split("\n")  # the line ends that Python knows
    return "\n".join(("# " + line).rstrip() for line in lines)
