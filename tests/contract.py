"""The chapter contract: what every worked notebook keeps to, as one function that lists what it breaks."""

import ast
import re
from statistics import mean, median

from kfcourse import paths
from kfcourse.notebooks import notebooks
from kfcourse.notebooks.execution import METADATA

CODE_CELLS = (8, 40)
MEDIAN_LINES, MAX_LINES = 6, 30  # of a code cell, blank lines not counted
CODE_IN_A_ROW = 2
MEAN_WORDS, MEDIAN_WORDS, MAX_WORDS = (45, 95), (35, 90), 220  # of the prose between two groups of code cells
EXERCISES, QUESTIONS, BULLETS = (3, 5), (3, 8), (3, 5)
CELLS_WITH_OUTPUT = 5  # at least
MAX_BYTES = 1_500_000  # of the whole file, with all states of its views
LAST_SECTIONS = ["What we found", "Common confusions", "Quiz", "References", "The next question"]
MACHINE_PATH = re.compile(r"(?<![\w.~:/])/(?:home|root|Users|tmp|opt|mnt|var|private|usr)/|\b[A-Z]:\\\w|site-packages")
COMPARED = "nbval-check-output"  # the tag of a cell whose printed output must stay as it is
COLUMNS = 100  # of a code cell's lines
# The chapters that are written in full: with drawings, derivations, predictions and exercises that build something.
WRITTEN = ("01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11", "12", "13", "14", "15", "16", "17", "18")
EQUATIONS = {"03": 3, "04": 3, "05": 3, "06": 3}  # displayed ones, at least; one in any other chapter that is written
# The capstone asks and does not explain, so it is excused of what a chapter that is written in full has besides:
# drawings, derivations, exercises that build something. It has this instead.
CAPSTONE = "19"
OPEN_QUESTIONS = 5
WRITTEN_SECTIONS = ["What we found", "Common confusions", "Quiz", "Go further", "References", "The next question"]
WRITTEN_EXERCISES = (4, 9)
BUILDING = 20  # minutes that the longest exercise takes, at least
ADDRESS = re.compile(r"0x[0-9a-f]{8,}")


def violations(nb, number, facts):
    """What a chapter breaks, as sentences. `number`: its two digits; `facts`: {exercise id: Exercise}."""
    written = number in WRITTEN
    parts = (
        first_cell(nb, number),
        shape(nb),
        exercises(nb, facts, WRITTEN_EXERCISES if written else EXERCISES),
        last_sections(nb, WRITTEN_SECTIONS if written else LAST_SECTIONS),
        stored(nb),
    )
    parts += (teaching(nb, number, facts),) if written else ()
    parts += (capstone(nb),) if number == CAPSTONE else ()
    return [sentence for part in parts for sentence in part]


def tags(cell):
    return cell.metadata.get("tags", [])


def outside(value, band):
    return not band[0] <= value <= band[1]


def words(markdown):
    """How many words a reader reads: a formula counts as one, markup as none."""
    text = re.sub(r"```.*?```|<[^>]+>", " ", markdown, flags=re.S)
    text = re.sub(r"\$\$.*?\$\$|\$[^$]+\$", " formula ", text, flags=re.S)
    return len(re.findall(r"[^\W_][\w'’.,%-]*", re.sub(r"\]\([^)]*\)", "]", text)))


def groups(nb):
    """Runs of cells of one kind, in order: [("markdown", [cells]), ("code", [cells]), ...]."""
    found = []
    for cell in nb.cells:
        if not found or found[-1][0] != cell.cell_type:
            found.append((cell.cell_type, []))
        found[-1][1].append(cell)
    return found


