"""The site from the chapters' stored outputs: complete, linked, readable without a network; the map, the routes,
notation and glossary.
"""

import ast
import json
import re
from pathlib import Path

import nbformat
import pytest

import contract
import links
from kfcourse import paths
from kfcourse.notebooks import notebooks, outline
from kfcourse.site import api, mathml, pages, predictions, publishing, routes, signposts

CHAPTERS = notebooks.chapters()
LINE = re.compile(r"\[(\d\d)\]\(\.\./chapters/([\w]+)\.ipynb\)")


@pytest.fixture(scope="module")
def html(whole_site):
    return {
        p.relative_to(whole_site).as_posix(): p.read_text(encoding="utf-8")
        for p in whole_site.rglob("*.html")
        if "_static" not in p.parts
    }


@pytest.mark.slow
def test_every_chapter_and_document_has_a_page(html):
    expected = {f"chapters/{p.stem}.html" for p in CHAPTERS} | {"index.html", "pages/timings.html", "search.html"}
    expected |= {p.with_suffix(".html").as_posix() for found in pages.documents().values() for p in found}
    expected |= {p.with_suffix(".html").as_posix() for p in api.pages()}
    assert (
        {"pages/glossary.html", "pages/notation.html", "teaching/grading.html", "data/README.html", "CONTRIBUTING.html"}
        <= expected
        <= set(html)
    )


@pytest.mark.slow
def test_every_link_of_the_site_leads_somewhere_and_nothing_is_fetched_from_elsewhere(whole_site):
    found = links.pages_of(whole_site)
    assert [sentence for path in found for sentence in links.of_page(path, found)] == []
    assert {p.name: page.wordless for p, page in found.items() if page.wordless} == {}
    for sheet in whole_site.rglob("*.css"):
        assert not re.search(r"""(?:@import|url\()\s*["']?(?:https?:)?//""", sheet.read_text(encoding="utf-8")), sheet


@pytest.mark.slow
@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapters_page(path, html):
    page, nb = html[f"chapters/{path.stem}.html"], notebooks.read(path)
    figures = [o for cell in notebooks.code_cells(nb) for o in cell.outputs if "image/png" in o.get("data", {})]
    shown = predictions.on_the_page(nb)  # what a guess prints is a form there
    assert page.count("cell_output") >= sum(bool(cell.outputs) for cell in notebooks.code_cells(shown))
    assert len(re.findall(r"<img[^>]*_images/", page)) >= len(figures) > 0
    assert "Minutes:" in page and "Prerequisites:" in page
    assert f"Reading order:</strong> {CHAPTERS.index(path) + 1} of {len(CHAPTERS)}" in page
    assert "pages/glossary.html#" in page and "../index.html" in page
    assert ("colab.research" in page) == bool(publishing.address())


@pytest.mark.slow
@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapters_page_and_its_figures_are_small(path, whole_site, html):
    page = html[f"chapters/{path.stem}.html"]
    figures = {whole_site / "_images" / name for name in re.findall(r'src="\.\./_images/([^"]+)"', page)}
    assert len(page.encode()) + sum(p.stat().st_size for p in figures) <= contract.MAX_BYTES


@pytest.mark.slow
def test_every_formula_is_drawn(html):
    assert sum(page.count("<math ") for page in html.values()) > 200
    for name, page in html.items():
        assert not re.search(r"<m[ion][^>]*>\\", page), f"{name}: a formula has a command that is not known"
        assert 'class="math notranslate' not in page, f"{name}: a formula is left to a script"


@pytest.mark.slow
def test_the_number_of_an_equation_stands_apart_from_it():
    assert "<mtext>(05.1)</mtext>" in mathml.mathml(r"F = G \otimes A. \tag{05.1}", "block")
    assert "<mspace" in mathml.mathml(r"F = G \otimes A. \tag{05.1}", "block")


