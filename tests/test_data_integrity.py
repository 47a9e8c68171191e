"""A single bit that changes in the shipped data is noticed, whichever it is."""

import random
import shutil

import pytest

from kfaclib.io import files
from kfcourse.paths import DATA

FOLDERS = sorted(path.parent.name for path in DATA.glob("*/manifest.json"))


def test_every_folder_of_data_has_a_manifest_that_lists_all_of_it():
    assert sorted(path.name for path in DATA.iterdir() if path.is_dir()) == FOLDERS
    for name in FOLDERS:
        there = {path.name for path in (DATA / name).iterdir()}
        assert there == {"manifest.json", *files.manifest_of(DATA / name)}, name
        files.check_manifest(DATA / name)


@pytest.mark.parametrize("count", [20, pytest.param(200, marks=pytest.mark.long)])
def test_a_bit_flipped_anywhere_is_noticed(tmp_path, count):
    rng = random.Random(count)
    for number in range(count):
        name = FOLDERS[number % len(FOLDERS)]
        copy = tmp_path / name
        if not copy.exists():
            shutil.copytree(DATA / name, copy)
        path = rng.choice(sorted(copy.iterdir()))  # a file first, so that small ones are hit as often as weights
        at, bit = rng.randrange(path.stat().st_size), rng.randrange(8)
        flip(path, at, bit)
        with pytest.raises(ValueError, match=name):
            files.check_manifest(copy)
            pytest.fail(f"{path.relative_to(tmp_path)}, byte {at}, bit {bit}: nobody noticed")
        flip(path, at, bit)
    for copy in tmp_path.iterdir():
        files.check_manifest(copy)


def flip(path, at, bit):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << bit]))
