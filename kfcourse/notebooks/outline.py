"""What a chapter says of itself: its first cell, its sections, its quiz. Slides, quizzes and syllabi are made from
it.
"""

import re
from dataclasses import dataclass

VERBS = ("read", "run", "solve")
LETTER = re.compile(r"(?<![\w`(])\(([a-z])\)")
FIRST = re.compile(r"\(([a-z])\)((?:(?:,| and|, and) \([a-z]\))*)")  # how an answer begins: the right option or options
SENTENCE = re.compile(r"""(?<=[.?!])(?<!e\.g\.)(?<!i\.e\.)\s+(?=[A-Z("'*`$“])""")
VERB = re.compile(  # what follows a letter that is the subject of its sentence: "(a) is ...", "(b) confuses ..."
    r" (?:and|or|is|was|has|had|does|would|will|can|cannot|could|may|might|must|makes|says|gives|takes|needs|"
    r"fails|holds|means|leaves|asks|counts|misses|ignores|confuses|mixes|contradicts|describes|explains|assumes|forgets|mistakes)\b"
)


@dataclass(frozen=True)
class FirstCell:
    """The head of a chapter; texts are Markdown. `minutes` has "read", "run" and "solve"."""

    title: str
    question: str
    learn: tuple[str, ...]
    prerequisites: str
    minutes: dict[str, int]
    predict: str


@dataclass(frozen=True)
class Question:
    """A question of the quiz; texts are Markdown and speak of options by letter. `why`: what the answer says about each
    of them.
    """

    number: int
    text: str
    options: dict[str, str]
    right: tuple[str, ...]
    why: dict[str, str]
    answer: str


def one_line(text):
    return " ".join(text.split())


def first_cell(nb):
    """The chapter's head as a FirstCell; ValueError says what it lacks."""
    text = nb.cells[0].source.strip()
    blocks = re.split(r"\n\s*\n", text)
    bullets = re.search(r"you will learn\W*\n+((?:[-*] .*\n?(?:[ ]+\S.*\n?)*)+)", text, flags=re.I)
    needed = re.search(r"\*\*prerequisites:?\*\*:?(.*?)(?:\n\s*\n|\Z)", text, flags=re.I | re.S)
    predict = re.search(r"\*\*predict first:?\*\*:?(.*)", text, flags=re.I | re.S)
    minutes = {verb: re.search(rf"(\d+)(?: min\w*)? to {verb}\b", text) for verb in VERBS}
    for what, found in {
        "a question below the title": blocks[1:],
        "'You will learn' with bullets": bullets,
        "'**Prerequisites:**'": needed,
        "'**Predict first:**'": predict,
        **{f"'N to {verb}'": m for verb, m in minutes.items()},
    }.items():
        if not found:
            raise ValueError(f"the first cell of {blocks[0]!r} has no {what}")
    return FirstCell(
        blocks[0].strip("# \n"),
        one_line(blocks[1].strip(" *_\n")),
        tuple(one_line(b).rstrip(";,. ") for b in re.split(r"(?m)^[-*] ", bullets[1])[1:]),
        one_line(needed[1]),
        {verb: int(m[1]) for verb, m in minutes.items()},
        one_line(predict[1]),
    )


def table(heads, column=None, entry=None):
    """Markdown table of {chapter name: FirstCell}: title, question and minutes; perhaps a further `column` of what
    `entry` says of a name.
    """
    lines = ["| chapter | the question | read | run | solve |", "|---|---|---:|---:|---:|"]
    for name, head in heads.items():
        lines.append(
            f"| [{head.title}](chapters/{name}.ipynb) | {head.question} | "
            f"{' | '.join(str(head.minutes[verb]) for verb in VERBS)} |"
        )
    if column:
        lines = [
            line + end
            for line, end in zip(lines, [f" {column} |", "---|", *(f" {entry(name)} |" for name in heads)], strict=True)
        ]
    return "\n".join(lines)


def sections(nb):
    """{heading of level two: its Markdown} over the whole chapter, in order; code and outputs left out."""
    text = "\n\n".join(cell.source for cell in nb.cells if cell.cell_type == "markdown")
    headings = re.findall(r"(?m)^## +(.*?)\s*$", text)
    return dict(zip(headings, (part.strip() for part in re.split(r"(?m)^## .*$", text)[1:]), strict=True))


def quiz(nb):
    """The chapter's quiz as a list of Questions; ValueError names the question that cannot be read."""
    parts = re.split(r"(?m)^\*\*(\d+)\.\*\*", sections(nb).get("Quiz", ""))[1:]
    return [question(int(number), text) for number, text in zip(parts[::2], parts[1::2], strict=True)]


def question(number, markdown):
    """One question from the Markdown that follows its number: text, options "- (a) ...", an answer within <details>."""
    asked, _, rest = markdown.partition("<details>")
    text, *options = re.split(r"(?m)^[-*] \(([a-z])\)", asked)
    options = {letter: one_line(option) for letter, option in zip(options[::2], options[1::2], strict=True)}
    answer = one_line(re.sub(r"<summary>.*?</summary>", "", rest, flags=re.S).partition("</details>")[0])
    answer = re.sub(r"\*+(\([a-z]\)[.,:]?)\*+", r"\1", answer)  # letters may be emphasised
    begins = FIRST.match(answer)
    right = tuple(re.findall(r"\(([a-z])\)", begins[0])) if begins else ()
    if not right or not set(right) <= set(options):
        raise ValueError(f"question {number}: the answer does not begin with the letter of an option: {answer[:60]!r}")
    why, last = {letter: [] for letter in options}, right
    for sentence in SENTENCE.split(answer):
        last = tuple(dict.fromkeys(letter for letter in LETTER.findall(sentence) if letter in options)) or last
        if LETTER.sub("", sentence).strip(" .,:;").removeprefix("and").strip():  # more than a bare "(b)."
            for letter in last:
                why[letter].append(sentence)
    unexplained = [letter for letter in options if not why[letter] and letter not in right]
    if unexplained:
        raise ValueError(f"question {number}: the answer says nothing about the wrong options {unexplained}")
    return Question(
        number,
        one_line(text),
        options,
        right,
        {letter: " ".join(sentences) for letter, sentences in why.items()},
        answer,
    )


def without_letters(text, options):
    """A text in which every letter of an option became the option's words: where options are shuffled, letters say
    nothing.
    """
    return LETTER.sub(lambda match: quoted(match, options), text)


def quoted(match, options):
    """An option's words instead of its letter, with a dash where only the letter's brackets held the sentence
    together.
    """
    letter, following = match[1], match.string[match.end() :]
    if letter not in options:
        return match[0]
    dash = (
        " –"
        if re.match(r" [a-z]", following)
        and not VERB.match(following)
        and re.search(r"(?:^|[.?!] )$", match.string[: match.start()])
        else ""
    )
    return f"“{options[letter].rstrip('.,;')}”{dash}"
