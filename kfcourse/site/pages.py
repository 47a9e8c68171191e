"""The site: the chapters with the outputs they hold, notation, glossary, guides and timings; no page asks another host
for anything.
"""

import ast
import copy
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat

from kfcourse import paths
from kfcourse.notebooks import notebooks
from kfcourse.site import api, predictions, publishing, routes, signposts

GROUPS = {  # the documents beside the chapters, by the heading they stand under
    "To look things up": ("pages/*.md",),
    "To teach with": ("teaching/**/*.md",),
    "Written questions": ("kfcourse/ch[0-9][0-9]/questions.md",),
    "About the course": ("data/README.md", "CONTRIBUTING.md", "CHANGELOG.md"),
}
STATIC = ("course.css", "course.js")
SETTINGS = {
    "project": signposts.TITLE,
    "html_title": signposts.TITLE,
    "extensions": ["myst_nb", "kfcourse.site.mathml", "kfcourse.site.crosslinks", "kfcourse.site.api"],
    "html_theme": "sphinx_book_theme",
    "html_theme_options": {
        "use_download_button": False,
        "navbar_persistent": [],
    },  # the search field stands in the sidebar
    "html_context": {"default_mode": "auto"},
    "author": "The kfaclib course authors",
    "html_show_copyright": False,
    "html_math_renderer": "mathml",
    "html_static_path": ["_static"],
    "html_css_files": [STATIC[0]],
    "html_js_files": [STATIC[1]],
    "html_copy_source": False,
    "html_show_sourcelink": False,
    "nb_execution_mode": "off",
    "nb_ipywidgets_js": {},
    "nb_render_markdown_format": "myst",  # the tables that cells display are Markdown's
    "myst_enable_extensions": ["dollarmath", "amsmath", "html_image"],
    "myst_heading_anchors": 4,
    "suppress_warnings": [
        "myst.header",  # a chapter's exercises are headings of the third level, wherever they stand
        "misc.highlighting_failure",  # an error that stopped a chapter is shown as it is, Python or not
    ],
}
# Sphinx keeps the trees of all pages to its end, and looking through them for garbage takes a quarter of its time
NO_COLLECTOR = "import gc\ngc.disable()\n"
NOQA = re.compile(r"[ \t]*# noqa\b.*")
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def documents():
    """{heading: paths of its documents, relative to the checkout} of all that is there beside the chapters."""
    return {
        heading: [p.relative_to(paths.ROOT) for pattern in patterns for p in sorted(paths.ROOT.glob(pattern))]
        for heading, patterns in GROUPS.items()
    }


def with_alt_texts(nb):
    """A copy of the notebook in which every figure's alternative text stands where myst-nb looks for it."""
    nb = copy.deepcopy(nb)
    for cell in notebooks.code_cells(nb):
        for output in cell.outputs:
            alt = output.get("metadata", {}).get("image/png", {}).get("alt")
            if alt:
                cell.metadata["mystnb"] = nbformat.from_dict({"image": {"alt": alt}})
    return nb


