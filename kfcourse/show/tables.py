"""Tables in Markdown: the results of a chapter beside the paper's and the reader's own."""

from statistics import mean

from IPython.display import Markdown, display


def markdown(header, rows) -> str:
    """A Markdown table; numbers stand at the right, floats with three digits."""
    cells = [[f"{c:.3g}" if isinstance(c, float) else str(c) for c in row] for row in rows]
    numeric = [all(isinstance(row[k], (int, float)) for row in rows) for k in range(len(header))]
    rule = ["---:" if right else "---" for right in numeric]
    return "\n".join("| " + " | ".join(line) + " |" for line in [list(map(str, header)), rule, *cells])


def table(header, rows):
    """Display `markdown(header, rows)`."""
    display(Markdown(markdown(header, rows)))


def found(rows):
    """The table of a chapter's end: rows of (what, the paper's figure, ours, yours); None becomes a dash.

    "Ours" is recorded, over several seeds; "yours" is what this run of the notebook computed.
    """
    table(["", "paper", "ours", "yours"], [["-" if c is None else c for c in row] for row in rows])


def spread(values, digits=2) -> str:
    """The mean of some runs, with the smallest and the largest in parentheses."""
    return f"{mean(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"
