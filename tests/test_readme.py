"""README says what was computed, and names commands that exist."""

import re

from kfaclib.commands import cli
from kfcourse.paths import ROOT
from kfcourse.site import picture

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def test_its_links_lead_somewhere():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXT):
        assert (ROOT / target).exists(), target


def test_its_kfac_commands_are_understood():
    block = re.search(r"```\n(kfac doctor.*?)```", TEXT, flags=re.S)[1].replace("\\\n", " ")
    for line in block.splitlines():
        words = line.split("#")[0].replace('"', "").split()[1:]
        cli.parser().parse_args(words)


def test_its_picture_has_words():
    assert all(alt.strip() for alt in re.findall(r"!\[([^\]]*)\]", TEXT)) and picture.PICTURE.exists()
