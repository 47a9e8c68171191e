"""Files that are whole or not there, and results that say where they come from."""

import errno
import json
import os
import stat
import subprocess
from pathlib import Path

import pytest

from kfaclib.io import files


def test_a_file_appears_whole_and_is_replaced_whole(tmp_path):
    path = tmp_path / "new" / "folder" / "x.json"
    for value in ({"a": 1}, {"b": [1, 2], "ü": "é"}):
        files.write_json(path, value)
        assert files.read_json(path) == value
    assert [p.name for p in path.parent.iterdir()] == ["x.json"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, ZeroDivisionError])
def test_an_error_while_writing_leaves_the_old_bytes_and_no_litter(tmp_path, error):
    path = tmp_path / "x.txt"
    path.write_text("old")
    with pytest.raises(error):
        with files.atomic(path) as temporary:
            temporary.write_text("half of the new")
            raise error
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_until_the_block_ends_readers_see_the_old_file(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("old")
    with files.atomic(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old" and temporary.parent == path.parent
    assert path.read_text() == "new"


@pytest.mark.parametrize("write", [files.write_json, files.write_rows])
def test_a_full_disk_names_the_file_and_leaves_the_old_one(tmp_path, monkeypatch, write):
    path = tmp_path / "r.json"
    path.write_text("old")

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match=r"r\.json cannot be written \(No space left.*Make room"):
        write(path, [1])
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_value_that_json_cannot_hold_leaves_the_old_file(tmp_path):
    files.write_json(tmp_path / "x.json", 1)
    with pytest.raises(TypeError):
        files.write_json(tmp_path / "x.json", {"tensor": object()})
    assert files.read_json(tmp_path / "x.json") == 1


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX's")
def test_a_written_file_has_the_permissions_of_any_other(tmp_path):
    (tmp_path / "plain").write_text("")
    files.write_json(tmp_path / "ours", 1)
    assert stat.S_IMODE((tmp_path / "ours").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_missing_and_broken_json_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.json is missing"):
        files.read_json(tmp_path / "none.json")
    for content in (b'{"a": 1', b"", b"\xff\xfe"):
        (tmp_path / "broken.json").write_bytes(content)
        with pytest.raises(ValueError, match=r"broken\.json is not valid JSON.*restore it"):
            files.read_json(tmp_path / "broken.json")


def test_sha256_is_the_published_one_of_abc(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert files.sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "weights.bin").write_bytes(bytes(range(256)))
    (tmp_path / "notes.txt").write_text("hello")
    files.write_manifest(tmp_path)
    return tmp_path


def test_an_untouched_folder_matches_its_manifest_which_lists_all_files_but_itself(folder):
    files.check_manifest(folder)
    assert sorted(files.read_json(folder / "manifest.json")) == ["notes.txt", "weights.bin"]
    files.write_manifest(folder)  # and writing it again changes nothing
    files.check_manifest(folder)


def test_a_missing_a_cut_and_a_changed_file_are_each_named_with_what_is_wrong(folder):
    path = folder / "weights.bin"
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    with pytest.raises(ValueError, match=r"weights\.bin has 255 bytes instead of 256.*git checkout"):
        files.check_manifest(folder)
    path.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    with pytest.raises(ValueError, match=r"weights\.bin does not have its recorded SHA-256.*git checkout"):
        files.check_manifest(folder)
    path.unlink()
    with pytest.raises(ValueError, match=r"weights\.bin is missing.*git checkout"):
        files.check_manifest(folder)


def test_a_folder_without_a_manifest_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"manifest\.json is missing"):
        files.check_manifest(tmp_path)


def test_provenance_says_where_a_result_comes_from_and_is_json():
    found = files.provenance(seed=3)
    assert set(found) == {"command", "commit", "machine", "date", "seed", "versions"} and found["seed"] == 3
    assert {"python", "torch", "transformers"} <= set(found["versions"])
    assert str(Path.home()) not in json.dumps(found)  # no path of this machine


def test_provenance_works_on_a_machine_without_git(monkeypatch):
    def missing(*args, **kwargs):
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", missing)
    assert files.provenance()["commit"] == "unknown"


def test_a_place_that_cannot_be_written_is_refused_before_the_work(tmp_path, monkeypatch):
    files.check_writable(None)
    files.check_writable(tmp_path / "folder" / "to" / "come")
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path.resolve())
    with pytest.raises(OSError, match="cannot be written: no permission"):
        files.check_writable(tmp_path / "folder" / "to" / "come")


def test_a_link_to_nothing_and_a_file_in_place_of_a_folder_are_refused_before_the_work(tmp_path):
    (tmp_path / "link").symlink_to("nothing")
    (tmp_path / "file").write_text("")
    for name, said in (("link", "link to nothing"), ("link/x", "link to nothing"), ("file/x", "is a file")):
        with pytest.raises(OSError, match=said):
            files.check_writable(tmp_path / name)
    files.check_writable(tmp_path / "file")


def test_a_result_replaces_only_an_earlier_result(tmp_path):
    files.check_result(None)
    files.check_result(tmp_path / "new" / "r.json")
    files.write_json(tmp_path / "r.json", {"provenance": {}})
    files.check_result(tmp_path / "r.json")
    for content in ('{"prefix_ids": [1]}\n{}\n', "[]", "notes", '{"model_type": "llama"}'):
        (tmp_path / "theirs").write_text(content)
        with pytest.raises(ValueError, match="theirs is there already and is no result"):
            files.check_result(tmp_path / "theirs")
    for place in (tmp_path, "/dev/null"):
        with pytest.raises(ValueError, match="a folder or a device"):
            files.check_result(place)


def test_what_killed_writers_of_a_file_left_is_removed_and_nothing_else(tmp_path):
    left = [".x.json.abcd1234", ".x.json._z9_z9_z"]
    others = ["x.json", ".x.json", ".x.json.bak", ".xyjson.abcd1234", ".y.json.abcd1234", ".x.json.abcd12345"]
    for name in left + others:
        (tmp_path / name).write_text("")
    files.remove_half_written(tmp_path / "x.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)


def test_a_file_written_anew_is_renewed_in_the_manifest_and_damage_to_others_is_still_noticed(folder):
    (folder / "notes.txt").write_text("written anew")
    files.renew(folder / "notes.txt")
    files.check_manifest(folder)
    (folder / "c.txt").write_text("not listed")
    before = (folder / "manifest.json").read_bytes()
    files.renew(folder / "c.txt")
    assert (folder / "manifest.json").read_bytes() == before
    files.renew(folder / "c.txt", add=True)
    assert "c.txt" in files.manifest_of(folder)
    (folder / "weights.bin").write_text("damaged")
    files.renew(folder / "c.txt")
    with pytest.raises(ValueError, match=r"weights\.bin"):
        files.check_manifest(folder)
