"""What the site says that no file says: its start page, how long the chapters take, and a signpost in every chapter."""

import os
import platform

from kfaclib.io.files import read_json
from kfcourse import paths
from kfcourse.notebooks import outline
from kfcourse.site import publishing, routes

TITLE = "Where does a language model keep what it recites?"
WELCOME = """\
# {title}

Language models recite. This course shows why, what that looks like in the loss landscape, and how curvature lets you
take the recitation out while the reasoning survives. These are its chapters with the outputs they were stored with. To
run them, and to write in them, you need the repository and one command:

```
python3 course.py lab
```

Words are in the [glossary](pages/glossary.md), symbols in the [notation](pages/notation.md). {picture}

## Three ways through

{routes}

The hours are those that the chapters' first cells say, added up. A route holds what its last chapters need, so it can
be walked from its beginning.

## The map

An arrow leads from what is needed to the chapter that needs it; below the title stand the routes that come by.

```{{raw}} html
{map}
```

## The chapters

{chapters}

{contents}
"""
TIMINGS = """\
# How long the chapters take

What the chapters promise to take on two CPU cores, and what the last `python3 course.py` measured, from a fresh kernel,
{where}.

{table}
"""


def measured():
    """{chapter: {"seconds", "ok"}} of the last run on this machine; empty if there was none."""
    report = paths.BUILD / "course.json"
    return {row["chapter"]: row for row in read_json(report)} if report.is_file() else {}


def run_time(row):
    """How long the last run of a chapter took and how much memory, in words."""
    if not row:
        return "not measured"
    gib = f", {row['gib']:.1f} GiB" if "gib" in row else ""
    return f"{row['seconds']:.0f} seconds{gib}" + ("" if row["ok"] else ", and stopped with an error")


def machine():
    return f"on this machine ({platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores)"


def signpost(name, heads, where):
    """Markdown below a chapter's minutes: the measured run, the chapters it needs, its routes, and a link to run it
    elsewhere.
    """
    number, needed = name[:2], routes.graph(heads)
    row = measured().get(name)
    lines = [f"**The last run:** {run_time(row)}{f', {machine()}' if row else '; `python3 course.py` measures it'}."]
    if number in needed:
        links = [f"[{n} {routes.title(heads[n][1])}]({heads[n][0]}.ipynb)" for n in needed[number]]
        lines.append(
            f"**Needs:** {', '.join(links) or 'no other chapter'}. "
            "**On the way to:** "
            f"{', '.join(r.name for r in routes.ROUTES if number in routes.along(r, needed)) or 'no route'}. "
            "([map](../index.md))"
        )
    if where:
        lines.append(
            f"[Open in Colab]({publishing.colab_link(where, name)}) · [the "
            f"notebook]({publishing.file_link(where, f'chapters/{name}.ipynb')})"
        )
    return "\n\n".join(lines)


def timings(heads, names):
    """The page of timings."""
    rows, known = ["| chapter | minutes it promises | the run took |", "|---|---:|---:|"], measured()
    promised = {name: head.minutes["run"] for name, head in heads.values()}
    for name in names:
        rows.append(f"| [{name}](../chapters/{name}.ipynb) | {promised.get(name, '-')} | {run_time(known.get(name))} |")
    return TIMINGS.format(where=machine(), table="\n".join(rows))


def start_page(heads, names, listed):
    """The start page: the routes, the map, the chapters, and the table of contents for the sidebar."""
    toctree = lambda caption, entries: (
        "\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", "", *entries, "```"]) if entries else ""
    )
    contents = [toctree("The chapters", [f"chapters/{name}" for name in names])]
    contents += [toctree(heading, [p.with_suffix("").as_posix() for p in found]) for heading, found in listed.items()]
    picture = ""
    if (paths.DATA / "results" / "abilities.png").is_file():
        picture = (
            "\n\n![Accuracy of nine abilities as less and less curvature is kept: quotes go first, then rare facts "
        )
        picture += "and sums, logic and open-book answers last](data/results/abilities.png)"
    return WELCOME.format(
        title=TITLE,
        picture=picture,
        routes=routes.table(heads),
        map=routes.picture(heads),
        chapters=outline.table(dict(heads.values())),
        contents="\n\n".join(contents),
    )