def first_cell(nb, number):
    first = nb.cells[0]
    if first.cell_type != "markdown":
        yield "the first cell is not Markdown"
        return
    blocks = re.split(r"\n\s*\n", first.source.strip())
    if not re.match(rf"# {int(number)}\b|# {number}\b", blocks[0]):
        yield f"the first line is not the title '# {number} ...'"
    question = blocks[1].strip(" *_\n") if len(blocks) > 1 else ""
    if not question.endswith("?") or re.search(r"[.?!]\s", question):
        yield "the title is not followed by one sentence that asks the chapter's question"
    learn = re.search(r"you will learn\W*\n+((?:[-*] .*\n(?:[ ]+\S.*\n)*)+)", first.source + "\n", flags=re.I)
    if not learn or outside(len(re.findall(r"(?m)^[-*] ", learn[1])), BULLETS):
        yield f"'You will learn' is not followed by {BULLETS[0]} to {BULLETS[1]} bullets"
    if not re.search(r"\*\*prerequisites:?\*\*", first.source, flags=re.I):
        yield "there is no '**Prerequisites:**' in the first cell"
    for verb in ("read", "run", "solve"):
        if not re.search(rf"\d+(?: min\w*)? to {verb}\b", first.source):
            yield f"the first cell does not say how many minutes 'N to {verb}'"
    predict = re.search(r"\*\*predict first:?\*\*(.*)", first.source, flags=re.I | re.S)
    if not predict or "?" not in predict[1]:
        yield "the first cell has no '**Predict first:**' with a question"


def shape(nb):
    cells = notebooks.code_cells(nb)
    lines = [sum(bool(line.strip()) for line in cell.source.splitlines()) for cell in cells]
    if outside(len(cells), CODE_CELLS):
        yield f"{len(cells)} code cells, not {CODE_CELLS[0]} to {CODE_CELLS[1]}"
    if lines and median(lines) > MEDIAN_LINES:
        yield f"the median code cell has {median(lines)} lines, more than {MEDIAN_LINES}"
    for cell, count in zip(cells, lines, strict=True):
        if count > MAX_LINES:
            yield f"a code cell of {count} lines, more than {MAX_LINES}: {cell.source[:50]!r}"
        if not count:
            yield f"an empty code cell: {cell['id']}"
    for kind, group in groups(nb):
        if kind == "code" and len(group) > CODE_IN_A_ROW:
            yield f"{len(group)} code cells in a row, more than {CODE_IN_A_ROW}, from {group[0].source[:50]!r}"
    runs = groups(nb)
    end = next((i for i, (_, g) in enumerate(runs) if any(f"## {LAST_SECTIONS[0]}" in c.source for c in g)), len(runs))
    counts = [sum(words(c.source) for c in group) for kind, group in runs[1:end] if kind == "markdown"]
    if not counts:
        yield "there is no prose between the code cells"
    else:
        for average, name, band in ((mean, "mean", MEAN_WORDS), (median, "median", MEDIAN_WORDS)):
            if outside(average(counts), band):
                yield f"{average(counts):.0f} words between code cells in the {name}, not {band}: {counts}"
        if max(counts) > MAX_WORDS:
            yield f"{max(counts)} words without code, more than {MAX_WORDS}"
    if not any(COMPARED in tags(cell) and cell.outputs for cell in cells):
        yield f"no cell with an output has the tag {COMPARED}"
    for cell in cells:
        if "NBVAL_" in cell.source:
            yield f"a comment for nbval is in the reader's sight, use the tag {COMPARED}: {cell.source[:50]!r}"


def exercises(nb, facts, band):
    found = notebooks.exercises(nb)
    if outside(len(found), band):
        yield f"{len(found)} exercises, not {band[0]} to {band[1]}"
    if set(found) != set(facts):
        yield f"the notebook's exercises and those with checks differ: {sorted(set(found) ^ set(facts))}"
    code = "\n".join(cell.source for cell in notebooks.code_cells(nb))
    for before, cell in zip(nb.cells, nb.cells[1:]):
        for exercise_id, definition in notebooks.exercises_in(cell.source) if cell.cell_type == "code" else []:
            yield from one_exercise(exercise_id, definition, before, cell, facts.get(exercise_id))
    for exercise_id in found:
        if f'check("{exercise_id}")' not in code:
            yield f'{exercise_id}: check("{exercise_id}") is never called'


def one_exercise(exercise_id, definition, before, cell, facts):
    if not notebooks.split_solution(cell.source)[1]:
        yield f"{exercise_id}: there is no solution between '{notebooks.BEGIN}' and '{notebooks.END}'"
    spec = ast.get_docstring(definition) or ""
    if words(spec) < 8 or not re.search(r"\[.*\]|float|int|bool|list|dict|string", spec):
        yield f"{exercise_id}: the docstring is no spec with shapes or types (8 words or more)"
    if before.cell_type != "markdown" or not facts:
        yield f"{exercise_id}: there is no Markdown cell before it, or no entry in the checks"
        return
    stated = re.search(r"difficulty:? (\d)/5,? (\d+) min", before.source, flags=re.I)
    if not stated or (int(stated[1]), int(stated[2])) != (facts.difficulty, facts.minutes):
        wanted = f"Difficulty {facts.difficulty}/5, {facts.minutes} minutes"
        yield f"{exercise_id}: the cell before it does not say {wanted!r}"
    if facts.title not in before.source:
        yield f"{exercise_id}: the cell before it does not name the title {facts.title!r}"


COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def one_idea(cell):
    """What makes a code cell hard to read on a projector."""
    for line in cell.source.splitlines():
        if len(line) > COLUMNS:
            yield f"a line of {len(line)} columns, more than {COLUMNS}: {line.strip()[:50]!r}"
    for node in ast.walk(notebooks.parse_cell(cell.source)):
        if isinstance(node, ast.NamedExpr):
            yield f"a walrus: {ast.unparse(node)[:50]!r}"
        if isinstance(node, COMPREHENSIONS) and any(
            isinstance(n, COMPREHENSIONS) for n in ast.walk(node) if n is not node
        ):
            yield f"a comprehension within a comprehension: {ast.unparse(node)[:50]!r}"
        if isinstance(node, ast.keyword) and node.arg == "alt":
            yield "alt text in a cell: give it to the figure, in the chapter's figures.py, with plots.described"
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "|---" in node.value:
            yield "the formatting of a table in a cell: use kfcourse.show.tables"


def teaching(nb, number, facts):
    """What a chapter that is written in full has besides."""
    cells = notebooks.code_cells(nb)
    for cell in cells:
        yield from one_idea(cell)
    drawn = [cell for cell in cells if "drawing" in tags(cell)]
    if not any("image/png" in output.get("data", {}) for cell in drawn for output in cell.outputs):
        yield "no cell with the tag 'drawing' shows a conceptual drawing"
    text = "\n\n".join(cell.source for cell in nb.cells if cell.cell_type == "markdown")
    equations, wanted = text.count("$$") // 2, EQUATIONS.get(number, 1)
    if equations < wanted:
        yield f"{equations} displayed equations, fewer than {wanted}"
    code = "\n".join(cell.source for cell in cells)
    guessed, revealed = (re.findall(rf'(?m)^{name}\(\s*"([\w.]+)"', code) for name in ("predict", "reveal"))
    if not guessed or set(guessed) != set(revealed):
        yield f"the predictions {guessed} and their answers {revealed} do not fit together"
    if any(not name.startswith(f"{number}.") for name in guessed):
        yield f"a prediction's name does not begin with '{number}.': {guessed}"
    numbered = re.findall(rf"(?m)^### Exercise {number}\.(\d+) · \S", text)
    if numbered != [str(i) for i in range(1, len(numbered) + 1)] or len(numbered) < len(facts):
        yield f"the exercises are not numbered '### Exercise {number}.1 · Title' and so on: {numbered}"
    for kind in ("with pencil", "design the control", "open"):
        if not re.search(rf"(?m)^### Exercise {number}\.\d+ · .*\({kind}\)$", text):
            yield f"no exercise's heading ends in '({kind})'"
    if facts and max(exercise.minutes for exercise in facts.values()) < BUILDING:
        yield f"no exercise builds something: the longest takes fewer than {BUILDING} minutes"
    if f'hint("{number}.' not in text:
        yield f'nothing tells the reader that hint("{number}...") gives hints'
    further = text.partition("\n## Go further\n")[2].partition("\n## ")[0]
    if len(re.findall(r"(?m)^\d+\. ", further)) < 3:
        yield "'Go further' does not list three projects, numbered '1. '"


def capstone(nb):
    """Open questions, each with a control, code that runs and a plan; the template and the rubric of the report."""
    for cell in notebooks.code_cells(nb):
        yield from one_idea(cell)
    text = "\n\n".join(cell.source if cell.cell_type == "markdown" else "<code>" for cell in nb.cells)
    questions = re.split(r"(?m)^## (?=Question \d+ · )", text)[1:]
    if [question[:10] for question in questions] != [f"Question {k}" for k in range(1, OPEN_QUESTIONS + 1)]:
        yield f"{len(questions)} open questions '## Question 1 · Title' and so on, not {OPEN_QUESTIONS}"
    for question in questions:
        own = question.partition("\n## ")[0]
        if "**Control.**" not in own or "<code>" not in own:
            yield f"{question[:10]} has no '**Control.**' or no code"
        if f"- **{question[:10]}.**" not in text:
            yield f"{question[:10]} has no plan '- **{question[:10]}.** ...'"
    for link in ("teaching/report.md", f"kfcourse/ch{CAPSTONE}/questions.md"):
        if link not in text:
            yield f"nothing leads to {link}"


