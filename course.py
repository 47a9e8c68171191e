#!/usr/bin/env python3
"""The one entry point of the course: sets up what is needed, then does the job.

    python3 course.py              set up, run every chapter, render the pages, show the results
    python3 course.py test         set up, run the tests, every notebook among them: about a quarter of an hour
    python3 course.py test --all   the same and everything that takes long: what a release runs, and a job once a week
    python3 course.py test PATHS   only these, in one process; further options go to pytest
    python3 course.py lab          set up, open JupyterLab on your own copies of the chapters, in work/
    python3 course.py site         set up, render the pages from the stored outputs; runs nothing, takes seconds
    python3 course.py doctor       set up, look whether everything is here, with a mend for what is not
    python3 course.py progress     set up, say which exercises of your copies are solved
    python3 course.py execute 09   set up, re-execute chapter 09 in place (for authors)
    python3 course.py export 09 F  set up, mark the notebooks in folder F (for lecturers: see teaching/grading.md)
    python3 course.py workshop     set up, make the notebooks of the three-hour workshop (see teaching/workshop.md)
    python3 course.py bundle       set up, pack the workshop into one folder for machines without a network

`questions`, `nbgrader`, `quizzes` and `slides` are for lecturers too; `--help` after a command lists its options.

Paths are relative to the folder you stand in. On Windows write `py course.py`. The environment is made in .venv, or in
the folder that KFAC_VENV names.
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
EXTRAS = "course,test,pages,smollm2,gpu"
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

# pip's settings, the environment variables by which uv takes the same ones (uv does not read pip's files), and the
# character that stands between several values; None: there is one value, which may hold spaces
PIP_TO_UV = {
    "index-url": ("UV_DEFAULT_INDEX", None),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "proxy": ("HTTPS_PROXY", None),
    "cert": ("SSL_CERT_FILE", None),
    "client-cert": ("SSL_CLIENT_CERT", None),
    "timeout": ("UV_HTTP_TIMEOUT", None),
    "retries": ("UV_HTTP_RETRIES", None),
    "no-index": ("UV_NO_INDEX", None),
    "no-cache-dir": ("UV_NO_CACHE", None),
    "keyring-provider": ("UV_KEYRING_PROVIDER", None),
}
SWITCHES = ("no-index", "no-cache-dir")
YES = ("y", "yes", "t", "true", "on", "1")  # what pip takes for yes

# With several processes side by side, threads would wait for each other's cores, and spin while they wait.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
# Two processes, each with whole files of tests, begun in the order into which conftest.py brings them
TWO_PROCESSES = ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]


def say(text):
    print("[course] " + text, flush=True)


def fail(text):
    sys.exit("[course] " + text)


def venv_python(venv):
    return venv / "Scripts" / "python.exe" if os.name == "nt" else venv / "bin" / "python"


def pip_settings(listing):
    """{"proxy": "http://a:3128", ...} from the text of `pip config list`; what is set nearer to the command wins."""
    rank = {"global": 0, "install": 1, ":env:": 2}
    found = {}
    for line in listing.splitlines():
        name, equals, value = line.partition("=")
        section, dot, key = name.rpartition(".")
        if equals and dot and section in rank and rank[section] >= found.get(key, (-1,))[0]:
            found[key] = (rank[section], ast.literal_eval(value))
    return {key: value for key, (_, value) in found.items()}


def several(value):
    """The values of a setting that may have many: between spaces, as pip takes them, or a path with spaces, alone."""
    parts = []
    for line in value.splitlines():
        line = line.strip()
        parts += [line] if line and os.path.exists(os.path.expanduser(line)) else line.split()
    return parts


def uv_environment(settings, environ):
    """The variables that make uv do what pip's settings say; a variable that is set already is left alone."""
    switched_on = {key for key in SWITCHES if settings.get(key, "").strip().lower() in YES}
    extra = {}
    for key, (variable, between) in PIP_TO_UV.items():
        value = settings.get(key, "").strip()
        if not value or variable in environ or variable.lower() in environ:
            continue
        if key in SWITCHES:
            value = "1" if key in switched_on else ""
        elif key.endswith("index-url") and "no-index" in switched_on:
            value = ""  # pip does not look there then
        elif key == "timeout":
            value = str(max(1, int(float(value) + 0.999)))  # uv wants whole seconds
        elif key == "proxy":
            value = value if "://" in value else "http://" + value
        elif key == "cert" and os.path.isdir(value):
            variable = "SSL_CERT_DIR"
        elif between:
            value = between.join(several(value))
        if value:
            extra[variable] = value
    if "HTTPS_PROXY" in extra and "HTTP_PROXY" not in environ and "http_proxy" not in environ:
        extra["HTTP_PROXY"] = extra["HTTPS_PROXY"]
    if "UV_INDEX" in extra:
        extra.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")  # pip takes the best match over all indexes
    return extra


