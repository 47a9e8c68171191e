"""From a notebook to a plain module: the answers and what they need, and nothing else.  Nothing is executed here.

What an answer needs is found by names: the imports, functions, classes and values that it uses, what those use, and
so on, each where the notebook defines it last.
"""

import ast
import builtins
import json
import re
import stat
import tokenize
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from kfcourse.learning import slices
from kfcourse.notebooks import notebooks

LARGEST = 20 * 2**20  # bytes of a notebook that is handed in; pictures may be in it
LONGEST = 200_000  # characters of code in one cell
STATEMENTS = 5_000  # in one notebook
IPYTHON = 200_000  # characters of code in all cells that IPython has to take apart
IMPORTS = (ast.Import, ast.ImportFrom)
NOT_WRITTEN = "# not in what was handed in: the course's own answer stands in\n"
RUN = ("time", "prun", "capture")  # the magics whose code has an effect on the names of the notebook
GIVEN = {*dir(builtins), "display", "get_ipython", "__name__", "__file__"}  # what a notebook has without asking
KINDS = re.compile(r"\.(ipynb|py|json)(\.(txt|json))?", flags=re.I)  # endings of notebooks and modules, as they arrive
REFUSED = {
    "zip": "a .zip archive: unpack it and mark the notebook in it",
    "pdf": "a PDF, not a notebook: ask for the .ipynb file",
}


@dataclass(frozen=True)
class Answers:
    """What was found in one notebook."""

    source: str  # a module
    written: tuple[str, ...]  # exercise ids with an answer
    empty: tuple[str, ...]  # exercise ids left as they were; the course's own answer stands in for the others' sake
    missing: tuple[str, ...]  # exercise ids whose function is not there
    remarks: tuple[str, ...]  # cells that could not be read, and names that are left behind
    extra: tuple[str, ...] = ()  # which of the further functions are there
    alone: dict = field(default_factory=dict)  # {function: a module with this answer and what it needs}
    notes: dict = field(default_factory=dict)  # {exercise id: what its author should know}


@dataclass(frozen=True)
class Piece:
    """A statement of a cell, or one name of an import."""

    statement: ast.stmt
    text: str
    names: slices.Names

    @property
    def touches(self):
        return self.names.makes | self.names.changes

    def replaces(self, name):
        """Whether earlier definitions of `name` no longer matter after this statement."""
        plain = (*IMPORTS, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)
        return isinstance(self.statement, plain) and name in self.names.makes - self.names.now

    def function(self, name):
        """The function of this name that the statement defines, perhaps inside an `if` or `try`; None if it does
        not.
        """
        if isinstance(self.statement, ast.ClassDef):
            return None
        found = [n for n in ast.walk(self.statement) if isinstance(n, ast.FunctionDef) and n.name == name]
        return found[-1] if found and name in self.names.makes else None


@dataclass(frozen=True)
class LeftOut:
    """A cell that cannot be read."""

    number: int
    source: str
    why: str


def module(cells, exercise_ids, pool=(), extra=()):
    """The answers in a list of cells' sources as one module.

    pool: the worked chapter's cells; what an answer uses and its notebook does not define comes from there.
    extra: names of further functions to take along where they are there.
    """
    mine, left_out = pieces(cells)
    theirs, _ = pieces(pool)
    names = {i: i.partition(".")[2] for i in exercise_ids}
    chosen = {name: answer(mine, name, i) for i, name in names.items()}
    missing = [i for i, name in names.items() if chosen[name] is None]
    empty = [i for i, name in names.items() if chosen[name] is not None and blank(mine[chosen[name]], name)]
    written = [i for i in names if i not in missing and i not in empty]
    extra = [name for name in extra if any(given(piece, name) for piece in mine)]
    ours = {names[i] for i in (*empty, *missing)}  # the functions for which the course's own answer stands in

    def found(wanted):
        return reached(wanted, mine, theirs, {n: k for n, k in chosen.items() if n not in ours}, ours)

    parts = {name: found([name]) for name in (*names.values(), *extra)}
    everything = set().union(*(part for part, _ in parts.values())) if parts else set()
    unknown = {i: sorted(parts[names[i]][1]) for i in written}
    notes = {i: left_behind(unknown[i], left_out) for i in written if unknown[i]}
    for i in missing:
        cell = next((c for c in left_out if re.search(rf"\bdef\s+{re.escape(names[i])}\b", c.source)), None)
        if cell:
            notes[i] = f"the function stands in code cell {cell.number}, which cannot be read: {cell.why}"
    remarks = [f"code cell {c.number} is left out: {c.why}" for c in left_out]
    remarks += [f"{i}: {notes[i]}" for i in written if i in notes]
    return Answers(
        as_text(everything, mine, theirs, ours),
        tuple(written),
        tuple(empty),
        tuple(missing),
        tuple(remarks),
        tuple(extra),
        {name: as_text(part, mine, theirs, ours) for name, (part, _) in parts.items()},
        notes,
    )


