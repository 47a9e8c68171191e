"""`kfac bench`: what is fast on this machine."""

from dataclasses import dataclass

from kfaclib import bench as measuring
from kfaclib.commands import shared
from kfaclib.io import files
from kfaclib.io.options import Options, option


def names(value: str | tuple) -> tuple[str, ...]:
    """Names, as a sequence or joined by commas."""
    return tuple(value.split(",") if isinstance(value, str) else value)


@dataclass(frozen=True)
class BenchConfig(Options):
    """Which parts are measured."""

    parts: tuple[str, ...] = option(measuring.PARTS, read=names, help="some of them, joined by commas")
    json: str | None = option(help=shared.JSON)


def bench(config: BenchConfig) -> None:
    """Measure this machine, everything that is compared in one run."""
    unknown = [part for part in config.parts if part not in measuring.PARTS]
    if unknown:
        raise ValueError(f"--parts: there is no {unknown[0]!r}; there are {', '.join(measuring.PARTS)}")
    files.check_result(config.json)
    shared.write(config, measuring.run(config.parts, say=shared.say))
