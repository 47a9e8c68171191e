"""A new chapter is a notebook, a folder kfcourse/chNN and a folder tests/chNN; everything else finds it by itself."""

import shutil

import pytest

import contract
import test_exercises
from kfcourse import __main__ as course
from kfcourse import paths
from kfcourse.grading import variants
from kfcourse.learning import copies, exercises, progress
from kfcourse.notebooks import notebooks
from kfcourse.site import pages, quizzes, routes, slides, tables
from test_contract import stored_tiny_chapter
from tiny import CHECKS

REPOSITORY = paths.ROOT  # before the fixture points the paths elsewhere
VARIANTS = """
from kfcourse.grading.variants import Variant, real, whole

plus = lambda c: (f"Add {c}.", lambda ref: lambda x: ref(x) + c)
numbers = lambda g: (real(g, 4).tolist(),)
VARIANTS = {
    "97.double": Variant(lambda g: (whole(g, -9, 9),), lambda g: plus(whole(g, 1, 99))),
    "97.total": Variant(numbers, lambda g: ("Twice.", lambda ref: lambda v: 2 * ref(v))),
    "97.mean": Variant(numbers, lambda g: ("Twice.", lambda ref: lambda v: 2 * ref(v))),
}
"""
WRONG = """
WRONG = {
    "97.double": [(lambda x: x, "2 doubled is 4"), (lambda x: abs(2 * x), "the sign is lost")],
    "97.total": [(lambda v: v[0], "the sum of 1 and 2"), (lambda v: 0.0, "the sum of 1 and 2")],
    "97.mean": [(lambda v: sum(v), "divide by how many"), (lambda v: v[0], "divide by how many")],
}
"""
QUESTIONS = "# Chapter 97: a tiny chapter\n\n## 97-A. One\n\nWhy?\n\n## 97-B. Two\n\nWhy not?\n"


@pytest.fixture
def new_chapter(checkout):
    """A checkout with the course's chapters and pages, and a new chapter; the files that make it are returned."""
    for name in ("chapters", "pages", "teaching", "data/results"):
        shutil.copytree(REPOSITORY / name, paths.ROOT / name, dirs_exist_ok=True)
    shutil.copyfile(REPOSITORY / "README.md", paths.ROOT / "README.md")
    for folder in sorted((REPOSITORY / "kfcourse").glob("ch[0-9][0-9]")):
        shutil.copytree(folder, paths.ROOT / "kfcourse" / folder.name)
    before = set(paths.ROOT.rglob("*"))
    added = {
        "kfcourse/ch97/__init__.py": '"""Chapter 97: its checks and variants."""\n\nROUTES = ("build it",)\n',
        "kfcourse/ch97/checks.py": CHECKS,
        "kfcourse/ch97/variants.py": VARIANTS,
        "kfcourse/ch97/questions.md": QUESTIONS,
        "tests/ch97/wrong.py": WRONG,
        "chapters/97_tiny.ipynb": notebooks.to_bytes(stored_tiny_chapter()).decode(),
    }
    for name, text in added.items():
        (paths.ROOT / name).parent.mkdir(parents=True, exist_ok=True)
        (paths.ROOT / name).write_text(text, encoding="utf-8")
    return {path for path in set(paths.ROOT.rglob("*")) - before if path.is_file()}


def test_a_chapter_is_one_notebook_and_two_folders(new_chapter):
    assert {path.relative_to(paths.ROOT).as_posix().partition("/")[0] for path in new_chapter} == {
        "chapters",
        "kfcourse",
        "tests",
    }
    assert {path.parent.name for path in new_chapter} == {"chapters", "ch97"}


def test_the_pages_know_a_new_chapter(new_chapter):
    changed = {path.relative_to(paths.ROOT).as_posix() for path in tables.update()}
    assert changed == {"README.md", "teaching/syllabi.md", "teaching/questions.md"} and tables.update() == []
    assert "[97 A tiny chapter](chapters/97_tiny.ipynb)" in (paths.ROOT / "README.md").read_text(encoding="utf-8")
    rest = (paths.ROOT / "teaching" / "syllabi.md").read_text(encoding="utf-8").partition("have no week yet")[2]
    assert "[97 A tiny chapter]" in rest and "| 3 | 1 | 9 | Double a number, 2 (1/5); Add numbers up, 3 (1/5)" in rest
    assert "kfcourse/ch97/questions.md" in (paths.ROOT / "teaching" / "questions.md").read_text(encoding="utf-8")


def test_the_routes_and_the_map_know_a_new_chapter(new_chapter):
    heads = routes.chapters()
    walks = {route.name: routes.along(route, routes.graph(heads)) for route in routes.ROUTES}
    assert [name for name, walk in walks.items() if "97" in walk] == ["build it"]
    assert 'href="chapters/97_tiny.html"' in routes.picture(heads)
    (paths.ROOT / "kfcourse" / "ch97" / "__init__.py").write_text('ROUTES = ("sell it",)\n')
    exercises.chapter_module.cache_clear()
    with pytest.raises(ValueError, match="ch97/__init__.py: no route is called 'sell it'; there are: see it, build it"):
        routes.picture(heads)


@pytest.mark.slow
def test_the_site_shows_a_new_chapter(new_chapter):
    tables.update()
    picked = notebooks.chapters(["01", "97"])
    pages.render({path.stem: notebooks.read(path) for path in picked}, paths.BUILD / "pages")
    shown = {name: (paths.BUILD / "pages" / name).read_text(encoding="utf-8") for name in ("index.html", "search.html")}
    assert "chapters/97_tiny.html" in shown["index.html"]
    assert "On the way to:</strong> build it" in (paths.BUILD / "pages/chapters/97_tiny.html").read_text(
        encoding="utf-8"
    )
    assert (paths.BUILD / "pages/kfcourse/ch97/questions.html").is_file()


def test_the_contract_and_the_checks_of_exercises_know_a_new_chapter(new_chapter):
    nb = notebooks.read(paths.CHAPTERS / "97_tiny.ipynb")
    assert contract.violations(nb, "97", exercises.chapter_exercises("97")) == []
    for name in exercises.chapter_exercises("97"):
        test_exercises.test_facts_are_complete("97", name)
        test_exercises.test_wrong_answers_are_named("97", name)
        assert variants.of(name).question


def test_progress_and_export_know_a_new_chapter(new_chapter, tmp_path, capsys):
    copies.make_copies(paths.WORK)
    own = paths.WORK / "97_tiny.ipynb"
    nb = notebooks.read(own)
    copies.stubs(nb)["97.double"].source = '@exercise("97.double")\ndef double(x):\n    return 2 * x'
    notebooks.write(nb, own)
    states = {exercise: state for _, exercise, _, state, _ in progress.progress(["97"])}
    assert states == {"97.double": "right", "97.total": "empty", "97.mean": "empty"}
    (tmp_path / "secret.txt").write_text("no answer may read this secret")
    words = ["97", str(own), "--out", str(tmp_path / "marks"), "--secret", str(tmp_path / "secret.txt")]
    assert course.main(["export", *words]) == 0
    assert "97.double,right" in (tmp_path / "marks" / "marks.csv").read_text(encoding="utf-8")


def test_slides_and_quizzes_know_a_new_chapter(new_chapter, tmp_path):
    assert "97_tiny" in " ".join(map(str, slides.write(["97"], tmp_path) + quizzes.write(["97"], tmp_path)))
