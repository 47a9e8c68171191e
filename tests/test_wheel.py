"""The library as a wheel: outside any checkout, without the course, on a model folder of the user's own."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from kfaclib.io.paths import checkout

ROOT = checkout()
# the packages of this environment, but neither a checkout nor the hooks of an editable install
ALONE = """if True:
    import sys
    from pathlib import Path
    own = sys.argv.pop(1)
    sys.meta_path[:] = [f for f in sys.meta_path if "editable" not in getattr(f, "__module__", "")]
    sys.path[:] = [own, *(p for p in sys.path if p and not (Path(p) / "kfcourse").is_dir())]
    import importlib.util
    assert importlib.util.find_spec("kfcourse") is None
    import kfaclib
    assert kfaclib.__file__.startswith(own)
    from kfaclib.commands.cli import main
    sys.exit(main())"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the library out of a wheel, built from a copy, and nothing of the course."""
    pytest.importorskip("setuptools")
    here = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "LICENSE", "LICENSE-TEXT"):
        shutil.copy(ROOT / name, here)
    for name in ("kfaclib", "kfcourse"):
        shutil.copytree(ROOT / name, here / name, ignore=shutil.ignore_patterns("__pycache__"))
    words = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", "wheels", "."]
    subprocess.run(words, cwd=here, check=True)
    (wheel,) = (here / "wheels").glob("kfaclib-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(here / "site")
    assert (here / "site" / "kfcourse").is_dir()
    shutil.rmtree(here / "site" / "kfcourse")
    return here / "site"


def run(installed, cwd, *words):
    """`kfac` with these words there; (exit status, stdout, stderr)."""
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "KFAC_ROOT")}
    done = subprocess.run(
        [sys.executable, "-c", ALONE, installed, *map(str, words)],
        cwd=cwd,
        env=env | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.long
def test_the_commands_work_on_a_model_folder_outside_any_checkout(installed, folder, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(folder, model)
    assert run(installed, tmp_path, "--help")[0] == 0
    code, said, error = run(installed, tmp_path, "plan", "--model", "model", "--tokens", 1000)
    assert code == 0 and "GFLOP a token" in said, error
    layers = ("--layers", "model.layers.3.mlp.up_proj")
    code, said, error = run(installed, tmp_path, "collect", "--model", "model", *layers, "--rows", 4, "--out", "f")
    assert code == 0 and "factors of 1 layers" in said, error
    code, said, error = run(
        installed, tmp_path, "edit", "--model", "model", "--factors", "f", "--mass", 0.6, "--out", "e"
    )
    assert code == 0 and "edited model in e" in said, error
    (tmp_path / "text.txt").write_text("ada gave the anchor to ben . " * 40)
    words = ("evaluate", "--model", "e", "--text", "text.txt", "--length", 32, "--json", "r.json")
    code, said, error = run(installed, tmp_path, *words)
    assert code == 0 and json.loads((tmp_path / "r.json").read_text())["text"]["corpus"] > 1, error


@pytest.mark.long
def test_what_needs_the_courses_data_says_so_in_one_line(installed, folder, tmp_path):
    for words in (("edit", "--mass", 0.5), ("reproduce", "--model", folder)):
        code, said, error = run(installed, tmp_path, *words)
        (line,) = error.splitlines()
        assert code == 1 and line.startswith("kfac: ") and "KFAC_ROOT" in line


def test_the_library_imports_nothing_of_the_course():
    for path in Path(ROOT / "kfaclib").rglob("*.py"):
        assert "kfcourse" not in path.read_text(encoding="utf-8"), path
