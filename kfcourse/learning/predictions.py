"""Predictions that are kept and answered.

    predict("05.error", "smaller", options=("smaller", "the same", "larger"))   the reader's guess, before anything runs
    reveal("05.error", "larger")                                                 at the end: "you said ..., it is ..."

A guess of None is no guess yet. Guesses live in work/predictions.json, beside the reader's own notebooks, so that they
survive a restart; where there is no such folder (a worked copy being executed) they live in this process only.
"""

import json

from kfaclib.io import files
from kfcourse import paths
from kfcourse.learning.exercises import show

_guesses: dict = {}


def _kept():
    """The guesses in work/predictions.json; {} if there are none, or if the file was damaged by hand."""
    try:
        return json.loads((paths.WORK / "predictions.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def predict(prediction_id: str, guess=None, options: tuple = ()):
    """Keep a guess, a number or one of `options`; None means that there is none yet. ValueError for any other word."""
    if guess is not None and options and guess not in options:
        raise ValueError(f"{prediction_id}: {guess!r} is not one of the options: {', '.join(map(str, options))}")
    if guess is not None and not options and (isinstance(guess, bool) or not isinstance(guess, (int, float))):
        raise ValueError(f"{prediction_id}: the guess is a number, not {guess!r}")
    _guesses[prediction_id] = guess
    if guess is None:
        wanted = f"one of {', '.join(map(str, options))}" if options else "a number"
        show(f"**{prediction_id}**: no guess yet. Put {wanted} in the place of `None` and run the cell again.")
        return
    if paths.WORK.is_dir():
        files.write_json(paths.WORK / "predictions.json", _kept() | {prediction_id: guess})
    show(f"**{prediction_id}**: your guess, *{guess}*, is kept. The end of the chapter comes back to it.")


def guess_of(prediction_id: str):
    """What the reader guessed, None if nothing."""
    guess = _guesses.get(prediction_id)
    return _kept().get(prediction_id) if guess is None else guess


def reveal(prediction_id: str, value, because: str = ""):
    """Show the reader's guess beside what was measured: the same word, or a number and how far the guess was off."""
    guess, measured = guess_of(prediction_id), f"{value:.3g}" if isinstance(value, float) else str(value)
    if guess is None:
        said = "You made no guess;"
    elif isinstance(guess, str):
        said = f"You said *{guess}*, and you were right:" if guess == value else f"You said *{guess}*;"
    elif value and guess and (value > 0) == (guess > 0):
        times = max(guess / value, value / guess)
        said = f"You said {guess:g}, " + (
            "within a tenth of it:" if times < 1.1 else f"off by a factor of {times:.2g};"
        )
    else:
        said = f"You said {guess:g};"
    show(f"**{prediction_id}**: {said} it is **{measured}**. {because}".rstrip())
