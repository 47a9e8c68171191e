"""The side that knows what is right.  It never executes a line of what was handed in: it sends inputs to a box, gets
plain data back, and compares.
"""

import builtins
import contextlib
import hashlib
import importlib.util
import inspect
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from kfcourse.grading import box, export, identity, limits, plain, sandbox, variants
from kfcourse.learning import exercises, results
from kfcourse.notebooks import notebooks

SECONDS = 10  # for one exercise
START = 300  # until the box is ready: importing torch on a slow or busy machine
SUBMISSION = 60  # for all exercises of one submission, without the start
MEMORY = 2 * 2**30  # beyond what the box takes to start
PROCESSES = 16  # more than the box and its walls take
FOLDER = 64 * 2**20, 1000  # bytes and files that an answer may leave in its folder while it runs
ANSWER = 64 * 2**10  # bytes of tensors that a box may send, besides four times what it was sent
DRAWS = 5  # hidden inputs per exercise


class Lost(BaseException):
    """The box is gone. Not an Exception: no check may take it for an error of the answer."""

    def __init__(self, state, message):
        super().__init__(message)
        self.state = state


class Box:
    """A process that runs one submission's answers. `call` sends arguments and gives back what came out."""

    def __init__(self, source, preload=()):
        self.folder = tempfile.mkdtemp(prefix="answer-")
        env = {k: os.environ[k] for k in ("PATH", "SYSTEMROOT", "LANG") if k in os.environ}
        env |= {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "VECLIB_MAXIMUM")}
        env |= {name: self.folder for name in ("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP", "MPLCONFIGDIR")}
        env["TRITON_INTERPRET"] = "1"  # a kernel runs on the CPU, whatever GPU there is
        env["LOGNAME"] = "answer"  # libraries ask for it, and there is no list of users to be seen
        self.walled = not sandbox.missing(tuple(preload))
        as_nobody = self.walled and os.getuid() == 0
        if as_nobody:
            os.chown(self.folder, limits.NOBODY, limits.NOBODY)
        command = sandbox.walled_command(self.folder, preload) if self.walled else sandbox.plain_command()
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
            env=env,
            start_new_session=os.name == "posix",
        )
        self.arrived, self.leaving, self.sent = queue.Queue(), queue.Queue(), 0
        self.calls, self.broken = 0, False
        # threads, so that neither a box that does not read nor one that does not write can hold up the marking
        for job in (self._read, self._write):
            threading.Thread(target=job, daemon=True).start()
        self.deadline = time.monotonic() + START
        try:
            self._send(
                {
                    "packages": sandbox.packages(preload),
                    "preload": list(preload),
                    "memory": MEMORY,
                    "seconds": START + SUBMISSION,
                    "become_nobody": as_nobody,
                    "source": source,
                }
            )
            self._next()  # it is ready
            self.deadline = time.monotonic() + SECONDS
            self.failed = self._next()[0].get("failed", [])
        except BaseException:
            self.close()
            raise

    @results.elsewhere()
    def call(self, name, args, kwargs):
        """What the answer `name` returns. Raises the answer's exception as one of the same name, or Lost."""
        given = []  # the functions among the arguments; the box knows them by number

        def number_of(function):
            if function not in given:
                given.append(function)
            return given.index(function)

        skeleton, tensors = plain.pack([args, kwargs], number_of)
        self.calls += 1
        self._send({"name": name, "call": self.calls, "args": skeleton}, tensors)
        try:
            return self._answered(args, kwargs, given)
        except plain.Malformed:  # a message that is not the box's own: what comes after it cannot be told apart
            self.broken = True
            raise

    def _answered(self, args, kwargs, given):
        """What comes back from the call that was sent last, its questions answered."""
        while True:
            head, tensors = self._next()
            if head.get("is") != "ask" and head.get("call") != self.calls:
                raise plain.Malformed("a message of an unknown kind")
            match head:
                case {"is": "ask", "number": number, "path": path, "args": asked}:
                    self._answer(given, number, path, asked, tensors)
                case {"is": "error", "type": kind, "text": text, "line": line, "empty": empty}:
                    raise exception_like(str(kind), str(text), str(line), empty is True)
                case {"is": "result", "value": value, "after": after}:
                    functions = given.__getitem__
                    if after is not None:
                        with contextlib.suppress(
                            ValueError, TypeError, RuntimeError, IndexError, AttributeError, KeyError
                        ):
                            put_back([args, kwargs], plain.unpack(after, tensors, functions))
                    return plain.unpack(value, tensors, functions)
                case _:
                    raise plain.Malformed("a message of an unknown kind")

    def _answer(self, given, number, path, asked, tensors):
        """The box asks for the value of one of the functions it was given, or for a derivative of it."""
        try:
            args, kwargs = plain.unpack(asked, tensors, given.__getitem__)
            if path:
                value = derived(given[number], asked, path, tensors)
                skeleton, tensors = None, value
            else:
                skeleton, tensors = plain.pack(
                    given[number](*args, **kwargs), lambda f: given.index(f) if f in given else None
                )
            self._send({"value": skeleton}, tensors)
        except Exception as error:
            self._send({"error": [type(error).__name__, str(error)[:500]]})

    def _send(self, head, tensors=()):
        data = plain.message(head, tensors)
        self.sent += len(data)
        self.leaving.put(data)

    def _write(self):
        with contextlib.suppress(OSError, ValueError):
            while (data := self.leaving.get()) is not None:
                self.process.stdin.write(data)
                self.process.stdin.flush()

    def _read(self):
        try:
            while arrived := plain.receive(self.process.stdout, lambda head: ANSWER + 4 * self.sent):
                self.arrived.put(arrived)
        except (plain.Malformed, OSError, ValueError, MemoryError) as error:
            self.arrived.put(error)
        self.arrived.put(None)

    def _next(self):
        """The next message. Lost if there will be none, or not in time, or if the box takes too much."""
        while True:
            left = self.deadline - time.monotonic()
            if left <= 0:
                raise Lost("too slow", "no answer within the time: is there a loop that does not end?")
            try:
                arrived = self.arrived.get(timeout=min(left, 0.1))
            except queue.Empty:
                self._watch()
                continue
            if isinstance(arrived, plain.Malformed):
                raise Lost("wrong", f"what came back cannot be read: {arrived}")
            if not isinstance(arrived, tuple):
                raise Lost("crashed", "the process ended in the middle of the answer")
            return arrived

    def _watch(self):
        with contextlib.suppress(psutil.Error):
            box = psutil.Process(self.process.pid)
            family, held = [box, *box.children(recursive=True)], 0
            for process in family[:PROCESSES]:
                with contextlib.suppress(psutil.Error):
                    held += process.memory_info().rss
            if held > MEMORY + 2**30 or len(family) > PROCESSES:
                raise Lost("too big", "the answer takes more memory, or more processes, than it may")
        with contextlib.suppress(OSError):
            sizes = [
                entry.stat(follow_symlinks=False).st_size for _, entry in zip(range(FOLDER[1]), os.scandir(self.folder))
            ]
            if sum(sizes) > FOLDER[0] or len(sizes) == FOLDER[1]:
                raise Lost("too big", "the answer writes more than it may")

    def close(self):
        """End the process and whatever it started, and remove its folder."""
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(self.process.pid).children(recursive=True):
                child.kill()
        with contextlib.suppress(OSError):
            os.killpg(self.process.pid, signal.SIGKILL) if os.name == "posix" else self.process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=10)
        self.leaving.put(None)
        shutil.rmtree(self.folder, ignore_errors=True)


