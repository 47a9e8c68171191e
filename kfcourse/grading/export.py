"""From a notebook to a plain module: the answers and what they need, and nothing else.  Nothing is executed here."""

import ast
from dataclasses import dataclass
from pathlib import Path

from kfcourse.notebooks import notebooks

LARGEST = 20 * 2**20  # bytes of a notebook that is handed in; pictures may be in it
IMPORTS = ("import ", "from ")
NOT_WRITTEN = "# not in what was handed in: the course's own answer stands in\n"
LONGEST = 200_000  # characters of code


@dataclass(frozen=True)
class Answers:
    """What was found in one notebook."""

    source: str  # a module
    written: tuple[str, ...]  # exercise ids with an answer
    empty: tuple[str, ...]  # exercise ids left as they were; the course's own answer stands in for the others' sake
    missing: tuple[str, ...]  # exercise ids whose function is not there
    remarks: tuple[str, ...]  # cells that could not be read


def module(cells, exercise_ids, pool=(), extra=()):
    """The answers in a list of cells' sources as one module.

    pool: the worked chapter's cells; what an answer uses and its notebook does not define comes from there.
    extra: names of further functions to take along where they are there.
    """
    mine, remarks = definitions(cells)
    theirs, _ = definitions(pool)
    names = {i: i.partition(".")[2] for i in exercise_ids}
    missing = [i for i, name in names.items() if not isinstance(mine.get(name, (None,))[0], ast.FunctionDef)]
    empty = [i for i, name in names.items() if i not in missing and is_empty(mine[name][0])]
    theirs |= {
        names[i]: (theirs[names[i]][0], NOT_WRITTEN + theirs[names[i]][1])
        for i in (*empty, *missing)
        if names[i] in theirs
    }
    found = {**theirs, **mine, **{names[i]: theirs[names[i]] for i in (*empty, *missing) if names[i] in theirs}}

    wanted, queue = {}, [*names.values(), *(name for name in extra if name in mine)]
    while queue:
        name = queue.pop()
        if name in found and name not in wanted:
            wanted[name] = found[name]
            queue += free(found[name][0])
    order = [*theirs.values(), *mine.values()]
    texts = [pair[1] for pair in order if pair in wanted.values()]
    imports = "\n".join(text for text in texts if text.startswith(IMPORTS))
    source = "\n\n\n".join(filter(None, [imports, *(text for text in texts if not text.startswith(IMPORTS))])) + "\n"
    written = tuple(i for i in names if i not in missing and i not in empty)
    return Answers(source, written, tuple(empty), tuple(missing), tuple(remarks))


def definitions(cells):
    """({name: (statement, its text)} of imports, functions, classes and constants, remarks); the last one counts."""
    found, remarks = {}, []
    for number, source in enumerate(cells, 1):
        try:
            if len(source) > LONGEST:
                raise ValueError("too long")
            body = notebooks.parse_cell(source).body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            remarks.append(f"code cell {number} is left out: {type(error).__name__}: {error}"[:200])
            continue
        lines, ends = source.splitlines(), 0
        for s, following in zip(body, [*body[1:], None]):
            text, ends = text_of(lines, s, ends, following), s.end_lineno
            for name in bound(s):
                found.pop(name, None)  # the place of the last definition counts as well
                found[name] = s, imported(s, name) or text
    return found, remarks


def text_of(lines, statement, ends, following):
    """A statement as it was written. The `@exercise` above an answer goes; any other decorator stays.

    ends: the line in which the statement before it ends; following: the statement after it, or None.
    """
    if notebooks.exercise_id_of(statement):
        statement.decorator_list = []
    first = min([statement.lineno, *(d.lineno for d in getattr(statement, "decorator_list", []))])
    if first <= ends or (following and following.lineno <= statement.end_lineno):
        return ast.unparse(statement)  # several statements share a line
    return "\n".join(lines[first - 1 : statement.end_lineno])


def imported(statement, name):
    """The part of an import that binds `name`, as text; None for any other statement."""
    for alias in statement.names if isinstance(statement, (ast.Import, ast.ImportFrom)) else ():
        if (alias.asname or alias.name).partition(".")[0] == name:
            fields = {"names": [alias]} | (
                {"module": statement.module, "level": statement.level} if isinstance(statement, ast.ImportFrom) else {}
            )
            return ast.unparse(type(statement)(**fields))
    return None


def free(statement):
    """The names that a statement takes from the module around it."""
    names = [n for n in ast.walk(statement) if isinstance(n, ast.Name)]
    own = {n.id for n in names if not isinstance(n.ctx, ast.Load)} | {
        n.arg for n in ast.walk(statement) if isinstance(n, ast.arg)
    }
    return [n.id for n in names if n.id not in own]


def bound(statement):
    """The names that a statement of a module binds, as far as answers may use them."""
    match statement:
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return [(a.asname or a.name).partition(".")[0] for a in names]
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=[ast.Name(id=name)], value=value) if _constant(value):
            return [name]
    return []


def _constant(value):
    try:
        ast.literal_eval(value)
    except (ValueError, TypeError, RecursionError, MemoryError):
        return False
    return True


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


def cells_of(path):
    """The sources of the code cells of a notebook; a .py file is one cell. ValueError says why it cannot be read."""
    path = Path(path)
    if path.is_symlink() or not path.is_file():
        raise ValueError("not a file")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"larger than {LARGEST // 2**20} MB")
    try:
        if path.suffix == ".py":
            return [path.read_text(encoding="utf-8")]
        return [cell.source for cell in notebooks.code_cells(notebooks.read(path))]
    except Exception as error:  # a file from anybody: nothing about its form is certain
        raise ValueError(f"not a notebook that can be read ({type(error).__name__})") from None


def answers(path, worked, variants=False):
    """The Answers in a notebook (or module) that was handed in, for the exercises of the worked notebook (its
    cells).
    """
    own = [cell.source for cell in notebooks.code_cells(worked)]
    ids = list(notebooks.exercises(worked))
    extra = [i.partition(".")[2] + "_variant" for i in ids] if variants else ()
    return module(cells_of(path), ids, own, extra)


def references(worked):
    """The course's own answers as a module."""
    own = [cell.source for cell in notebooks.code_cells(worked)]
    return module(own, list(notebooks.exercises(worked))).source
