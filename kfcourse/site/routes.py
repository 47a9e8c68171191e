"""Which chapter needs which, three ways through the course, and the map that shows both."""

import re
import textwrap
from dataclasses import dataclass
from html import escape

from kfcourse.learning.exercises import chapter_module
from kfcourse.notebooks import notebooks, outline

NAMED = re.compile(r"\bchapters?((?:[\s,]|and|to|\d{1,2})*\d{1,2})", flags=re.I)


@dataclass(frozen=True)
class Route:
    """A way through the course: to the chapters that name it in their `kfcourse/chNN/__init__.py`, as in
    `ROUTES = ("build it",)`, through all that these need, except that `trusted` chapters are not read.
    """

    name: str
    trusted: tuple[str, ...]
    minutes: tuple[str, ...]
    how: str


ROUTES = (
    Route(
        "see it",
        ("04", "05", "06"),
        ("read", "run"),
        "What happens, in pictures you make yourself. Predict, run, move the sliders, and leave the exercises. Two "
        "things are taken on trust, and the "
        "[glossary](pages/glossary.md) has them: what curvature is, and that two small matrices, A and G, describe it.",
    ),
    Route(
        "build it",
        (),
        ("read", "run", "solve"),
        "You write it: every exercise, from a slice of a loss to the edit of a real model, its kernels, and more "
        "than one GPU.",
    ),
    Route(
        "prove it",
        (),
        ("read", "run", "solve"),
        "Why it is true, and where it is not: the derivations, the cases in which they are exact, the controls, and "
        "what the method cannot do.",
    ),
)


def needs(prerequisites):
    """Numbers ("05") of the chapters that a text names: "chapters 4 and 5", "chapter 04 (...)", "chapters 4 to 6"."""
    found = set()
    for match in NAMED.finditer(prerequisites):
        for first, last in re.findall(r"(\d{1,2})(?:\s+to\s+(\d{1,2}))?", match[1]):
            found.update(range(int(first), int(last or first) + 1))
    return tuple(f"{number:02d}" for number in sorted(found))


def chapters():
    """{number: (name of the notebook, its FirstCell)} of the chapters that are there. One whose first cell is broken is
    left out.
    """
    found = {}
    for path in notebooks.chapters():
        try:
            found[path.name[:2]] = (path.stem, outline.first_cell(notebooks.read(path)))
        except ValueError:  # the contract's test says what is wrong with it
            continue
    return found


def graph(heads):
    """{number: numbers of the earlier chapters that it needs} from chapters(); one that is not there yet is left
    out.
    """
    return {
        number: tuple(n for n in needs(head.prerequisites) if n in heads and n < number)
        for number, (_, head) in heads.items()
    }


def goals(number):
    """The names of the routes that lead to a chapter; ValueError if one of them does not exist."""
    names = getattr(chapter_module(number, "__init__"), "ROUTES", ())
    known = [route.name for route in ROUTES]
    for name in names:
        if name not in known:
            raise ValueError(
                f"kfcourse/ch{number}/__init__.py: no route is called {name!r}; there are: {', '.join(known)}"
            )
    return names


def along(route, needed):
    """The chapters of a route in order: those that name it, and what they need."""
    found, ahead = set(), [number for number in needed if route.name in goals(number)]
    while ahead:
        number = ahead.pop()
        if number not in found and number not in route.trusted:
            found.add(number)
            ahead += needed[number]
    return sorted(found)


def title(head):
    """A chapter's title without its number."""
    return re.sub(r"^\d+\s*[·.:]?\s*", "", head.title)


def listing(heads):
    """Markdown list of the routes: what each is, how long it takes, and its chapters."""
    needed, lines = graph(heads), []
    for route in ROUTES:
        numbers = along(route, needed)
        links = " ".join(f"[{n}](chapters/{heads[n][0]}.ipynb)" for n in numbers)
        minutes = sum(heads[n][1].minutes[verb] for n in numbers for verb in route.minutes)
        lines.append(f"- **{route.name}**, {minutes / 60:.0f} hours. {route.how} Chapters {links}")
    return "\n".join(lines)


