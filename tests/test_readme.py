"""README says what was computed, and names commands that exist."""

import re
import shlex
from statistics import mean

from kfaclib.commands import cli
from kfaclib.io import files
from kfaclib.lm import presets
from kfcourse.experiments import evidence
from kfcourse.paths import DATA, ROOT
from kfcourse.site import picture

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def test_its_links_lead_somewhere():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXT):
        assert (ROOT / target).exists(), target


def test_its_kfac_commands_are_understood():
    blocks = re.findall(r"```\n(.*?)```", TEXT, flags=re.S)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if line.startswith("kfac ")]
    assert len(lines) > 12
    for line in lines:
        cli.parser().parse_args(shlex.split(line, comments=True)[1:])


def test_the_commands_of_the_road_to_the_1b_are_understood():
    script = (ROOT / "pages" / "olmo2_1b.sh").read_text(encoding="utf-8").replace("\\\n", " ")
    values = dict(re.findall(r'^(\w+)="?([^"#\n]*?)"?(?: #.*)?$', script, flags=re.M))
    values = {key: re.sub(r"\$\{\w+:-(.*)\}", r"\1", value) for key, value in values.items()}
    values["TOKENS"] = str(512 * int(values["ROWS"]))  # the only one that is computed
    commands = re.findall(r"^kfac (.*)$", script, flags=re.M)
    assert [line.split()[0] for line in commands] == ["plan", "evaluate", "collect", "sweep", "edit", "reproduce"]
    for line in commands:
        words = shlex.split(re.sub(r"\$(\w+)", lambda name: values[name[1]], line))
        said = vars(cli.parser(words[0]).parse_args(words))
        _, config = cli.command(said.pop("command"))
        assert presets.preset(config(**said).model).revision == said["revision"]


def test_its_pictures_have_words_and_the_first_one_says_what_it_shows():
    alts = re.findall(r"!\[([^\]]*)\]", TEXT)
    assert all(alt.strip() for alt in alts) and alts[0] == picture.ALT and picture.PICTURE.exists()


def test_the_first_picture_shows_what_its_words_say():
    runs = files.read_json(DATA / "results" / "evidence.json")["seeds"]
    left = {m: {t: mean(v) for t, v in evidence.kept(runs, evidence.MUCH, m).items()} for m in picture.METHODS}
    price = {m: evidence.prices_of(runs, evidence.MUCH, m) for m in picture.METHODS}
    kfac, controls = picture.METHODS[0], picture.METHODS[1:]
    for text in picture.TEXTS:
        assert mean(price[kfac][text]) < min(mean(price[m][text]) for m in controls) - 0.05
    for ability in ("arithmetic", "deduction_chain"):
        assert left[kfac][ability] > 0.75 and max(left[m][ability] for m in ("random basis", "noise")) < 0.6
    assert left[kfac]["facts_rare"] < min(left[m]["facts_rare"] for m in controls) - 0.2
