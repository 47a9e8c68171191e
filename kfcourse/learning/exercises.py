"""Exercises that keep a notebook running.

    @exercise("09.keep_mask")        the reader's function; while it is empty, the reference stands in
    check("09.keep_mask")            says whether the reader's function is right, and if not, what is wrong
    hint("09.keep_mask")             the next of three hints

The reference is the solution in the worked notebook, read at run time, so there is one source and nothing to peek at
in the library. Checks, hints and explanations are in kfcourse/chNN/checks.py.

Variables: KFAC_SOLUTIONS=0 forbids the reference to stand in. KFAC_STRICT=1, or CI, turns a failed check into an
error, so that a worked notebook with a broken solution cannot pass.
"""

import ast
import functools
import importlib.util
import inspect
import linecache
import os
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from kfcourse import paths
from kfcourse.notebooks import notebooks


@dataclass(frozen=True)
class Exercise:
    """What belongs to an exercise besides the function itself."""

    title: str
    difficulty: int  # 1 (a line you have just seen) to 5 (an afternoon)
    minutes: int
    hints: tuple[str, str, str]  # from a nudge to nearly the answer; Markdown
    check: Callable  # check(function) raises AssertionError with a message that says what is wrong
    explanation: str  # why the reference does it this way; Markdown, shown beside the tick


@dataclass(frozen=True)
class Verdict:
    state: str  # "right", "wrong" or "empty"
    message: str = ""


_active = {}  # exercise id -> the decorated function that was defined last
_hints_given = Counter()


def exercise(exercise_id):
    """Decorator: run the reader's function, or the reference while the reader's body raises NotImplementedError."""

    def decorate(function):
        chapter, _, name = exercise_id.partition(".")
        if name != function.__name__ or len(chapter) != 2:
            raise ValueError(
                f'@exercise("{exercise_id}") stands over {function.__name__}: the id must be the two '
                "digits of the chapter, a dot and the function's name"
            )
        announced = False

        @functools.wraps(function)
        def call(*args, **kwargs):
            nonlocal announced
            try:
                return function(*args, **kwargs)
            except NotImplementedError as error:
                if not _is_empty(error, function) or not _reference_allowed():
                    raise
            if not announced:
                announced = True
                show(f"**{exercise_id}**: not written yet, so the reference stands in.")
            return reference(exercise_id, inspect.unwrap(function).__globals__)(*args, **kwargs)

        _active[exercise_id] = call
        return call

    return decorate


def check(exercise_id, strict=False):
    """Check the reader's function and show the verdict. Where strict, a wrong one raises AssertionError.

    With `strict=True`, as in an assignment, an empty one raises NotImplementedError too.
    """
    if exercise_id not in _active:
        raise KeyError(f'{exercise_id}: run the cell with @exercise("{exercise_id}") first')
    function, facts = _active[exercise_id].__wrapped__, exercise_facts(exercise_id)
    verdict = judge(facts, function)
    if verdict.state == "right":
        show(f"✓ **{exercise_id}** is right. {facts.explanation}")
    elif verdict.state == "wrong":
        if strict or _strict():
            raise AssertionError(f"{exercise_id}: {verdict.message}")
        show(f"✗ **{exercise_id}**: {verdict.message}")
    elif strict or not _reference_allowed():
        raise NotImplementedError(f"{exercise_id} is not written yet")
    else:
        ours = judge(facts, reference(exercise_id, inspect.unwrap(function).__globals__))
        if ours.state != "right":
            raise AssertionError(
                f"{exercise_id}: the course's own answer fails its check ({ours.message}); please report it"
            )
        show(f"– **{exercise_id}**: reference checked, yours is still to write.")


def hint(exercise_id):
    """Show the next hint: the first, the second, the third, and then that there are no more."""
    hints = exercise_facts(exercise_id).hints
    _hints_given[exercise_id] += 1
    number = _hints_given[exercise_id]
    if number <= len(hints):
        show(f"**{exercise_id}**, hint {number} of {len(hints)}: {hints[number - 1]}")
    else:
        worked = notebooks.chapter_of(exercise_id)
        show(f"**{exercise_id}**: no more hints. The answer is in `{worked.parent.name}/{worked.name}`.")


def exercise_facts(exercise_id):
    """The Exercise with this id, from kfcourse/chNN/checks.py of the checkout."""
    facts = chapter_exercises(exercise_id.partition(".")[0])
    if exercise_id not in facts:
        raise KeyError(f"there is no exercise {exercise_id!r} in this chapter; there are: {', '.join(facts)}")
    return facts[exercise_id]


