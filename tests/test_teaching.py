"""The lecturer's pages: minutes that are the chapters', rubrics that add up, sample answers with the right marks, no
typed results.
"""

import re
import runpy

import pytest

from kfcourse.learning import exercises
from kfcourse.notebooks import notebooks
from kfcourse.paths import ROOT
from kfcourse.site import tables

FOLDER = ROOT / "teaching"
SYLLABI = (FOLDER / "syllabi.md").read_text(encoding="utf-8")
EVERY = [path.name[:2] for path in notebooks.chapters()]
PAGES = {number: ROOT / "kfcourse" / f"ch{number}" / "questions.md" for number in EVERY}
QUESTIONS = "\n".join(page.read_text(encoding="utf-8") for page in PAGES.values() if page.is_file())
BEYOND = {"2402.16835", "2410.02159"}  # read in the course, whether or not a chapter refers to them
PASS = 5


def parts():
    """{question's id: its text} of the chapters' questions."""
    _, *pieces = re.split(r"(?m)^## (\d\d-[A-Z])\. ", QUESTIONS)
    return dict(zip(pieces[::2], (re.split(r"(?m)^# ", piece)[0] for piece in pieces[1::2]), strict=True))


@pytest.mark.parametrize("page", tables.TABLES)
def test_its_tables_are_the_computed_ones(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert tables.computed(page, text) == text, "run python -m kfcourse.site.tables"
    assert {block["name"] for block in tables.BLOCK.finditer(text)} == set(tables.TABLES[page])


def test_each_course_has_its_weeks():
    six, twelve = (re.split(rf"(?m)^## {name} weeks$", SYLLABI)[1].split("\n## ")[0] for name in ("Six", "Twelve"))
    for text, weeks in ((six, 6), (twelve, 12)):
        assert re.findall(r"(?m)^### Week (\d+):", text) == [str(week + 1) for week in range(weeks)]
        for week in re.split(r"(?m)^### Week", text)[1:]:
            assert tables.BLOCK.search(week) and re.search(r"\*\*Write:\*\* .*\d\d-[AB]", week), week[:60]
    numbers = [n for block in tables.BLOCK.finditer(twelve) for n in block["words"].split()]
    assert len(numbers) == len(set(numbers)) and set(numbers) <= set(EVERY)
    rest = next(block[0] for block in tables.BLOCK.finditer(twelve) if block["name"] == "rest")
    assert sorted([*numbers, *re.findall(r"\.\./chapters/(\d\d)_", rest)]) == EVERY


def test_what_the_syllabi_name_exists():
    for exercise_id in re.findall(r"`(\d\d\.\w+)`", SYLLABI):
        assert exercise_id in exercises.chapter_exercises(exercise_id[:2]), exercise_id
    for question_id in re.findall(r"\b\d\d-[A-Z]\b", SYLLABI):
        assert question_id in parts(), question_id
    known = {
        i
        for path in notebooks.chapters()
        for c in notebooks.read(path).cells
        for i in re.findall(r"\b\d{4}\.\d{5}\b", c.source)
    } | BEYOND
    assert set(re.findall(r"\b\d{4}\.\d{5}\b", SYLLABI + QUESTIONS)) <= known


def test_marks_add_up_to_a_hundred():
    rows = re.findall(r"(?m)^\| (?:exercises|written questions|quizzes|project) \| (\d+|-) \| (\d+) \|", SYLLABI)
    for column in zip(*rows):
        assert sum(int(points) for points in column if points != "-") == 100
    project = SYLLABI.split("**The project**")[1].split("\n\n")[0]
    assert sum(map(int, re.findall(r"\((\d+)\)", project))) == int(rows[-1][1])


def test_commands_and_links_exist():
    course = runpy.run_path(str(ROOT / "course.py"))
    for page in FOLDER.glob("*.md"):
        text = page.read_text(encoding="utf-8")
        for command in re.findall(r"course\.py (\w+)", text):
            assert command in course["COMMANDS"], f"{page.name}: {command}"
    for page in (FOLDER / "syllabi.md", FOLDER / "questions.md", FOLDER / "README.md"):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (FOLDER / target).exists(), f"{page.name}: {target}"


def test_every_chapter_has_two_questions():
    assert all([i[3:] for i in parts() if i[:2] == number][:2] == ["A", "B"] for number in EVERY)


@pytest.mark.parametrize("question_id", parts())
def test_rubrics_and_sample_answers_fit(question_id):
    text = parts()[question_id]
    rubric = [int(points) for points in re.findall(r"(?m)^\| .+ \| (\d+) \|$", text)]
    assert sum(rubric) == 10 and 3 <= len(rubric) <= 5
    samples = re.findall(r"(?m)^\*\*(Weak|Passing|Excellent): (\d+) points \(([\d +]+)\)\.\*\* “?\"?(.+)", text)
    assert [level for level, *_ in samples] == ["Weak", "Passing", "Excellent"] and text.count("*Why:*") == 3
    totals = []
    for _, total, shares, _ in samples:
        shares = [int(share) for share in shares.split("+")]
        assert sum(shares) == int(total) and len(shares) == len(rubric)
        assert all(share <= most for share, most in zip(shares, rubric, strict=True)), f"{shares} of {rubric}"
        totals.append(sum(shares))
    assert totals[0] < PASS <= totals[1] < totals[2] <= 10
    lengths = [len(answer.split()) for answer in re.split(r"(?m)^\*\*(?:Weak|Passing|Excellent):", text)[1:]]
    assert 25 < lengths[0] < lengths[1] < lengths[2], "a better answer says more"


def test_no_result_is_typed():
    prose = re.sub(r"\b\d{4}\.\d{5}\b", "", QUESTIONS)
    assert not re.findall(r"\d\.\d|\d ?%|\d percent", prose), "refer to the chapter: its figures are computed"
