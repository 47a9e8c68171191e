"""Every link in the course's texts leads somewhere; and the check notices when one does not."""

import pytest

import links
from kfcourse.paths import ROOT

TEXTS = sorted(
    p
    for pattern in (
        "*.md",
        "pages/**/*.md",
        "teaching/**/*.md",
        "kfcourse/**/*.md",
        "data/**/*.md",
        "chapters/*.ipynb",
        "teaching/**/*.ipynb",
    )
    for p in ROOT.glob(pattern)
    if ".ipynb_checkpoints" not in p.parts
)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_of_texts(path):
    assert list(links.of_markdown(path)) == []


TEXT = "# A title, with `code`\n\n[file](there.md) [place](there.md#two-words) [here](#a-title-with-code) [paper](https://arxiv.org/abs/1)\n"


@pytest.mark.parametrize(
    "change, wrong",
    [
        (("there.md)", "gone.md)"), "gone.md: there is no such file"),
        (("#two-words", "#three-words"), "there.md#three-words: there is no such heading"),
        (("#a-title-with-code", "#a-title"), "#a-title: there is no such heading"),
        (("https://arxiv", "http://arxiv"), "http://arxiv.org/abs/1: not https"),
        (("arxiv.org", "arxiv.example"), "arxiv.example is not among the hosts"),
        (
            ("[paper](https://arxiv.org/abs/1)", "see https://else.example/a."),
            "https://else.example/a: else.example is not among",
        ),
    ],
)
def test_a_wrong_link_is_noticed(change, wrong, tmp_path):
    (tmp_path / "there.md").write_text("# One\n\n## Two words\n")
    (tmp_path / "text.md").write_text(TEXT)
    assert list(links.of_markdown(tmp_path / "text.md")) == []
    (tmp_path / "text.md").write_text(TEXT.replace(*change))
    (said,) = links.of_markdown(tmp_path / "text.md")
    assert wrong in said


def test_code_is_not_taken_for_links(tmp_path):
    (tmp_path / "text.md").write_text("```\n[a](b)\n```\n\n`[a](b)` and `https://else.example`\n")
    assert list(links.of_markdown(tmp_path / "text.md")) == []


PAGE = '<h1 id="top"></h1><a href="b.html#there"></a><a href="#top"></a><a href="https://arxiv.org"></a>'
PAGE += '<script src="s.js"></script><img src="s.js" alt="x">'


@pytest.mark.parametrize(
    "change, wrong",
    [
        (("b.html#there", "c.html"), "c.html: there is no such file"),
        (("#there", "#gone"), "b.html#gone: there is no such anchor"),
        (("#top", "#bottom"), "#bottom: there is no such anchor"),
        (("https://arxiv.org", "http://arxiv.org"), "not https"),
        (('src="s.js">', 'src="https://arxiv.org/s.js">'), "https://arxiv.org/s.js: the page asks another host"),
        (
            ('<script src="s.js">', '<link rel="stylesheet" href="//arxiv.org/s.css">'),
            "//arxiv.org/s.css: the page asks another host",
        ),
    ],
)
def test_a_wrong_link_of_a_page_is_noticed(change, wrong, tmp_path):
    (tmp_path / "b.html").write_text('<p id="there">')
    (tmp_path / "s.js").write_text("")
    (tmp_path / "a.html").write_text(PAGE)
    assert list(links.of_page(tmp_path / "a.html", links.pages_of(tmp_path))) == []
    (tmp_path / "a.html").write_text(PAGE.replace(*change))
    (said,) = links.of_page(tmp_path / "a.html", links.pages_of(tmp_path))
    assert wrong in said
