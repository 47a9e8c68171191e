"""One key for one student, however the name is spelled: for seeds, file names, and matching names with submissions."""

import re
import unicodedata

WINDOWS = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
APOSTROPHES = re.compile("[\u2018\u2019\u02bc\u00b4`]")  # what phones and word processors make of one
LONGEST = 100  # bytes of a file name, so that there is room for an ending

# what learning platforms add to a name when submissions are downloaded
MOODLE = re.compile(r"_\d+_assignsubmission_\w+?_.*$|_\d+_assignsubmission_\w+$", flags=re.I | re.S)
CANVAS = re.compile(r"^([^_]+)(?:_late)?_\d{3,}_\d{3,}_.+$", flags=re.I | re.S)


def person(name: str) -> str:
    """The student's name in the name of a file or folder: without what Moodle or Canvas added to it."""
    found = CANVAS.match(name)
    return (found[1] if found else MOODLE.sub("", name)).strip() or name


def key(name: str) -> str:
    """The same for every spelling of a name: Unicode's compatible forms, upper and lower case, and runs of spaces,
    underscores and hyphens do not matter, nor does the kind of an apostrophe. Accents do; see `without_accents`.
    """
    name = APOSTROPHES.sub("'", person(name))
    name = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    name = "".join(c for c in name if unicodedata.category(c) != "Cf")  # marks of direction, joiners, a byte-order mark
    return re.sub(r"[\s_\-\u2010-\u2015]+", " ", name).strip()


def without_accents(name: str) -> str:
    """The key of a name, accents removed: "josé" as "jose". It is used only where it leaves no doubt."""
    parts = unicodedata.normalize("NFKD", key(name))
    return unicodedata.normalize("NFKC", "".join(c for c in parts if not unicodedata.combining(c)))


def file_name(name: str) -> str:
    """A student's key as a file name that every system takes."""
    made = re.sub(r"[^\w.@-]+", "_", key(name)).strip(".") or "_"
    made = made.encode("utf-8", "ignore")[:LONGEST].decode("utf-8", "ignore").rstrip(".")
    return "_" + made if made.partition(".")[0] in WINDOWS else made


def asked(name: str, names: list[str]) -> str | None:
    """Which of the names on a list is meant: the one with the same key, or else the only one that differs in accents
    alone. None if there is none.
    """
    same = [n for n in names if key(n) == key(name)]
    near = [n for n in names if without_accents(n) == without_accents(name)]
    return same[0] if same else near[0] if len({key(n) for n in near}) == 1 else None
