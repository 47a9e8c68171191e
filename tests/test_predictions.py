"""Guesses are kept, survive a restart, and are answered at the end of a chapter."""

import pytest

from kfcourse.learning import predictions
from kfcourse.learning.predictions import guess_of, predict, reveal


@pytest.fixture(autouse=True)
def alone(checkout):
    predictions._guesses.clear()
    return checkout


def restart():
    predictions._guesses.clear()


def test_a_guess_survives_a_restart_where_there_is_a_work_folder(alone, capsys):
    predict("97.error", "smaller", options=("smaller", "larger"))
    restart()
    assert guess_of("97.error") is None, "without a work folder a guess lives in this process only"
    (alone / "work").mkdir()
    predict("97.error", "smaller", options=("smaller", "larger"))
    predict("97.times", 3)
    restart()
    assert (guess_of("97.error"), guess_of("97.times")) == ("smaller", 3)
    reveal("97.error", "larger", "Few examples carry the curvature.")
    assert "You said smaller; it is larger. Few examples" in capsys.readouterr().out.replace("*", "")


def test_an_empty_guess_does_not_hide_the_one_that_was_kept(alone):
    (alone / "work").mkdir()
    predict("97.times", 3)
    predict("97.times", None)
    assert guess_of("97.times") == 3


@pytest.mark.parametrize(
    "guess, value, said",
    [
        (None, 2.0, "You made no guess; it is 2."),
        ("up", "up", "you were right: it is up."),
        (2.1, 2.0, "within a tenth of it: it is 2."),
        (20, 2.0, "off by a factor of 10; it is 2."),
        (-1, 2.0, "You said -1; it is 2."),
        (0, 2.0, "You said 0; it is 2."),
    ],
)
def test_the_answer_stands_beside_the_guess(guess, value, said, capsys):
    predict("97.x", guess, options=("up", "down") if guess == "up" else ())
    capsys.readouterr()
    reveal("97.x", value)
    assert said in capsys.readouterr().out.replace("*", "")


def test_a_guess_that_is_none_of_the_options_or_no_number_is_refused():
    with pytest.raises(ValueError, match="97.x: 'sideways' is not one of the options: up, down"):
        predict("97.x", "sideways", options=("up", "down"))
    with pytest.raises(ValueError, match="the guess is a number"):
        predict("97.x", "many")


def test_a_damaged_file_of_guesses_is_not_the_end(alone):
    (alone / "work").mkdir()
    (alone / "work" / "predictions.json").write_text("{")
    predict("97.x", 1)
    restart()
    assert guess_of("97.x") == 1
