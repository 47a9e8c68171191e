"""Reading, writing and taking apart notebooks; the learner's copy as a pure function of the worked one.

nbformat takes two seconds to import, so it is imported where a notebook is made, and not in every kernel that has an
exercise to check.
"""

import ast
import contextlib
import copy
import json
import warnings
from collections import Counter
from pathlib import Path

from kfaclib.io.files import atomic
from kfcourse import paths

LONGEST = 20_000  # characters of a cell that IPython has to take apart
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"

NOTE = """\
> **This is your own copy.** Write in it as you like: an update of the course never changes it.
>
> - An exercise is a function that still says `raise NotImplementedError`. Replace that line with your answer.
> - Until you do, a reference stands in and says so once, so that the rest of the chapter runs all the same.
> - `check("...")` tells you at once whether your answer is right, and if not, what is wrong.
> - `hint("...")` gives a hint. Run it again for the next one; there are three.
> - The worked chapter, with every answer, is in `chapters/`, under the same name.
> - Words and symbols are explained in the [glossary](glossary.md) and the [notation](notation.md) beside this copy."""


def chapters(words=()):
    """Paths of the worked notebooks in order; `words` picks some by number or name ("9", "09", "09_editing...")."""
    every = sorted(paths.CHAPTERS.glob("[0-9][0-9]_*.ipynb"))
    if not words:
        return every
    picked = []
    for word in words:
        stem = Path(word).stem
        found = [p for p in every if p.stem == stem or p.stem.startswith(stem.zfill(2) + "_")]
        if not found:
            raise ValueError(f"no chapter {word!r}; there are: {', '.join(p.stem for p in every) or 'none yet'}")
        picked += found
    return picked


def chapter_of(exercise_id):
    """Path of the worked notebook that holds an exercise: "09.keep_mask" is in chapters/09_*.ipynb."""
    return chapters([exercise_id.partition(".")[0]])[0]


def read(path):
    """A notebook (format 4.5) from a file. A cell without an id gets one from its place, always the same."""
    data = json.loads(Path(path).read_bytes())  # bytes: a byte-order mark and UTF-16 are recognised
    twice = [cell_id for cell_id, count in Counter(c.get("id") for c in data["cells"]).items() if cell_id and count > 1]
    if twice:
        raise ValueError(f"{path}: the cell ids {twice} are used more than once; copy the cells again in JupyterLab")
    return _with_ids(data)


def read_own(path):
    """A learner's notebook from a file: as `read`, but a cell id that was used before is replaced by one from its
    place, because editors copy cells together with their ids.
    """
    data, seen = json.loads(Path(path).read_bytes()), set()
    for cell in data["cells"]:
        if cell.get("id") in seen:
            del cell["id"]
        seen.add(cell.get("id"))
    return _with_ids(data)


def _with_ids(data):
    import nbformat

    for i, cell in enumerate(data["cells"]):
        cell.setdefault("id", f"cell-{i:03d}")
    data["nbformat_minor"] = max(5, data["nbformat_minor"])
    return nbformat.reads(json.dumps(data), as_version=4)


def to_bytes(nb):
    """The one way a notebook is written: sorted keys, Unix line ends, a newline at the end."""
    import nbformat

    return (nbformat.writes(nb).rstrip("\n") + "\n").encode()


def write(nb, path):
    """Write a notebook atomically."""
    with atomic(path) as temporary:
        temporary.write_bytes(to_bytes(nb))


def write_each(make, words, folder, suffix):
    """Write `make(notebook)`, a text, as NN_name<suffix> into `folder` for the chapters that `words` pick; returns the
    paths.

    ValueError names the chapter of which none can be made.
    """
    written = []
    for path in chapters(words):
        try:
            text = make(read(path))
        except ValueError as error:
            raise ValueError(f"{path.name}: {error}") from error
        written.append(Path(folder) / f"{path.stem}{suffix}")
        with atomic(written[-1]) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
    return written


def code_cells(nb):
    return [cell for cell in nb.cells if cell.cell_type == "code"]


def code_in(path):
    """The sources of the code cells of a notebook's file, as they stand there."""
    cells = json.loads(Path(path).read_bytes())["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def python_of(source: str) -> str:
    """A cell's source as plain Python, lines cut at "\\n" only. What is IPython's (`%magic`, `!command`, `name?`)
    becomes the calls that IPython makes of it. Raises SyntaxError or ValueError where IPython could not run the cell.
    """
    source = source.replace("\r\n", "\n").replace("\r", "\n")
    with contextlib.suppress(SyntaxError):
        ast.parse(source)
        return source  # nothing in it is IPython's: a line of Python never begins with %, ! or ?
    from IPython.core.inputtransformer2 import TransformerManager

    if len(source) > LONGEST:  # IPython reads the whole cell again for every one of these lines
        raise ValueError(f"it is not Python, and too long to be IPython's ({len(source):,} characters)")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return TransformerManager().transform_cell(source)


def parse_cell(source: str) -> ast.Module:
    """The syntax tree of a cell."""
    return ast.parse(python_of(source))


def exercise_id_of(statement):
    """The id in `@exercise("...")` above a function definition; None for any other statement."""
    return next(filter(None, map(exercise_id_in, getattr(statement, "decorator_list", []))), None)


def exercise_id_in(decorator: ast.expr) -> str | None:
    """The id if a decorator is `exercise("...")`, under whatever name the module is imported; None if it is not."""
    match decorator:
        case ast.Call(
            func=ast.Name(id="exercise") | ast.Attribute(attr="exercise"),
            args=[ast.Constant(value=str() as exercise_id)],
        ):
            return exercise_id
    return None


def exercises_in(source):
    """[(exercise id, its function definition)] of one code cell."""
    return [(exercise_id_of(s), s) for s in parse_cell(source).body if exercise_id_of(s)]


def exercises(nb):
    """{exercise id: its function definition (ast.FunctionDef)} in the order of the notebook."""
    return exercises_of(cell.source for cell in code_cells(nb))


def exercises_of(sources):
    """`exercises` of the sources of code cells."""
    found = [pair for source in sources for pair in exercises_in(source)]
    if len(dict(found)) < len(found):
        raise ValueError(f"an exercise id is used twice: {[i for i, _ in found]}")
    return dict(found)


def split_solution(source):
    """(source with every solution block replaced by `raise NotImplementedError`, list of the solutions' lines)."""
    kept, taken, inside = [], [], False
    for line in source.split("\n"):
        word = line.strip()
        if word == BEGIN and not inside:
            inside = True
            kept.append(line[: len(line) - len(line.lstrip())] + "raise NotImplementedError")
        elif word == END and inside:
            inside = False
        elif word in (BEGIN, END):
            raise ValueError(f"'{BEGIN}' and '{END}' do not pair up in the cell that begins: {source[:60]!r}")
        else:
            (taken if inside else kept).append(line)
    if inside:
        raise ValueError(f"'{END}' is missing in the cell that begins: {source[:60]!r}")
    return "\n".join(kept), taken


def learner_copy(nb):
    """The learner's notebook made from the worked one: solutions and outputs out, a note on how things work on top."""
    import nbformat

    nb = copy.deepcopy(nb)
    for cell in code_cells(nb):
        cell.source = split_solution(cell.source)[0]
        cell.outputs, cell.execution_count = [], None
    nb.cells.insert(0, nbformat.v4.new_markdown_cell(NOTE, id="how-this-copy-works"))
    return nb