# --- the map

WIDTH, HEIGHT, ACROSS, DOWN = 216, 74, 24, 46  # of a box, and between boxes, in pixels


def levels(needed):
    """Chapters in rows: each below all that it needs, and in its row below the mean place of those."""
    depth, rows = {}, []
    for number in sorted(needed):  # a chapter needs earlier ones only
        depth[number] = 1 + max((depth[n] for n in needed[number]), default=-1)
    place = {}
    for row in range(max(depth.values(), default=-1) + 1):
        mean = lambda n: sum(place[m] for m in needed[n]) / len(needed[n]) if needed[n] else 0.0
        rows.append(sorted((n for n in depth if depth[n] == row), key=lambda n: (mean(n), n)))
        place.update({n: i - len(rows[-1]) / 2 for i, n in enumerate(rows[-1])})
    return rows


def direct(needed):
    """The same graph without the arrows that go without saying: who needs 05 needs what 05 needs."""

    def behind(number):
        return set(needed[number]).union(*(behind(n) for n in needed[number]))

    return {number: [n for n in ns if not any(n in behind(m) for m in ns)] for number, ns in needed.items()}


def in_words(heads, needed):
    """The map as one text, for those who do not see it."""
    said = [
        f"{n} {title(heads[n][1])} {'needs ' + ' and '.join(needed[n]) if needed[n] else 'needs nothing'}"
        for n in sorted(needed)
    ]
    return "Map of the chapters, arrows from what is needed: " + "; ".join(said) + "."


def picture(heads, link="chapters/{}.html"):
    """The map as SVG: a box for each chapter with its routes, an arrow from every chapter that it needs. `link`: where
    a box leads.
    """
    needed = graph(heads)
    rows, routes = levels(needed), {route.name: along(route, needed) for route in ROUTES}
    width = max(map(len, rows), default=0) * (WIDTH + ACROSS)
    corner = {}
    for down, row in enumerate(rows):
        left = (width - len(row) * (WIDTH + ACROSS) + ACROSS) / 2
        corner.update({n: (left + i * (WIDTH + ACROSS), 2 + down * (HEIGHT + DOWN)) for i, n in enumerate(row)})
    height = len(rows) * (HEIGHT + DOWN) - DOWN + 4
    parts = [
        f'<svg role="group" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        f' style="max-width: {width}px; width: 100%; font-family: '
        f'sans-serif"><title>{escape(in_words(heads, needed))}</title>',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="currentColor"/></marker></defs>',
    ]
    for number, ns in direct(needed).items():
        for n in ns:
            (x0, y0), (x1, y1) = corner[n], corner[number]
            x0, y0, x1 = x0 + WIDTH / 2, y0 + HEIGHT, x1 + WIDTH / 2
            parts.append(
                f'<path d="M{x0:g} {y0} C{x0:g} {y0 + DOWN * 0.7:g} {x1:g} {y1 - DOWN * 0.7:g} {x1:g} {y1 - 2}" '
                'fill="none"'
                ' stroke="currentColor" stroke-width="1.5" marker-end="url(#tip)"/>'
            )
    for number, (x, y) in corner.items():
        name, head = heads[number]
        lines = textwrap.wrap(f"{number} · {title(head)}", 23)[:2]
        ways = ", ".join(route for route, numbers in routes.items() if number in numbers)
        texts = [
            f'<text x="{x + 12:g}" y="{y + 22 + 18 * i}" font-size="14" font-weight="600">{escape(line)}</text>'
            for i, line in enumerate(lines)
        ]
        texts.append(f'<text x="{x + 12:g}" y="{y + HEIGHT - 12}" font-size="12">{escape(ways)}</text>')
        parts.append(
            f'<a href="{escape(link.format(name))}" fill="currentColor" style="color: inherit; text-decoration: none">'
            f'<rect x="{x:g}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="8" fill="var(--pst-color-background, '
            'white)"'
            f' stroke="currentColor" stroke-width="1.5"/>{"".join(texts)}</a>'
        )
    return "\n".join([*parts, "</svg>"])
