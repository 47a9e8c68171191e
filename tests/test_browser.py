"""A real browser: JupyterLab as `course lab` opens it, cells run, a view moved; pages opened at three widths, in light
and in dark, judged by axe-core, read, answered, searched and printed, and their views moved, without a kernel; slides
shown. Every run looks at some pages, and `--all` at all of them; it also runs every chapter that has a view in
JupyterLab.

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
axe = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="axe-playwright-python is missing: set up again with course.py"
)
pytestmark = [pytest.mark.browser, pytest.mark.slow]

VIEW = 'id="kfac-'  # how a view begins: see kfcourse/show/widgets.py
VIEW_CELL = """from kfcourse.show import widgets
widgets.slider(lambda value: f"<p>{'*' * value}</p>", (1, 2, 4, 8), "stars")"""
READ = "09"  # the chapter whose page and slides are looked at
SLICE = ("01", "03", READ)  # the chapters whose views are moved in every run
WIDTHS = (360, 1280, 1920)  # of a phone, a laptop, a projector
# WCAG 2.2, levels A and AA, and what a screen reader's user finds a way by
JUDGED = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"],
    "rules": {name: {"enabled": True} for name in ("heading-order", "page-has-heading-one", "landmark-one-main")},
    "resultTypes": ["violations"],
    "preload": False,
}
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


def in_slices(chapters, numbers):
    """The chapters as parameters: those of other numbers take `--all`."""
    return [p if p.name[:2] in numbers else pytest.param(p, marks=pytest.mark.long) for p in chapters]


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
    """visit(host, ...) gives a page that may ask this host alone, and a list of what went wrong. The options are those
    of playwright's `new_context`."""
    contexts = []

    def open_page(host, **options):
        context, wrong = browser.new_context(viewport={"width": 1280, "height": 900}, **options), []
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
    for path in with_views() if pytestconfig.getoption("all") else []:
        shutil.copy(path, root / "chapters" / path.name)
    for name, source in {"broken": "1 / 0", "view": VIEW_CELL}.items():
        nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)], metadata=METADATA)
        notebooks.write(nb, root / "work" / f"{name}.ipynb")
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


def moved_in_lab(page, host, name):
    """Run a notebook in JupyterLab and move its first views; how many there are."""
    assert run_all(page, host, name) == []
    page.evaluate("""() => { const notebook = window.jupyterapp.shell.currentWidget.content;
        const html = (output) => String((output.data || {})['text/html'] || '');
        const drawn = (cell) => cell.outputs && cell.outputs.toJSON().some((o) => html(o).includes('id="kfac-'));
        notebook.activeCellIndex = [...notebook.model.cells].findIndex(drawn);
        return notebook.scrollToItem(notebook.activeCellIndex, 'center'); }""")
    sync_api.expect(page.locator("[id^=kfac-]").first).to_be_visible(timeout=180 * SECOND)
    moved = move_views(page)
    shut_down(page, host)
    return moved


def test_a_view_moves_in_jupyterlab(lab, visit):
    page, wrong = visit(lab)
    assert moved_in_lab(page, lab, "view.ipynb") == 1 and wrong == []


@pytest.mark.long
@pytest.mark.parametrize("path", with_views(), ids=lambda path: path.stem)
def test_a_chapter_runs_and_its_views_move(path, lab, visit):
    page, wrong = visit(lab)
    assert moved_in_lab(page, lab, path.name) and wrong == []


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


@pytest.mark.parametrize("path", in_slices(with_views(), SLICE), ids=lambda path: path.stem)
def test_every_view_moves_on_a_page_without_a_kernel(path, site, visit):
    page, wrong = visit(site)
    page.goto(f"http://{site}/chapters/{path.stem}.html")
    assert move_views(page) and wrong == []


@pytest.mark.parametrize("path", in_slices(with_views(), SLICE), ids=lambda path: path.stem)
def test_without_scripts_every_view_stands_still_and_says_what_it_shows(path, site, visit):
    page, wrong = visit(site, java_script_enabled=False)
    page.goto(f"http://{site}/chapters/{path.stem}.html")
    roots = page.locator("[id^=kfac-]")
    for k in range(roots.count()):
        pictures = [one for one in roots.nth(k).locator("img").all() if one.is_visible()]
        assert all(one.get_attribute("alt") for one in pictures)
        assert pictures or roots.nth(k).inner_text().strip()
        assert not any(one.is_visible() for one in roots.nth(k).locator("input").all())  # nothing could follow it
    assert roots.count() and wrong == []


def wider_than_the_window(page):
    """What sticks out of the window at the right, in words; [] if the page does not scroll sideways."""
    return page.evaluate("""() => { const width = document.documentElement.clientWidth;
        if (document.documentElement.scrollWidth <= width) return [];
        const out = [...document.querySelectorAll('main *')].filter((e) => e.getBoundingClientRect().right > width + 1);
        return out.slice(0, 9).map((e) => `${width}: ${e.tagName} ${e.className} ${e.textContent.slice(0, 40)}`)
            .concat(`the page is ${document.documentElement.scrollWidth} wide`); }""")


def violations(page):
    """What axe-core has against the page as it is shown. A formula has the colours of the text around it; its letters
    are left out, because there are thousands."""
    found = axe.Axe().run(page, context={"exclude": [["math"]]}, options=JUDGED).response["violations"]
    return [f"{one['id']}: {node['target']} {node['html'][:90]}" for one in found for node in one["nodes"]]


