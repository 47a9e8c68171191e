#!/usr/bin/env python3
"""The one entry point of the course: sets up what is needed, then does the job.

    python3 course.py              set up, run every chapter, render the pages, show the results
    python3 course.py test         set up, run all tests (further words go to pytest)
    python3 course.py lab          set up, open JupyterLab on your own copies of the chapters, in work/
    python3 course.py site         set up, render the pages from the stored outputs; runs nothing, takes seconds
    python3 course.py doctor       set up, look whether everything is here, with a mend for what is not
    python3 course.py progress     set up, say which exercises of your copies are solved
    python3 course.py execute 09   set up, re-execute chapter 09 in place (for authors)
    python3 course.py export 09 F  set up, mark the notebooks in folder F (for lecturers: see teaching/grading.md)
    python3 course.py workshop     set up, make the notebooks of the three-hour workshop (see teaching/workshop.md)
    python3 course.py bundle       set up, pack the workshop into one folder for machines without a network

`questions`, `nbgrader`, `quizzes` and `slides` are for lecturers too; `--help` after a command lists its options.

On Windows write `py course.py`. The environment is made in .venv, or in the folder that KFAC_VENV names.
This file uses the standard library only, and syntax that an old Python can still read, so that it can say what is
missing instead of failing on a line of its own.
"""

import ast
import hashlib
import os
import pathlib
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent
OLDEST = (3, 11)
EXTRAS = "course,test,pages,gpu"
COMMANDS = (
    "run",
    "test",
    "lab",
    "site",
    "doctor",
    "progress",
    "execute",
    "export",
    "questions",
    "nbgrader",
    "quizzes",
    "slides",
    "experiments",
    "colab",
    "workshop",
    "bundle",
)

# pip's settings and the environment variables by which uv takes the same ones (uv does not read pip's files),
# with the character that stands between several values
PIP_TO_UV = {
    "index-url": ("UV_DEFAULT_INDEX", ""),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "cert": ("SSL_CERT_FILE", ""),
}


def say(text):
    print("[course] " + text, flush=True)


def fail(text):
    sys.exit("[course] " + text)


def venv_python(venv):
    return venv / "Scripts" / "python.exe" if os.name == "nt" else venv / "bin" / "python"


def pip_settings(listing):
    """{"find-links": ["a", "b"], ...} from the text of `pip config list`; what is set nearer to the command wins."""
    rank = {"global": 0, "install": 1, ":env:": 2}
    found = {}
    for line in listing.splitlines():
        name, equals, value = line.partition("=")
        section, dot, key = name.rpartition(".")
        if equals and dot and section in rank and rank[section] >= found.get(key, (-1,))[0]:
            found[key] = (rank[section], ast.literal_eval(value).split())
    return {key: values for key, (_, values) in found.items()}


def uv_environment(settings, environ):
    """The variables that make uv look where pip looks; a variable that is set already is left alone."""
    extra = {}
    for key, (variable, between) in PIP_TO_UV.items():
        if settings.get(key) and variable not in environ:
            extra[variable] = between.join(settings[key]) if between else settings[key][-1]
    if "UV_INDEX" in extra:
        extra.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")  # pip takes the best match over all indexes
    return extra


def stamp(python):
    """What the environment was made from: both files, this folder (the install points to it) and the Python."""
    parts = [(ROOT / name).read_bytes() for name in ("course.py", "pyproject.toml", "constraints.txt")]
    return hashlib.sha256(b"\0".join(parts + [str(ROOT).encode(), str(python).encode()])).hexdigest()


def step(command, what, mend, env=None):
    """Run one step of the set-up; on failure say which step it was and what may help."""
    say(what + " ...")
    code = subprocess.call([str(word) for word in command], cwd=str(ROOT), env=env)
    if code:
        fail(f"this step failed (exit status {code}): {what}\n         {mend}")


def install(python):
    """The project (editable) with the tested versions, and the cross-check packages without their dependencies."""
    import tomllib  # not at the top: an older Python must be able to read this file

    quiet = ["-q", "--disable-pip-version-check"]
    settings = subprocess.run([str(python), "-m", "pip", "config", "list"], stdout=subprocess.PIPE, text=True).stdout
    env = dict(os.environ, **uv_environment(pip_settings(settings), os.environ))
    say("fetching uv, a faster installer ...")
    if subprocess.call([str(python), "-m", "pip", "install", *quiet, "uv"], cwd=str(ROOT)) == 0:
        pip = [python, "-m", "uv", "pip", "install", "--python", python]
    else:
        say("uv is not to be had here, so pip does the work (slower: a few minutes, and silent while it works)")
        pip, env = [python, "-m", "pip", "install", *quiet], dict(os.environ)
    online = "It needs the network once, and about 2 GB of disk. Run the same command again to try again."
    step([*pip, "-c", "constraints.txt", "-e", ".[" + EXTRAS + "]"], "installing the course and its tools", online, env)
    group = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]["crosscheck"]
    step([*pip, "--no-deps", "-c", "constraints.txt", *group], "installing a second K-FAC to compare with", online, env)


def set_up():
    """Make the environment if it is missing or out of date; return its Python."""
    venv = pathlib.Path(os.environ.get("KFAC_VENV") or ROOT / ".venv").expanduser().absolute()
    python = venv_python(venv)
    mark = venv / "kfaclib-stamp"
    if python.exists() and mark.exists() and mark.read_text() == stamp(python):
        return python
    began = time.time()
    if not python.exists():
        mend = f"On Debian and Ubuntu: sudo apt install python3-venv. Or remove {venv} and try again."
        step([sys.executable, "-m", "venv", venv], f"making an environment in {venv}", mend)
    install(python)
    mark.write_text(stamp(python))
    say(f"set up in {time.time() - began:.0f} seconds")
    return python


def main(words):
    if sys.version_info < OLDEST:
        needed = "{}.{}".format(*OLDEST)
        fail(
            f"Python {needed} or newer is needed; this is {sys.version.split()[0]} ({sys.executable}).\n"
            f"         Get one from https://www.python.org/downloads, then use it by name: python{needed} course.py"
        )
    command, rest = (words[0], words[1:]) if words else ("run", [])
    if command in ("-h", "--help", "help"):
        print(__doc__)
        return 0
    if command not in COMMANDS:
        fail("no command {!r}; there are: {}".format(command, ", ".join(COMMANDS)))
    python = set_up()
    env = dict(os.environ, PYTHONUTF8="1")
    module = ["pytest"] if command == "test" else ["kfcourse", command]
    job = subprocess.Popen([str(python), "-m", *module, *rest], cwd=str(ROOT), env=env)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the job, which may have something to put away first
    return job.wait()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        fail("stopped")
