"""The picture at the top of README.md, from the recorded results. `python -m kfcourse.site.picture` draws it again."""

from kfaclib.io.files import atomic, read_json, renew
from kfcourse import paths
from kfcourse.ch09 import figures
from kfcourse.show import plots

PICTURE = paths.DATA / "results" / "abilities.png"


def draw():
    """Draw the picture and write it to data/results/abilities.png."""
    recorded = read_json(paths.DATA / "results" / "reproduce-olmo2-tiny.json")
    plots.style()
    figure = figures.abilities(
        recorded["staircase"], recorded["unedited"], title="keep less curvature: what goes first?"
    )
    with atomic(PICTURE) as temporary:
        temporary.write_bytes(plots.picture(figure, "the README's picture").png)
    renew(PICTURE)


if __name__ == "__main__":
    draw()
