"""Set-up: the files that describe the environment agree with each other, and course.py keeps its promises."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from kfaclib.io.paths import checkout
from kfcourse.notebooks import execution
from tiny import tiny_wheel

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


def test_only_course_py_installs():
    for path in [ROOT / ".ci" / "run", *(ROOT / ".github" / "workflows").glob("*.yml"), ROOT / "Makefile"]:
        text = path.read_text()
        assert "pip install" not in text and "course.py" in text, path


@pytest.fixture
def installing(course_py, monkeypatch):
    """installing(fails): the commands that course.py's `install` runs where those fail of which `fails(words)` is
    true.
    """

    def install(fails=lambda words: False):
        ran = []

        def call(command, env=None):
            ran.append([str(word) for word in command])
            return int(fails(ran[-1]))

        monkeypatch.setitem(course_py["install"].__globals__, "call", call)
        course_py["install"](sys.executable)
        return ran

    return install


def test_uv_installs_everything_within_the_constraints(installing):
    fetch, *steps = installing()
    assert fetch[1:4] == ["-m", "pip", "install"] and fetch[-1] == "uv"
    assert all(words[1:5] == ["-m", "uv", "pip", "install"] for words in steps)
    assert all(words[words.index("-c") + 1] == "constraints.txt" for words in steps)
    assert ["--no-deps" in words for words in steps] == [False, True]
    assert all("--compile-bytecode" in words for words in steps)  # or every process would compile torch for itself


@pytest.mark.parametrize("fails_at, by_pip", [("uv", 2), ("-e", 2), ("--no-deps", 1)])
def test_where_uv_is_not_to_be_had_or_fails_pip_does_the_work(installing, capsys, fails_at, by_pip):
    ran = installing(lambda words: "uv" in words and fails_at in words)
    done = [words for words in ran if words[1:4] == ["-m", "pip", "install"] and words[-1] != "uv"]
    assert ["--no-deps" in words for words in done] == [False, True][-by_pip:]
    assert all(words[words.index("-c") + 1] == "constraints.txt" for words in done)
    assert capsys.readouterr().out.count("so pip does") == by_pip


def test_where_pip_fails_too_the_step_is_named(installing):
    with pytest.raises(SystemExit, match="exit status 1.*installing the course and its tools\n.*network"):
        installing(lambda words: True)


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


def test_of_pips_settings_the_one_nearest_to_the_command_wins(course_py):
    listing = (
        "global.cert='/etc/my certs/a.pem'\nglobal.find-links='/one'\n:env:.find-links='/two\\n/three'\n"
        "install.timeout='7'\nglobal.timeout='60'\nlist.format='columns'\nnot a setting\n"
    )
    found = course_py["pip_settings"](listing)
    assert found == {"cert": "/etc/my certs/a.pem", "find-links": "/two\n/three", "timeout": "7"}


@pytest.mark.parametrize(
    "setting, value, variables",
    [
        ("index-url", "https://a.example/simple", {"UV_DEFAULT_INDEX": "https://a.example/simple"}),
        (
            "extra-index-url",
            "https://a.example/s https://b.example/s",
            {"UV_INDEX": "https://a.example/s https://b.example/s", "UV_INDEX_STRATEGY": "unsafe-best-match"},
        ),
        ("find-links", "/one /two", {"UV_FIND_LINKS": "/one,/two"}),
        ("find-links", "\n/one\n  /two\n", {"UV_FIND_LINKS": "/one,/two"}),
        ("trusted-host", "a.example b.example:80", {"UV_INSECURE_HOST": "a.example b.example:80"}),
        ("proxy", "http://p:3128", {"HTTPS_PROXY": "http://p:3128", "HTTP_PROXY": "http://p:3128"}),
        ("proxy", "me:word@p:3128", {"HTTPS_PROXY": "http://me:word@p:3128", "HTTP_PROXY": "http://me:word@p:3128"}),
        ("cert", r"C:\Program Files\Corp CA\ca.pem", {"SSL_CERT_FILE": r"C:\Program Files\Corp CA\ca.pem"}),
        ("client-cert", "/my keys/me.pem", {"SSL_CLIENT_CERT": "/my keys/me.pem"}),
        ("timeout", "12.5", {"UV_HTTP_TIMEOUT": "13"}),
        ("retries", "9", {"UV_HTTP_RETRIES": "9"}),
        ("no-index", "true", {"UV_NO_INDEX": "1"}),
        ("no-index", "0", {}),
        ("no-cache-dir", "on", {"UV_NO_CACHE": "1"}),
        ("keyring-provider", "subprocess", {"UV_KEYRING_PROVIDER": "subprocess"}),
        ("format", "columns", {}),
    ],
)
def test_pips_settings_are_handed_on_to_uv_and_no_path_is_split(course_py, setting, value, variables):
    settings = course_py["pip_settings"](f"global.{setting}={value!r}")
    assert course_py["uv_environment"](settings, {}) == variables
    assert not set(course_py["uv_environment"](settings, dict.fromkeys(variables, "the user's own"))) & set(variables)


def test_a_folder_of_wheels_may_have_spaces_in_its_name_and_certificates_a_folder(course_py, tmp_path):
    folder = tmp_path / "my wheels"
    folder.mkdir()
    found = course_py["uv_environment"]({"find-links": f"{folder}\n/two /three", "cert": str(folder)}, {})
    assert found == {"UV_FIND_LINKS": f"{folder},/two,/three", "SSL_CERT_DIR": str(folder)}


def test_without_an_index_none_is_asked(course_py):
    settings = {"no-index": "yes", "index-url": "https://a.example/s", "extra-index-url": "https://b.example/s"}
    assert course_py["uv_environment"](settings, {}) == {"UV_NO_INDEX": "1"}


def test_uv_itself_takes_what_is_handed_on(course_py, monkeypatch, tmp_path):
    """A real uv that pip's configuration file restricts to one folder, which has a space in its name."""
    pytest.importorskip("uv", reason="this environment was made without uv")
    wheels = tmp_path / "my wheels"
    tiny_wheel(wheels, "only_here")
    (tmp_path / "pip.conf").write_text(f"[global]\nno-index = true\nfind-links = {wheels}\ntimeout = 2.5\n")
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setitem(course_py["uv_installer"].__globals__, "call", lambda command, env=None: 0)  # uv is here
    uv, env = course_py["uv_installer"](sys.executable)
    words = [str(word) for word in [*uv, "--dry-run", "only_here"]]
    result = subprocess.run(words, env=env, capture_output=True, text=True)
    assert result.returncode == 0 and "only-here==1.0" in result.stderr, result.stderr


