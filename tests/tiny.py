"""A tiny checkout with one chapter that keeps the contract, so that the machinery is tested whatever chapters exist;
tiny wheels.
"""

import zipfile

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

CHECKS = """
from kfcourse import Exercise


def check_double(double):
    assert double(2) == 4, "2 doubled is 4: is it a sum of the number with itself?"
    assert double(-3) == -6, "the sign is lost for negative numbers"


def check_total(total):
    assert abs(total([1.0, 2.0]) - 3.0) < 1e-9, "the sum of 1 and 2 is 3"


def check_mean(mean):
    assert abs(mean([1.0, 3.0]) - 2.0) < 1e-9, "the mean of 1 and 3 is 2: divide by how many there are"


HINTS = ("Think of an example.", "Write it down for two numbers.", "Now do the same in Python.")
EXERCISES = {
    "97.double": Exercise("Double a number", 1, 2, HINTS, check_double, "Multiplying by two keeps the sign."),
    "97.total": Exercise("Add numbers up", 1, 3, HINTS, check_total, "Python's sum adds any list of numbers."),
    "97.mean": Exercise("Take a mean", 2, 4, HINTS, check_mean, "The sum, divided by how many there are."),
}
"""

FIRST = """\
# 97 A tiny chapter

Does the machinery of the course work on a chapter that does very little?

**You will learn**

- how a chapter is laid out
- how an exercise is checked
- how a figure is stored

**Prerequisites:** none.

**Minutes:** 3 to read, 1 to run, 9 to solve.

**Predict first:** will the notebook give the same bytes when it is executed a second time?"""

PROSE = """\
This paragraph stands between two cells of code, as it would in a real chapter. It says what the reader has just seen,
why it matters for the question of the chapter, and what to look for in the next cell. It is about as long as such a
paragraph should be: long enough to think, short enough to keep going. A reader who only skims can still follow it."""

LAST = """\
## What we found

The paper says that it works. Ours works as well. What does yours say?

## Common confusions

A tiny chapter is not a small chapter.

## Quiz

**1.** What is two doubled?

- (a) two
- (b) three
- (c) four

<details><summary>Answer</summary>

(c). Not (a), which leaves the number as it is, and not (b), which adds one.

</details>

**2.** What is the mean of one and three?

- (a) two
- (b) four

<details><summary>Answer</summary>

(a). The sum is (b); it has to be divided by the count.

</details>

**3.** Is this the last question?

- (a) yes
- (b) no

<details><summary>Answer</summary>

(a). After (b) there would be another one.

</details>

## References

None.

## The next question

What does a real chapter look like?"""

FIGURE = """\
import matplotlib.pyplot as plt
from IPython.display import display
fig, ax = plt.subplots(figsize=(2, 1))
ax.plot([0, 1], [0, 1])
fig.canvas.draw()
import io; png = io.BytesIO(); fig.savefig(png); plt.close(fig)
text = "Figure: a line from the lower left to the upper right"
import base64; picture = base64.b64encode(png.getvalue()).decode()
display({"image/png": picture, "text/plain": text}, raw=True, metadata={"image/png": {"alt": text[8:]}})"""


def exercise_cells(name, signature, spec, solution, title, difficulty, minutes):
    code = f'@exercise("97.{name}")\ndef {name}({signature}):\n    """{spec}"""\n'
    code += f"    ### BEGIN SOLUTION\n    {solution}\n    ### END SOLUTION"
    head = f"### Exercise: {title}\n\nDifficulty {difficulty}/5, {minutes} minutes.\n\n{PROSE}"
    return [new_markdown_cell(head), new_code_cell(code), new_code_cell(f'check("97.{name}")')]


def tiny_chapter():
    """The worked notebook, not executed, with cell ids that are the same every time."""
    cells = [
        new_markdown_cell(FIRST),
        new_code_cell("from kfcourse import check, exercise, hint"),
        new_markdown_cell(PROSE),
        new_code_cell(FIGURE),
        *exercise_cells(
            "double",
            "x",
            "Twice a number: a float in, a float out.",
            "return x + 0 * len(str(x)) + x",
            "Double a number",
            1,
            2,
        ),
        *exercise_cells(
            "total",
            "values",
            "The sum of a list of floats [n], as one float.",
            "return float(sum(list(values)))",
            "Add numbers up",
            1,
            3,
        ),
        *exercise_cells(
            "mean",
            "values",
            "The mean of a list of floats [n], as one float.",
            "return total(values) / len(list(values))",
            "Take a mean",
            2,
            4,
        ),
        new_markdown_cell(PROSE),
        new_code_cell('hint("97.double")'),
        new_markdown_cell(PROSE),
        new_code_cell("print(double(4), mean([1, 2, 3]))", metadata={"tags": ["nbval-check-output"]}),
        new_markdown_cell(LAST),
    ]
    for i, cell in enumerate(cells):
        cell["id"] = f"tiny-{i}"
    return nbformat.from_dict(new_notebook(cells=cells))


def tiny_wheel(folder, name, requires=(), tag="py3-none-any", version="1.0"):
    """A wheel that pip can install: one module, and what it says it needs."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"name = {name!r}\n",
        f"{facts}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
        f"{facts}/METADATA": "\n".join(
            [
                "Metadata-Version: 2.1",
                f"Name: {name}",
                f"Version: {version}",
                *(f"Requires-Dist: {r}" for r in requires),
                "",
            ]
        ),
    }
    files[f"{facts}/RECORD"] = "".join(f"{n},,\n" for n in [*files, f"{facts}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-{version}-{tag}.whl", "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
