"""The doctor finds what is broken, goes on, and names a mend; what is merely different is only noted."""

import pytest

from kfaclib.io import files
from kfcourse import doctor


@pytest.fixture
def alone(monkeypatch, tmp_path):
    """A healthy machine with two checkpoints of one file each, and no kernel or model to start."""
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "weights").write_text(name)
        files.write_manifest(tmp_path / "data" / name)
    (tmp_path / "constraints.txt").write_text("torch>=2\nno-such-package==1\n")
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    monkeypatch.setattr(doctor, "DATA", tmp_path / "data")
    for name in ("kernel", "smoke", "memory", "marking"):
        monkeypatch.setattr(doctor, name, lambda *_: (True, "fine", ""))
    return tmp_path


def test_all_is_well(alone, capsys):
    assert doctor.report(alone / "data" / "a")
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("ok") for line in lines) and sum("checkpoint" in line for line in lines) == 2


def test_every_checkpoint_is_looked_at_and_nothing_stops_at_the_first_fault(alone, monkeypatch, capsys):
    (alone / "data" / "b" / "weights").write_text("c")
    monkeypatch.setattr(doctor, "WANTED", ("torch", "no-such-package"))
    monkeypatch.setattr(doctor.sys, "prefix", str(alone))
    assert not doctor.report(alone / "data" / "a")
    broken = [line for line in capsys.readouterr().out.splitlines() if line.startswith("MEND")]
    assert len(broken) == 3 and all("->" in line for line in broken)
    for line, part in zip(broken, ("no-such-package", "weights", "widgets"), strict=True):
        assert part in line


def test_another_version_is_a_note_and_a_marker_is_heeded(alone, capsys):
    (alone / "constraints.txt").write_text("torch==0.1\nnumpy==0.1 ; python_version < '3'\n")
    assert doctor.report(alone / "data" / "a")
    (note,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note")]
    assert "torch" in note and "==0.1" in note and "numpy" not in note


def test_the_walls_for_marking_are_named_and_their_absence_is_only_a_remark(monkeypatch):
    monkeypatch.setattr(doctor.sandbox, "missing", lambda: "")
    assert doctor.marking()[0] is True and "bubblewrap" in doctor.marking()[1]
    monkeypatch.setattr(doctor.sandbox, "missing", lambda: "bubblewrap is not installed")
    well, finding, mend = doctor.marking()
    assert well is None and "limits only" in finding and "grading.md" in mend


def test_a_kernel_that_does_not_start_is_named(monkeypatch):
    import jupyter_client.manager

    def refuse(**_):
        raise RuntimeError("no ports")

    monkeypatch.setattr(jupyter_client.manager, "start_new_kernel", refuse)
    well, finding, mend = doctor.kernel()
    assert not well and "no ports" in finding and "firewall" in mend
