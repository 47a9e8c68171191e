"""The three-hour workshop: notebooks made from the chapters, one a block, with four gaps to code live.

Nothing is written twice: a block is a list of cells of the chapters, its gap is one of their exercises, and the cell at
its start, which brings a late-comer up to date, holds the earlier statements that the block's cells need.
"""

import ast
import os
import re
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from tqdm import tqdm

from kfaclib.io.files import atomic, provenance, read_json, renew, write_json
from kfcourse import paths
from kfcourse.learning import exercises, slices
from kfcourse.notebooks import execution, notebooks

RECORD = "workshop.json"  # in data/results


@dataclass(frozen=True)
class Block:
    """One block: cells from the chapters ((chapter, first cell's id, last cell's id), ...), and the exercise that is
    its gap.
    """

    name: str
    title: str
    goal: str
    minutes: int
    parts: tuple
    gap: str
    predict: str = ""  # the chapter whose question is asked first
    made: dict = field(
        default_factory=dict
    )  # {name: the line that loads it}, for what an earlier block takes long to make


@dataclass(frozen=True)
class Pause:
    title: str
    minutes: int


LOAD = 'found = factor_file.load_factors(BUILD / "workshop" / "factors.safetensors", chosen)  # collected in block 3'
TIMETABLE = (
    Pause("Arrive: the machines work, names, how the notebooks work", 10),
    Block(
        "1_recitation",
        "What a model knows by heart",
        "Say what it means that a model recites a text, and test it with one pass.",
        30,
        (("08", "c02", "c11"), ("08", "c24", "c27")),
        "08.memorized",
        predict="08",
    ),
    Block(
        "2_curvature",
        "What the loss knows of a weight",
        "See curvature in a loss of two weights, write it for a layer as two small matrices, "
        "and see what averaging does to a direction that one text has for itself.",
        35,
        (
            ("01", "c05", "c08"),
            ("01", "c12", "c13"),
            ("05", "c04", "c05"),
            ("05", "c08", "c09"),
            ("05", "c12", "c17"),
            ("06", "c03", "c04"),
        ),
        "05.kfac_factors",
    ),
    Pause("Break", 15),
    Block(
        "3_cut_by_hand",
        "The cut, by hand",
        "Cut a two by three matrix with a pencil, write the rule, and see the same staircase in a language model.",
        35,
        (("09", "s05", "s21"), ("09", "s28", "s33")),
        "09.kept_pairs",
        predict="09",
    ),
    Pause("Break", 5),
    Block(
        "4_the_price",
        "The slider and the price",
        "Predict the price, watch one passage come apart, and compare with two controls at the same forgetting.",
        40,
        (("09", "s38", "s59"), ("09", "s70", "s74")),
        "09.predicted_cost",
        made={"found": LOAD},
    ),
    Pause("Close: predictions against what happened, what to do next", 10),
)
BLOCKS = tuple(entry for entry in TIMETABLE if isinstance(entry, Block))

UP_TO_DATE = """\
**Run the next cell first.** It brings you up to date, whether you were here or have just come in: it imports what this
block uses, and makes or loads what the earlier blocks made. It is meant to be run, not read."""
TOGETHER = (
    "**Gap {number} of {all}: we write this together.** Until it is written, its check stops a *Run All*; the cells "
    "below it work all the same."
)
GIVEN = "*(In the chapter this is an exercise. Here it is written already.)*"
EXERCISE = re.compile(r"(?m)^### Exercise")


def state():
    """Where the factors are that block 4 loads."""
    return paths.BUILD / "workshop" / "factors.safetensors"


def chapter(number):
    return notebooks.read(notebooks.chapters([number])[0])


def between(nb, first, last):
    """The cells from one id to another, both included."""
    ids = [cell.id for cell in nb.cells]
    missing = [i for i in (first, last) if i not in ids]
    if missing:
        raise ValueError(
            f"the workshop takes cell {missing[0]!r} of a chapter that has no such cell: change the table in {__name__}"
        )
    return nb.cells[ids.index(first) : ids.index(last) + 1]


def without_markers(source):
    """A cell as somebody who has solved it would see it."""
    own = (notebooks.BEGIN, notebooks.END)
    return "\n".join(line for line in source.splitlines() if line.strip() not in own)


def is_import(statement):
    return bool(slices.imported(statement)) and isinstance(
        notebooks.parse_cell(statement).body[0], (ast.Import, ast.ImportFrom)
    )


