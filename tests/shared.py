"""What several test files call."""

import importlib.util
from pathlib import Path

from kfaclib.commands import cli


def kfac(*words):
    """The shell command with these words; its exit status."""
    return cli.main([str(x) for x in words])


def wrong_answers(number):
    """{exercise id: [(wrong function, fragment of the message)]} of a chapter."""
    path = Path(__file__).parent / f"ch{number}" / "wrong.py"
    assert path.is_file(), f"tests/ch{number}/wrong.py is missing: it holds the wrong answers to chapter {number}"
    spec = importlib.util.spec_from_file_location(f"wrong_ch{number}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.WRONG
