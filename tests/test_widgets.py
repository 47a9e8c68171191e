"""Views that carry their states: every frame is there, one is shown, and the same view is the same bytes."""

import re

import matplotlib.pyplot as plt

from kfcourse.show import plots, widgets


def test_a_slider_carries_every_state_and_shows_where_it_begins():
    view = widgets.slider(lambda value: f"<p>{value + 1}</p>", (1, 2, 4), "x < y", start=2)
    source = view._repr_html_()
    frames = re.findall(r'<div class="kfac-frame" data-value="(\S+)"( hidden)?><p>(\d)</p></div>', source)
    assert frames == [("1", " hidden", "2"), ("2", "", "3"), ("4", " hidden", "5")]
    assert 'min="0" max="2" value="1"' in source and "x &lt; y" in source
    assert repr(view) == "A slider over x &lt; y, from 1 to 4."


def test_the_same_view_is_the_same_bytes_and_another_one_has_another_name():
    make = lambda text: widgets.slider(lambda value: text, (1, 2), "x")._repr_html_()
    name = lambda source: re.search(r'id="(kfac-\w+)"', source)[1]
    assert make("a") == make("a") and name(make("a")) != name(make("b"))


def test_a_word_that_differs_is_marked_and_what_it_was_is_said():
    shown = widgets.forgetting([1], [2, 3], [2, 4], lambda ids: f"<{ids}>")
    assert shown.count("kfac-wrong") == 1 and 'title="was: &lt;4&gt;"' in shown and "1 of 2 words differ" in shown


def test_a_picture_in_a_view_keeps_its_words_and_is_not_larger():
    fig, ax = plt.subplots()
    ax.plot([1, 2], [3, 4])
    made = plots.picture(fig, "a line")
    source = widgets.image(made)
    assert 'alt="a line"' in source and len(source) < 1.5 * len(made.png)