def exception_like(kind, text, line, empty):
    """An exception that happened in the box, as one that `exercises.judge` can speak about."""
    base = getattr(builtins, kind, None)
    try:
        error = base(text) if issubclass(base, Exception) else RuntimeError(text)
    except TypeError:  # no type, or one that wants more than a text
        error = RuntimeError(text)
    error.elsewhere = {"name": kind if kind.isidentifier() else "Exception", "line": line, "empty": empty}
    return error


def derived(function, skeleton, path, tensors):
    """The tensors of a derivative of `function`, where `path` is a list of ["vjp" or "jvp", number of inputs]."""
    import torch

    if len(path) > 4:
        raise ValueError("no derivative of an order that high is to be had here")

    def flat(*xs):
        args, kwargs = plain.unpack(skeleton, list(xs))
        value = function(*args, **kwargs)
        return tuple(value) if isinstance(value, (tuple, list)) else (value,)

    def step(f, kind, n):
        if kind == "vjp":
            return lambda *xs: tuple(torch.func.vjp(f, *xs[:n])[1](tuple(xs[n:])))
        return lambda *xs: tuple(torch.func.jvp(f, tuple(xs[:n]), tuple(xs[n:]))[1])

    for kind, n in path:
        flat = step(flat, kind, n)
    return list(flat(*tensors))


