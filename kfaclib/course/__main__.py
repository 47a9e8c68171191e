"""`course run | lab | execute`: run every chapter, open JupyterLab on your own copies, re-execute chapters in place."""

import argparse
import hashlib
import os
import signal
import subprocess
import sys
import time

from tqdm import tqdm

from kfaclib import paths
from kfaclib.course import execution, notebooks, pages
from kfaclib.files import read_json, write_json
from kfaclib.report import results_table, table

RESULTS = "reproduce-olmo2-tiny.json"  # in data/results; `kfac reproduce` writes it


def progress(nb, name):
    return tqdm(total=len(notebooks.code_cells(nb)), desc=name, unit="cell", leave=False, disable=None)


def failure_text(name, failure):
    source = "\n".join("    " + line for line in failure.source.splitlines())
    return f"{name}, code cell {failure.cell}:\n{source}\n  {failure.error}"


def run():
    """Execute every chapter on a copy, render the pages, show what happened. Returns 1 if anything failed."""
    executed, report, failures = {}, [], []
    env = execution.environment()
    for path in notebooks.chapters():
        nb, began = notebooks.read(path), time.perf_counter()
        with progress(nb, path.stem) as bar:
            failure = execution.execute(nb, env, bar.update)
        seconds = round(time.perf_counter() - began, 1)
        print(f"{path.stem}: {'failed' if failure else 'ok'} after {seconds} s", flush=True)
        executed[path.stem] = execution.normalise(nb)
        report.append({"chapter": path.stem, "seconds": seconds, "ok": failure is None})
        if failure:
            failures.append(failure_text(path.stem, failure))
    write_json(paths.BUILD / "course.json", report)

    print("rendering the pages ...", flush=True)
    try:
        page = pages.render(executed, paths.BUILD / "pages")
    except (RuntimeError, ImportError) as error:
        page = None
        failures.append(str(error))

    rows = [(r["chapter"], f"{r['seconds']:.1f}", "ok" if r["ok"] else "FAILED") for r in report]
    print("\n" + table(("chapter", "seconds", "verdict"), rows))
    print("\n" + results())
    if page:
        print(f"\nPages to read: {page}")
    for text in failures:
        print("\nFAILED " + text, file=sys.stderr)
    return 1 if failures else 0


def results():
    """The recorded results beside the paper's, as text."""
    path = paths.DATA / "results" / RESULTS
    if not path.is_file():
        return f"No results to show: {path} is missing. `kfac reproduce` computes and records them."
    return results_table(path)


def make_copies(work):
    """Give the learner a copy of every chapter in `work`; what is there is never overwritten. Returns what to tell.

    `.copies.json` remembers which version of a chapter was handed out last, so that a changed chapter is put beside
    the learner's own, once, as NN_name.new.ipynb.
    """
    record = work / ".copies.json"
    given = read_json(record) if record.exists() else {}
    told = []
    for path in notebooks.chapters():
        copy = notebooks.to_bytes(notebooks.learner_copy(notebooks.read(path)))
        digest = hashlib.sha256(copy).hexdigest()
        own = work / path.name
        if not own.exists():
            target = own
        elif given.get(path.name) != digest:
            number = 1
            while (target := work / f"{path.stem}.new{'' if number == 1 else number}.ipynb").exists():
                number += 1
            told.append(f"{path.stem} has changed since your copy was made. Yours is as you left it; "
                        f"the new one is beside it: {target.name}")
        else:
            continue
        work.mkdir(parents=True, exist_ok=True)
        target.write_bytes(copy)
        given[path.name] = digest
        write_json(record, given)
    return told


def lab(words):
    """Open JupyterLab in work/, on the learner's own copies."""
    for line in make_copies(paths.WORK):
        print(line)
    paths.WORK.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={paths.WORK}", *words]
    server = subprocess.Popen(command, env=dict(os.environ, KFAC_ROOT=str(paths.ROOT)))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for JupyterLab, which asks and then stops its kernels
    return server.wait()


def execute(words, check):
    """Re-execute worked notebooks in place. With `check` nothing is written, and any difference is a failure."""
    bad = 0
    for path in notebooks.chapters(words):
        before, nb = path.read_bytes(), notebooks.read(path)
        with progress(nb, path.stem) as bar:
            failure = execution.execute(nb, execution.environment(threads=2), bar.update)
        if failure:
            bad += 1
            print(f"FAILED {failure_text(path.stem, failure)}\n  The file is left as it was.", file=sys.stderr)
            continue
        after = notebooks.to_bytes(execution.normalise(nb))
        if after == before:
            print(f"{path.stem}: unchanged")
        elif check:
            bad += 1
            old = notebooks.read(path)
            cells = [i for i, (a, b) in enumerate(zip(old.cells, nb.cells, strict=True)) if a != b]
            print(f"{path.stem}: differs from what is stored, in cells {cells or 'none (only the notebook metadata)'}")
        else:
            notebooks.write(nb, path)
            print(f"{path.stem}: written")
    return 1 if bad else 0


def main(words=None):
    parser = argparse.ArgumentParser(prog="course", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="execute every chapter, render the pages, show the results")
    commands.add_parser("lab", help="open JupyterLab on your own copies in work/; further options go to JupyterLab")
    one = commands.add_parser("execute", help="re-execute worked chapters in place, for authors")
    one.add_argument("chapters", nargs="*", help="numbers or names; all if none is named")
    one.add_argument("--check", action="store_true", help="write nothing; fail if the outputs would change")
    options, further = parser.parse_known_args(words)
    if further and options.command != "lab":
        parser.error(f"unknown: {' '.join(further)}")
    try:
        if options.command == "run":
            return run()
        return lab(further) if options.command == "lab" else execute(options.chapters, options.check)
    except (ValueError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