def set_up(nb):
    """Statements of a chapter's first code cell that call a module's function for its effect, as `plots.style()`
    does.
    """
    first = notebooks.code_cells(nb)[0].source
    modules, calls = slices.imported(first), []
    for statement in slices.statements(without_markers(first)):
        match notebooks.parse_cell(statement).body[0]:
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name)))) if name in modules:
                calls.append(statement)
    return calls


def only(statement, used):
    """An import without the names that nobody uses, since another chapter may give them another meaning."""
    (node,) = notebooks.parse_cell(statement).body
    if isinstance(node, ast.Import) or node.module == "kfcourse":  # check, hint and their like are for the reader
        return statement
    kept = [alias for alias in node.names if (alias.asname or alias.name) in used]
    return ast.unparse(ast.ImportFrom(node.module, kept or node.names, node.level))


def catch_up(parts, made=None):
    """The source that brings a fresh kernel to where these parts begin."""
    imports, effects, makes = [], [], []
    for number in dict.fromkeys(number for number, _, _ in parts):
        nb, pieces, inside = chapter(number), [], []
        here = {cell.id for n, first, last in parts if n == number for cell in between(nb, first, last)}
        for cell in notebooks.code_cells(nb):
            for statement in slices.statements(without_markers(cell.source)):
                inside += [len(pieces)] * (cell.id in here and not is_import(statement))
                pieces.append(statement)
        pieces = [next((line for name, line in (made or {}).items() if binds(piece, name)), piece) for piece in pieces]
        kept, calls = slices.needed(pieces, inside), set_up(nb)
        others = [pieces[i] for i in {*kept, *inside} if not is_import(pieces[i])] + calls
        used = set().union(*(slices.names(piece)[1] for piece in others))
        imports += [only(pieces[i], used) for i in kept if is_import(pieces[i])]
        effects += calls
        makes += [pieces[i] for i in kept if i not in inside and not is_import(pieces[i]) and pieces[i] not in calls]
    if made:
        imports += ["from kfaclib.curvature import factor_file", "from kfcourse.paths import BUILD"]
    return "\n".join(dict.fromkeys(imports + effects)) + ("\n\n" + "\n".join(makes) if makes else "")


def binds(statement, name):
    """Whether a statement assigns to a name."""
    (node,) = notebooks.parse_cell(statement).body
    return isinstance(node, ast.Assign) and name in slices.names(statement)[0]


def body(number, first, last, block, filled):
    """The cells of one part, as they stand in the block's notebook."""
    nb = chapter(number)
    cells, calls = between(nb, first, last), set_up(nb)
    made = []
    for k, cell in enumerate(cells):
        source = cell.source
        if cell.cell_type == "markdown":
            heading = re.search(r"(?m)^#{2,3} ", source)
            if k == 0 and heading:
                source = source[heading.start() :]  # what stands before it belongs to what is not here
            following = (
                notebooks.exercises_in(cells[k + 1].source)
                if k + 1 < len(cells) and cells[k + 1].cell_type == "code"
                else []
            )
            if EXERCISE.search(source) and not following:
                source = source[: EXERCISE.search(source).start()].rstrip()
            elif following:
                gap = following[0][0] == block.gap
                source += "\n\n" + (TOGETHER.format(number=BLOCKS.index(block) + 1, all=len(BLOCKS)) if gap else GIVEN)
            made.append(new_markdown_cell(source))
        else:
            ours = [i for i, _ in notebooks.exercises_in(source)]
            if block.gap in ours and not filled:
                source = notebooks.split_solution(source)[0]
            elif source.strip() == f'check("{block.gap}")' and not filled:
                source = f'check("{block.gap}", strict=True)'
            else:
                source = without_markers(source)
                for statement in slices.statements(source):  # the cell that brings up to date has done these
                    if is_import(statement) or statement in calls:
                        source = source.replace(statement + "\n", "", 1)
                source = source.strip("\n")
            made.append(new_code_cell(source))
        made[-1]["id"] = f"{number}-{cell.id}"
    return made


def notebook(block, filled):
    """A block's notebook, not executed: with its gap, or filled."""
    number, beginning = BLOCKS.index(block) + 1, f"# {BLOCKS.index(block) + 1} · {block.title}\n\n{block.goal}\n\n"
    sources = list(dict.fromkeys(number for number, _, _ in block.parts))
    beginning += f"*Block {number} of {len(BLOCKS)}, {block.minutes} minutes. The whole story is in "
    beginning += f"chapter{'s' * (len(sources) > 1)} {', '.join(sources)}.*"
    if block.predict:
        asked = re.search(r"\*\*Predict first:\*\*.*", chapter(block.predict).cells[0].source, flags=re.S)[0]
        beginning += "\n\n" + asked
    cells = [
        new_markdown_cell(beginning, id="title"),
        new_markdown_cell(UP_TO_DATE, id="about-catch-up"),
        new_code_cell(catch_up(block.parts, block.made), id="catch-up"),
    ]
    for part in block.parts:
        cells += body(*part, block, filled)
    return new_notebook(cells=cells, metadata=execution.METADATA)