def put_back(original, after):
    """Do to the arguments here what the answer did to its own."""
    if isinstance(original, dict):
        if list(original) != list(after):
            original.clear()
            original.update(after)
        for key in original:
            if put_back(original[key], after[key]) is NotImplemented:
                original[key] = after[key]
    elif isinstance(original, list) and len(original) != len(after):
        original[:] = after
    elif isinstance(original, (list, tuple)):
        for i, value in enumerate(after):
            if put_back(original[i], value) is NotImplemented and isinstance(original, list):
                original[i] = value
    elif hasattr(original, "detach"):
        if original.shape != after.shape:
            return NotImplemented
        original.detach().copy_(after.detach())
    elif hasattr(original, "dtype") and getattr(original, "ndim", 0):
        original[...] = after
    elif hasattr(original, "set_state"):
        original.set_state(after.get_state())
    else:
        return NotImplemented
    return None


# --- judging


@dataclass(frozen=True)
class Mark:
    student: str
    exercise: str
    state: str  # right, wrong, empty, missing, crashed, too slow, too big, unreadable
    message: str = ""
    file: str = ""  # what was handed in
    remarks: str = ""  # what the lecturer should know about this submission
    protection: str = ""  # the walls its answers ran in: "bubblewrap" or "limits only"

    @property
    def points(self):
        return int(self.state == "right")


@dataclass(frozen=True)
class Chapter:
    """What marking needs to know about a chapter."""

    number: str
    worked: object  # the worked notebook
    facts: dict  # {exercise id: Exercise}
    references: dict  # {name: the course's own answer}
    preload: tuple[str, ...]  # modules that a box imports before it is locked

    @property
    def ids(self):
        return list(notebooks.exercises(self.worked))


def chapter(number):
    """The Chapter with this two-digit number. Executes the course's own answers, and only these."""
    path = notebooks.chapters([number])[0]
    number = path.name[:2]
    worked = notebooks.read(path)
    namespace = {"__name__": f"references_{number}"}
    source = export.references(worked)
    os.environ.setdefault("TRITON_INTERPRET", "1")  # before anything imports Triton
    exec(compile(source, f"<references {number}>", "exec"), namespace)
    uses_torch = any("import torch" in cell.source for cell in notebooks.code_cells(worked))
    uses_triton = "import triton" in source and importlib.util.find_spec("triton") is not None
    preload = ("torch",) * uses_torch + ("torch.func",) * ("jvp" in source) + ("triton",) * uses_triton
    if "torch.func" in preload:
        box.warm()
    return Chapter(number, worked, exercises.chapter_exercises(number), namespace, preload)


