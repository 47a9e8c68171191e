"""Every exercise of every chapter: its reference passes, its stub is empty, nothing leaks, wrong answers are named."""

import ast
import functools

import pytest

from kfcourse import Exercise
from kfcourse.learning import exercises
from kfcourse.notebooks import notebooks
from shared import right_answers, wrong_answers

CHAPTERS = {path.name[:2]: path for path in notebooks.chapters()}
EVERY = [(number, name) for number, path in CHAPTERS.items() for name in notebooks.exercises(notebooks.read(path))]


def namespace_of(nb):
    """What an answer may use besides its arguments: the chapter's imports and functions, never its data."""
    imports = (ast.Import, ast.ImportFrom)
    kept = [
        s
        for cell in notebooks.code_cells(nb)
        for s in notebooks.parse_cell(cell.source).body
        if isinstance(s, (*imports, ast.FunctionDef))
        or (isinstance(s, ast.If) and all(isinstance(part, imports) for part in [*s.body, *s.orelse]))
    ]
    names = {}
    exec(compile(ast.Module(kept, type_ignores=[]), "<the chapter's imports and functions>", "exec"), names)
    return names


@pytest.fixture(scope="module")
def namespaces():
    """{chapter number: namespace of (worked notebook, learner's copy)}, filled when first asked for."""
    made = {}

    def get(number):
        if number not in made:
            nb = notebooks.read(CHAPTERS[number])
            made[number] = namespace_of(nb), namespace_of(notebooks.learner_copy(nb))
        return made[number]

    return get


@pytest.mark.parametrize("number", CHAPTERS)
def test_facts_belong_to_the_notebook(number):
    facts = exercises.chapter_exercises(number)
    assert set(facts) == set(notebooks.exercises(notebooks.read(CHAPTERS[number])))
    assert set(wrong_answers(number)) == set(facts)


@pytest.mark.parametrize("number, exercise_id", EVERY)
def test_facts_are_complete(number, exercise_id):
    facts = exercises.exercise_facts(exercise_id)
    assert isinstance(facts, Exercise)
    assert len(facts.hints) == 3 and len({*facts.hints}) == 3 and all(len(h) >= 15 for h in facts.hints)
    assert facts.difficulty in range(1, 6) and 1 <= facts.minutes <= 120
    assert len(facts.title) >= 5 and len(facts.explanation) >= 30


@pytest.mark.parametrize("number, exercise_id", EVERY)
def test_reference_passes(number, exercise_id, namespaces):
    function = exercises.reference(exercise_id, namespaces(number)[0])
    verdict = exercises.judge(exercises.exercise_facts(exercise_id), function)
    assert verdict.state == "right", verdict.message


@pytest.mark.parametrize("number, exercise_id", EVERY)
def test_stub_is_empty(number, exercise_id, namespaces):
    stub = namespaces(number)[1][exercise_id.partition(".")[2]].__wrapped__
    assert exercises.judge(exercises.exercise_facts(exercise_id), stub).state == "empty"


@pytest.mark.parametrize("number, exercise_id", EVERY)
def test_wrong_answers_are_named(number, exercise_id):
    facts, answers = exercises.exercise_facts(exercise_id), wrong_answers(number)[exercise_id]
    assert len(answers) >= 2, "at least two wrong answers are needed"
    for function, fragment in answers:
        verdict = exercises.judge(facts, function)
        assert verdict.state == "wrong", f"{function.__name__} was accepted"
        assert fragment in verdict.message, f"{function.__name__}: {verdict.message}"


@pytest.mark.parametrize("number", CHAPTERS)
def test_right_answers_of_unusual_form_pass(number):
    for exercise_id, functions in right_answers(number).items():
        for function in functions:
            verdict = exercises.judge(exercises.exercise_facts(exercise_id), function)
            assert verdict.state == "right", f"{exercise_id}, {function.__name__}: {verdict.message}"


@pytest.mark.parametrize("number", CHAPTERS)
def test_no_solution_leaks(number):
    nb = notebooks.read(CHAPTERS[number])
    assert leaks(nb) == []


def leaks(nb):
    """Lines of solutions (20 characters or more) that stand somewhere in the learner's copy."""
    copy = "\n".join(cell.source for cell in notebooks.learner_copy(nb).cells)
    taken = [line.strip() for cell in notebooks.code_cells(nb) for line in notebooks.split_solution(cell.source)[1]]
    return [line for line in taken if len(line) >= 20 and line in copy]


def test_a_leak_is_found(tiny_path):
    nb = notebooks.read(tiny_path)
    assert leaks(nb) == []
    nb.cells[-1].source += "\n\nBy the way: `return float(sum(list(values)))`."
    assert leaks(nb) == ["return float(sum(list(values)))"]


def test_an_answer_under_a_decorator_of_the_standard_library_is_judged_like_any_other(tiny_path):
    facts = exercises.exercise_facts("97.double")

    @functools.cache
    def empty(x):
        raise NotImplementedError

    @functools.cache
    def broken(x):
        return x.T

    assert exercises.judge(facts, empty).state == "empty"
    assert "AttributeError" in exercises.judge(facts, broken).message
    assert exercises.judge(facts, functools.cache(lambda x: 2 * x)).state == "right"
