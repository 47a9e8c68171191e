"""The chapters as pages to read, with the outputs they hold; no page asks another host for anything."""

import copy
import shutil
import tempfile
from pathlib import Path

import nbformat

from kfaclib.course.notebooks import code_cells, write

TITLE = "Where does a language model keep what it recites?"
SETTINGS = {
    "project": TITLE,
    "html_title": TITLE,
    "extensions": ["myst_nb", "kfaclib.course.mathml"],
    "html_theme": "sphinx_book_theme",
    "html_math_renderer": "mathml",
    "html_copy_source": False,
    "html_show_sourcelink": False,
    "nb_execution_mode": "off",
    "nb_ipywidgets_js": {},
    "myst_enable_extensions": ["dollarmath", "amsmath", "html_image"],
    "suppress_warnings": ["myst.header", "mystnb.unknown_mime_type", "misc.highlighting_failure"],
}


def with_alt_texts(nb):
    """A copy of the notebook in which every figure's alternative text stands where myst-nb looks for it."""
    nb = copy.deepcopy(nb)
    for cell in code_cells(nb):
        for output in cell.outputs:
            alt = output.get("metadata", {}).get("image/png", {}).get("alt")
            if alt:
                cell.metadata["mystnb"] = nbformat.from_dict({"image": {"alt": alt}})
    return nb


def render(executed, folder):
    """Write pages for {chapter name: executed notebook} into `folder`, which is replaced. Returns the first page."""
    from docutils.utils import SystemMessage  # Sphinx is slow to import and only needed here
    from sphinx.application import Sphinx
    from sphinx.errors import SphinxError
    from sphinx.util.docutils import docutils_namespace, patch_docutils

    folder = Path(folder)
    with tempfile.TemporaryDirectory(prefix="kfaclib-pages-", ignore_cleanup_errors=True) as temporary:
        source, made = Path(temporary, "source"), Path(temporary, "pages")
        source.mkdir()
        for name, nb in executed.items():
            write(with_alt_texts(nb), source / f"{name}.ipynb")
        contents = "\n".join(["```{toctree}", ":maxdepth: 1", *executed, "```", ""])
        (source / "index.md").write_text(f"# {TITLE}\n\n{contents}", encoding="utf-8")
        try:
            with patch_docutils(), docutils_namespace():
                app = Sphinx(source, None, made, Path(temporary, "doctrees"), "html", SETTINGS, status=None)
                app.build()
        except (SphinxError, SystemMessage) as error:
            raise RuntimeError(f"the pages could not be rendered: {error}") from error
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(made, folder)
    return folder / "index.html"