def answer(mine, name, exercise_id):
    """The index of the piece that counts as the answer to an exercise, None if there is none.

    It is the last one under `@exercise`, as for `check()`; without one, the last that has the function's name. What is
    still empty does not count beside what is not.
    """
    found = [k for k, piece in enumerate(mine) if name in piece.names.makes]
    marks = {k: set(filter(None, getattr(mine[k].function(name), "exercises", ()))) for k in found}
    found = [k for k in found if exercise_id in marks[k] or not marks[k]]  # a mark may be another chapter's
    full = [k for k in found if not blank(mine[k], name)]
    marked = [k for k in full if marks[k]]
    return (marked or full or found or [None])[-1]


def blank(piece, name):
    """Whether a piece is the exercise's function with nothing written in it."""
    function = piece.function(name)
    return function is not None and is_empty(function)


def given(piece, name):
    """Whether a piece defines a function of this name."""
    match piece.statement:
        case ast.Assign(targets=[ast.Name(id=target)], value=ast.Lambda()):
            return target == name
    return piece.function(name) is not None


def reached(wanted, mine, theirs, chosen, ours):
    """({(whose, index)} of the pieces that some names need, the names that nothing defines).

    Names are looked up in the notebook and then in the worked chapter, but those of `ours` in the chapter at once.
    chosen: {name: the index of the notebook's piece that counts}.
    """
    part, unknown, seen = set(), set(), set()
    stars = {(k, n) for k, pool in enumerate((theirs, mine)) for n, piece in enumerate(pool) if is_star(piece)}
    todo = [(name, None) for name in wanted]
    while todo:
        name, before = todo.pop()
        if (name, before) in seen:
            continue
        seen.add((name, before))
        source, found = 1, [] if name in ours else touching(mine, name, before if before and before[0] else None)
        if chosen.get(name) is not None:
            first = chosen[name]
            found = [first, *(k for k in found if k > first and name not in mine[k].names.makes)]
        if not found:
            source, found = 0, touching(theirs, name, None if before is None or before[0] else before)
        if (not found or not source) and name not in ours:  # `from x import *` may define any name
            part |= {star for star in stars if star[0] or not found}
        if not found and name not in GIVEN and not stars:
            unknown.add(name)
        for k in found:
            if (source, k) not in part:
                part.add((source, k))
                piece = (theirs, mine)[source][k]
                todo += [(n, (source, k)) for n in piece.names.now | piece.names.changes]
                todo += [(n, None) for n in piece.names.later]
    return part, unknown


def touching(pool, name, before):
    """Indices of the pieces that give a name its value: the last definition and what changes it after that.

    before: (whose, index) of the piece that needs it at once; earlier definitions count for it, later ones only if
    there are none earlier.
    """
    every = [k for k, piece in enumerate(pool) if name in piece.touches]
    earlier = [k for k in every if before and k < before[1]]
    found = []
    for k in reversed(earlier if any(name in pool[k].names.makes for k in earlier) else every):
        found.insert(0, k)
        if pool[k].replaces(name):
            break
    makes = [k for k in found if name in pool[k].names.makes]
    # a call like `torch.manual_seed` does not change what was imported
    return makes if all(isinstance(pool[k].statement, IMPORTS) for k in makes) else found


def is_star(piece):
    return isinstance(piece.statement, ast.ImportFrom) and piece.statement.names[0].name == "*"


def as_text(part, mine, theirs, ours):
    """Pieces as a module: imports first, then the chapter's, then the notebook's, each in its order."""
    imports, texts, future = [], [], []
    for source, k in sorted(part):
        piece = (theirs, mine)[source][k]
        if isinstance(piece.statement, IMPORTS):
            imports.append(piece.text)
        else:
            stands_in = not source and any(piece.function(name) for name in ours)
            texts.append(NOT_WRITTEN * stands_in + piece.text)
    for piece in mine:
        if isinstance(piece.statement, ast.ImportFrom) and piece.statement.module == "__future__":
            future.append(piece.text)  # it changes how every statement is read
    imports = "\n".join(dict.fromkeys([*future, *imports]))
    return "\n\n\n".join(filter(None, [imports, *texts])) + "\n"


