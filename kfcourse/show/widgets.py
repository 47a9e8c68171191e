"""Thin views on pure functions: a slider, and text that says what it shows."""

import base64
import html

import ipywidgets


def forgetting(prefix, said, truth, decode):
    """HTML of a continuation `said` beside the `truth` (token ids): wrong words are underlined and in another
    colour.
    """
    words = [
        f"<span>{html.escape(decode(s))}</span>"
        if s == t
        else '<span style="color:#B04A00;text-decoration:underline" '
        f'title="was: {html.escape(decode(t))}">{html.escape(decode(s))}</span>'
        for s, t in zip(said, truth)
    ]
    wrong = sum(s != t for s, t in zip(said, truth))
    return (
        f'<p style="color:#777;margin:0">... {html.escape(decode(prefix[-16:]))}</p><p '
        'style="font-size:115%;line-height:1.6;margin:.3em 0">'
        f'{" ".join(words)}</p><p style="margin:0">{wrong} of {len(truth)} words differ</p>'
    )


def slider(view, values, label, start=None):
    """A slider over `values` above the HTML that view(value) returns; views are computed once each, when asked for."""
    seen = {}
    page = ipywidgets.HTML()
    handle = ipywidgets.SelectionSlider(
        options=[(f"{v:g}", v) for v in values],
        value=start or values[0],
        description=label,
        continuous_update=False,
        layout=ipywidgets.Layout(width="32em"),
    )

    def turn(change):
        value = change["new"]
        if value not in seen:
            seen[value] = view(value)
        page.value = seen[value]

    handle.observe(turn, "value")
    turn({"new": handle.value})
    return ipywidgets.VBox([handle, page])


def image(picture):
    """HTML of a `plots.picture`, for a view that is a figure."""
    return (
        f'<img src="data:image/png;base64,{base64.b64encode(picture.png).decode()}" alt="{html.escape(picture.alt)}">'
    )
