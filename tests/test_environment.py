"""Set-up: the files that describe the environment agree with each other, and course.py keeps its promises."""

import ast
import re
import subprocess
import sys
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from kfaclib.io.paths import checkout

ROOT = checkout()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PINS = [Requirement(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
EXTRAS = PROJECT["project"]["optional-dependencies"]
DIRECT = PROJECT["project"]["dependencies"] + [r for extra in EXTRAS.values() for r in extra]


@pytest.fixture(scope="module")
def course_py():
    names = {"__name__": "course_py", "__file__": str(ROOT / "course.py")}
    exec((ROOT / "course.py").read_text(encoding="utf-8"), names)
    return names


def test_environment_yml_agrees_with_pyproject():
    env = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert env["channels"] == ["conda-forge", "nodefaults"]
    conda = [d for d in env["dependencies"] if isinstance(d, str)]
    python = SpecifierSet(next(d.split(maxsplit=1)[1] for d in conda if d.startswith("python ")))
    allowed = SpecifierSet(PROJECT["project"]["requires-python"])
    assert "3.11" in python and all(v in allowed for v in ("3.9", "3.10", "3.11", "3.12", "3.13") if v in python)
    assert {d.split()[0] for d in conda} == {"python", "pip"}  # packages come from one source, or two torches meet
    (pip,) = (d["pip"] for d in env["dependencies"] if isinstance(d, dict))
    (extras,) = (re.fullmatch(r"-e \.\[(.*)\]", line)[1].split(",") for line in pip)
    assert set(extras) <= set(EXTRAS)


@pytest.mark.parametrize("requirement", DIRECT)
def test_every_requirement_is_pinned_within_its_range(requirement):
    wanted = Requirement(requirement)
    pins = [pin for pin in PINS if pin.name == wanted.name]
    assert pins, f"{wanted.name} is not in constraints.txt: make it again (see CONTRIBUTING.md)"
    for pin in pins:
        (version,) = (s.version for s in pin.specifier)
        assert str(pin.specifier).startswith("==") and version in wanted.specifier


def test_constraints_are_universal():
    names = {pin.name for pin in PINS if not pin.marker or pin.marker.evaluate({"sys_platform": "win32"})}
    assert "colorama" in {pin.name for pin in PINS}  # Windows only: the set was not made for one platform
    assert not {name for name in names if name.startswith("nvidia-") or name == "triton"}  # Linux only
    assert not any(pin.url or pin.specifier.__str__().count("+") for pin in PINS)  # no files, no local versions


def test_only_course_py_installs_and_always_within_the_constraints():
    source = (ROOT / "course.py").read_text(encoding="utf-8")
    for installing in re.findall(r"step\(\[\*pip,.*", source):
        assert '"-c", "constraints.txt"' in installing
    assert source.count("step([*pip,") == 2
    for path in [ROOT / ".ci" / "run", *(ROOT / ".github" / "workflows").glob("*.yml"), ROOT / "Makefile"]:
        text = path.read_text()
        assert "pip install" not in text and "course.py" in text, path


def test_course_py_uses_the_standard_library_only_and_old_syntax():
    tree = ast.parse((ROOT / "course.py").read_text(encoding="utf-8"), feature_version=(3, 6))
    imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    imported |= {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert {name.split(".")[0] for name in imported} <= sys.stdlib_module_names
    top = {a.name for n in tree.body if isinstance(n, ast.Import) for a in n.names}
    assert "tomllib" not in top  # Python 3.10 does not have it, and must get as far as the message


def test_course_py_names_the_python_it_needs(course_py, monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 8, 2))
    with pytest.raises(SystemExit, match=r"(?s)Python 3.11 or newer is needed.*python.org"):
        course_py["main"](["run"])
    oldest = SpecifierSet(PROJECT["project"]["requires-python"])
    assert "{}.{}".format(*course_py["OLDEST"]) in oldest and "3.10" not in oldest


def test_course_py_knows_its_commands(course_py, capsys):
    with pytest.raises(
        SystemExit,
        match=(
            "no command 'tset'; there are: run, test, lab, site, doctor, progress, execute, export, questions, nbgrader"
        ),
    ):
        course_py["main"](["tset"])
    assert course_py["main"](["--help"]) == 0
    assert "course.py test" in capsys.readouterr().out


def test_course_py_says_which_step_failed(course_py):
    with pytest.raises(SystemExit, match=r"exit status 3\): counting\s+Count again"):
        course_py["step"]([sys.executable, "-c", "raise SystemExit(3)"], "counting", "Count again.")


def test_set_up_is_done_once(course_py, monkeypatch, tmp_path):
    monkeypatch.setenv("KFAC_VENV", str(tmp_path))
    made = []

    def make(python):
        made.append(python)

    monkeypatch.setitem(course_py["set_up"].__globals__, "install", make)
    python = course_py["venv_python"](tmp_path)
    python.parent.mkdir()
    python.touch()
    assert course_py["set_up"]() == course_py["set_up"]() == python
    assert made == [python]
    (tmp_path / "kfaclib-stamp").write_text("of an older pyproject.toml")
    course_py["set_up"]()
    assert len(made) == 2


def test_pip_settings_are_handed_on_to_uv(course_py):
    listing = (
        "global.cert='/etc/a.pem'\nglobal.extra-index-url='https://a.example/simple https://b.example/simple'\n"
        "global.find-links='/one'\n:env:.find-links='/two /three'\nlist.format='columns'\nnot a setting\n"
    )
    settings = course_py["pip_settings"](listing)
    assert settings == {
        "cert": ["/etc/a.pem"],
        "find-links": ["/two", "/three"],
        "extra-index-url": ["https://a.example/simple", "https://b.example/simple"],
    }
    assert course_py["uv_environment"](settings, {"SSL_CERT_FILE": "/mine"}) == {
        "UV_FIND_LINKS": "/two,/three",
        "UV_INDEX": "https://a.example/simple https://b.example/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }
    assert course_py["uv_environment"]({}, {}) == {}


def test_a_missing_checkout_is_explained(tmp_path, monkeypatch):
    assert checkout() == ROOT
    monkeypatch.setenv("KFAC_ROOT", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"KFAC_ROOT names .* is not a checkout .*clone the repository"):
        checkout()


def test_ci_runs_the_readmes_command():
    script = (ROOT / ".ci" / "run").read_text()
    assert script.startswith("#!/usr/bin/env bash\n") and "set -euo pipefail" in script
    assert script.rstrip().endswith("python3 course.py test")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "\npython3 course.py test " in readme and "\npython3 course.py " in readme


def test_the_course_command_does_not_wait_for_torch():
    code = "import sys, kfcourse.__main__; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
