"""A real browser: JupyterLab on learner's copies as `course lab` opens them, cells run, views moved; pages read and
searched, and every view of every page moved, without a kernel; slides shown. One chapter is run to its end in
JupyterLab, and with `--all` every one that has a view.

Without a Chromium these tests skip and say how to get one.
"""

import contextlib
import functools
import hashlib
import http.server
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from urllib.parse import urlsplit

import nbformat
import psutil
import pytest

from kfcourse import paths
from kfcourse.notebooks import notebooks
from kfcourse.notebooks.execution import METADATA
from kfcourse.site import slides

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is missing: set up again with course.py")
pytestmark = [pytest.mark.browser, pytest.mark.slow]

VIEW = 'id="kfac-'  # how a view begins: see kfcourse/show/widgets.py
READ = "09"  # the chapter that is always run to its end, and whose page and slides are looked at
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--no-first-run",
]
MEND = (
    "no Chromium found: install it (Debian, Ubuntu: apt-get install chromium; any system: `python -m playwright "
    "install chromium` "
    "in the course's environment), or name one in the variable KFAC_CHROMIUM"
)
SECOND = 1000  # playwright counts in milliseconds


def with_views():
    """Paths of the chapters that have something to move, as their stored outputs say."""
    shown = lambda cell: any(VIEW in output.get("data", {}).get("text/html", "") for output in cell.outputs)
    return [p for p in notebooks.chapters() if any(map(shown, notebooks.code_cells(notebooks.read(p))))]


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        named, own = os.environ.get("KFAC_CHROMIUM"), playwright.chromium.executable_path
        names = [named] if named else ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", own]
        program = next(filter(None, map(shutil.which, names)), None)
        assert program or not named, f"KFAC_CHROMIUM names {named}, which is not there"
        if program is None:
            pytest.skip(MEND)
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser):
    """visit(host) gives a page that may ask this host alone, and a list of what went wrong."""
    contexts = []

    def open_page(host):
        context, wrong = browser.new_context(viewport={"width": 1280, "height": 900}), []
        contexts.append(context)

        def decide(route):
            asked = urlsplit(route.request.url)
            if asked.scheme in ("http", "https") and asked.netloc != host:
                wrong.append(f"asked for {route.request.url}")
                route.abort()
            else:
                route.continue_()

        context.route("**/*", decide)
        context.set_default_timeout(180 * SECOND)  # plenty, for machines that are busy with other tests
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(f"page error: {error}"))
        page.on("console", lambda said: wrong.append(f"console: {said.text}") if said.type == "error" else None)
        page.on(
            "websocket", lambda ws: None if urlsplit(ws.url).netloc == host else wrong.append(f"asked for {ws.url}")
        )
        return page, wrong

    yield open_page
    for context in contexts:
        context.close()


# --- JupyterLab


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def answers(url):
    with contextlib.suppress(OSError):
        return urllib.request.urlopen(url, timeout=5).status == 200


@contextlib.contextmanager
def started(command, env, log):
    """A process and all that it starts, for as long as the block lasts."""
    with open(log, "w") as out:
        process = subprocess.Popen(command, env=env, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        family = [*psutil.Process(process.pid).children(recursive=True), process] if process.poll() is None else []
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)


@pytest.fixture(scope="module")
def lab(browser, tmp_path_factory, pytestconfig):
    """Host of a JupyterLab that `course lab` has opened on its own copies, in a checkout with the chapters that are
    run here."""
    home = tmp_path_factory.mktemp("lab")
    root = home / "course"
    (root / "chapters").mkdir(parents=True)
    for name in ("kfaclib", "kfcourse", "data", "pyproject.toml"):
        (root / name).symlink_to(paths.ROOT / name)
    for path in with_views():
        if pytestconfig.getoption("all") or path.name.startswith(READ):
            shutil.copy(path, root / "chapters" / path.name)
    broken = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")], metadata=METADATA)
    notebooks.write(broken, root / "work" / "broken.ipynb")
    port = free_port()
    # as at home: checks are friendly and progress bars are drawn; only the user's own settings stay out
    env = {name: value for name, value in os.environ.items() if name not in ("CI", "KFAC_STRICT", "TQDM_DISABLE")}
    env |= {
        name: str(home / name.lower())
        for name in (
            "JUPYTER_CONFIG_DIR",
            "JUPYTER_DATA_DIR",
            "JUPYTER_RUNTIME_DIR",
            "IPYTHONDIR",
            "JUPYTERLAB_SETTINGS_DIR",
            "JUPYTERLAB_WORKSPACES_DIR",
        )
    }
    env["KFAC_ROOT"] = str(root)
    command = [
        sys.executable,
        "-m",
        "kfcourse",
        "lab",
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        f"--port={port}",
        "--ServerApp.port_retries=0",
        "--IdentityProvider.token=",
        "--expose-app-in-browser",
    ]
    with started(command, env, home / "log") as process:
        patience = time.monotonic() + 600
        while not answers(f"http://127.0.0.1:{port}/api/status"):
            assert process.poll() is None and time.monotonic() < patience, (home / "log").read_text()
            time.sleep(0.25)
        yield f"127.0.0.1:{port}"


