"""The library's reference: pages that Sphinx autodoc fills from the docstrings and annotations of kfaclib, a page for
each of its folders.

The docstrings are plain text with `code`; this extension makes reStructuredText of them.
"""

import re
from pathlib import Path

import kfaclib

ROOT = Path(kfaclib.__file__).parent
FOLDER = Path("api")
SETTINGS = {
    "autodoc_member_order": "bysource",
    "autodoc_preserve_defaults": True,  # the name of a constant or a function rather than what it is
    "autodoc_typehints_format": "short",
    "add_module_names": False,
}
LEFT_OUT = ("__main__", "triton_")  # modules that nobody imports; kernels that are documented with what calls them


def modules():
    """{name of a folder in kfaclib: full names of its modules}, in the order of the folders' names."""
    found = {}
    for path in sorted(ROOT.glob("*/*.py")):
        names = found.setdefault(path.parent.name, [])
        if path.stem != "__init__" and not path.stem.startswith(LEFT_OUT):
            names.append(f"kfaclib.{path.parent.name}.{path.stem}")
    return {folder: names for folder, names in found.items() if names}


def pages():
    """{path: reStructuredText} of the reference: one page for the whole package, which also links the names that it
    re-exports, and one for each folder."""
    heading = lambda text, line: f"{text}\n{line * len(text)}\n"
    text = [heading("kfaclib", "="), ".. automodule:: kfaclib\n"]
    places = {name: f"{kfaclib.__name__}.{place}.{name}" for name, place in kfaclib._PLACES.items()}
    text += ["Imported as ``kfaclib.NAME``:\n", *(f"* :py:obj:`{name} <{full}>`" for name, full in places.items())]
    text += ["\nIn its folders:\n"]
    text += [
        f"* :doc:`kfaclib.{folder}`: {', '.join(f':mod:`~{name}`' for name in names)}"
        for folder, names in modules().items()
    ]
    made = {FOLDER / "kfaclib.rst": "\n".join(text) + "\n"}
    for folder, names in modules().items():
        parts = [heading(f"kfaclib.{folder}", "="), f".. automodule:: kfaclib.{folder}\n   :members:\n"]
        for name in names:
            parts += [heading(name.rpartition(".")[2], "-"), f".. automodule:: {name}\n   :members:\n"]
        made[FOLDER / f"kfaclib.{folder}.rst"] = "\n".join(parts)
    return made


def as_rst(docstring):
    """A docstring (lines) as reStructuredText (lines): paragraphs, lists whose items begin with "- ", and indented
    blocks after an empty line, which stay as they are laid out. Nothing but `code` is markup.
    """
    lines, kind, empty = [], "", True
    for line in docstring:
        if not line.strip():
            lines.append("")
        elif not line.startswith(" "):
            lines += [""] if kind == "block" and not empty else []
            kind = "list" if line.startswith("- ") else "list" if kind == "list" and not empty else "text"
            lines.append(inline(line))
        elif kind == "block" or empty and kind != "list":
            lines += ["::", ""] if kind != "block" else []
            kind = "block"
            lines.append(line)
        else:
            lines.append(inline(line if kind == "list" else line.lstrip()))
        empty = not line.strip()
    return lines


def inline(line):
    """One line of prose; a dash that begins an item of a list stays one."""
    start = re.match(r"\s*(?:- )?", line)[0]
    text, *pieces = re.split(r"`+([^`]+)`+", line[len(start) :])
    made = escaped(text)
    for code, text in zip(pieces[::2], pieces[1::2], strict=True):
        made += rf"\ ``{code}``\ {escaped(text)}"
    return start + made


def escaped(text):
    return re.sub(r"([\\*_|`<>:@])", r"\\\1", text)


def setup(app):
    app.setup_extension("sphinx.ext.autodoc")
    app.connect(
        "autodoc-process-docstring",
        lambda app, what, name, obj, options, lines: lines.__setitem__(slice(None), as_rst(lines)),
    )
    return {"parallel_read_safe": True, "parallel_write_safe": True}