def test_a_word_is_linked_once_on_a_page_and_never_in_a_heading(html):
    page = html["chapters/09_editing_by_curvature.html"]
    anchors = re.findall(r'href="\.\./pages/glossary\.html#([\w-]+)"', page)
    assert "strict-recall" in anchors and "staircase" in anchors and len(anchors) == len(set(anchors))
    assert not re.search(r"<h\d>(?:(?!</h\d>).)*glossary\.html", page)
    assert 'href="05_kfac_from_scratch.html">chapter 05</a>' in page
    assert "chapter 9</a>" not in page  # a page does not link to itself


@pytest.mark.slow
def test_search_finds_words_without_a_server(whole_site):
    # a script, since a page in a folder may not fetch
    index = (whole_site / "searchindex.js").read_text(encoding="utf-8")
    terms = json.loads(index[index.index("{") : index.rindex("}") + 1])["terms"]
    assert "staircas" in terms or "staircase" in terms  # the words' stems are kept


@pytest.mark.slow
def test_the_librarys_reference_is_complete_and_the_search_finds_it(whole_site, html):
    documented = {name for page in html.values() for name in re.findall(r'<dt class="sig [^>]*id="([\w.]+)"', page)}
    for names in api.modules().values():
        for name in names:
            tree = ast.parse(Path(api.ROOT.parent, *name.split(".")).with_suffix(".py").read_text(encoding="utf-8"))
            public = [
                part
                for part in tree.body
                if isinstance(part, (ast.FunctionDef, ast.ClassDef))
                and not part.name.startswith("_")
                and ast.get_docstring(part)
            ]
            missing = {f"{name}.{part.name}" for part in public} - documented
            assert not missing, f"the reference does not show {sorted(missing)}"
    index = (whole_site / "searchindex.js").read_text(encoding="utf-8")
    assert '"collect_factors"' in index and '"kfaclib.curvature.factors"' in index
    signature = html["api/kfaclib.curvature.html"].partition('id="kfaclib.curvature.factors.collect_factors"')[2][:6000]
    assert "generator" in signature and "mock" not in html["api/kfaclib.curvature.html"].lower()


@pytest.mark.parametrize(
    "docstring, rst",
    [
        ("One `a_b` and x_.", r"One \ ``a_b``\  and x\_."),
        ("A |C|^2 * 2.", r"A \|C\|^2 \* 2."),
        ("Use it:\n\n    a = b * c_\n    d\n\nEnd.", "Use it\\:\n\n::\n\n    a = b * c_\n    d\n\nEnd."),
        ("- one\n  more_\n- two", "- one\n  more\\_\n- two"),
        ("key: words\n    that go on", "key\\: words\nthat go on"),
    ],
)
def test_docstrings_are_text_with_code_and_nothing_else(docstring, rst):
    assert "\n".join(api.as_rst(docstring.splitlines())) == rst


def test_warnings_are_errors(checkout):
    (checkout / "pages").mkdir()
    (checkout / "pages" / "glossary.md").write_text("# Glossary\n\n[gone](gone.md)\n")
    (checkout / "pages" / "notation.md").write_text("# Notation\n\n$\\left($\n")
    with pytest.raises(RuntimeError, match=r"(?s)without warnings.*glossary.md.*gone.md.*cannot be drawn: .left"):
        pages.render({}, paths.BUILD / "pages")
    assert not (paths.BUILD / "pages").exists()


def test_timings_come_from_the_last_run(checkout, monkeypatch):
    head = outline.FirstCell("97 A", "?", (), "none", {"read": 3, "run": 1, "solve": 9}, "?")
    rows = lambda: signposts.timings({"97": ("97_a", head)}, ["97_a", "98_b"])
    assert "| [97_a](../chapters/97_a.ipynb) | 1 | not measured |" in rows()
    paths.BUILD.mkdir()
    (paths.BUILD / "course.json").write_text(
        json.dumps(
            [
                {"chapter": "97_a", "seconds": 33.4, "gib": 1.234, "ok": True},
                {"chapter": "98_b", "seconds": 2.0, "ok": False},
            ]
        )
    )
    assert "| 1 | 33 seconds, 1.2 GiB |" in rows() and "| - | 2 seconds, and stopped with an error |" in rows()


