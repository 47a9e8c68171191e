"""The `kfac` command: finds the module of a shell command, reads the words into its options, and calls it.

`kfac --help` imports none of them: PyTorch and transformers take seconds, and a list of commands needs neither.
"""

import argparse
import importlib
import inspect
import sys
from collections.abc import Callable

from kfaclib.io import errors, options

COMMANDS = {  # name of the command, of its module in this folder and of the function there: what it does
    "plan": "how much memory, disk and time a collection will take, before anything but a configuration is loaded",
    "collect": "collect the factors A and G of some layers",
    "mine": "find the windows of a text that the model continues word for word",
    "edit": "project weights on their high-curvature directions and save the model",
    "evaluate": "measure recitation, perplexity and tasks",
    "reproduce": "the whole experiment: on the small model with all its controls, on another one with --sequences and "
    "--text",
    "sweep": "which layers to edit, at which mass: predicted from the factors alone, and measured on memorized windows",
    "smollm2": "a real pretrained model as a folder, without the hub: SmolLM2-135M, also with 80 verses taught to it",
    "train": "train a small OLMo-2 on its world, the small ViT on its digits, or SmolLM2 on 80 verses",
    "vit": "edit a ViT on a folder of images in ImageNet's format and measure what it memorized",
    "bench": "measure this machine: kernels, collection, selection of pairs, growth",
    "doctor": "is everything here that the library needs? with a mend for what is not",
}


def command(name: str) -> tuple[Callable, type]:
    """(function, class of its options) of a shell command."""
    function = getattr(importlib.import_module(f"kfaclib.commands.{name}"), name)
    (parameter,) = inspect.signature(function).parameters.values()
    return function, parameter.annotation


def parser(only: str | None = None) -> argparse.ArgumentParser:
    """The parser of all commands; with `only`, the options of this one alone are made."""
    main_parser = argparse.ArgumentParser(
        prog="kfac",
        description="K-FAC curvature and the edit by curvature from the shell: plan, collect, sweep, edit, evaluate. "
        "Every default is the course's small model.",
    )
    commands = main_parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for name, said in COMMANDS.items():
        one = commands.add_parser(name, help=said, description=said)
        if only in (None, name):
            options.add_arguments(one, command(name)[1])
    return main_parser


def run(words: list[str] | None = None) -> int:
    """Do what the words of a command line ask for."""
    words = sys.argv[1:] if words is None else words
    said = vars(parser(words[0] if words else "").parse_args(words))
    function, config = command(said.pop("command"))
    outcome = function(config(**said))
    return outcome if isinstance(outcome, int) else 0  # what a Python caller gets is not an exit status


def main(words: list[str] | None = None) -> int:
    """Entry point; an error that a user can mend is one line on stderr and exit status 1."""
    return errors.guarded("kfac", lambda: run(words))


if __name__ == "__main__":
    sys.exit(main())