def left_behind(names, left_out):
    """A sentence about names that an answer uses and nothing defines."""
    used = []
    for name in names:
        cell = next((c for c in left_out if re.search(rf"\b{re.escape(name)}\b", c.source)), None)
        used.append(f"`{name}` (it occurs in code cell {cell.number}, which is left out)" if cell else f"`{name}`")
    return f"it uses {', '.join(used)}, which no cell that can be read defines"


def pieces(cells):
    """([Piece] of the cells' statements in order, [LeftOut])."""
    found, left_out, budget = [], [], IPYTHON
    for number, source in enumerate(cells, 1):
        try:
            if len(source) > LONGEST:
                raise ValueError(f"it has more than {LONGEST:,} characters")
            plain = notebooks.python_of(source) if budget > 0 else source
            budget -= len(source) * (plain != source)
            new = pieces_of(plain)
            if len(found) + len(new) > STATEMENTS:
                raise ValueError(f"the notebook has more than {STATEMENTS:,} statements")
            found += new
        except (SyntaxError, ValueError, RecursionError, MemoryError, RuntimeError) as error:
            left_out.append(LeftOut(number, source, f"{type(error).__name__}: {error}"[:200]))
    return found, left_out


def pieces_of(source):
    """[Piece] of one cell in plain Python."""
    body, lines, ends, found = ast.parse(source).body, source.split("\n"), 0, []
    if len(body) > STATEMENTS:
        raise ValueError(f"it has more than {STATEMENTS:,} statements")
    for s, following in zip(body, [*body[1:], None], strict=True):
        code = code_of_magic(s)
        if code is not None:
            found += pieces_of(notebooks.python_of(code))
        elif isinstance(s, IMPORTS):
            for alias in s.names:
                one = type(s)(**{k: getattr(s, k) for k in ("module", "level") if hasattr(s, k)}, names=[alias])
                found.append(Piece(one, ast.unparse(one), slices.names_of(one)))
        else:
            text = text_of(lines, s, ends, following)
            found.append(Piece(s, text, slices.names_of(s)))
        ends = s.end_lineno
    return found


