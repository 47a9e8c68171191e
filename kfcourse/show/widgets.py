"""Views that a reader can turn, in JupyterLab and on a page without a kernel: every state is computed when the notebook
runs, and carried in its output as HTML with a few lines of script. Without scripts, the first state stands still.
"""

import base64
import hashlib
import html
import io
from pathlib import Path

from PIL import Image

STYLE = (
    "<style>.kfac-wrong{color:#B04A00;text-decoration:underline}.kfac-faint{opacity:.8;margin:0}"
    '[data-theme="dark"] .kfac-wrong,[data-jp-theme-light="false"] .kfac-wrong{color:#FFB38A}'
    ".kfac-turn{display:flex;gap:.7em;align-items:center;max-width:32em;margin:.4em 0}.kfac-turn input{flex:1}"
    ".kfac-frame img{max-width:100%}</style>"
)
TURN = Path(__file__).with_name("slider.js").read_text(encoding="utf-8")
KEYS = 'data-lm-suppress-shortcuts="true"'  # in JupyterLab the arrow keys would fold headings
COLORS = 96  # of a picture in a view: its frames are many, and a page shall stay small


class View:
    """HTML that shows itself, and words for where it cannot be shown."""

    def __init__(self, source, said):
        self.source, self.said = source, said

    def _repr_html_(self):
        return self.source

    def __repr__(self):
        return self.said


def page(inside, script, said):
    """A View of the HTML `inside`, on which `script` works, as the body of a function of its element `root`.

    The element's name follows from the content, so that the same view is the same bytes.
    """
    name = "kfac-" + hashlib.sha256((inside + script).encode()).hexdigest()[:12]
    run = f'for (const root of document.querySelectorAll("#{name}")) {{\n{script}\n}}'
    return View(f'{STYLE}<div {KEYS} id="{name}">{inside}</div>\n<script>\n{run}\n</script>', said)


def forgetting(prefix, said, truth, decode):
    """HTML of a continuation `said` beside the `truth` (token ids): wrong words are underlined and in another
    colour.
    """
    words = [
        f"<span>{html.escape(decode(s))}</span>"
        if s == t
        else f'<span class="kfac-wrong" title="was: {html.escape(decode(t))}">{html.escape(decode(s))}</span>'
        for s, t in zip(said, truth)
    ]
    wrong = sum(s != t for s, t in zip(said, truth))
    return (
        f'<p class="kfac-faint">... {html.escape(decode(prefix[-16:]))}</p><p '
        'style="font-size:115%;line-height:1.6;margin:.3em 0">'
        f'{" ".join(words)}</p><p style="margin:0">{wrong} of {len(truth)} words differ</p>'
    )


def slider(view, values, label, start=None):
    """A slider over `values` above the HTML that view(value) returns, for every value; it begins at `start` (default:
    the first)."""
    values, label = list(values), html.escape(label)
    at = values.index(start) if start is not None else 0
    frames = [
        f'<div class="kfac-frame" data-value="{value:g}"{"" if i == at else " hidden"}>{view(value)}</div>'
        for i, value in enumerate(values)
    ]
    turn = (
        f'<label class="kfac-turn">{label} <input type="range" min="0" max="{len(values) - 1}" value="{at}" step="1" '
        f'aria-valuetext="{values[at]:g}"><output>{values[at]:g}</output></label>'
    )
    return page(turn + "".join(frames), TURN, f"A slider over {label}, from {values[0]:g} to {values[-1]:g}.")


def image(picture):
    """HTML of a `plots.picture`, for a view that is a figure; in fewer colours, for the sake of its size."""
    small = io.BytesIO()
    Image.open(io.BytesIO(picture.png)).convert("RGB").quantize(COLORS).save(small, "png", optimize=True)
    coded = base64.b64encode(small.getvalue()).decode()
    return f'<img src="data:image/png;base64,{coded}" alt="{html.escape(picture.alt)}">'
