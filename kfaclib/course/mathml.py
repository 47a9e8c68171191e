"""A Sphinx extension: formulas as MathML, which every browser draws by itself, so a page asks nobody for a script."""

from html import escape

from docutils.nodes import SkipNode
from latex2mathml.converter import convert


def mathml(latex, display):
    """A formula as a <math> element; one that cannot be converted is shown as it was written."""
    try:
        return convert(latex, display=display)
    except Exception:  # the converter raises many kinds of error, and a page with one plain formula beats no page
        return f"<code>{escape(latex)}</code>"


def setup(app):
    def inline(visitor, node):
        visitor.body.append(mathml(node.astext(), "inline"))
        raise SkipNode

    def block(visitor, node):
        number = f'<span class="eqno">({node["number"]})</span>' if node.get("number") else ""
        visitor.body.append(f'<div class="math">{number}{mathml(node.astext(), "block")}</div>')
        raise SkipNode

    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