def collect(path):
    """Make what block 4 loads: the factors that block 3 collects, by block 3's own statements."""
    from kfaclib.curvature import factor_file  # torch is slow to import and only needed here

    pieces = [
        s for cell in notebooks.code_cells(chapter("09")) for s in slices.statements(without_markers(cell.source))
    ]
    at = next(i for i, piece in enumerate(pieces) if binds(piece, "found"))
    names = {}
    exec("\n".join(pieces[i] for i in slices.needed(pieces, [at])), names)
    factor_file.save_factors(path, names["found"], names["chosen"])


def write(out):
    """Write both versions of every block into `out`, the answers executed, and what block 4 loads into build/workshop.

    Returns [{"block", "cells", "core_seconds"}]; ValueError with the cell if an answer fails.
    """
    out, measured = Path(out), []
    fresh = {out / f"{block.name}.ipynb": notebooks.to_bytes(notebook(block, filled=False)) for block in BLOCKS}
    for path, content in fresh.items():
        if path.exists() and path.read_bytes() != content:
            raise ValueError(
                f"{path} has been worked in, or is of an older version: move it away, or name another folder with --out"
            )
    if not state().exists():
        print("collecting the factors that block 4 loads ...", flush=True)
        collect(state())
    for block in BLOCKS:
        with atomic(out / f"{block.name}.ipynb") as temporary:
            temporary.write_bytes(fresh[out / f"{block.name}.ipynb"])
        nb, cpu, began = notebook(block, filled=True), os.times(), time.perf_counter()
        with tqdm(total=len(notebooks.code_cells(nb)), desc=block.name, unit="cell", leave=False, disable=None) as bar:
            failure = execution.execute(nb, execution.environment(), bar.update)
        if failure:
            raise ValueError(f"{block.name}, code cell {failure.cell}:\n{failure.source}\n{failure.error}")
        seconds, after = time.perf_counter() - began, os.times()
        core = after.children_user + after.children_system - cpu.children_user - cpu.children_system
        notebooks.write(execution.normalise(nb), out / "answers" / f"{block.name}.ipynb")
        measured.append({"block": block.name, "cells": len(notebooks.code_cells(nb)), "core_seconds": round(core, 1)})
        print(f"{block.name}: ok after {seconds:.0f} s", flush=True)
    return measured


def timetable(measured):
    """Markdown table: the clock, the block, its minutes; the gap's minutes as the chapter estimates them; the
    machine's, measured.
    """
    at, core = 0, {row["block"]: row["core_seconds"] for row in measured}
    lines = [
        "| from | what | minutes | code live (estimate) | the machine (measured, seconds of one core) |",
        "|---|---|---:|---:|---:|",
    ]
    for entry in TIMETABLE:
        clock, at = f"{at // 60}:{at % 60:02}", at + entry.minutes
        if isinstance(entry, Pause):
            lines.append(f"| {clock} | {entry.title} | {entry.minutes} | | |")
        else:
            gap = exercises.exercise_facts(entry.gap)
            lines.append(
                f"| {clock} | **{BLOCKS.index(entry) + 1}. {entry.title}** (`{entry.name}`) | {entry.minutes} | "
                f"`{entry.gap}`, {gap.minutes} | "
                f"{f'{core[entry.name]:.0f}' if entry.name in core else 'not measured'} |"
            )
    return "\n".join([*lines, f"| {at // 60}:{at % 60:02} | end | {at} | | |"])


def computed(text):
    """The plan's text with its timetable filled in."""
    recorded = paths.DATA / "results" / RECORD
    table = timetable(read_json(recorded)["blocks"] if recorded.exists() else [])
    return re.sub(
        r"(<!-- timetable: begin -->\n).*?(<!-- timetable: end -->)",
        lambda m: f"{m[1]}{table}\n{m[2]}",
        text,
        flags=re.S,
    )


def record():
    """Run the workshop once, keep what was measured, and write it into the plan."""
    with tempfile.TemporaryDirectory(prefix="kfaclib-workshop-") as folder:
        write_json(paths.DATA / "results" / RECORD, {"blocks": write(folder), "provenance": provenance()})
    renew(paths.DATA / "results" / RECORD)
    plan = paths.ROOT / "teaching" / "workshop.md"
    with atomic(plan) as temporary:
        temporary.write_text(computed(plan.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    record()