def test_links_to_files_that_are_no_pages(checkout):
    (checkout / "data" / "a.json").write_text("{}")
    known, at = {Path("pages/b.md")}, Path("teaching/c.md")
    text = "[a *file*](../data/a.json), [a page](../pages/b.md#x), [else](https://arxiv.org), [gone](gone.md)"
    change = lambda where: pages.with_links(text, at, known, checkout / "out", where)
    assert change(None) == text.replace("[a *file*](../data/a.json)", "a *file*")
    published = publishing.Address("https://github.com/example-owner/example-name", "v1.0")
    assert (
        "[a *file*](https://github.com/example-owner/example-name/blob/v1.0/data/a.json), [a page](../pages/b.md#x)"
        in change(published)
    )


# --- what the reader does in the page


def cell(source, *outputs):
    shown = [nbformat.v4.new_output("display_data", {"text/markdown": text}) for text in outputs]
    return nbformat.v4.new_code_cell(source, outputs=shown)


def test_a_prediction_is_a_form_and_its_answer_knows_it():
    ask = 'predict("97.a", None, options=("more", "less"))  # at the end\npredict("97.b", None)'
    nb = nbformat.v4.new_notebook(
        cells=[
            cell(ask, "**97.a**: no guess yet. Put one of more, less.", "**97.b**: no guess yet.", "Something else."),
            cell("reveal(...)", "**97.a**: You made no guess; it is **more**. Because $x<1$."),
        ]
    )
    asked, forms, told = predictions.on_the_page(nb).cells
    assert [predictions.said(o) for o in asked.outputs] == ["Something else."]
    first, second = forms.source.split("\n\n")
    assert 'data-prediction="97.a"' in first and "at the end" in first and first.count('type="radio"') == 2
    assert "<strong>more</strong>. Because <" in first and "<math" in first and 'type="number"' in second
    assert 'data-measured="97.a" data-value="more"' in told.outputs[0].data["text/html"]
    assert nb.cells[0].outputs[0].data["text/markdown"].startswith("**97.a**")  # the notebook itself is as it was


def test_every_prediction_of_the_course_has_its_answer_on_the_page():
    for path in CHAPTERS:
        nb = notebooks.read(path)
        asked = [
            name for c in notebooks.code_cells(nb) if "predict(" in c.source for name, *_ in predictions.asked(c.source)
        ]
        assert sorted(asked) == sorted(predictions.answers(nb)), path.name


def test_cells_that_only_import_are_folded():
    nb = nbformat.v4.new_notebook(
        cells=[cell("import math\nfrom a import b  # noqa: F401 (why)\n\nplots.style()"), cell("import math\nx = 1")]
    )
    first, second = pages.with_folded_imports(nb).cells
    assert first.source.endswith("b\n\nplots.style()") and first.metadata.tags == ["hide-input"]
    assert "tags" not in second.metadata


# --- the map and the routes


def test_prerequisites_are_read_as_they_are_written():
    assert routes.needs("chapter 04 (the Fisher), and eigenvectors of a 2 by 2 matrix.") == ("04",)
    assert routes.needs("factors (chapter 5); recall (chapter 8). Chapters 1, 2 and 3.") == (
        "01",
        "02",
        "03",
        "05",
        "08",
    )
    assert routes.needs("chapters 9 to 11; 3 hours") == ("09", "10", "11")
    assert routes.needs("gradient descent, in 2 dimensions") == ()


@pytest.mark.parametrize("number", routes.chapters())
def test_a_chapter_needs_earlier_ones_only(number):
    needed = routes.needs(routes.chapters()[number][1].prerequisites)
    assert all(n < number for n in needed), (
        f"chapter {number} names {needed}: a later one is no prerequisite, and there would be no place to begin"
    )
    assert needed or number == "01"