def judged(page, address):
    """Complaints about a page at all widths, in light and in dark."""
    found = []
    page.goto(address)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        found += wider_than_the_window(page)
    page.set_viewport_size({"width": WIDTHS[1], "height": 900})
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function("scheme => document.documentElement.dataset.theme === scheme", arg=scheme)
        found += [f"{scheme}: {said}" for said in violations(page)]
    return [f"{address}: {said}" for said in found]


@pytest.mark.parametrize("name", ["index", "chapters/READ", "pages/olmo2_1b"])
def test_a_page_fits_every_window_and_axe_has_nothing_against_it(name, site, visit):
    page, wrong = visit(site, reduced_motion="reduce")
    name = name.replace("READ", notebooks.chapters([READ])[0].stem)
    assert judged(page, f"http://{site}/{name}.html") == [] and wrong == []


@pytest.mark.long
def test_every_page_fits_every_window_and_axe_has_nothing_against_it(site, whole_site, visit):
    page, wrong = visit(site, reduced_motion="reduce")
    names = [p.relative_to(whole_site).as_posix() for p in whole_site.rglob("*.html") if "_static" not in p.parts]
    assert len(names) > len(notebooks.chapters())
    assert [said for name in sorted(names) for said in judged(page, f"http://{site}/{name}")] == [] and wrong == []


def test_axe_sees_faint_text_and_a_picture_without_words(site, visit):
    page, _ = visit(site)
    page.goto(f"http://{site}/index.html")
    page.evaluate("""() => document.querySelector('article.bd-article').insertAdjacentHTML('afterbegin',
        '<p style="color:#999;background:#fff">faint</p><img src="_static/minus.png">')""")
    assert {said.partition(":")[0] for said in violations(page)} >= {"color-contrast", "image-alt"}


def test_a_prediction_is_answered_in_its_page_and_remembered_there(site, visit):
    page, wrong = visit(site)
    (path,) = notebooks.chapters(["05"])
    page.goto(f"http://{site}/chapters/{path.stem}.html")
    for form in page.locator("form.prediction").all():
        name = form.get_attribute("data-prediction")
        told = page.locator(f'[data-measured="{name}"]')
        assert told.count() == 2  # folded below the question, and at the chapter's end
        right = told.first.get_attribute("data-value")
        if form.locator("[type=radio]").count():
            options = form.locator("[type=radio]").all()
            next(one for one in options if one.get_attribute("value") != right).check()
            assert re.search(r"You said [a-z ]+; it is", told.last.text_content())
            next(one for one in options if one.get_attribute("value") == right).check()
            assert "you were right: it is" in told.last.text_content()
        else:
            form.locator("input").fill(str(2 * float(right)))
            page.keyboard.press("Enter")
            assert "off by a factor of 2; it is" in told.last.text_content()
            form.locator("input").fill(right)
            form.get_by_role("button").click()
            assert "within a tenth of it: it is" in told.last.text_content()
        assert "is kept in this browser" in form.inner_text() and not told.first.is_visible()
        form.get_by_text("What the chapter measured").click()
        assert told.first.is_visible()
    said = page.locator(".guessed").all_text_contents()
    page.reload()
    assert page.locator(".guessed").all_text_contents() == said and len(said) >= 4
    assert page.context.cookies() == [] and wrong == []


@pytest.mark.parametrize("path", in_slices(notebooks.chapters(), ()), ids=lambda path: path.stem)
def test_a_printed_chapter_is_not_cut_off(path, site, visit, tmp_path):
    page, wrong = visit(site)
    page.goto(f"http://{site}/chapters/{path.stem}.html")
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 680, "height": 960})  # A4 between margins of 15 mm
    assert wider_than_the_window(page) == []
    cut = page.evaluate("""() => [...document.querySelectorAll('main pre, main .formula, main table, main img')]
        .filter((e) => e.checkVisibility() && e.scrollWidth > e.clientWidth + 1)
        .filter((e) => getComputedStyle(e).overflowX !== 'visible')
        .map((e) => e.textContent.slice(0, 60))""")
    assert cut == []
    whole = page.evaluate("""() => [...document.querySelectorAll('main div.highlight pre')]
        .filter((e) => getComputedStyle(e).overflowX !== 'visible'
            || getComputedStyle(e.parentElement).breakInside !== 'auto').length""")
    assert whole == 0  # code that may not be divided would leave its frame behind, empty, and begin on the next page
    assert page.pdf(format="A4").startswith(b"%PDF-") and wrong == []


def test_a_quiz_is_answered_in_its_page_and_remembered_there(site, visit):
    page, wrong = visit(site)
    (path,) = notebooks.chapters([READ])
    page.goto(f"http://{site}/chapters/{path.stem}.html")
    first = page.locator("section#quiz ul.quiz").first
    options, answer = first.get_by_role("button"), page.locator("section#quiz details").first
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
    assert page.locator("section#quiz ul.quiz .quiz-right").count() == 1 and wrong == []


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
    places = {"staircase": notebooks.chapters([READ])[0].stem, "collect_factors": "api/kfaclib", "dolmino": "olmo2_1b"}
    for word, place in places.items():
        page.goto(f"http://{site}/search.html?q={word}")
        found = page.locator("#search-results li a")
        sync_api.expect(found.first).to_be_visible(timeout=180 * SECOND)
        sync_api.expect(page.locator(f'#search-results li a[href*="{place}"]').first).to_be_visible()
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