# --- where it runs


@pytest.fixture
def started(course_py, monkeypatch):
    """started(*words): the command that course.py starts, and its options."""
    monkeypatch.setitem(course_py["main"].__globals__, "set_up", lambda: "python")
    monkeypatch.setattr(course_py["signal"], "signal", lambda *_: None)
    jobs = []

    class Job:
        def __init__(self, command, **options):
            jobs.append((command, options))

        def wait(self):
            return 0

    monkeypatch.setattr(course_py["subprocess"], "Popen", Job)

    def start(*words):
        assert course_py["main"](list(words)) == 0
        return jobs.pop()

    return start


def test_paths_are_relative_to_where_the_user_stands(started, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    command, options = started("export", "05", "submissions/", "--out", "marks")
    assert command == ["python", "-P", "-m", "kfcourse", "export", "05", "submissions/", "--out", "marks"]
    assert Path(options["cwd"]) == tmp_path


def test_submissions_are_found_beside_the_user_and_never_imported(tmp_path):
    (tmp_path / "submissions").mkdir()
    (tmp_path / "random.py").write_text("raise SystemExit('a submission was imported')")
    code = (
        "import sys, runpy; course = runpy.run_path(sys.argv[1]); main = course['main']; "
        "main.__globals__['set_up'] = lambda: sys.executable; "
        "sys.exit(main(['export', '05', 'submissions', 'nowhere']))"
    )
    result = subprocess.run(
        [sys.executable, "-P", "-c", code, str(ROOT / "course.py")], cwd=tmp_path, capture_output=True, text=True
    )
    assert result.returncode == 2 and "nowhere" in result.stderr and "submissions:" not in result.stderr, result.stderr


def test_a_whole_test_run_has_two_processes_of_one_thread_and_named_paths_have_one(started, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for words in ([], ["--all"], ["-k", "tests"], ["-m", ""]):
        (tmp_path / "tests").mkdir(exist_ok=True)
        command, options = started("test", *words)
        assert command == ["python", "-P", "-m", "pytest", "-n", "2", "--dist", "loadfile", *command[8:]]
        assert command[8:] == ["--no-loadscope-reorder", *words] and Path(options["cwd"]) == ROOT
        assert options["env"].items() >= execution.ONE_THREAD.items()
    command, options = started("test", "-q", "tests::here")
    assert "-n" not in command and command[-2:] == ["-q", "tests::here"] and Path(options["cwd"]) == tmp_path
    assert command[command.index("-c") + 1] == str(ROOT / "pyproject.toml")


def test_a_missing_checkout_is_explained(tmp_path, monkeypatch):
    assert checkout() == ROOT
    monkeypatch.setenv("KFAC_ROOT", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"KFAC_ROOT names .* is not a checkout .*clone the repository"):
        checkout()


def test_ci_runs_the_readmes_command():
    script = (ROOT / ".ci" / "run").read_text()
    assert script.startswith("#!/usr/bin/env bash\n") and "set -euo pipefail" in script
    assert script.rstrip().endswith("python3 course.py test")  # so pytest's closing line is the last one
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "\npython3 course.py test " in readme and "\npython3 course.py " in readme


def test_everything_runs_once_a_week():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    assert workflow[True]["schedule"]  # YAML reads the key `on` as true
    steps = workflow["jobs"]["all"]["steps"]
    assert any("course.py test --all" in step.get("run", "") for step in steps)


def test_the_course_command_does_not_wait_for_torch():
    code = "import sys, kfcourse.__main__; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
