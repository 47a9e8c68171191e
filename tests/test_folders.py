"""A folder that a command writes is complete or as it was, and files of others are left alone."""

import json
import os

import pytest

from kfaclib.io import files, folders


def fill(out, **content):
    """Write these files into `out` as a command would whose mark is edit.json."""
    with folders.filled(out, "edit.json") as partial:
        for name, text in {"edit": "{}", **content}.items():
            (partial / f"{name}.json").write_text(text)


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir() if path.name != "manifest.json"}


def test_a_new_folder_appears_whole_with_a_manifest_of_its_files(tmp_path):
    with folders.filled(tmp_path / "to" / "out", "edit.json") as partial:
        (partial / "edit.json").write_text("{}")
        assert not (tmp_path / "to" / "out").exists()
    assert list(files.read_json(tmp_path / "to" / "out" / "manifest.json")) == ["edit.json"]
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["out"]


@pytest.mark.parametrize("exists", [False, True])
def test_an_error_on_the_way_leaves_everything_as_it_was(tmp_path, exists):
    out = tmp_path / "out"
    if exists:
        fill(out, config="old")
    with pytest.raises(OSError, match="full"):
        with folders.filled(out, "edit.json") as partial:
            (partial / "config.json").write_text("new")
            raise OSError("full")
    assert not exists or contents(out) == {"edit.json": "{}", "config.json": "old"}
    assert [path.name for path in tmp_path.iterdir()] == (["out"] if exists else [])
    assert not exists or not (out / folders.PARTIAL).exists()


def test_a_second_result_replaces_the_first_and_its_leftovers_but_no_file_of_others(tmp_path):
    out = tmp_path / "out"
    fill(out, one="1", both="1", touched="1")
    (out / "README.md").write_text("card")
    (out / "touched.json").write_text("the user's now")
    fill(out, both="2")
    assert contents(out) == {"edit.json": "{}", "both.json": "2", "README.md": "card", "touched.json": "the user's now"}
    assert set(files.read_json(out / "manifest.json")) == {"edit.json", "both.json"}
    (out / "README.md").write_text("another card")
    files.check_manifest(out)


def test_a_file_of_others_under_a_name_of_ours_is_refused_before_and_after_the_work(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "config.json").write_text("theirs")
    with pytest.raises(ValueError, match=r"config\.json is there already.*another --out"):
        folders.check_free(out, "edit.json")
    with pytest.raises(ValueError, match=r"config\.json is there already"):
        fill(out, config="ours")
    assert contents(out) == {"config.json": "theirs"}


@pytest.mark.parametrize("manifest", [{"name": "web app"}, {}, {"weights": {"bytes": 1, "sha256": "0"}}])
def test_a_manifest_of_something_else_is_refused_and_stays(tmp_path, manifest):
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="does not list an earlier result of this command"):
        folders.check_free(tmp_path, "edit.json")
    with pytest.raises(ValueError, match="does not list"):
        fill(tmp_path)
    assert json.loads((tmp_path / "manifest.json").read_text()) == manifest


def test_what_a_killed_run_left_is_replaced_by_the_next(tmp_path):
    out = tmp_path / "out"
    (tmp_path / f".out{folders.PARTIAL}").mkdir()
    (tmp_path / f".out{folders.PARTIAL}" / "half.json").write_text("half")
    fill(out, config="1")
    assert [path.name for path in tmp_path.iterdir()] == ["out"] and "half.json" not in contents(out)


def test_killed_between_two_files_the_folder_is_refused_and_the_same_command_mends_it(tmp_path, monkeypatch):
    out = tmp_path / "out"
    fill(out, config="old")
    real, moved = os.replace, []

    def replace(source, target):
        if ".kfac-partial" in str(source) and "manifest" not in str(target):
            moved.append(target)
            if len(moved) == 2:
                raise KeyboardInterrupt
        return real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            fill(out, config="new", world="new")
    with pytest.raises(ValueError, match="restore it"):
        files.check_manifest(out)
    folders.check_free(out, "edit.json")
    fill(out, config="new", world="new")
    files.check_manifest(out)


def test_the_model_itself_is_no_place_for_the_result_however_it_is_spelled(tmp_path, monkeypatch):
    (tmp_path / "m" / "sub").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "m")
    monkeypatch.chdir(tmp_path)
    for out in ("m", "./m/", "m/sub/..", tmp_path / "m", "link"):
        with pytest.raises(ValueError, match="is the model itself"):
            folders.check_apart(out, "m")
    folders.check_apart("m2", "m")
    folders.check_apart("m/sub", "m")
    folders.check_apart("m", "owner/name")


def test_too_small_a_disk_is_said_before_the_work(tmp_path):
    with pytest.raises(OSError, match="weights need .* GiB and the disk has .* another --out"):
        folders.check_room(tmp_path / "to" / "come", 2**60, "weights")


def test_a_damaged_manifest_is_not_taken_for_another_programs(tmp_path):
    fill(tmp_path / "out", config="1")
    path = tmp_path / "out" / "manifest.json"
    path.write_text(path.read_text().replace('"bytes"', '"bytez"', 1))
    with pytest.raises(ValueError, match="is damaged where it lists"):
        files.manifest_of(tmp_path / "out")