def with_folded_solutions(nb):
    """A copy of the notebook in which every exercise shows what the learner is given, and its solution is folded."""
    nb = copy.deepcopy(nb)
    cells = []
    for cell in nb.cells:
        given, solution = notebooks.split_solution(cell.source) if cell.cell_type == "code" else ("", [])
        if solution:
            cells.append(nbformat.v4.new_markdown_cell(f"```python\n{given}\n```", id=f"{cell.id}-given"))
            cell.metadata["tags"] = [*cell.metadata.get("tags", []), "hide-input"]
            prompts = {"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
            cell.metadata["mystnb"] = {**cell.metadata.get("mystnb", {}), **prompts}
        cells.append(cell)
    nb.cells = cells
    return nb


def with_folded_imports(nb):
    """A copy of the notebook in which a cell that only imports is folded, and no cell speaks to the style checker."""
    nb = copy.deepcopy(nb)
    for cell in notebooks.code_cells(nb):
        cell.source = NOQA.sub("", cell.source)
        if cell.source.startswith(("import ", "from ")) and only_prepares(cell.source):
            cell.metadata["tags"] = [*cell.metadata.get("tags", []), "hide-input"]
            prompts = {"code_prompt_show": "Show the imports", "code_prompt_hide": "Hide the imports"}
            cell.metadata["mystnb"] = {**cell.metadata.get("mystnb", {}), **prompts}
    return nb


def only_prepares(source):
    """True if a cell's code holds imports and bare calls such as plots.style(), and nothing else."""
    called = lambda node: isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    return all(isinstance(node, (ast.Import, ast.ImportFrom)) or called(node) for node in ast.parse(source).body)


def with_signpost(nb, text):
    """A copy of the notebook with `text` behind the paragraph of its first cell that begins with **Minutes**, or else
    at that cell's end.
    """
    nb = copy.deepcopy(nb)
    if nb.cells[0].cell_type != "markdown":  # not a chapter that keeps the contract
        return nb
    blocks = re.split(r"\n\s*\n", nb.cells[0].source)
    place = next((i for i, block in enumerate(blocks, 1) if block.lower().startswith("**minutes")), len(blocks))
    nb.cells[0].source = "\n\n".join([*blocks[:place], text, *blocks[place:]])
    return nb


# --- the sources as Sphinx reads them, in the repository's own folders, so that a link is the same here and there


def with_links(text, at, pages, folder, where):
    """Markdown of the file `at` for the site: a link to a page stays, a picture comes along into `folder`, and any
    other file of the repository is linked where the course is published, or else only named."""

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
    (folder / "_static").mkdir()
    for name in STATIC:
        shutil.copyfile(Path(__file__).with_name(name), folder / "_static" / name)
    heads, where, listed = routes.chapters(), publishing.address(), documents()
    heads = {number: head for number, head in heads.items() if head[0] in executed}
    listed["To look things up"].append(Path("pages", "timings.md"))
    reference = api.pages() if (paths.ROOT / "kfaclib").is_dir() else {}
    listed["The library"] = list(reference)
    pages = (
        {Path("chapters", f"{name}.ipynb") for name in executed}
        | {Path("index.md")}
        | {p for found in listed.values() for p in found}
    )
    generated = {
        Path("pages", "timings.md"): signposts.timings(heads, executed),
        Path("index.md"): signposts.start_page(heads, executed, listed),
        **reference,
    }
    for path in pages:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".ipynb":
            nb = predictions.on_the_page(with_alt_texts(executed[path.stem]))
            nb = with_folded_imports(with_folded_solutions(nb))
            nb = with_signpost(nb, signposts.signpost(path.stem, heads, where))
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
    folder = Path(folder)
    with tempfile.TemporaryDirectory(prefix="kfaclib-pages-", ignore_cleanup_errors=True) as temporary:
        source, made = Path(temporary, "source"), Path(temporary, "pages")
        source.mkdir()
        write_sources(executed, source)
        settings = "".join(f"{name} = {value!r}\n" for name, value in (SETTINGS | api.SETTINGS).items())
        (source / "conf.py").write_text(NO_COLLECTOR + settings, encoding="utf-8")
        # in a process of its own, because Sphinx leaves the modules that autodoc imports and its own settings behind
        command = [
            sys.executable,
            "-m",
            "sphinx",
            "-q",
            "-N",
            "-b",
            "html",
            "-d",
            Path(temporary, "doctrees"),
            source,
            made,
        ]
        here = Path(__file__).parents[2]
        done = subprocess.run(command, cwd=here, stderr=subprocess.PIPE, text=True, encoding="utf-8")
        said = done.stderr.replace(str(source) + os.sep, "").strip()
        if done.returncode:
            raise RuntimeError(f"the pages could not be rendered: {said}")
        if said:
            raise RuntimeError(f"the pages could not be rendered without warnings:\n{said}")
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(made, folder)
    return folder / "index.html"


def site():
    """Write the site from the outputs that the chapters hold, into build/pages; nothing is executed. Returns the first
    page.
    """
    return render({path.stem: notebooks.read(path) for path in notebooks.chapters()}, paths.BUILD / "pages")
