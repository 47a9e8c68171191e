"""Fresh inputs for every exercise, and a question of one's own for every student.

`inputs(g)` draws an exercise's arguments from a torch.Generator; the course's own answer says what is right for them.
`question(g)` draws a change of the task: a sentence for the student, and how the right answer follows from the course's
own. A student who knows the public solution still has to understand it to answer. Both depend on a secret of the
lecturer.

Every exercise needs an entry in VARIANTS of kfcourse/chNN/variants.py; tests/test_grading.py says so, and checks that
every known wrong answer is caught on fresh inputs or by the public check.
"""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass

import torch

from kfcourse.grading import identity
from kfcourse.learning.exercises import Verdict, chapter_module


@dataclass(frozen=True)
class Variant:
    inputs: Callable  # torch.Generator -> tuple of arguments
    question: Callable  # torch.Generator -> (sentence, reference -> the function that is asked for)
    same: Callable = None  # (expected, got, arguments) -> bool; None compares numbers


@dataclass(frozen=True)
class Question:
    text: str
    function: Callable  # the course's own answer -> the right answer to this question


def of(exercise_id):
    """The Variant of an exercise, None if it has none."""
    module = chapter_module(exercise_id.partition(".")[0], "variants")
    return module.VARIANTS.get(exercise_id) if module else None


def number(secret, *words):
    """An integer of 62 bits from a secret (bytes) and some words: a keyed hash."""
    text = "\0".join(words).encode("utf-8", "surrogatepass")
    return int.from_bytes(hmac.digest(secret, text, hashlib.sha256)[:8], "big") >> 2


def question(exercise_id, secret, student):
    """The Question of one student: always the same for the same secret, however the name is spelled."""
    g = torch.Generator().manual_seed(number(secret, exercise_id, identity.key(student), "question"))
    return Question(*of(exercise_id).question(g))


def compare(exercise_id, reference, function, seeds):
    """Verdict on a function, on inputs drawn from every seed. It does not say what the inputs were."""
    variant = of(exercise_id)
    for number, seed in enumerate(seeds, 1):
        ours, yours, untouched = (variant.inputs(torch.Generator().manual_seed(seed)) for _ in range(3))
        expected = reference(*ours)
        where = f"on hidden inputs ({number} of {len(seeds)})"
        try:
            got = function(*yours)
        except Exception as error:
            if isinstance(error, NotImplementedError) and not error.args:
                return Verdict("empty")
            return Verdict("wrong", f"it raises {type(error).__name__} {where}")
        try:
            right = (variant.same or (lambda a, b, _: alike(a, b)))(expected, got, ours)
        except Exception:  # whatever was returned, it is not of the right form
            right = False
        if not right:
            return Verdict("wrong", f"its result differs from the course's own {where}")
        if not alike(untouched, yours) and alike(untouched, ours):
            return Verdict("wrong", f"it changes its arguments {where}")
    return Verdict("right")


def alike(a, b):
    """Whether two results agree: shapes and structure exactly, numbers to the precision of the coarser one."""
    if callable(a) and callable(b) or isinstance(a, torch.Generator):
        return True
    if isinstance(a, dict):
        return isinstance(b, dict) and set(a) == set(b) and all(alike(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return isinstance(b, (list, tuple)) and len(a) == len(b) and all(map(alike, a, b))
    if isinstance(a, (set, frozenset)):
        return isinstance(b, (set, frozenset)) and a == b
    if isinstance(a, bool) and getattr(b, "shape", None) == () and "bool" in str(getattr(b, "dtype", "")):
        return a == bool(b)  # a tensor or array that holds one truth value
    if a is None or isinstance(a, (str, bool, bytes)):
        return type(a) is type(b) and a == b
    x, y = torch.as_tensor(a), torch.as_tensor(b)
    if x.shape != y.shape:
        return False
    whole = not any(t.is_floating_point() or t.is_complex() for t in (x, y))
    if torch.bool in (x.dtype, y.dtype) or whole:
        return x.dtype.is_floating_point == y.dtype.is_floating_point and bool((x == y).all())
    # a Python float holds what a float32 computation left in it
    fine = all(t.dtype == torch.float64 and t.ndim for t in (x, y))
    wide = torch.complex128 if x.is_complex() or y.is_complex() else torch.float64
    return torch.allclose(
        x.to(wide), y.to(wide), rtol=1e-6 if fine else 2e-4, atol=1e-8 if fine else 1e-5, equal_nan=True
    )


# drawing


def real(g, *shape):
    return torch.randn(*shape, generator=g, dtype=torch.float64)


def whole(g, low, high):
    """An int from low to high, both included."""
    return int(torch.randint(low, high + 1, (), generator=g))


def share(g, low=0.1, high=0.9):
    return low + (high - low) * torch.rand((), generator=g, dtype=torch.float64).item()


def one_of(g, *choices):
    return choices[whole(g, 0, len(choices) - 1)]


def tenths(g, low, high):
    """A number with two digits, easy to write down."""
    return round(whole(g, round(low * 20), round(high * 20)) / 20, 2)


def orthogonal(g, n):
    return torch.linalg.qr(real(g, n, n))[0]


def shuffled(g, n):
    return torch.randperm(n, generator=g)


def some_labels(g):
    """(said, given, true) labels [n] of a model that repeats some wrong ones."""
    n = whole(g, 30, 60)
    true, wrong = torch.randint(0, 6, (2, n), generator=g)
    given = torch.where(torch.rand(n, generator=g) < 0.5, true, wrong)
    third = torch.rand(n, generator=g)
    said = torch.where(third < 0.4, given, torch.where(third < 0.7, true, torch.randint(0, 6, (n,), generator=g)))
    return said, given, true


def falling_spectrum(g):
    """Pi [O, I], the product of two descending spectra."""
    draw = lambda n: (-3 * torch.rand(n, generator=g, dtype=torch.float64)).exp().sort(descending=True)[0]
    return torch.outer(draw(whole(g, 4, 8)), draw(whole(g, 4, 8)))
