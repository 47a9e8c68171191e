"""The site: the chapters with the outputs they hold, notation, glossary, guides and timings; no page asks another host for anything."""

import copy
import io
import os
import platform
import re
import shutil
import tempfile
from pathlib import Path

import nbformat

from kfaclib import paths
from kfaclib.course import notebooks, outline, publishing, routes
from kfaclib.files import read_json

TITLE = "Where does a language model keep what it recites?"
GROUPS = {  # the documents beside the chapters, by the heading they stand under
    "To look things up": ("pages/*.md",),
    "To teach with": ("teaching/**/*.md",),
    "About the course": ("data/README.md", "CONTRIBUTING.md", "CHANGELOG.md"),
}
WELCOME = """\
# {title}

Language models recite. This course shows why, what that looks like in the loss landscape, and how curvature lets you take the recitation out
while the reasoning survives. These are its chapters with the outputs they were stored with. To run them, and to write in them, you need the
repository and one command:

```
python3 course.py lab
```

Words are in the [glossary](pages/glossary.md), symbols in the [notation](pages/notation.md). {picture}

## Three ways through

{routes}

The hours are those that the chapters' first cells say, added up. A route holds what its last chapters need, so it can be walked from its beginning.

## The map

An arrow leads from what is needed to the chapter that needs it; below the title stand the routes that come by.

```{{raw}} html
{map}
```

## The chapters

{chapters}

{contents}
"""
TIMINGS = """\
# How long the chapters take

What the chapters promise to take on two CPU cores, and what the last `python3 course.py` measured, from a fresh kernel, {where}.

{table}
"""
SETTINGS = {
    "project": TITLE,
    "html_title": TITLE,
    "extensions": ["myst_nb", "kfaclib.course.mathml", "kfaclib.course.crosslinks"],
    "html_theme": "sphinx_book_theme",
    "html_theme_options": {"use_download_button": False, "navbar_persistent": []},  # the search field stands in the sidebar
    "html_context": {"default_mode": "auto"},
    "author": "The kfaclib course authors",
    "html_show_copyright": False,
    "html_math_renderer": "mathml",
    "html_copy_source": False,
    "html_show_sourcelink": False,
    "nb_execution_mode": "off",
    "nb_ipywidgets_js": {},
    "myst_enable_extensions": ["dollarmath", "amsmath", "html_image"],
    "myst_heading_anchors": 4,
    "suppress_warnings": [
        "myst.header",  # a chapter's exercises are headings of the third level, wherever they stand
        "misc.highlighting_failure",  # an error that stopped a chapter is shown as it is, Python or not
    ],
}
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def documents():
    """{heading: paths of its documents, relative to the checkout} of all that is there beside the chapters."""
    return {heading: [p.relative_to(paths.ROOT) for pattern in patterns for p in sorted(paths.ROOT.glob(pattern))] for heading, patterns in GROUPS.items()}


def with_alt_texts(nb):
    """A copy of the notebook in which every figure's alternative text stands where myst-nb looks for it."""
    nb = copy.deepcopy(nb)
    for cell in notebooks.code_cells(nb):
        for output in cell.outputs:
            alt = output.get("metadata", {}).get("image/png", {}).get("alt")
            if alt:
                cell.metadata["mystnb"] = nbformat.from_dict({"image": {"alt": alt}})
    return nb


# --- what is generated


def measured():
    """{chapter: {"seconds", "ok"}} of the last run on this machine; empty if there was none."""
    report = paths.BUILD / "course.json"
    return {row["chapter"]: row for row in read_json(report)} if report.is_file() else {}


def run_time(row):
    """How long the last run of a chapter took and how much memory, in words."""
    if not row:
        return "not measured"
    gib = f", {row['gib']:.1f} GiB" if "gib" in row else ""
    return f"{row['seconds']:.0f} seconds{gib}" + ("" if row["ok"] else ", and stopped with an error")


def machine():
    return f"on this machine ({platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores)"


def signpost(name, heads, where):
    """Markdown below a chapter's minutes: the measured run, the chapters it needs, its routes, and a link to run it elsewhere."""
    number, needed = name[:2], routes.graph(heads)
    row = measured().get(name)
    lines = [f"**The last run:** {run_time(row)}{f', {machine()}' if row else '; `python3 course.py` measures it'}."]
    if number in needed:
        links = [f"[{n} {routes.title(heads[n][1])}]({heads[n][0]}.ipynb)" for n in needed[number]]
        lines.append(f"**Needs:** {', '.join(links) or 'no other chapter'}. "
                     f"**On the way to:** {', '.join(r.name for r in routes.ROUTES if number in routes.along(r, needed)) or 'no route'}. ([map](../index.md))")
    if where:
        lines.append(f"[Open in Colab]({publishing.colab_link(where, name)}) · [the notebook]({publishing.file_link(where, f'chapters/{name}.ipynb')})")
    return "\n\n".join(lines)


def with_signpost(nb, text):
    """A copy of the notebook with `text` behind the paragraph of its first cell that begins with **Minutes**, or else at that cell's end."""
    nb = copy.deepcopy(nb)
    blocks = re.split(r"\n\s*\n", nb.cells[0].source)
    place = next((i for i, block in enumerate(blocks, 1) if block.lower().startswith("**minutes")), len(blocks))
    nb.cells[0].source = "\n\n".join([*blocks[:place], text, *blocks[place:]])
    return nb