@functools.cache
def chapter_module(number, name):
    """The module kfcourse/chNN/<name>.py of the checkout, None if the chapter has none."""
    path = paths.ROOT / "kfcourse" / f"ch{number}" / f"{name}.py"
    if not path.is_file():
        return None
    spec = importlib.util.spec_from_file_location(f"kfcourse.ch{number}.{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def chapter_exercises(number):
    """{exercise id: Exercise} of the chapter with this two-digit number."""
    module = chapter_module(number, "checks")
    if module is None:
        raise KeyError(f"no exercises for chapter {number!r}: kfcourse/ch{number}/checks.py is missing")
    return module.EXERCISES


def reference(exercise_id, namespace):
    """The worked notebook's solution as a function. Its globals are a copy of `namespace`, which stays untouched."""
    namespace = dict(namespace)
    exec(_reference_code(exercise_id, notebooks.chapter_of(exercise_id)), namespace)
    return namespace[exercise_id.partition(".")[2]]


@functools.cache
def _reference_code(exercise_id, path):
    definition = notebooks.exercises_of(notebooks.code_in(path)).get(exercise_id)
    if definition is None:
        raise KeyError(f"{path.name} holds no exercise {exercise_id!r}")
    definition.decorator_list = [d for d in definition.decorator_list if notebooks.exercise_id_in(d) is None]
    source, name = ast.unparse(definition), f"<reference {exercise_id}>"
    # where `inspect` looks: Triton reads the source of a kernel
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    return compile(source, name, "exec")


def judge(facts, function):
    """Verdict of an exercise's check on a function. Whatever goes wrong becomes a sentence, not a traceback."""
    last = {}

    @functools.wraps(function)
    def watched(*args, **kwargs):
        last.clear()
        last["arguments"] = _arguments(function, args, kwargs)
        try:
            last["result"] = function(*args, **kwargs)
        except Exception as error:
            last["error"] = error
            raise
        return last["result"]

    try:
        facts.check(watched)
    except Exception as error:
        if error is last.get("error"):
            if _is_empty(error, function):
                return Verdict("empty")
            where = _line_of(error, function)
            name = getattr(error, "elsewhere", {}).get("name", type(error).__name__)
            return Verdict(
                "wrong", f"your function raised `{name}`{where}: {error}. It was called with {last['arguments']}."
            )
        if "result" in last and last["result"] is None:
            return Verdict("wrong", "your function returned None: is the `return` line missing?")
        if isinstance(error, AssertionError):
            return Verdict("wrong", str(error) or "the check failed")
        if "result" not in last:
            raise  # the check broke before it called anything: a fault of ours
        return Verdict(
            "wrong",
            f"the check cannot work with what your function returned, {_describe(last['result'])} "
            f"(`{type(error).__name__}`: {error}). It was called with {last['arguments']}.",
        )
    return Verdict("right")


def _code(function):
    """The code of a reader's function, below decorators such as functools.cache; None for what is no function."""
    return getattr(inspect.unwrap(function), "__code__", None)


def _is_empty(error, function):
    """Whether the error is the bare `raise NotImplementedError` of an unwritten body, not one from a library below."""
    if hasattr(error, "elsewhere"):  # it was raised in another process, which has looked (kfcourse.grading)
        return error.elsewhere["empty"]
    if not isinstance(error, NotImplementedError) or error.args:
        return False
    frame = error.__traceback__
    while frame.tb_next:
        frame = frame.tb_next
    return _is_body(frame, function)


def _is_body(frame, function):
    """Whether a frame of a traceback runs the body of a reader's function: its code, or what Triton's interpreter made
    of it, which has its name and its file.
    """
    ran, written = frame.tb_frame.f_code, _code(function)
    return written is not None and (ran.co_filename, ran.co_name) == (written.co_filename, written.co_name)


def _line_of(error, function):
    """' at `the line`', the last line of the reader's function on the way to the error, where it can be found."""
    elsewhere = getattr(error, "elsewhere", None)
    line, frame = (elsewhere["line"], None) if elsewhere else ("", error.__traceback__)
    while frame:
        if _is_body(frame, function):
            line = linecache.getline(frame.tb_frame.f_code.co_filename, frame.tb_lineno).strip()
        frame = frame.tb_next
    return f" at `{line}`" if line else ""


def _arguments(function, args, kwargs):
    try:
        named = inspect.signature(function).bind(*args, **kwargs).arguments
    except TypeError:
        named = {str(i + 1): value for i, value in enumerate(args)} | kwargs
    return ", ".join(f"{name}: {_describe(value)}" for name, value in named.items()) or "no arguments"


def _describe(value):
    """A value in a few words: a tensor or array as its dtype and shape, a number as itself."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    if value is None or isinstance(value, (bool, int, float, str)):
        text = repr(value)
        return text if len(text) <= 40 else text[:37] + "..."
    if isinstance(value, (list, tuple, dict, set)):
        return f"{type(value).__name__} of {len(value)}"
    return type(value).__name__


def _reference_allowed():
    return os.environ.get("KFAC_SOLUTIONS") != "0"


def _strict():
    return any(os.environ.get(name, "").lower() not in ("", "0", "false") for name in ("KFAC_STRICT", "CI"))


def show(markdown):
    """Rich text in a notebook, plain text elsewhere."""
    plain = markdown.replace("**", "").replace("`", "")
    ipython = sys.modules.get("IPython")
    if ipython and ipython.get_ipython() and hasattr(ipython.get_ipython(), "kernel"):
        ipython.display.display({"text/markdown": markdown, "text/plain": plain}, raw=True)
    else:
        print(plain)
