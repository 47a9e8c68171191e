"""The chapters' quizzes in GIFT, the text format that Moodle and many other learning platforms import."""

from functools import partial

from kfcourse.notebooks import notebooks, outline
from kfcourse.site import markup

SPECIAL = "\\~=#{}:"  # what GIFT reads as its own, unless a backslash stands before it; the backslash comes first
html = partial(markup.html, formula=markup.as_tex)


def escaped(text):
    r"""Text in which GIFT finds nothing of its own: specials with a backslash, a line break as \n, no weight at the
    beginning.
    """
    for character in SPECIAL:
        text = text.replace(character, "\\" + character)
    text = text.replace("\n", "\\n")
    return "&\\#37;" + text[1:] if text.startswith("%") else text


def weight(question, letter):
    """GIFT's mark of an option. Several right options share the points; ticking everything gives none."""
    if question.right == (letter,):
        return "="
    if len(question.right) == 1:
        return "~"
    wrong = len(question.options) - len(question.right)
    return f"~%{100 / len(question.right) if letter in question.right else -100 / wrong:.7g}%"


def gift(question, title):
    """One question: HTML texts, feedback for each option, the whole answer for everybody."""
    named = lambda text: outline.without_letters(text, question.options)
    lines = [f"::{escaped(title)}, question {question.number}::[html]{escaped(html(question.text))}{{"]
    for letter, option in question.options.items():
        why = " ".join(filter(None, ["Right." if letter in question.right else "", named(question.why[letter])]))
        lines.append(
            f"{weight(question, letter)}{escaped(html(option, inline=True))}#{escaped(html(why, inline=True))}"
        )
    return "\n".join([*lines, f"####{escaped(html(named(question.answer)))}", "}"])


def chapter(nb):
    """The quiz of a notebook as the text of one .gift file."""
    title = outline.first_cell(nb).title
    head = f"// Made from the chapter's notebook by `course quizzes`.\n$CATEGORY: {title.replace('/', '//')}"
    return "\n\n".join([head, *(gift(question, title) for question in outline.quiz(nb))]) + "\n"


def write(words, folder):
    """Write NN_name.gift for the chapters that `words` pick (all if none is named); returns the paths."""
    return notebooks.write_each(chapter, words, folder, ".gift")