def timings(heads, names):
    """The page of timings."""
    rows, known = ["| chapter | minutes it promises | the run took |", "|---|---:|---:|"], measured()
    promised = {name: head.minutes["run"] for name, head in heads.values()}
    for name in names:
        rows.append(f"| [{name}](../chapters/{name}.ipynb) | {promised.get(name, '-')} | {run_time(known.get(name))} |")
    return TIMINGS.format(where=machine(), table="\n".join(rows))


def start_page(heads, names, listed):
    """The start page: the routes, the map, the chapters, and the table of contents for the sidebar."""
    toctree = lambda caption, entries: "\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", "", *entries, "```"]) if entries else ""
    lines = ["| chapter | the question | read | run | solve |", "|---|---|---:|---:|---:|"]
    for name, head in heads.values():
        lines.append(f"| [{head.title}](chapters/{name}.ipynb) | {head.question} | {' | '.join(str(head.minutes[verb]) for verb in outline.VERBS)} |")
    contents = [toctree("The chapters", [f"chapters/{name}" for name in names])]
    contents += [toctree(heading, [p.with_suffix("").as_posix() for p in found]) for heading, found in listed.items()]
    picture = ""
    if (paths.DATA / "results" / "abilities.png").is_file():
        picture = "\n\n![Accuracy of nine abilities as less and less curvature is kept: quotes go first, then rare facts and sums, "
        picture += "logic and open-book answers last](data/results/abilities.png)"
    return WELCOME.format(
        title=TITLE, picture=picture, routes=routes.table(heads), map=routes.picture(heads), chapters="\n".join(lines), contents="\n\n".join(contents))


# --- the sources as Sphinx reads them, in the repository's own folders, so that a link is the same here and there


def with_links(text, at, pages, folder, where):
    """Markdown of the file `at` for the site: a link to a page stays, a picture comes along into `folder`, and any other file
    of the repository is linked where the course is published, or else only named."""
    def change(match):
        image, words, target = match.groups()
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target) or not path:
            return match[0]
        found = Path(os.path.normpath(at.parent / path))
        if found in pages or not (paths.ROOT / found).exists():
            return match[0]
        if image:
            (folder / found).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(paths.ROOT / found, folder / found)
            return match[0]
        return f"[{words}]({publishing.file_link(where, found)})" if where else words

    return LINK.sub(change, text)


def write_sources(executed, folder):
    """Write everything that Sphinx reads into `folder`."""
    heads, where, listed = routes.chapters(), publishing.address(), documents()
    heads = {number: head for number, head in heads.items() if head[0] in executed}
    listed["To look things up"].append(Path("pages", "timings.md"))
    pages = {Path("chapters", f"{name}.ipynb") for name in executed} | {Path("index.md")} | {p for found in listed.values() for p in found}
    generated = {Path("pages", "timings.md"): timings(heads, executed), Path("index.md"): start_page(heads, executed, listed)}
    for path in pages:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".ipynb":
            nb = with_signpost(with_alt_texts(executed[path.stem]), signpost(path.stem, heads, where))
            for cell in nb.cells:
                if cell.cell_type == "markdown":
                    cell.source = with_links(cell.source, path, pages, folder, where)
            notebooks.write(nb, folder / path)
        else:
            text = generated.get(path) or (paths.ROOT / path).read_text(encoding="utf-8")
            (folder / path).write_text(with_links(text, path, pages, folder, where), encoding="utf-8")


def render(executed, folder):
    """Write the site of {chapter name: executed notebook} into `folder`, which is replaced. Returns the first page.

    RuntimeError if Sphinx fails or has anything to warn of.
    """
    from docutils.utils import SystemMessage  # Sphinx is slow to import and only needed here
    from sphinx.application import Sphinx
    from sphinx.errors import SphinxError
    from sphinx.util.docutils import docutils_namespace, patch_docutils

    folder, warnings = Path(folder), io.StringIO()
    with tempfile.TemporaryDirectory(prefix="kfaclib-pages-", ignore_cleanup_errors=True) as temporary:
        source, made = Path(temporary, "source"), Path(temporary, "pages")
        source.mkdir()
        write_sources(executed, source)
        try:
            with patch_docutils(), docutils_namespace():
                app = Sphinx(source, None, made, Path(temporary, "doctrees"), "html", SETTINGS, status=None, warning=warnings)
                app.build()
        except (SphinxError, SystemMessage) as error:
            raise RuntimeError(f"the pages could not be rendered: {error}") from error
        said = re.sub(r"\x1b\[[\d;]*m", "", warnings.getvalue()).replace(str(source) + os.sep, "").strip()  # without colours and our folder
        if said:
            raise RuntimeError(f"the pages could not be rendered without warnings:\n{said}")
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(made, folder)
    return folder / "index.html"


def site():
    """Write the site from the outputs that the chapters hold, into build/pages; nothing is executed. Returns the first page."""
    return render({path.stem: notebooks.read(path) for path in notebooks.chapters()}, paths.BUILD / "pages")
