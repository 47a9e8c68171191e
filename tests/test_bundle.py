"""The offline bundle: the right wheels for each platform, checksums that notice damage, and an installation without a
network.
"""

import json
import subprocess
import sys

import pytest

from kfaclib.io.paths import checkout
from kfcourse import paths
from kfcourse.workshop import bundle, start_bundle
from tiny import tiny_wheel


@pytest.fixture
def index(checkout, tmp_path):
    """A folder of wheels that stands for the index, and constraints for them."""
    folder = tmp_path / "index"
    tiny_wheel(folder, "top", ["middle[nice]>=1", "only_windows; sys_platform == 'win32'", "never; extra == 'docs'"])
    tiny_wheel(folder, "middle", ["deep<3", "pleasant; extra == 'nice'"])
    for name in ("only_windows", "pleasant", "never"):
        tiny_wheel(folder, name)
    for version in ("1.0", "2.0"):
        tiny_wheel(folder, "deep", version=version)
    for tag in ("cp311-cp311-win_amd64", "cp311-cp311-manylinux_2_17_x86_64", "cp311-cp311-macosx_11_0_arm64"):
        tiny_wheel(folder, "built", tag=tag)
    (paths.ROOT / "constraints.txt").write_text("deep==1.0\nonly_windows==1.0 ; sys_platform == 'win32'\n")
    return ["--no-index", "--find-links", str(folder)]


@pytest.mark.parametrize(
    "platform, more",
    [
        ("windows", {"only_windows-1.0-py3-none-any.whl", "built-1.0-cp311-cp311-win_amd64.whl"}),
        ("linux", {"built-1.0-cp311-cp311-manylinux_2_17_x86_64.whl"}),
        ("macos", {"built-1.0-cp311-cp311-macosx_11_0_arm64.whl"}),
    ],
)
def test_wheels_are_for_the_platform_that_was_asked_for(index, tmp_path, platform, more):
    found = bundle.fetch_wheels(["top", "built"], tmp_path / "wheels", bundle.PLATFORMS[platform], "3.11", index)
    common = {f"{name}-1.0-py3-none-any.whl" for name in ("top", "middle", "pleasant", "deep")}
    assert {wheel.name for wheel in found} == common | more


def test_a_wheel_that_is_not_to_be_had_is_named(index, tmp_path, capfd):
    with pytest.raises(ValueError, match="could not fetch all of: absent"):
        bundle.fetch_wheels(["absent"], tmp_path / "wheels", bundle.PLATFORMS["this"], "3.11", index)


def test_pins_follow_the_platforms_markers():
    windows, linux = (bundle.pins(bundle.markers_of(bundle.PLATFORMS[name], "3.11")) for name in ("windows", "linux"))
    assert windows["torch"] == linux["torch"] and windows["torch"].startswith("torch==")
    assert "triton" in linux and "triton" not in windows


@pytest.fixture
def packed(tmp_path):
    """A bundle in small: start.py, a wheel, a course whose workshop is a text, a manifest."""
    folder = tmp_path / "bundle"
    tiny_wheel(folder / "wheels", "top")
    (folder / "course" / "build" / "workshop").mkdir(parents=True)
    (folder / "course" / "build" / "workshop" / "1.ipynb").write_text("{}")
    (folder / "start.py").write_text(open(start_bundle.__file__, encoding="utf-8").read(), encoding="utf-8")
    bundle.write_manifest(folder, python="{}.{}".format(*sys.version_info))
    return folder


def start(folder, *words):
    return subprocess.run([sys.executable, str(folder / "start.py"), *words], capture_output=True, text=True)


def test_the_manifest_lists_every_file_and_notices_damage(packed):
    listed = json.loads((packed / "manifest.json").read_text())["files"]
    assert set(listed) == {"start.py", "wheels/top-1.0-py3-none-any.whl", "course/build/workshop/1.ipynb"}
    assert start(packed, "--check").returncode == 0
    wheel = packed / "wheels" / "top-1.0-py3-none-any.whl"
    wheel.write_bytes(wheel.read_bytes()[:-1] + b"?")
    (packed / "course" / "build" / "workshop" / "1.ipynb").unlink()
    for words in (["--check"], []):
        result = start(packed, *words)
        assert result.returncode == 1 and not (packed / ".venv").exists()
        assert (
            "wheels/top-1.0-py3-none-any.whl is not as it was packed" in result.stderr
            and "1.ipynb is missing" in result.stderr
        )


def test_another_python_is_named(packed):
    bundle.write_manifest(packed, python="3.99")
    result = start(packed)
    assert result.returncode == 1 and "for Python 3.99" in result.stderr and "python3.99 start.py" in result.stderr


def test_starting_installs_once_and_without_an_index(packed, monkeypatch):
    monkeypatch.setattr(start_bundle, "HERE", packed)
    ran = []

    def call(command, **_):
        ran.append(command)
        (packed / ".venv").mkdir(exist_ok=True)
        return 0

    monkeypatch.setattr(start_bundle.subprocess, "check_call", call)
    monkeypatch.setattr(start_bundle.subprocess, "call", call)
    assert start_bundle.main(["--no-browser"]) == 0
    make, install, lab = ran
    assert (
        make[1:3] == ["-m", "venv"]
        and "--no-index" in install
        and install[install.index("--find-links") + 1] == str(packed / "wheels")
    )
    assert lab[1:3] == ["-m", "jupyterlab"] and lab[-1] == "--no-browser"
    (packed / "course" / "build" / "workshop" / "1.ipynb").write_text("{} ")  # a participant has worked in it
    assert start_bundle.main([]) == 0
    assert len(ran) == 4


def test_a_full_folder_is_not_written_into(tmp_path):
    (tmp_path / "mine.txt").write_text("")
    with pytest.raises(ValueError, match="not empty"):
        bundle.make(tmp_path)
    with pytest.raises(ValueError, match="name a platform"):
        bundle.make(tmp_path / "new", python="3.99")


def test_what_is_taken_is_there_and_holds_no_caches(tmp_path, monkeypatch):
    for name in bundle.TAKEN:
        assert (paths.ROOT / name).exists(), name
    bundle.copy_course(tmp_path)
    monkeypatch.setenv("KFAC_ROOT", str(tmp_path))
    assert {p.name for p in tmp_path.iterdir()} == set(bundle.TAKEN)
    assert not list(tmp_path.rglob("__pycache__")) and checkout() == tmp_path.resolve()