def test_every_chapter_is_on_a_route_and_every_route_can_be_walked():
    heads = routes.chapters()
    needed = routes.graph(heads)
    assert set(heads) == {p.name[:2] for p in CHAPTERS}
    walks = {route.name: routes.along(route, needed) for route in routes.ROUTES}
    assert set().union(*walks.values()) == set(heads), (
        "a chapter is on no route: name a route in ROUTES of its kfcourse/chNN/__init__.py"
    )
    for route in routes.ROUTES:
        done = set(route.trusted)
        for number in walks[route.name]:
            assert done >= set(needed[number]), f"{route.name}: {number} comes before what it needs"
            done.add(number)
    assert len({tuple(walk) for walk in walks.values()}) == 3


def test_rows_of_the_map_hold_every_chapter_below_what_it_needs():
    needed = {"01": (), "02": ("01",), "03": ("01", "02"), "04": ("01",), "05": ("03", "04")}
    rows = routes.levels(needed)
    depth = {n: i for i, row in enumerate(rows) for n in row}
    assert sorted(depth) == sorted(needed) and all(depth[m] < depth[n] for n in needed for m in needed[n])
    assert routes.direct(needed)["03"] == ["02"]  # that 03 needs 01 goes without saying


def test_the_map_shows_and_says_every_chapter():
    heads = routes.chapters()
    svg, needed = routes.picture(heads), routes.graph(heads)
    assert 'role="group"' in svg and svg.count("<rect") == len(heads)
    (said,) = re.findall("<title>(.*)</title>", svg)
    for number, (name, head) in heads.items():
        assert f'href="chapters/{name}.html"' in svg
        assert (
            f"{number} {routes.title(head)} needs {' and '.join(needed[number]) or 'nothing'}".replace("&", "&amp;")
            in said
        )
    assert svg.count("marker-end") == sum(map(len, routes.direct(needed).values()))


# --- notation and glossary


def words_of(text):
    """[(word, other forms, its paragraph)] of the glossary."""
    found = []
    for part in re.split(r"(?m)^### ", text)[1:]:
        word, _, rest = part.partition("\n")
        also = re.search(r"(?m)^Also: (.*)$", rest)
        found.append(
            (word.strip(), re.findall(r"\*([^*]+)\*", also[1]) if also else [], re.split(r"(?m)^## ", rest)[0])
        )
    return found


def said_in(number):
    (path,) = notebooks.chapters([number])
    return " ".join(" ".join(cell.source for cell in notebooks.read(path).cells).split())


def test_every_word_of_the_glossary_is_used_in_the_chapter_that_it_names():
    entries = words_of((paths.ROOT / "pages" / "glossary.md").read_text(encoding="utf-8"))
    assert len(entries) > 40 and len({word.lower() for word, _, _ in entries}) == len(entries)
    for word, also, text in entries:
        ((number, name),) = LINE.findall(text)
        assert name.startswith(number)
        used = said_in(number).lower().replace("*", "")
        assert any(form.lower() in used for form in [word, *also]), f"{word!r} is not in chapter {number}"


def test_every_symbol_of_the_notation_is_used_in_the_chapter_that_it_names():
    rows = [
        line.strip("| ").split(" | ")
        for line in (paths.ROOT / "pages" / "notation.md").read_text(encoding="utf-8").splitlines()
        if LINE.search(line) and line.startswith("|")
    ]
    assert len(rows) > 30
    for row in rows:
        ((number, name),) = LINE.findall(row[-1])
        assert name.startswith(number)
        used = said_in(number)
        for symbol in re.findall(r"\$([^$]+)\$", row[0]) or re.findall(r"`(\w+)`", row[0]) or [row[0]]:
            assert symbol in used, f"{symbol!r} is not in chapter {number}"
