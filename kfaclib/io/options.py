"""The options of a command as one frozen dataclass: the shell's words and the Python call come from the same fields.

A field made by `option` carries its help, how a word is read, and what it may be. `Options.__post_init__` checks every
value, so a call from Python is refused for the same reason as one from the shell. Nothing here imports torch.
"""

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kfaclib.io.paths import checkout, data

SHIPPED = "olmo2-tiny"  # the model in the course's data that `--model` means when nothing is said


def option(
    default: Any = None,
    help: str = "",
    *,
    read: Callable[[Any], Any] | None = None,
    choices: tuple | None = None,
    required: bool = False,
    factory: Callable[[], Any] | None = None,
    shown: str | None = None,
) -> Any:
    """A dataclass field that is also an option.

    read: turns a word (or a value from Python) into a value, ValueError if it cannot.  choices: what it may be.
    factory: finds the default when the options are made, not when the program starts; `shown` stands for it in the
    help.
    """
    metadata = {"help": help, "read": read, "choices": choices, "required": required, "shown": shown}
    if required:
        return dataclasses.field(metadata=metadata, kw_only=True)
    if factory:
        return dataclasses.field(default_factory=factory, metadata=metadata, kw_only=True)
    return dataclasses.field(default=default, metadata=metadata, kw_only=True)


def positive(value: Any) -> int:
    """A whole number of at least 1."""
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = 0
    if number < 1 or float(value) != number:
        raise ValueError(f"{value} is not a positive whole number")
    return number


def above_zero(value: Any) -> float:
    """A finite number above 0."""
    number = float(value)
    if not 0 < number < float("inf"):
        raise ValueError(f"{value} is not a number above 0")
    return number


def not_negative(value: Any) -> float:
    """A finite number of at least 0."""
    number = float(value)
    if not 0 <= number < float("inf"):
        raise ValueError(f"{value} is not a number of at least 0")
    return number


def share(value: Any) -> float:
    """A share of curvature mass to keep, in (0, 1]."""
    number = float(value)
    if not 0 < number <= 1:
        raise ValueError(f"{value} is not in (0, 1]: it is the share of curvature mass to keep")
    return number


def shares(value: Any) -> tuple[float, ...]:
    """Several shares of curvature mass, as a sequence or joined by commas."""
    return tuple(share(part) for part in (value.split(",") if isinstance(value, str) else value))


def flag(name: str) -> str:
    """How the shell spells the option of a field."""
    return "--" + name.replace("_", "-")


@dataclasses.dataclass(frozen=True)
class Options:
    """What every command's options share: each value is read and checked, on the command line as in Python."""

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value, rules = getattr(self, field.name), field.metadata
            if value is None and not rules["required"]:
                continue
            try:
                if isinstance(value, str) and not value.strip():
                    raise ValueError("nothing is given (an empty word): give a value, or leave the option out")
                if rules["choices"] and value not in rules["choices"]:
                    raise ValueError(f"{value!r} is none of {', '.join(map(str, rules['choices']))}")
                read = rules["read"] or (str if isinstance(value, Path) else lambda x: x)
                object.__setattr__(self, field.name, read(value))
            except (TypeError, ValueError) as error:
                raise ValueError(f"{flag(field.name)}: {error}") from None

    def recorded(self) -> dict:
        """The options as JSON values, to be written beside the result (so without the name of its own file); the
        shipped model goes by its name, because its path means nothing elsewhere."""
        found = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "json"}
        found = {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()}
        if "model" in found and Path(str(found["model"])) == _shipped_or_none():
            found["model"] = SHIPPED
        return found


def shipped_model() -> str:
    """The folder of the shipped small model.  FileNotFoundError, with the mend, outside a checkout of the course."""
    try:
        return str(data(SHIPPED))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"--model was not given, and the default is the course's {SHIPPED}: {error}") from None


def _shipped_or_none() -> Path | None:
    try:
        return checkout() / "data" / SHIPPED
    except FileNotFoundError:
        return None


@dataclasses.dataclass(frozen=True)
class ModelOptions(Options):
    """The options of a command that loads a model."""

    model: str = option(factory=shipped_model, shown=f"the shipped {SHIPPED}", help="a folder, or a name on the hub")
    revision: str | None = option(help="commit or tag on the hub; pin it for a result that others can repeat")


def add_arguments(parser: argparse.ArgumentParser, options: type[Options]) -> None:
    """Give an argparse parser one argument for each field of `options`; what is not said is not in its result."""
    for field in dataclasses.fields(options):
        rules, words = field.metadata, {"dest": field.name, "default": argparse.SUPPRESS}
        default = field.default if field.default is not dataclasses.MISSING else rules["shown"]
        said = ",".join(map(str, default)) if isinstance(default, tuple) else default
        help = rules["help"] + (f" (default: {said})" if said is not None and said is not False else "")
        if default is False:
            parser.add_argument(flag(field.name), action="store_true", help=help, **words)
            continue
        words |= {"type": _word(rules["read"])} if rules["read"] else {}
        words |= {"choices": rules["choices"]} if rules["choices"] else {}
        parser.add_argument(flag(field.name), required=rules["required"], help=help.replace("%", "%%"), **words)


def _word(read):
    """`read` with its message for argparse, which hides that of a ValueError."""

    def reader(text):
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return reader