def run_all(page, host, name):
    """Open a notebook, run all of its cells; returns its failed outputs and whatever was written to stderr."""
    page.goto(f"http://{host}/lab/tree/{name}?reset")
    # JupyterLab's notebook says "idle" before its kernel is there; the status bar does not
    idle = page.locator("#jp-main-statusbar").get_by_text(re.compile(r"\| Idle$"))
    sync_api.expect(idle).to_be_visible(timeout=180 * SECOND)
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")
    outputs = page.evaluate("""() => {
        const all = [...window.jupyterapp.shell.currentWidget.content.model.cells];
        const cells = all.filter((cell) => cell.type === 'code');
        return cells.map((cell) => [cell.executionCount, cell.outputs.toJSON()]);
    }""")
    assert outputs and all(count for count, _ in outputs), "not all cells have run"
    shown = [output for _, several in outputs for output in several]
    return [o for o in shown if o["output_type"] == "error" or o.get("name") == "stderr"]


def shut_down(page, host):
    """End the notebook's kernel: those of all chapters together would fill a small machine."""
    page.evaluate("() => { window.jupyterapp.serviceManager.sessions.shutdownAll(); }")
    patience = time.monotonic() + 60
    while json.load(urllib.request.urlopen(f"http://{host}/api/sessions")):
        assert time.monotonic() < patience, "the kernels do not stop"
        page.wait_for_timeout(100)  # not sleep: what the page asks for passes through this process


def picture(place):
    return hashlib.sha256(place.screenshot()).hexdigest()


def move_slider(page, root):
    """Move a slider to its other end and one step back: its text and what is shown must follow, each time."""
    handle, said, frames = root.locator("input[type=range]"), root.locator("output"), root.locator(".kfac-frame")
    value, last = int(handle.input_value()), frames.count() - 1
    far, back = (0, 1) if value == last else (last, last - 1)
    for place in (far, back):
        before = said.inner_text(), picture(root)
        handle.fill(str(place))
        sync_api.expect(said).not_to_have_text(before[0])
        shown = [i for i in range(last + 1) if frames.nth(i).is_visible()]
        assert shown == [int(handle.input_value())]
        assert said.inner_text() == frames.nth(shown[0]).get_attribute("data-value")
        page.wait_for_function(
            "place => [...place.querySelectorAll('img')].every((i) => i.complete)", arg=root.element_handle()
        )
        if place == far:
            assert picture(root) != before[1]


def move_views(page):
    """Move every view on a page; how many there are."""
    roots = page.locator("[id^=kfac-]")
    for k in range(roots.count()):
        root = roots.nth(k)
        root.scroll_into_view_if_needed()
        if root.locator("canvas").count():
            move_terrain(page, root.locator("canvas"))
        else:
            move_slider(page, root)
    return roots.count()


def move_terrain(page, canvas):
    """Turn a terrain with the keys, and let a ball go: the picture turns, and the sentence below says where it went."""
    note, drawn = canvas.locator("xpath=following-sibling::div"), canvas.evaluate_handle("c => c")
    pixels = lambda: page.evaluate("c => c.toDataURL()", drawn)
    before = pixels()
    canvas.focus()
    page.keyboard.press("ArrowLeft")
    assert pixels() != before
    words = note.inner_text()
    box = canvas.bounding_box()
    for across, down in ((x, y) for y in (0.3, 0.4, 0.5, 0.6) for x in (0.35, 0.5, 0.65)):
        canvas.click(
            position={"x": box["width"] * across, "y": box["height"] * down}
        )  # on a steep slope there is little to hit
        if note.inner_text() != words:
            break
    sync_api.expect(note).to_have_text(re.compile("From a loss of .* steps of gradient descent"), timeout=180 * SECOND)


@pytest.mark.parametrize(
    "path",
    [p if p.name.startswith(READ) else pytest.param(p, marks=pytest.mark.long) for p in with_views()],
    ids=lambda path: path.stem,
)
def test_a_chapter_runs_and_its_views_move(path, lab, visit):
    page, wrong = visit(lab)
    assert run_all(page, lab, path.name) == []
    page.evaluate("""() => { const notebook = window.jupyterapp.shell.currentWidget.content;
        const html = (output) => String((output.data || {})['text/html'] || '');
        const drawn = (cell) => cell.outputs && cell.outputs.toJSON().some((o) => html(o).includes('id="kfac-'));
        notebook.activeCellIndex = [...notebook.model.cells].findIndex(drawn);
        return notebook.scrollToItem(notebook.activeCellIndex, 'center'); }""")
    sync_api.expect(page.locator("[id^=kfac-]").first).to_be_visible(timeout=180 * SECOND)
    assert move_views(page) and wrong == []
    shut_down(page, lab)


