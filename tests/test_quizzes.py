"""What a learning platform reads in the .gift files is what stands in the chapters."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kfcourse.notebooks import notebooks, outline
from kfcourse.site import quizzes
from tiny import tiny_chapter


def unescape(text):
    """GIFT's escapes, read from left to right."""
    return re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], text, flags=re.S)


def cut(text, character):
    """Split at a character wherever no backslash stands before it."""
    parts, start, i = [], 0, 0
    while i < len(text):
        if text[i] == "\\":
            i += 1
        elif text[i] == character:
            parts.append(text[start:i])
            start = i + 1
        i += 1
    return [*parts, text[start:]]


def read_gift(text):
    """A small reader for multiple choice in GIFT: (category, [{name, text, answers: [(percent, text, feedback)],
    general}]).
    """
    blocks = [block for block in re.split(r"\n\s*\n", re.sub(r"(?m)^\s*//.*$", "", text).strip()) if block]
    category, found = blocks[0].removeprefix("$CATEGORY: "), []
    for block in blocks[1:]:
        _, _, name, _, *rest = cut(block, ":")
        asked, answers, *after = cut(":".join(rest), "{")
        assert not after and answers.endswith("}") and len(cut(answers, "}")) == 2
        body, general = answers[:-1].rsplit("\n####", 1)
        options = []
        for mark, option in re.findall(r"(?m)^([~=])(.*)$", body):
            share, option = re.fullmatch(r"(?:%(-?[0-9.]+)%)?(.*)", option).groups()
            assert len(cut(option, "~")) == len(cut(option, "=")) == 1
            words, feedback = cut(option, "#")
            options.append((float(share) if share else 100.0 * (mark == "="), unescape(words), unescape(feedback)))
        assert asked.startswith("[html]")
        found.append(
            {
                "name": unescape(name),
                "text": unescape(asked[6:]),
                "answers": options,
                "general": unescape(general.strip()),
            }
        )
    return category, found


@pytest.mark.parametrize("path", notebooks.chapters(), ids=lambda path: path.stem)
def test_every_chapter_comes_back_from_its_file(path):
    nb = notebooks.read(path)
    category, found = read_gift(quizzes.chapter(nb))
    assert category == outline.first_cell(nb).title
    for read, question in zip(found, outline.quiz(nb), strict=True):
        assert read["name"] == f"{category}, question {question.number}"
        assert read["text"] == quizzes.html(question.text) and read["general"] == quizzes.html(
            outline.without_letters(question.answer, question.options)
        )
        for (percent, text, feedback), (letter, option) in zip(read["answers"], question.options.items(), strict=True):
            assert text == quizzes.html(option, inline=True)
            assert (percent == 100 / len(question.right)) == (letter in question.right) and (
                percent > 0
            ) == feedback.startswith("Right.")
            assert len(feedback) > 5 and not outline.LETTER.search(feedback), (
                "letters mean nothing where options are shuffled"
            )


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\\~=#{}:%$n\n"), max_size=60))
def test_any_text_survives(text):
    assert unescape(quizzes.escaped(text)).replace("&#37;", "%", 1) == text.replace("&#37;", "%", 1)
    assert "\n" not in quizzes.escaped(text) and not quizzes.escaped(text).startswith("%")
    assert all(len(cut(quizzes.escaped(text), special)) == 1 for special in "~=#{}:")


def ask(answer, options="abc"):
    listed = "\n".join(f"- ({letter}) option {letter}" for letter in options)
    return outline.question(1, f" Which?\n\n{listed}\n\n<details><summary>Answer</summary>\n\n{answer}\n\n</details>\n")


def test_formulas_are_left_to_the_platform():
    text = quizzes.gift(ask(r"(a), since $\nabla x = \{1\}$. Not (b) or (c)."), "T")
    assert r"\\(\\nabla x \= \\\{1\\\}\\)" in text and r"\(\nabla x = \{1\}\)" in unescape(text)
    assert r"\[x < y\]".replace("<", "&lt;") in quizzes.html("$$x < y$$")


def test_several_right_options_share_the_mark():
    _, (read,) = read_gift("$CATEGORY: T\n\n" + quizzes.gift(ask("(a) and (c). Not (b): it is odd."), "T"))
    assert [percent for percent, _, _ in read["answers"]] == [50, -100, 50]
    _, (read,) = read_gift(
        "$CATEGORY: T\n\n" + quizzes.gift(ask("(a), (b), and (d). Not (c) or (e): odd.", "abcde"), "T")
    )
    assert [round(percent) for percent, _, _ in read["answers"]] == [33, 33, -50, 33, -50]


def test_a_letter_becomes_the_words_of_its_option():
    question = ask("**(b).** Two and two. (a) is odd. (c) it says nothing. So neither (a) nor (c).")
    assert question.right == ("b",) and question.why["b"] == "Two and two."
    named = {letter: outline.without_letters(text, question.options) for letter, text in question.why.items()}
    assert named["a"] == "“option a” is odd. So neither “option a” nor “option c”."
    assert named["c"].startswith("“option c” – it says nothing.")


def test_what_cannot_be_read_is_named(checkout):
    for answer, complaint in (
        ("Well, (a).", "does not begin"),
        ("(d). Not (a).", "does not begin"),
        ("(a). Not (b): no.", r"wrong options \['c'\]"),
    ):
        with pytest.raises(ValueError, match=complaint):
            ask(answer)
    nb = tiny_chapter()
    nb.cells[0].source = nb.cells[0].source.replace("9 to solve", "")
    notebooks.write(nb, notebooks.paths.CHAPTERS / "97_tiny.ipynb")
    with pytest.raises(ValueError, match="97_tiny.ipynb.*'N to solve'"):
        quizzes.write([], checkout / "out")


def test_files_are_named_after_their_chapters(tiny_path):
    (path,) = quizzes.write(["97"], notebooks.paths.BUILD / "quizzes")
    assert path.name == "97_tiny.gift" and len(read_gift(path.read_text(encoding="utf-8"))[1]) == 3
