"""What a piece of a notebook needs of the pieces before it, found by names.

A piece is a cell's source or a single statement. A name counts as bound where it is assigned, defined, imported or
changed in place (`rows.append(...)`, `table[0] = ...`, `model.eval()`); the last such piece before its use is needed.
"""

import ast
import copy
import symtable
from dataclasses import dataclass

from kfcourse.notebooks.notebooks import code_cells, parse_cell, python_of

COMPREHENSIONS = ("listcomp", "setcomp", "dictcomp", "genexpr")  # functions to Python, but run at once


@dataclass(frozen=True)
class Names:
    """The names of one statement of a module."""

    makes: frozenset[str]  # assigned, defined or imported
    changes: frozenset[str]  # changed in place; they are needed as well
    now: frozenset[str]  # needed when the statement is executed
    later: frozenset[str]  # needed when a function in it is called


def names(source: str) -> tuple[set[str], set[str]]:
    """(names that a piece binds, names that it takes from the pieces before it)."""
    bound, used = set(), set()
    for statement in parse_cell(source).body:
        found = names_of(statement)
        takes = set(found.now | found.later)
        if not isinstance(statement, (ast.Assign, ast.AnnAssign)):
            takes -= found.makes  # the variable of a loop, a function that calls itself
        used |= (takes | found.changes) - bound
        bound |= found.makes | found.changes
    return bound, used


def names_of(statement: ast.stmt) -> Names:
    """The names that a statement of a module makes, changes and takes."""
    top = symtable.symtable(ast.unparse(statement), "piece", "exec")
    makes = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported() or s.is_namespace()}
    takes = {False: {s.get_name() for s in top.get_symbols() if s.is_referenced()}, True: set()}
    inner = [(table, False) for table in top.get_children()]
    while inner:
        table, late = inner.pop()
        late = late or (table.get_type() == "function" and table.get_name() not in COMPREHENSIONS)
        inner += [(child, late) for child in table.get_children()]
        takes[late] |= {s.get_name() for s in table.get_symbols() if s.is_global() and s.is_referenced()}
    changes = set()
    for node in ast.walk(statement):
        changed = None
        match node:
            case ast.AugAssign(target=changed):
                pass
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=changed))):
                pass
            case ast.Subscript(value=changed, ctx=ast.Store()) | ast.Attribute(value=changed, ctx=ast.Store()):
                pass
        while isinstance(changed, (ast.Subscript, ast.Attribute)):
            changed = changed.value
        if isinstance(changed, ast.Name) and changed.id in takes[False] | takes[True] | makes:
            changes.add(changed.id)
    return Names(frozenset(makes), frozenset(changes), frozenset(takes[False]), frozenset(takes[True]))


def imported(source):
    """The names that a piece imports."""
    imports = [n for n in ast.walk(parse_cell(source)) if isinstance(n, (ast.Import, ast.ImportFrom))]
    return {alias.asname or alias.name.split(".")[0] for node in imports for alias in node.names}


def needed(pieces, wanted):
    """Sorted indices of the pieces (sources) that those with the indices `wanted` need, themselves among them."""
    modules = set().union(*map(imported, pieces))  # a call of `plots.show` does not change `plots`
    facts = [(bound - (modules - imported(piece)), used) for piece in pieces for bound, used in [names(piece)]]
    found, todo = set(), list(wanted)
    while todo:
        i = todo.pop()
        if i in found:
            continue
        found.add(i)
        for name in facts[i][1]:
            todo += [j for j in range(i - 1, -1, -1) if name in facts[j][0]][:1]
    return sorted(found)


def part(nb, wanted):
    """A copy of a notebook with only those code cells for which `wanted(cell)` is true and what they need."""
    cells = code_cells(nb)
    indices = needed([cell.source for cell in cells], [i for i, cell in enumerate(cells) if wanted(cell)])
    kept = copy.deepcopy(nb)
    kept.cells = [copy.deepcopy(cells[i]) for i in indices]
    return kept


def statements(source):
    """The top-level statements of a cell as sources, with the comments before and inside them."""
    source = python_of(source)
    lines, found, begin = source.split("\n"), [], 0
    for statement in parse_cell(source).body:
        found.append("\n".join(lines[begin : statement.end_lineno]).strip("\n"))
        begin = statement.end_lineno
    return found