def stamp(python):
    """What the environment was made from: both files, this folder (the install points to it) and the Python."""
    parts = [(ROOT / name).read_bytes() for name in ("course.py", "pyproject.toml", "constraints.txt")]
    return hashlib.sha256(b"\0".join(parts + [str(ROOT).encode(), str(python).encode()])).hexdigest()


def call(command, env=None):
    """Run a command in the project; its exit status."""
    return subprocess.call([str(word) for word in command], cwd=str(ROOT), env=env)


def step(command, what, mend):
    """Run one step of the set-up; on failure say which step it was and what may help."""
    say(what + " ...")
    code = call(command)
    if code:
        fail(f"this step failed (exit status {code}): {what}\n         {mend}")


def uv_installer(python):
    """(the words by which uv installs with pip's settings, their environment), or (None, None) where it is not to be
    had.
    """
    say("fetching uv, a faster installer ...")
    if call([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "uv"]):
        return None, None
    listing = [str(python), "-m", "pip", "config", "list"]
    settings = pip_settings(subprocess.run(listing, stdout=subprocess.PIPE, text=True, cwd=str(ROOT)).stdout)
    env = dict(os.environ, **uv_environment(settings, os.environ))
    no_index = ["--no-index"] if env.get("UV_NO_INDEX") else []  # uv itself has no such variable
    # compiled once, as pip does it: where Python may not write its caches, every process would compile torch anew
    return [python, "-m", "uv", "pip", "install", "--compile-bytecode", "--python", python, *no_index], env


def install(python):
    """The project (editable) with the tested versions, and the cross-check packages without their dependencies.

    uv does it, and pip where uv is not to be had or fails.
    """
    import tomllib  # not at the top: an older Python must be able to read this file

    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
    uv, env = uv_installer(python)
    pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    online = "It needs the network once, and about 2 GB of disk. Run the same command again to try again."
    for what, words in (
        ("installing the course and its tools", ["-c", "constraints.txt", "-e", ".[" + EXTRAS + "]"]),
        (
            "installing a second K-FAC to compare with, and a real language model",
            ["--no-deps", "-c", "constraints.txt", *groups["crosscheck"], *groups["smollm2"]],
        ),
    ):
        if uv:
            say(what + " ...")
            if call([*uv, *words], env) == 0:
                continue
            uv = None
        say("uv does not do it here, so pip does (slower: a few minutes, and silent while it works)")
        step([*pip, *words], what, online)


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


def tests(words, here):
    """(the words for pytest, the folder it runs in): paths are the user's; without one it is the whole suite, in two
    processes.
    """
    options = ["", *words]  # what follows these two is an expression, whatever it looks like
    named = [word for option, word in zip(options, words) if option not in ("-k", "-m") and not word.startswith("-")]
    if any((here / word.partition("::")[0]).exists() for word in named if word):
        return ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), *words], here
    return [*TWO_PROCESSES, *words], ROOT


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
    env, here = dict(os.environ, PYTHONUTF8="1"), pathlib.Path.cwd()
    module = ["kfcourse", command]
    if command == "test":
        env.update(ONE_THREAD)
        module = ["pytest"]
        rest, here = tests(rest, here)
    # -P: a file of the folder one stands in, such as a submission called random.py, is never taken for a module
    job = subprocess.Popen([str(python), "-P", "-m", *module, *rest], cwd=str(here), env=env)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the job, which may have something to put away first
    return job.wait()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        fail("stopped")