def code_of_magic(statement):
    """The code that `%time code` or a cell under `%%time` runs; None for any other statement. Other calls of IPython
    are nothing to an answer, and are taken out of it.
    """
    match statement:
        case ast.Expr(value=ast.Call(func=ast.Attribute(attr="run_cell_magic" | "run_line_magic"), args=[*args])):
            words = [a.value for a in args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            if len(words) == len(args) > 1 and words[0] in RUN:
                return words[-1]
    return None


class _Plain(ast.NodeTransformer):
    """A statement without `@exercise("...")` and without calls of IPython. `changed` says whether there were any."""

    changed = False

    def visit_FunctionDef(self, node):
        node.exercises = [notebooks.exercise_id_in(d) for d in node.decorator_list]
        kept = [d for d, i in zip(node.decorator_list, node.exercises, strict=True) if i is None]
        self.changed |= len(kept) < len(node.decorator_list)
        node.decorator_list = kept
        return self.generic_visit(node)

    def visit_Expr(self, node):
        match node.value:
            case ast.Call(func=ast.Attribute(value=ast.Call(func=ast.Name(id="get_ipython")))):
                self.changed, code = True, code_of_magic(node)
                return ast.Pass() if code is None else notebooks.parse_cell(code).body or ast.Pass()
        return self.generic_visit(node)


def text_of(lines, statement, ends, following):
    """A statement as it was written. The `@exercise` above an answer goes; any other decorator stays.

    ends: the line in which the statement before it ends; following: the statement after it, or None.
    """
    only = isinstance(statement, ast.FunctionDef) and all(map(notebooks.exercise_id_in, statement.decorator_list))
    decorated = getattr(statement, "decorator_list", [])
    first = min([statement.lineno, *(d.lineno for d in decorated if not only)])
    alone = first > ends and not (following and following.lineno <= statement.end_lineno)
    plain = _Plain()
    if only:  # the lines from `def` on are as they were written
        plain.visit(statement)
        inside = _Plain()
        inside.generic_visit(statement)
        text = "\n".join(lines[first - 1 : statement.end_lineno])
        return text if alone and "get_ipython" not in text and not inside.changed else ast.unparse(statement)
    statement = plain.visit(statement)
    if not alone or plain.changed:
        return ast.unparse(ast.fix_missing_locations(statement))
    return "\n".join(lines[first - 1 : statement.end_lineno])


def is_empty(function):
    """Whether a function's body is still `raise NotImplementedError`, after its docstring."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    match body:
        case [
            ast.Raise(
                exc=ast.Name(id="NotImplementedError") | ast.Call(func=ast.Name(id="NotImplementedError"), args=[])
            )
        ]:
            return True
    return False


# --- files from anybody


def kind(path):
    """ "ipynb" or "py", what a file can be marked as by its name; None if it cannot."""
    match = KINDS.search(Path(path).name)
    if match is None or match.end() < len(Path(path).name):
        return None
    return "py" if match[1].lower() == "py" else "ipynb"


def not_marked(path):
    """Why a file that is neither a notebook nor a module is not marked."""
    ending = Path(path).suffix.lower().lstrip(".")
    return REFUSED.get(ending) or f"neither a notebook nor a .py file ({Path(path).suffix or 'no ending'})"


def cells_of(path):
    """The sources of the code cells of a notebook; a .py file is one cell. ValueError says why it cannot be read."""
    path = Path(path)
    try:
        about = path.lstat()
        if stat.S_ISLNK(about.st_mode):
            raise ValueError("it is a link, not a file")
        if not stat.S_ISREG(about.st_mode):
            raise ValueError("it is not a file")
        if kind(path) is None:
            raise ValueError(not_marked(path))
        if about.st_size > LARGEST:
            raise ValueError(f"it is larger than {LARGEST // 2**20} MB: save it again without its outputs")
        if not about.st_size:
            raise ValueError("it is an empty file")
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"it cannot be opened: {error.strerror or error}") from None
    for begins, what in ((b"PK\x03\x04", "zip"), (b"%PDF", "pdf")):
        if data.startswith(begins):
            raise ValueError(f"inside it is {REFUSED[what]}")
    return [python_text(data)] if kind(path) == "py" else code_in(data)


def python_text(data):
    """The text of a Python file, by its byte-order mark or coding line, as Python itself reads it."""
    try:
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return data.decode("utf-16")
        encoding, _ = tokenize.detect_encoding(BytesIO(data).readline)
        return data.decode(encoding)
    except (SyntaxError, UnicodeError, LookupError) as error:
        raise ValueError(f"its text cannot be decoded: {error}; save it as UTF-8") from None


def code_in(data):
    """The sources of the code cells in a notebook's bytes. Everything else in it, cell ids too, plays no part."""
    try:
        nb = json.loads(data)  # bytes: UTF-8, with or without a byte-order mark, UTF-16 and UTF-32
    except UnicodeError as error:
        raise ValueError(f"its text cannot be decoded ({error}): save it again in Jupyter") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not a notebook: no JSON in line {error.lineno} ({error.msg})") from None
    except RecursionError:
        raise ValueError("it is not a notebook: its JSON is nested too deeply") from None
    if not isinstance(nb, dict):
        raise ValueError("it is not a notebook: there are no cells in it")
    sheets = [nb] if "cells" in nb else nb.get("worksheets")  # worksheets: the format of before 2015
    if not isinstance(sheets, list) or not all(
        isinstance(sheet, dict) and isinstance(sheet.get("cells"), list) for sheet in sheets
    ):
        raise ValueError("it is not a notebook: there are no cells in it")
    sources = []
    for cell in (cell for sheet in sheets for cell in sheet["cells"]):
        if not isinstance(cell, dict):
            raise ValueError("it is not a notebook: one of its cells is none")
        if cell.get("cell_type") != "code":
            continue
        source = cell.get("source", cell.get("input"))
        if isinstance(source, list) and all(isinstance(line, str) for line in source):
            source = "".join(source)
        if not isinstance(source, str):
            raise ValueError(f"code cell {len(sources) + 1} holds no text but {json.dumps(source)[:40]}")
        sources.append(source)
    return sources


def answers(path, worked, variants=False):
    """The Answers in a notebook (or module) that was handed in, for the exercises of the worked notebook (its
    cells).  ValueError says why it cannot be read.
    """
    own = [cell.source for cell in notebooks.code_cells(worked)]
    ids = list(notebooks.exercises(worked))
    extra = [i.partition(".")[2] + "_variant" for i in ids] if variants else ()
    return module(cells_of(path), ids, own, extra)


def other_chapters(cells):
    """The chapters ("09") whose exercises are in cells' sources, by the marks above them."""
    return sorted(set(re.findall(r"""@(?:\w+\.)?exercise\(["'](\d\d)\.""", "\n".join(cells))))


def references(worked):
    """The course's own answers as a module."""
    own = [cell.source for cell in notebooks.code_cells(worked)]
    return module(own, list(notebooks.exercises(worked))).source
