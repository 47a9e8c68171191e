"""Where the course's files are. Notebooks, tests and commands all find them through here, from any folder."""

from kfaclib.io.paths import checkout

ROOT = checkout()
DATA = ROOT / "data"  # small checkpoints and recorded results
CHAPTERS = ROOT / "chapters"  # the worked notebooks
WORK = ROOT / "work"  # the learner's copies
BUILD = ROOT / "build"  # whatever can be made again
