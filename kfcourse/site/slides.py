"""Slides from the chapters: one HTML file each, with everything in it, for any browser, without a network.

Nothing is written twice: headings, sentences, figures and figures' alternative texts are the notebook's own. The longer
prose of a section is in the speaker's notes of its slides.
"""

import re
from dataclasses import dataclass
from html import escape
from pathlib import Path

from kfcourse.notebooks import notebooks, outline
from kfcourse.site.markup import html

LEAD_WORDS = 60  # of the paragraph that opens a section; the rest goes into the notes
ROWS = 7  # of a table on one slide
BULLETS = 5  # of a list on one slide
TEMPLATE = Path(__file__).with_name("slides.html")
BULLET = re.compile(r"(?m)^[-*] .*(?:\n[ ]+\S.*)*")
TABLE = re.compile(r"(?m)(?:^\|.*\n?)+")


@dataclass(frozen=True)
class Slide:
    """A heading (Markdown), the slide's HTML, the speaker's notes (HTML), and what kind of slide it is."""

    heading: str
    body: str
    notes: str = ""
    kind: str = "text"


def parts(nb):
    """[(heading, items)] of the sections after the first cell; an item is a piece of Markdown (str) or a code cell."""
    found = [(outline.first_cell(nb).title, [])]  # for what stands before the first heading
    for cell in nb.cells[1:]:
        if cell.cell_type == "code":
            found[-1][1].append(cell)
            continue
        before, *pieces = re.split(r"(?m)^## +", cell.source)
        if before.strip():
            found[-1][1].append(before.strip())
        for piece in pieces:
            heading, _, text = piece.partition("\n")
            found.append((heading.strip(), [text.strip()] if text.strip() else []))
    return [part for part in found if part[1]]


def outputs(cell, mime):
    """[(content, metadata)] of a cell's outputs of one type."""
    return [(o.data[mime], o.metadata.get(mime, {})) for o in cell.outputs if mime in o.get("data", {})]


def said(cell):
    """What a cell said in Markdown, its numbers as they were computed. The ticks of exercises are left out."""
    return "\n\n".join(text.strip() for text, _ in outputs(cell, "text/markdown") if not text.startswith(("✓", "✗")))


def lead(prose):
    """(the first sentences of some prose: LEAD_WORDS words, or whatever introduces a formula or a block of code; the
    rest).
    """
    first, _, rest = prose.partition("\n\n")
    block = re.match(r"\$\$.*?\$\$|```.*?```", rest, flags=re.S)
    if block:
        return f"{first}\n\n{block[0]}", rest[block.end() :].strip()
    sentences, words = outline.SENTENCE.split(first), 0
    for count, sentence in enumerate(sentences):
        words += len(sentence.split())
        if count and words > LEAD_WORDS:
            return " ".join(sentences[:count]), f"{' '.join(sentences[count:])}\n\n{rest}".strip()
    return first, rest