def mark(student, answers, about, secret=None, with_variants=False):
    """[Mark] for one submission's Answers (kfcourse.grading.export).

    secret: bytes; with it every answer is also compared on hidden inputs. with_variants: the student's own questions
    too. A crash or a loop costs the exercise in which it happens and no other.
    """
    tasks = [(i, i.partition(".")[2], None) for i in about.ids]
    if with_variants:
        tasks += [
            (i, i.partition(".")[2] + "_variant", variants.question(i, secret, student))
            for i in about.ids
            if variants.of(i)
        ]
    made, together, marks, protection = None, True, [], ""
    end = time.monotonic() + SUBMISSION + START
    try:
        for i, name, question in tasks:
            label = i if question is None else i + " variant"
            if question is None and i not in answers.written:
                marks.append(
                    Mark(student, label, "empty" if i in answers.empty else "missing", answers.notes.get(i, ""))
                )
                continue
            if question and name not in answers.extra:
                marks.append(Mark(student, label, "missing"))
                continue
            try:
                if time.monotonic() > end:
                    raise Lost("too slow", "the time for this submission was used up by the exercises before")
                if made is None:
                    if together:
                        try:
                            made = Box(answers.source, about.preload)
                        except Lost:  # something in it takes everything with it, so every answer gets a box of its own
                            together = False
                    made = made or Box(answers.alone[name], about.preload)
                    end = min(end, time.monotonic() + SUBMISSION)
                protection = "bubblewrap" if made.walled else "limits only"
                made.deadline = min(time.monotonic() + SECONDS, end + 1)
                verdict = _judge(made, name, i, about, secret, student, question)
                notes = [f"{answers.notes[i][:1].upper()}{answers.notes[i][1:]}."] if i in answers.notes else []
                notes += [f"Left behind, because its line failed: {f}." for f in made.failed]
                message = " ".join([verdict.message, *(notes if verdict.state == "wrong" else [])])
                marks.append(Mark(student, label, verdict.state, message))
            except (Lost, plain.Malformed) as lost:
                state = lost.state if isinstance(lost, Lost) else "wrong"
                marks.append(Mark(student, label, state, str(lost)))
                if made:
                    made.close()
                made = None
            except (
                Exception
            ) as error:  # the check broke before it called the answer: a fault of ours, but one exercise's
                why = f"the check itself failed ({type(error).__name__}: {error}); please report this"
                marks.append(Mark(student, label, "crashed", why[:300]))
            if made and (made.broken or not together):
                made.close()
                made = None
    finally:
        if made:
            made.close()
    return [replace(mark, protection=protection) for mark in marks]


def _judge(made, name, exercise_id, about, secret, student, question):
    reference = about.references[exercise_id.partition(".")[2]]

    def function(*args, **kwargs):
        return made.call(name, args, kwargs)

    function.__name__ = name
    function.__signature__ = inspect.signature(reference)
    if question is not None:
        return variants.compare(
            exercise_id,
            question.function(reference),
            function,
            seeds(secret, exercise_id, identity.key(student), "variant"),
        )
    verdict = exercises.judge(about.facts[exercise_id], function)
    if verdict.state == "right" and secret is not None and variants.of(exercise_id):
        verdict = variants.compare(exercise_id, reference, function, seeds(secret, exercise_id, identity.key(student)))
    return verdict


def seeds(secret, *words):
    """DRAWS integers that cannot be predicted without the secret. words: an exercise, a student, ..."""
    return [variants.number(secret, *words, str(i)) for i in range(DRAWS)]


def secret_of(path):
    """The secret in a file: any text of 16 characters or more."""
    text = text_of(path).strip()
    if len(text) < 16:
        raise ValueError(
            f"{path}: a secret has at least 16 characters; "
            'python3 -c "import secrets; print(secrets.token_hex(16))" makes one'
        )
    return hashlib.sha256(text.encode()).digest()


def text_of(path):
    """The text of a file in UTF-8 or, as PowerShell writes it, UTF-16; a byte-order mark says which. ValueError names
    the file.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file")
    if not path.is_file():
        raise ValueError(f"{path}: a file is wanted, and this is a folder")
    data = path.read_bytes()
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeError as error:
        raise ValueError(f"{path} is not text in UTF-8 ({error.reason}): save it as UTF-8") from None
