"""A Sphinx extension: formulas as MathML, which every browser draws by itself, so a page asks nobody for a script."""

import re
from html import escape

from docutils.nodes import SkipNode
from latex2mathml.converter import convert

JOINER = "&#8288;"  # no line begins with the full stop behind a formula
TAG = re.compile(r"\\tag\{([^}]*)\}")


def mathml(latex, display):
    """A formula as a <math> element; one that cannot be converted is shown as it was written."""
    numbered = TAG.sub(r"\\qquad \\text{(\1)}", latex)  # \tag{05.1}: its number, set apart
    try:
        return convert(numbered, display=display)
    except Exception:  # the converter raises many kinds of error, and a page with one plain formula beats no page
        return f"<code>{escape(latex)}</code>"


def setup(app):
    from sphinx.util import logging  # slow to import, and only Sphinx calls this function

    def drawn(latex, node, display):
        html = mathml(latex, display)
        if html.startswith("<code>"):
            logging.getLogger(__name__).warning("a formula that cannot be drawn: %s", node.astext(), location=node)
        return html

    def inline(visitor, node):
        visitor.body.append(drawn(node.astext(), node, "inline") + JOINER)
        raise SkipNode

    def block(visitor, node):
        latex = node.astext()
        number = "".join(f'<span class="eqno">({escape(tag)})</span>' for tag in TAG.findall(latex))
        formula = drawn(TAG.sub("", latex), node, "block")
        visitor.body.append(f'<div class="math"><span class="formula">{formula}</span>{number}</div>')
        raise SkipNode

    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