def last_sections(nb, wanted):
    text = "\n\n".join(cell.source for cell in nb.cells if cell.cell_type == "markdown")
    headings = re.findall(r"(?m)^## +(.*?)\s*$", text)
    if headings[-len(wanted) :] != wanted:
        yield f"the last sections are {headings[-len(wanted) :]}, not {wanted}"
        return
    section = dict(zip(headings, re.split(r"(?m)^## .*$", text)[1:], strict=True))
    for word in ("paper", "our", "yours"):
        if word not in section["What we found"].lower():
            yield f"'What we found' does not speak of '{word}'"
    for name in wanted:
        if not section[name].strip():
            yield f"the section '{name}' is empty"
    questions = re.split(r"(?m)^\*\*\d+\.\*\*", section["Quiz"])[1:]
    if outside(len(questions), QUESTIONS):
        yield f"{len(questions)} questions in the quiz, not {QUESTIONS[0]} to {QUESTIONS[1]} (each begins '**1.** ...')"
    for number, question in enumerate(questions, 1):
        asked, _, answer = question.partition("<details>")
        options = re.findall(r"(?m)^[-*] \(([a-z])\)", asked)
        if len(options) < 2:
            yield f"question {number} of the quiz has fewer than two options '- (a) ...'"
        unexplained = [o for o in options if f"({o})" not in answer]
        if unexplained:
            yield f"question {number} of the quiz does not explain the options {unexplained} within <details>"


def stored(nb):
    cells = notebooks.code_cells(nb)
    if [cell.execution_count for cell in cells] != list(range(1, len(cells) + 1)):
        yield "the code cells were not all executed once, from top to bottom, in a fresh kernel"
    if sum(bool(cell.outputs) for cell in cells) < CELLS_WITH_OUTPUT:
        yield f"fewer than {CELLS_WITH_OUTPUT} cells have stored outputs"
    if nb.metadata != METADATA:
        yield "the notebook's metadata is not the normal one"
    if any(set(cell.metadata) - {"tags"} for cell in nb.cells):
        yield "a cell has metadata other than tags"
    if len(notebooks.to_bytes(nb)) > MAX_BYTES:
        yield f"{len(notebooks.to_bytes(nb))} bytes, more than {MAX_BYTES}"
    outputs = [output for cell in cells for output in cell.outputs]
    for output in outputs:
        if output.output_type == "error":
            yield f"a stored error: {output.ename}: {output.evalue}"
        if output.get("name") == "stderr":
            yield f"text on stderr is stored: {output.text[:60]!r}"
    if not any("image/png" in output.get("data", {}) for output in outputs):
        yield "there is no figure"
    for data, meta in ((o.data, o.metadata) for o in outputs if "image/png" in o.get("data", {})):
        alt = data.get("text/plain", "").removeprefix("Figure: ")
        if not data.get("text/plain", "").startswith("Figure: ") or words(alt) < 4:
            yield "a figure's text/plain is not 'Figure: <what it shows, in four words or more>'"
        if meta.get("image/png", {}).get("alt") != alt:
            yield "a figure's alt text is missing from its output's metadata"
    texts = [cell.source for cell in nb.cells] + [
        value
        for o in outputs
        for mime, value in [("", o.get("text", "")), *o.get("data", {}).items()]
        if isinstance(value, str) and not mime.startswith("image/")
    ]
    checkout = re.compile(re.escape(str(paths.ROOT)))
    for pattern, what in (
        (MACHINE_PATH, "a path of one machine"),
        (checkout, "this checkout's path"),
        (ADDRESS, "a memory address"),
    ):
        hit = next((found for found in map(pattern.search, texts) if found), None)
        if hit:
            yield f"{what}: {hit.string[max(0, hit.start() - 20) : hit.end() + 20]!r}"