def test_a_failing_cell_and_an_outside_request_are_seen(lab, visit):
    page, wrong = visit(lab)
    (failure,) = run_all(page, lab, "broken.ipynb")
    assert failure["ename"] == "ZeroDivisionError"
    page.evaluate("() => fetch('https://outside.example/').catch(() => null)")
    assert "asked for https://outside.example/" in wrong
    shut_down(page, lab)


# --- the pages


@pytest.fixture(scope="module")
def site(browser, whole_site):
    """Host that serves the pages of all chapters, as they are stored."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=whole_site)
    handler.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def test_pages_draw_formulas_and_figures_without_asking_anybody(site, visit):
    page, wrong = visit(site)
    (path,) = notebooks.chapters([READ])
    page.goto(f"http://{site}/chapters/{path.stem}.html")
    formulas = page.locator("math, mjx-container")
    assert formulas.count() > 10
    box = formulas.first.bounding_box()
    assert box["width"] > 3 and box["height"] > 3
    images = page.evaluate("() => [...document.querySelectorAll('main img')].map((i) => [i.alt, i.naturalWidth])")
    assert len(images) >= 3 and all(alt and width > 100 for alt, width in images)
    assert wrong == []


@pytest.mark.parametrize("path", with_views(), ids=lambda path: path.stem)
def test_every_view_moves_on_a_page_without_a_kernel(path, site, visit):
    page, wrong = visit(site)
    page.goto(f"http://{site}/chapters/{path.stem}.html")
    assert move_views(page) and wrong == []


def test_a_quiz_is_answered_in_its_page_and_remembered_there(site, visit):
    page, wrong = visit(site)
    (path,) = notebooks.chapters([READ])
    page.goto(f"http://{site}/chapters/{path.stem}.html")
    first = page.locator("section#quiz ul.quiz").first
    options, answer = first.locator("li"), page.locator("section#quiz details").first
    right = re.search(r"\(([a-z])\)", answer.text_content().replace("Answer", ""))[1]
    letters = [re.match(r"\(([a-z])\)", text.strip())[1] for text in options.all_text_contents()]
    other = next(i for i, letter in enumerate(letters) if letter != right)
    options.nth(other).click()
    assert "quiz-wrong" in options.nth(other).get_attribute("class") and answer.get_attribute("open") is not None
    options.nth(letters.index(right)).focus()
    page.keyboard.press("Enter")
    assert "quiz-right" in options.nth(letters.index(right)).get_attribute("class")
    assert "quiz-wrong" not in (options.nth(other).get_attribute("class") or "")
    page.reload()
    assert page.locator("section#quiz ul.quiz li.quiz-right").count() == 1 and wrong == []


def test_a_solution_is_folded_and_its_exercise_is_not(site, visit):
    page, wrong = visit(site)
    (path,) = notebooks.chapters([READ])
    page.goto(f"http://{site}/chapters/{path.stem}.html")
    given, solution = (page.get_by_text(word).first for word in ("raise NotImplementedError", "BEGIN SOLUTION"))
    assert given.is_visible() and not solution.is_visible()
    page.get_by_text("Show a solution").first.click()
    assert solution.is_visible() and wrong == []


def test_pages_are_searched_without_asking_anybody(site, visit):
    page, wrong = visit(site)
    page.goto(f"http://{site}/search.html?q=staircase")
    found = page.locator("#search-results li a")
    sync_api.expect(found.first).to_be_visible(timeout=180 * SECOND)
    assert any(notebooks.chapters([READ])[0].stem in json.dumps(a.get_attribute("href")) for a in found.all())
    assert wrong == []


# --- the slides


def test_slides_are_shown_one_at_a_time_and_answers_when_asked_for(visit, tmp_path):
    (made,) = slides.write([READ], tmp_path)
    page, wrong = visit("nobody")
    page.goto(made.as_uri())
    shown = lambda: page.evaluate(
        "() => { const s = current(); return [Number(s.id), s.querySelector('details')?.open, "
        "s.getBoundingClientRect().top]; }"
    )
    last = page.locator("section").count()
    assert last > 20 and shown()[0] == 1
    for key, number in (
        ("ArrowRight", 2),
        (" ", 3),
        ("ArrowLeft", 2),
        ("End", last),
        ("ArrowRight", last),
        ("Home", 1),
    ):
        page.keyboard.press(key)
        now, _, top = shown()
        assert now == number and abs(top) < 2
    while shown()[1] is None:
        page.keyboard.press("ArrowRight")
    assert shown()[1] is False
    page.keyboard.press("Enter")
    assert shown()[1] is True
    assert (
        page.evaluate("() => [...document.images].every((i) => i.alt && i.naturalWidth > 100)")
        and page.locator("math").count() > 10
    )
    assert wrong == []
