"""The chapters' Markdown as HTML, with formulas in whatever form the reader's program draws."""

from html import escape

from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

from kfcourse.site.mathml import mathml


def as_mathml(latex, display):
    """A formula as MathML, which every browser draws by itself."""
    return mathml(latex.strip(), "block" if display else "inline")


def as_tex(latex, display):
    r"""A formula as \(...\) or \[...\], which Moodle's MathJax filter draws."""
    return rf"\[{escape(latex.strip())}\]" if display else rf"\({escape(latex.strip())}\)"


def html(markdown, formula=as_mathml, inline=False):
    """Markdown with $formulas$ and tables as HTML; HTML inside it is shown as it is written. `inline`: no paragraph
    around it.
    """
    converter = MarkdownIt("commonmark", {"html": False}).enable("table")
    converter.use(
        dollarmath_plugin, double_inline=True, renderer=lambda latex, options: formula(latex, options["display_mode"])
    )
    return (converter.renderInline if inline else converter.render)(markdown).strip()
