"""Predictions on a page: a notebook's `predict(...)` as a form that its reader fills in, and `reveal(...)` as the
answer that the form leads to. course.js keeps the guess in the reader's browser.
"""

import ast
import copy
import re
from html import escape

import nbformat

from kfcourse.notebooks import notebooks
from kfcourse.site import markup

ANSWER = re.compile(r"\*\*(?P<id>[\w.]+)\*\*: You made no guess; it is \*\*(?P<value>.*?)\*\*\.(?P<because>.*)", re.S)


def asked(source):
    """[(id, options, the comment behind it)] of the calls of `predict` in a cell's code, in order."""
    found, lines = [], source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "predict":
            options = next((ast.literal_eval(k.value) for k in node.keywords if k.arg == "options"), ())
            comment = lines[node.end_lineno - 1][node.end_col_offset :].strip()
            found.append((ast.literal_eval(node.args[0]), options, comment.removeprefix("#").strip()))
    return found


def said(output):
    """The Markdown of an output; "" if it has none."""
    return output.get("data", {}).get("text/markdown", "")


def answers(nb):
    """{id: (measured value as it is printed, HTML of the reason)} from the outputs of `reveal`."""
    found = [ANSWER.match(said(output)) for cell in notebooks.code_cells(nb) for output in cell.outputs]
    return {m["id"]: (m["value"], markup.html(m["because"].strip(), inline=True)) for m in found if m}


def measured(name, value, because, head=""):
    """HTML of an answer. course.js puts what the reader guessed in the place of the words "You made no guess;"."""
    return (
        f'<p data-measured="{escape(name)}" data-value="{escape(value)}">{head}<span class="guessed">You made no '
        f"guess;</span> it is <strong>{escape(value)}</strong>. {because}</p>"
    )


def form(name, options, comment, answer):
    """HTML of a form for a guess: a choice of `options`, or a number; the answer, if there is one, is folded."""
    where = escape(name) + (f", {escape(comment)}" if comment else "")
    if options:
        field = "".join(
            f'<label><input type="radio" name="{escape(name)}" value="{escape(o)}"> {escape(o)}</label>'
            for o in options
        )
    else:
        field = '<label>a number <input type="number" step="any"></label> <button type="submit">Keep it</button>'
    found = measured(name, *answer) if answer else "<p>The end of the chapter says.</p>"
    return (
        f'<form class="prediction" data-prediction="{escape(name)}"><fieldset>'
        f'<legend>Your prediction ({where})</legend>{field}<p class="kept" role="status"></p></fieldset>'
        f"<details><summary>What the chapter measured</summary>{found}</details></form>"
    )


def on_the_page(nb):
    """A copy of the notebook in which each `predict` is followed by its form, and each `reveal` is an answer that
    knows its form.
    """
    nb, cells = copy.deepcopy(nb), []
    known = answers(nb)
    for cell in nb.cells:
        cells.append(cell)
        if cell.cell_type != "code":
            continue
        questions = asked(cell.source) if "predict(" in cell.source else []
        names = tuple(f"**{name}**:" for name, _, _ in questions)
        cell.outputs = [o for o in cell.outputs if not (names and said(o).startswith(names))]
        for output in cell.outputs:
            if (match := ANSWER.match(said(output))) is not None:
                name = match["id"]
                head = f"<strong>{escape(name)}</strong>: "
                output.data = nbformat.from_dict({"text/html": measured(name, *known[name], head)})
        forms = "\n\n".join(form(*question, known.get(question[0])) for question in questions)
        if forms:
            cells.append(nbformat.v4.new_markdown_cell(forms, id=f"{cell.id}-prediction"))
    nb.cells = cells
    return nb
