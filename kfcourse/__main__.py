"""The `course` command: run every chapter, open your own copies, see what is solved; mark submissions."""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from concurrent import futures

import psutil
from tqdm import tqdm

from kfaclib.io.errors import guarded
from kfaclib.io.files import write_json
from kfaclib.io.report import results_table, table
from kfcourse import paths
from kfcourse.learning import copies
from kfcourse.notebooks import execution, notebooks, outline
from kfcourse.site import pages, tables

SECONDS, GIB = 120, 4  # what a chapter may take on two free cores
AT_ONCE = 2  # chapters that `run` executes side by side
RESULTS = "reproduce-olmo2-tiny.json"  # in data/results; `kfac reproduce` writes it


def bar_of(nb, name):
    return tqdm(total=len(notebooks.code_cells(nb)), desc=name, unit="cell", leave=False, disable=None)


def failure_text(name, failure):
    source = "\n".join("    " + line for line in failure.source.splitlines())
    return f"{name}, code cell {failure.cell}:\n{source}\n  {failure.error}"


def run_chapter(path, env, on_start):
    """(the executed notebook, its row of build/course.json, a Failure or None)."""
    nb, began = notebooks.read(path), time.perf_counter()

    def started(pid):
        memory["pid"] = pid
        on_start(pid)

    with bar_of(nb, path.stem) as bar, execution.peak_memory() as memory:
        failure = execution.execute(nb, env, bar.update, started)
    seconds, gib = round(time.perf_counter() - began, 1), round(memory["bytes"] / 2**30, 2)
    row = {"chapter": path.stem, "seconds": seconds, "gib": gib, "ok": failure is None}
    return execution.normalise(nb), row, failure


def run_all(every):
    """{path: what `run_chapter` returns}, two chapters at a time, the longest first, so that both end together."""
    env, kernels, done = execution.environment(), [], {}
    with futures.ThreadPoolExecutor(AT_ONCE) as pool:  # the work is done in the kernels, which are processes
        in_order = sorted(every, key=minutes, reverse=True)
        running = {pool.submit(run_chapter, path, env, kernels.append): path for path in in_order}
        try:
            for future in futures.as_completed(running):
                _, row, failure = done[running[future]] = future.result()
                verdict = "failed" if failure else "ok"
                tqdm.write(f"{row['chapter']}: {verdict} after {row['seconds']} s, {row['gib']} GiB")
        except BaseException:  # Ctrl-C: no kernel may be left, nor a thread that waits for one
            pool.shutdown(wait=False, cancel_futures=True)
            while not all(future.done() for future in running):
                for process in [one for pid in kernels for one in execution.family(pid)]:
                    with contextlib.suppress(psutil.Error):
                        process.kill()
                time.sleep(0.1)
            raise
    return done


def minutes(path):
    """What a chapter's first cell says of its time to run; where it says nothing, none."""
    try:
        return outline.first_cell(notebooks.read(path)).minutes["run"]
    except ValueError:
        return 0


def run(budget=False):
    """Execute every chapter on a copy, render the pages, show what happened. Returns 1 if anything failed.

    With `budget` a chapter that takes longer or more memory than it may has failed, too.
    """
    every = notebooks.chapters()
    done = run_all(every)
    executed, report, failures = {}, [], []
    for path in every:
        executed[path.stem], row, failure = done[path]
        report.append(row)
        if failure:
            failures.append(failure_text(path.stem, failure))
        if budget and (row["seconds"] > SECONDS or row["gib"] > GIB):
            failures.append(
                f"{path.stem} took {row['seconds']} s and {row['gib']} GiB; a chapter has {SECONDS} s and {GIB} GiB"
            )
    write_json(paths.BUILD / "course.json", report)

    print("rendering the pages ...", flush=True)
    try:
        page = pages.render(executed, paths.BUILD / "pages")
    except (RuntimeError, ImportError) as error:
        page = None
        failures.append(str(error))

    rows = [(r["chapter"], f"{r['seconds']:.1f}", f"{r['gib']:.2f}", "ok" if r["ok"] else "FAILED") for r in report]
    print("\n" + table(("chapter", "seconds", "GiB", "verdict"), rows))
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


def lab(words):
    """Open JupyterLab in work/, on the learner's own copies."""
    for line in copies.make_copies(paths.WORK):
        print(line)
    copies.give_pages(paths.WORK)
    paths.WORK.mkdir(exist_ok=True)
    # no host is asked for news, updates or a list of extensions
    silent = [
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.extension_manager=readonly",
    ]
    command = [sys.executable, "-P", "-m", "jupyterlab", f"--ServerApp.root_dir={paths.WORK}", *silent, *words]
    server = subprocess.Popen(command, env=dict(os.environ, KFAC_ROOT=str(paths.ROOT)))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for JupyterLab, which asks and then stops its kernels
    return server.wait()


