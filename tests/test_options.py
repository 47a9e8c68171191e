"""A command's options are one dataclass: the shell and Python get the same defaults, checks and messages."""

import dataclasses

import pytest

from kfaclib.commands import cli
from kfaclib.io import errors, options


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_is_a_function_of_its_name_that_takes_frozen_options_with_help(name):
    function, config = cli.command(name)
    assert function.__name__ == name and function.__doc__ and config.__doc__
    assert issubclass(config, options.Options) and config.__dataclass_params__.frozen
    assert all(field.metadata["help"] for field in dataclasses.fields(config))
    needed = {field.name: "x" for field in dataclasses.fields(config) if field.metadata["required"]}
    words = [word for key, value in needed.items() for word in (options.flag(key), value)]
    said = vars(cli.parser(name).parse_args([name, *words]))
    said.pop("command")
    assert config(**said) == config(**needed)  # what is not said is the dataclass's default


def test_a_word_and_a_value_are_refused_for_the_same_reason(capsys):
    from kfaclib.commands.edit import EditConfig

    for mass in ("0", "1.5", "nan"):
        with pytest.raises(ValueError, match=r"--mass: .*\(0, 1\]"):
            EditConfig(model="m", mass=float(mass))
        with pytest.raises(SystemExit):
            cli.parser("edit").parse_args(["edit", "--mass", mass])
        assert "(0, 1]" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["layers", "corpus", "out", "model"])
def test_an_empty_word_such_as_a_variable_that_is_not_set_is_no_default(name):
    from kfaclib.collecting import CollectConfig

    for word in ("", "  "):
        with pytest.raises(ValueError, match=f"--{name}: nothing is given"):
            CollectConfig(**{"model": "m", name: word})


@pytest.mark.parametrize("wrong", [0, -3, 2.5, "x", "1e3"])
def test_a_number_of_windows_is_a_positive_whole_number(wrong):
    from kfaclib.collecting import CollectConfig

    with pytest.raises(ValueError, match="--rows: .*positive whole number"):
        CollectConfig(model="m", rows=wrong)
    with pytest.raises(ValueError, match="--labels: 'gold' is none of sampled, data"):
        CollectConfig(model="m", labels="gold")


def test_options_are_recorded_without_paths_of_this_machine_for_the_shipped_model():
    from kfaclib.commands.sweep import SweepConfig

    recorded = SweepConfig(json="s.json").recorded()
    assert recorded["model"] == "olmo2-tiny" and recorded["masses"] == [0.6, 0.7, 0.8, 0.9] and "json" not in recorded


def test_without_a_checkout_the_default_model_says_what_is_missing(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("KFAC_ROOT", str(tmp_path))
    assert cli.main(["edit", "--mass", "0.5"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("kfac: --model was not given") and "KFAC_ROOT" in line


def fail(error):
    raise error


@pytest.mark.parametrize("error", [ValueError("no\nsuch row"), OSError(28, "No space left"), MemoryError("8 GiB")])
def test_what_a_user_can_mend_is_one_line(error, capsys):
    assert errors.guarded("kfac", lambda: fail(error)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "kfac: " + " ".join(str(error).split())


@pytest.mark.parametrize("error", [TypeError("None"), IndexError("5"), KeyError("x"), AttributeError("y")])
def test_a_fault_of_the_program_says_where_it_is_and_how_to_report_it(error, capsys, monkeypatch):
    monkeypatch.delenv("KFAC_TRACEBACK", raising=False)
    assert errors.guarded("course", lambda: fail(error), status=2) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"unexpected {type(error).__name__} in test_options.py, line" in line and "KFAC_TRACEBACK=1" in line
    monkeypatch.setenv("KFAC_TRACEBACK", "1")
    with pytest.raises(type(error)):
        errors.guarded("course", lambda: fail(error))


def test_an_interruption_is_not_an_error(capsys):
    assert errors.guarded("kfac", lambda: fail(KeyboardInterrupt())) == 130
    assert "interrupted" in capsys.readouterr().err
