"""Links, without a network: those of Markdown files and notebooks, and those of the pages made from them."""

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

HOSTS = {  # whom our texts may send a reader to
    "arxiv.org",
    "doi.org",
    "github.com",
    "huggingface.co",
    "colab.research.google.com",
    "www.python.org",
    "pytorch.org",
    "docs.pytorch.org",
    "triton-lang.org",
    "docs.nvidia.com",
    "keepachangelog.com",
    "creativecommons.org",
    "opensource.org",
    "archive.ics.uci.edu",
    "openreview.net",
    "www.gradescope.com",
    "docs.moodle.org",
    "nbgrader.readthedocs.io",
    "proceedings.mlr.press",
    "proceedings.neurips.cc",
    "aclanthology.org",
    "jmlr.org",
    "distill.pub",
    "www.nvidia.com",
}
MARKDOWN = re.compile(r"\]\(\s*<?([^)\s>]+)")
BARE = re.compile(r"(?<![\w(<\"'=/])https?://[^\s)>\]\"'`]+")
CODE = re.compile(r"^( *)(`{3,}|~{3,}).*?^\1\2[`~]*\s*$|`[^`\n]+`", flags=re.S | re.M)


def markdown_of(path):
    """The Markdown of a file: all of it, or a notebook's Markdown cells."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        return "\n\n".join(
            "".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown"
        )
    return text


def anchors(markdown):
    """The anchors that GitHub gives to a text's headings, and those that it has as HTML."""
    found, seen = set(re.findall(r"""<a [^>]*(?:id|name)=["']([^"']+)""", markdown)), {}
    for heading in re.findall(r"(?m)^#{1,6} +(.+?)\s*$", re.sub(r"(?ms)^```.*?^```", "", markdown)):
        slug = re.sub(r"[^\w\- ]", "", re.sub(r"\]\([^)]*\)", "]", heading).lower()).replace(" ", "-")
        seen[slug] = seen.get(slug, -1) + 1
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
    return found


def outside(target):
    """What is wrong with a link that leaves the course, or None."""
    parts = urlsplit(target)
    if parts.scheme != "https":
        return f"{target}: not https"
    return (
        None
        if parts.hostname in HOSTS
        else f"{target}: {parts.hostname} is not among the hosts that tests/links.py allows"
    )


def of_markdown(path):
    """What is wrong with the links of a Markdown file or notebook, as sentences."""
    text = markdown_of(path)
    prose = CODE.sub(" ", text)
    for target in {*MARKDOWN.findall(prose), *(t.rstrip(".,;:") for t in BARE.findall(prose))}:
        if re.match(r"[a-z]+:", target):
            wrong = outside(target)
        else:
            file, _, anchor = target.partition("#")
            there = Path(os.path.normpath(path.parent / unquote(file))) if file else path
            wrong = None if there.exists() else f"{target}: there is no such file"
            if not wrong and anchor and anchor not in anchors(markdown_of(there)):
                wrong = f"{target}: there is no such heading"
        if wrong:
            yield f"{path.name}: {wrong}"


class Page(HTMLParser):
    """What a page links to, what it loads, which anchors it has, and its pictures without words."""

    def __init__(self, html):
        super().__init__()
        self.links, self.loads, self.anchors, self.wordless = [], [], set(), []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.anchors |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        elif (
            tag == "link"
            and given.get("href")
            and given.get("rel") not in ("next", "prev", "index", "search", "canonical")
        ):
            self.loads.append(given["href"])
        if tag in ("script", "img", "iframe", "source", "video", "audio", "embed") and given.get("src"):
            self.loads.append(given["src"])
        if tag == "img" and not (given.get("alt") or "").strip():
            self.wordless.append(given.get("src", ""))


def pages_of(site):
    """{path: Page} of a rendered site, without the templates that its theme left in _static."""
    return {
        path: Page(path.read_text(encoding="utf-8"))
        for path in sorted(site.rglob("*.html"))
        if "_static" not in path.parts
    }


def of_page(path, pages):
    """What is wrong with the links of one page of a site, as sentences; what it loads must be there, too."""
    page = pages[path]
    for target in set(page.links + page.loads):
        parts = urlsplit(target)
        if parts.scheme == "data" and target in page.loads:
            continue
        if parts.scheme or parts.netloc:
            wrong = f"{target}: the page asks another host" if target in page.loads else outside(target)
        else:
            there = Path(os.path.normpath(path.parent / unquote(parts.path))) if parts.path else path
            wrong = None if there.is_file() else f"{target}: there is no such file"
            if not wrong and parts.fragment and there in pages and unquote(parts.fragment) not in pages[there].anchors:
                wrong = f"{target}: there is no such anchor"
        if wrong:
            yield f"{path.name}: {wrong}"