def site():
    """Render the pages from what is stored. Returns 1, and says what is wrong, if they cannot be rendered without a
    warning.
    """
    try:
        print(f"Pages to read: {pages.site()}")
    except (RuntimeError, ImportError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def execute(words, check):
    """Re-execute worked notebooks in place. With `check` nothing is written, and any difference is a failure."""
    bad = 0
    for path in notebooks.chapters(words):
        before, nb = path.read_bytes(), notebooks.read(path)
        with bar_of(nb, path.stem) as bar:
            failure = execution.execute(nb, execution.environment(), bar.update)
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
    for page in [] if check else tables.update():
        print(f"{page.relative_to(paths.ROOT)}: its tables are brought up to date")
    return 1 if bad else 0


def export(number, words, out, secret, with_variants, students):
    """Mark notebooks: a module, the public checks, and with a secret hidden inputs. Returns 0 even if answers are
    wrong.
    """
    from kfcourse.grading import marking, submissions  # these need torch, which takes seconds to import

    number = notebooks.chapters([number])[0].name[:2]
    if not words:
        own = copies.newest(paths.WORK, notebooks.chapters([number])[0].stem)
        if own is None:
            raise FileNotFoundError(
                "nothing to mark: name notebooks or folders (your own copies are made by `course lab`)"
            )
        words = [own]
    secret = marking.secret_of(secret) if secret else None
    submissions.writable(out)
    handed_in, passed_over = submissions.found(words, out)
    names = submissions.names_in(students) if students else []
    names = names or (submissions.was_asked(number, secret) if with_variants else [])
    if names:
        handed_in = submissions.known(handed_in, names)
    marks = submissions.mark_all(number, handed_in, out, secret, with_variants, passed_over)
    print("\n" + submissions.summary(marks, passed_over))
    return 0


def questions(number, students, secret, out):
    """Write each student's own questions."""
    from kfcourse.grading import marking, submissions

    number = notebooks.chapters([number])[0].name[:2]
    names = submissions.names_in(students)
    written = submissions.questions(number, names, marking.secret_of(secret), submissions.writable(out))
    print(f"{len(written)} files in {out}")
    if len(written) < len(names):
        print(f"{len(names) - len(written)} of the {len(names)} names are other spellings of one before them.")
    return 0


def nbgrader(words, out, secret):
    """Write chapters as nbgrader assignments."""
    from kfcourse.grading import marking, release

    return written(release.assignments(words, out, marking.secret_of(secret) if secret else None))


def written(paths):
    """Show the files that a command wrote."""
    for path in paths:
        print(path)
    return 0


def main(words=None):
    parser = argparse.ArgumentParser(prog="course", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("run", help="execute every chapter, render the pages, show the results")
    one.add_argument(
        "--budget", action="store_true", help=f"fail if a chapter takes more than {SECONDS} s or {GIB} GiB"
    )
    commands.add_parser("lab", help="open JupyterLab on your own copies in work/; further options go to JupyterLab")
    one = commands.add_parser("execute", help="re-execute worked chapters in place, for authors")
    one.add_argument("chapters", nargs="*", help="numbers or names; all if none is named")
    one.add_argument("--check", action="store_true", help="write nothing; fail if the outputs would change")
    commands.add_parser("site", help="render the pages from the chapters' stored outputs, without running anything")
    one = commands.add_parser(
        "colab", help="write the copies that Colab's launch links open, for a release (see CONTRIBUTING.md)"
    )
    one.add_argument("--out", default=paths.BUILD / "colab", help="folder to write to (build/colab)")
    commands.add_parser("doctor", help="is everything here that the course needs? with a mend for what is not")
    one = commands.add_parser("progress", help="which exercises of your copies in work/ are solved")
    one.add_argument("chapters", nargs="*", help="numbers or names; all if none is named")
    one = commands.add_parser(
        "export", help="mark notebooks that were handed in: modules, a CSV file, Gradescope's results.json"
    )
    one.add_argument("chapter", help="the chapter's number")
    one.add_argument(
        "submissions", nargs="*", help="notebooks, or folders of them; your own copy in work/ if none is named"
    )
    one.add_argument("--out", default=paths.BUILD / "marks", help="folder for everything that is written (build/marks)")
    one.add_argument("--secret", help="a file with your secret: answers are compared on hidden inputs too")
    one.add_argument(
        "--variants", action="store_true", help="mark every student's own questions as well (needs --secret)"
    )
    one.add_argument(
        "--students", help="the file of names given to `questions`; it is remembered on the computer that wrote them"
    )
    one = commands.add_parser("questions", help="write every student's own questions, for `export --variants`")
    one.add_argument("chapter", help="the chapter's number")
    one.add_argument(
        "--students", required=True, help="a file with one name a line: the name that the submission will have"
    )
    one.add_argument("--secret", required=True, help="a file with your secret")
    one.add_argument("--out", default=paths.BUILD / "questions", help="folder to write to (build/questions)")
    one = commands.add_parser("nbgrader", help="write chapters as nbgrader assignments")
    one.add_argument("chapters", nargs="*", help="numbers or names; all if none is named")
    one.add_argument("--out", default=paths.BUILD / "nbgrader", help="the nbgrader course folder (build/nbgrader)")
    one.add_argument("--secret", help="a file with your secret: the assignments get hidden tests")
    one = commands.add_parser("experiments", help="record an experiment anew, in data/results")
    one.add_argument("name", help="its name; a wrong one lists them")
    one.add_argument("--out", help="default: data/results/NAME.json")
    one = commands.add_parser("quizzes", help="write the chapters' quizzes in GIFT, for Moodle and other platforms")
    one.add_argument("chapters", nargs="*", help="numbers or names; all if none is named")
    one.add_argument("--out", default=paths.BUILD / "quizzes", help="folder to write to (build/quizzes)")
    one = commands.add_parser("slides", help="make slides from the chapters: one HTML file each, for any browser")
    one.add_argument("chapters", nargs="*", help="numbers or names; all if none is named")
    one.add_argument("--out", default=paths.BUILD / "slides", help="folder to write to (build/slides)")
    one = commands.add_parser(
        "workshop",
        help="make the workshop's notebooks: with their gaps, and executed answers (see teaching/workshop.md)",
    )
    one.add_argument("--out", default=paths.BUILD / "workshop", help="folder to write to (build/workshop)")
    one = commands.add_parser(
        "bundle", help="everything the workshop needs in one folder, for machines without a network"
    )
    one.add_argument(
        "--out", default=paths.BUILD / "bundle", help="folder to write to; it must be empty (build/bundle)"
    )
    one.add_argument(
        "--platform",
        default="this",
        choices=("this", "linux", "windows", "macos"),
        help="the machines it is for (this one)",
    )
    one.add_argument("--python", help="their Python, such as 3.11 (this one)")
    options, further = parser.parse_known_args(words)
    if further and options.command != "lab":
        parser.error(f"unknown: {' '.join(further)}")
    if options.command == "export" and options.variants and not options.secret:
        parser.error("--variants needs --secret: the questions come from it")
    return guarded("course", lambda: do(options, further), status=2)


def do(options, further):
    """Do what the parsed words ask for. Returns the exit status."""
    match options.command:
        case "run":
            return run(options.budget)
        case "lab":
            return lab(further)
        case "execute":
            return execute(options.chapters, options.check)
        case "site":
            return site()
        case "colab":
            from kfcourse.site import publishing

            return written(publishing.write_colab_copies(options.out))
        case "doctor":
            from kfcourse import doctor

            return 0 if doctor.report() else 1
        case "progress":
            from kfcourse.learning import progress

            print(progress.report(options.chapters))
            return 0
        case "export":
            return export(
                options.chapter, options.submissions, options.out, options.secret, options.variants, options.students
            )
        case "questions":
            return questions(options.chapter, options.students, options.secret, options.out)
        case "workshop":
            from kfcourse.workshop import workshop

            workshop.write(options.out)
            return 0
        case "bundle":
            from kfcourse.workshop import bundle

            print(
                f"{options.out}: {bundle.make(options.out, options.platform, options.python) / 2**20:.0f} MiB. "
                "Its README.md says how to start."
            )
            return 0
        case "nbgrader":
            return nbgrader(options.chapters, options.out, options.secret)
        case "experiments":
            from kfcourse import experiments

            return written([experiments.record(options.name, options.out)])
        case "quizzes":
            from kfcourse.site import quizzes

            return written(quizzes.write(options.chapters, options.out))
        case "slides":
            from kfcourse.site import slides

            return written(slides.write(options.chapters, options.out))


if __name__ == "__main__":
    sys.exit(main())