def pieces(items, most):
    """A list in as few pieces of at most `most` items as there can be, all about equally long."""
    count = -(-len(items) // most)
    return [items[n * len(items) // count : (n + 1) * len(items) // count] for n in range(count)]


def listed(heading, text):
    """The bullets of a text, some on each slide."""
    for bullets in pieces(BULLET.findall(text), BULLETS):
        yield Slide(heading, html("\n".join(bullets)))


def section(heading, items):
    """How a section begins, with its exercises, and each of its figures with what the figure's cell said."""
    prose = [
        part for item in items if isinstance(item, str) for part in re.split(r"(?m)^(?=### )", item) if part.strip()
    ]
    tasks = [part.partition("\n")[0].strip("# ") for part in prose if part.startswith("### ")]
    opening, rest = lead("\n\n".join(part for part in prose if not part.startswith("### ")))
    exercises = "".join(f"<li>{html(task, inline=True)}</li>" for task in tasks)
    if prose:
        yield Slide(heading, html(opening) + (f'<ul class="tasks">{exercises}</ul>' if tasks else ""), html(rest))
    for number, cell in enumerate(items):
        for png, meta in [] if isinstance(cell, str) else outputs(cell, "image/png"):
            explained = next((item for item in items[number + 1 :] if isinstance(item, str)), "")
            image = f'<img src="data:image/png;base64,{"".join(png.split())}" alt="{escape(meta.get("alt", ""))}">'
            text, more = lead(said(cell))
            yield Slide(
                heading,
                image + html(text),
                html("\n\n".join([more, re.split(r"(?m)^### ", explained)[0]]).strip()),
                "figure",
            )


def found(heading, items):
    """The results: sentences, tables in pieces that can be read from the last row, and the list of findings."""
    text = "\n\n".join(item if isinstance(item, str) else said(item) for item in items)
    for paragraph in re.split(r"\n\s*\n", BULLET.sub("", TABLE.sub("", text)).strip()):
        if paragraph:
            yield Slide(heading, html(paragraph))
    for table in TABLE.findall(text):
        head, rule, *rows = table.strip().splitlines()
        for some in pieces(rows, ROWS):
            yield Slide(heading, html("\n".join([head, rule, *some])), kind="table")
    yield from listed(heading, text)


def confusions(heading, items):
    """One slide for what people say; why it is not so comes when it is asked for."""
    for part in re.split(r"\n\s*\n|\n(?=[-*] )", "\n\n".join(item for item in items if isinstance(item, str))):
        claim = re.match(r"(?:[-*] )?(?:> )?(\*{1,2})(.+?)\1\s*(.+)", outline.one_line(part))
        if claim:
            reason = f"<details><summary>Is that so?</summary>{html(claim[3])}</details>"
            yield Slide(heading, f'<p class="claim">{html(claim[2], inline=True)}</p>{reason}', kind="ask")


def quiz(nb):
    """One slide for each question of the quiz; the answer comes when it is asked for."""
    for question in outline.quiz(nb):
        options = "".join(f"<li>{html(option, inline=True)}</li>" for option in question.options.values())
        answer = f"<details><summary>Answer</summary>{html(question.answer)}</details>"
        yield Slide(f"Quiz, question {question.number}", f"{html(question.text)}<ol>{options}</ol>{answer}", kind="ask")


def of_chapter(nb):
    """All slides of a notebook, in its order: head, sections with their figures, results, confusions, quiz, the next
    question.
    """
    first = outline.first_cell(nb)
    yield Slide(
        first.title,
        f'<p class="question">{html(first.question, inline=True)}</p>',
        html(f"Before this: {first.prerequisites}"),
        "title",
    )
    yield from listed("You will learn", "\n".join(f"- {bullet}" for bullet in first.learn))
    yield Slide("Predict first", html(first.predict[:1].upper() + first.predict[1:]), kind="predict")
    for heading, items in parts(nb):
        match heading:
            case "What we found":
                yield from found(heading, items)
            case "Common confusions":
                yield from confusions(heading, items)
            case "Quiz":
                yield from quiz(nb)
            case "References":
                pass  # for reading, not for a screen
            case "The next question":
                yield Slide(heading, html("\n\n".join(items)), kind="predict")
            case _:
                yield from section(heading, items)


def page(nb):
    """The slides of a notebook as one HTML file."""
    made = list(of_chapter(nb))
    one = lambda number, slide: (
        f'<section class="{slide.kind}" id="{number}" aria-label="Slide {number} of {len(made)}" tabindex="-1">'
        f"<h{1 if number == 1 else 2}>{html(slide.heading, inline=True)}</h{1 if number == 1 else 2}>\n{slide.body}"
        + (f"\n<aside>{slide.notes}</aside>" if slide.notes else "")
        + f'<footer aria-hidden="true">{number}</footer></section>'
    )
    body = "\n".join(one(number, slide) for number, slide in enumerate(made, 1))
    return (
        TEMPLATE.read_text(encoding="utf-8")
        .replace("{{title}}", escape(outline.first_cell(nb).title))
        .replace("{{slides}}", body)
    )


def write(words, folder):
    """Write NN_name.html for the chapters that `words` pick (all if none is named); returns the paths."""
    return notebooks.write_each(page, words, folder, ".html")
