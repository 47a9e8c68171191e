"""Slides hold the chapter's own figures and sentences, and everything that a browser needs to show them."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kfcourse.learning import exercises
from kfcourse.notebooks import notebooks, outline
from kfcourse.site import slides
from kfcourse.site.markup import html
from test_contract import stored_tiny_chapter
from tiny import tiny_chapter

VOID = {"meta", "img", "br", "hr", "input", "link"}


class Page(HTMLParser):
    """What a browser would find: tags that do not close, images, addresses, sections with their words."""

    def __init__(self, text):
        super().__init__()
        self.stack, self.images, self.fetched, self.sections, self.math, self.keys = [], [], [], [], [], ""
        self.feed(text)
        assert not self.stack, f"not closed: {self.stack}"

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag not in VOID:
            self.stack.append(tag)
        if tag == "section":
            self.sections.append({"kind": attributes["class"], "id": attributes["id"], "heading": "", "words": ""})
        if tag == "img":
            self.images.append(attributes)
        self.fetched += [
            value
            for name, value in attributes.items()
            if name in ("src", "srcset", "data", "poster") or (name == "href" and tag != "a")
        ]

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        if "style" in self.stack:
            self.fetched += re.findall(r"url\(|@import", data)
        elif "math" in self.stack:
            self.math.append(data)
        elif "section" in self.stack:
            self.sections[-1]["heading" if {"h1", "h2"} & set(self.stack) else "words"] += data


@pytest.fixture(scope="module", params=notebooks.chapters(), ids=lambda path: path.stem)
def chapter(request):
    nb = notebooks.read(request.param)
    return request.param.name[:2], nb, Page(slides.page(nb))


def test_every_figure_is_there_with_its_words(chapter):
    _, nb, page = chapter
    figures = [o for cell in notebooks.code_cells(nb) for o in cell.outputs if "image/png" in o.get("data", {})]
    assert [image["alt"] for image in page.images] == [o.metadata["image/png"]["alt"] for o in figures]
    assert all(len(image["alt"].split()) >= 4 for image in page.images)


def test_nothing_is_fetched(chapter):
    page = chapter[2]
    assert page.fetched == [image["src"] for image in page.images]
    assert all(re.fullmatch(r"data:image/png;base64,[A-Za-z0-9+/]+=*", address) for address in page.fetched)


def test_every_section_has_its_slides(chapter):
    number, nb, page = chapter
    plain = lambda markdown: (
        re.sub(r"<[^>]+>", "", html(markdown, inline=True)).replace("&amp;", "&").replace("&quot;", '"')
    )
    headings = [slide["heading"].strip() for slide in page.sections]
    assert headings[0] == outline.first_cell(nb).title
    for heading in outline.sections(nb):
        if heading not in ("References", "Quiz"):
            assert plain(heading) in headings, heading
    assert [slide["id"] for slide in page.sections] == [str(n + 1) for n in range(len(page.sections))]
    assert sum("Quiz, question" in heading for heading in headings) == len(outline.quiz(nb))
    assert "Predict first" in headings and "Common confusions" in headings and headings[-1] == "The next question"
    everything = " ".join(slide["words"] for slide in page.sections)
    for exercise in exercises.chapter_exercises(number).values():
        assert plain(exercise.title) in everything, exercise.title


def test_formulas_are_drawn_and_no_markup_is_left(chapter):
    page = chapter[2]
    left = re.compile(r"\\[a-zA-Z]{2,}|\$[^$\d][^$]*\$|\*\*|\|---|</?details>")
    for text in [*page.math, *(slide["words"] + slide["heading"] for slide in page.sections)]:
        assert not left.search(text), left.search(text)


PROSE = [
    "One word.",
    "Is it (so)?",
    "a long sentence " * 9 + "ends.",
    "\n\n",
    "$$x = 1$$",
    "```\ncode. Of words\n```",
    "It is:",
]


@settings(deadline=None)
@given(st.lists(st.sampled_from(PROSE)).map(" ".join))
def test_what_does_not_fit_is_kept_for_the_notes(prose):
    opening, rest = slides.lead(prose.strip())
    assert f"{opening} {rest}".split() == prose.split()


def test_long_tables_and_lists_are_cut_without_loss():
    rows = [f"| row {n} | {n} |" for n in range(2 * slides.ROWS + 1)]
    table = "\n".join(["It is so.", "", "| what | count |", "|---|---|", *rows])
    made = list(slides.found("What we found", [table, "- one\n- two\n  goes on\n- three\n- four\n- five\n- six"]))
    tables = [slide.body for slide in made if slide.kind == "table"]
    assert len(tables) == 3 and all("<th>what</th>" in table for table in tables)
    assert [int(n) for table in tables for n in re.findall(r"row (\d+)", table)] == list(range(len(rows)))
    lists = [slide.body for slide in made if "<li>" in slide.body]
    assert (
        made[0].body == "<p>It is so.</p>"
        and [body.count("<li>") for body in lists] == [3, 3]
        and "two\ngoes on" in lists[0]
    )


def test_the_tiny_chapter_as_a_file(checkout):
    nb = stored_tiny_chapter()
    notebooks.write(nb, notebooks.paths.CHAPTERS / "97_tiny.ipynb")
    (path,) = slides.write(["97"], checkout / "build" / "slides")
    page = Page(path.read_text(encoding="utf-8"))
    assert path.name == "97_tiny.html" and len(page.images) == 1 and page.images[0]["alt"] == "a line going up"
    answer = next(slide for slide in page.sections if slide["heading"] == "Quiz, question 1")
    assert "(c). Not (a)" in answer["words"] and answer["kind"] == "ask"


def test_a_chapter_without_a_head_is_named(checkout):
    nb = tiny_chapter()
    nb.cells[0].source = nb.cells[0].source.replace("**Predict first:**", "Think:")
    notebooks.write(nb, notebooks.paths.CHAPTERS / "97_tiny.ipynb")
    with pytest.raises(ValueError, match="97_tiny.ipynb.*Predict first"):
        slides.write([], checkout / "out")


def test_the_keyboard_reaches_everything():
    script = slides.TEMPLATE.read_text(encoding="utf-8")
    for key in ("ArrowRight", "ArrowLeft", "PageDown", "PageUp", "Home", "End", "Enter"):
        assert key in script
