"""What several test files call."""

import importlib.util

from kfaclib.commands import cli
from kfcourse import paths


def kfac(*words):
    """The shell command with these words; its exit status."""
    return cli.main([str(x) for x in words])


def _answers(number, kind):
    """The module tests/chNN/<kind>.py, None where there is none."""
    path = paths.ROOT / "tests" / f"ch{number}" / f"{kind}.py"
    if not path.is_file():
        return None
    spec = importlib.util.spec_from_file_location(f"{kind}_ch{number}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wrong_answers(number):
    """{exercise id: [(wrong function, fragment of the message)]} of a chapter."""
    module = _answers(number, "wrong")
    assert module, f"tests/ch{number}/wrong.py is missing: it holds the wrong answers to chapter {number}"
    return module.WRONG


def right_answers(number):
    """{exercise id: [right function of an unusual form]} of a chapter; {} if it has none."""
    module = _answers(number, "right")
    return module.RIGHT if module else {}
