"""What the site says that no file says: its start page, how long the chapters take, and a signpost in every chapter."""

import os
import platform

from kfaclib.io.files import read_json
from kfcourse import paths
from kfcourse.notebooks import outline
from kfcourse.site import picture, publishing, routes

TITLE = "Where does a language model keep what it recites?"
WELCOME = """\
# {title}

Language models recite. This course shows why, what that looks like in the loss landscape, and how curvature lets you
take the recitation out while the reasoning survives.

{picture}

These pages are the chapters with the outputs they were stored with. You need nothing to read them: every slider moves,
predictions and quizzes are answered in the page, and what you answer stays in your browser. To change the code and to
solve the exercises you need Python 3.11, the repository and one command, which works without a GPU:

```
python3 course.py lab
```

Words are in the [glossary](pages/glossary.md), symbols in the [notation](pages/notation.md).

## Three ways in

### Alone

{begin} Choose how far you want to go; the hours are those that the chapters' first cells say, added up, and
every selection holds what its last chapters need.

{routes}

**Afterwards you can** say which part of a weight matrix recites, take it out of a language model, and measure what that
costs beside controls that forget just as much. The map below shows what leads where.

### As a lecturer

A plan for [six or twelve weeks](teaching/syllabi.md) with reading, minutes, objectives and marks;
[written questions](teaching/questions.md) with rubrics; exercises that [mark themselves](teaching/grading.md), with
questions of each student's own. Slides and quizzes for your learning platform come out of the same chapters: the
[page for lecturers and hosts](teaching/README.md) says how.

**Afterwards your students can** derive the curvature that you wrote on the board, compute it for a model they loaded
themselves, and defend a claim about memorization with a control at the same price.

### As the host of a workshop

Three hours for ten to thirty people who have trained a network once: a
[timetable, what to say, and what to do when the network fails](teaching/workshop.md). There are four notebooks, and in
each of them one gap that the host and the room fill together.

**Afterwards the people in the room can** say why recitation sits in directions that are flat for all other text, cut it
out by hand, and name the price, which they have measured themselves.

## The map

An arrow leads from what is needed to the chapter that needs it; below the title stand the selections that hold it.

```{{raw}} html
{map}
```

## The chapters, in reading order

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
    lines = [f"**The last run:** {run_time(row)}, {machine()}."] if row else []
    if number in needed:
        order = list(heads)
        place = order.index(number)
        next_to = [f"{word} [{n}]({heads[n][0]}.ipynb)" for word, n in beside(order, place)]
        lines.insert(0, f"**Reading order:** {', '.join([f'{place + 1} of {len(order)}', *next_to])}.")
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


def beside(order, place):
    """[("after", the number before), ("before", the number behind)] of a place in the reading order, where they are."""
    return [("after", n) for n in order[:place][-1:]] + [("before", n) for n in order[place + 1 :][:1]]


def chapter_list(heads):
    """Markdown list of the chapters: title, question, minutes."""
    return "\n".join(
        f"- [{head.title}](chapters/{name}.ipynb). {head.question} "
        f"*(minutes: {', '.join(f'{head.minutes[verb]} to {verb}' for verb in outline.VERBS)})*"
        for name, head in heads.values()
    )


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
    head = f"data/results/{picture.PICTURE.name}"
    first = next(iter(heads.values()), None)
    return WELCOME.format(
        title=TITLE,
        picture=f"![{picture.ALT}]({head})" if (paths.ROOT / head).is_file() else "",
        begin=f"Begin with [{first[1].title}](chapters/{first[0]}.ipynb)." if first else "",
        routes=routes.listing(heads),
        map=routes.picture(heads),
        chapters=chapter_list(heads),
        contents="\n\n".join(contents),
    )
