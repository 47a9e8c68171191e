"""`kfac smollm2`: a real pretrained model as a folder, without the hub."""

import shutil
from dataclasses import dataclass

from kfaclib.io import folders
from kfaclib.io.options import Options, option
from kfaclib.smollm2 import source, teaching


@dataclass(frozen=True)
class Smollm2Config(Options):
    """Which of the two models is written, and where to."""

    reciter: bool = option(False, help="the one that was taught 80 verses by heart, made by the shipped difference")
    out: str = option(required=True, help="folder")


def smollm2(config: Smollm2Config) -> None:
    """Write SmolLM2-135M-Instruct (or the reciter) into `config.out`, a folder that every other command takes."""
    folders.check_free(config.out, source.MARK)
    folders.check_room(config.out, source.BYTES, "the weights")
    made = teaching.reciter() if config.reciter else source.plain()
    with folders.filled(config.out, source.MARK) as partial:
        for path in made.iterdir():
            if path.name != "manifest.json":
                shutil.copyfile(path, partial / path.name)
    print(f"weights, tokenizer, {source.MARK} and manifest.json in {config.out}")
