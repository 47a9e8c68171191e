"""The edited model as a folder: the original's files, in which only the tensors of the edited layers are replaced.

Every other tensor keeps its bits, every tensor keeps its dtype and the folder keeps its size, whatever dtype the model
was loaded in and whatever its configuration says.
"""

import shutil
from collections import Counter
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from kfaclib.io import files
from kfaclib.lm import snapshot


def source(name: str, commit: str | None = None) -> Path:
    """The folder of a model that `models.load` has read. Raises ValueError if its weights are not all there."""
    folder = Path(name) if Path(name).is_dir() else snapshot.find(name, commit)
    if folder is None or not all((folder / weights).exists() for weights in snapshot.weight_files(folder)):
        raise ValueError(f"the weights of {name} are not all on this machine as safetensors: an edit starts from them")
    return folder


def size(folder: Path) -> int:
    """Bytes that a copy of a model folder takes: its weights, and 16 MiB for the other files."""
    return sum((folder / weights).stat().st_size for weights in snapshot.weight_files(folder)) + 2**24


def _tensors(folder):
    """{tensor: (file, dtype, shape)} of all weights in a folder."""
    return {
        name: (weights, *entry)
        for weights in snapshot.weight_files(folder)
        for name, entry in snapshot.header(folder / weights).items()
    }


def _read(folder, weights, name):
    with safe_open(folder / weights, "pt") as file:
        return file.get_tensor(name)


def find_tensors(folder: Path, layers: dict) -> dict[str, tuple[str, str]]:
    """{layer: (file, tensor)} of the weights of `layers` {name: nn.Linear} in the checkpoint in `folder`.

    A tensor is a layer's if it has the layer's numbers. The one of the layer's name is tried first, then all of its
    shape, because some families rename their tensors when they are loaded. Raises ValueError naming a layer that
    matches none.
    """
    tensors, found = _tensors(folder), {}
    for layer, module in layers.items():
        weight = module.weight.detach().cpu()
        candidates = [name for name, (_, _, shape) in tensors.items() if list(shape) == list(weight.shape)]
        candidates.sort(key=lambda name: name != f"{layer}.weight")
        for name in candidates:
            if torch.equal(_read(folder, tensors[name][0], name).to(weight.dtype), weight):
                found[layer] = tensors[name][0], name
                break
        else:
            raise ValueError(
                f"no tensor in {folder} is the weight of layer {layer!r}: the model was changed after it was loaded, "
                "or its family stores its layers joined together; it cannot be saved layer by layer"
            )
    return found


def write(folder: Path, out: Path, places: dict[str, tuple[str, str]], weights: dict[str, torch.Tensor]) -> None:
    """Write the weights and the configuration of the checkpoint in `folder` into `out`, with `weights` {layer: [O, I]}
    at their `places` (from `find_tensors`), each in the dtype of the tensor that it replaces.

    Raises ValueError if a weight does not fit into that dtype, OSError if the disk cannot take a file.
    """
    changed = {}
    for layer, weight in weights.items():
        file, name = places[layer]
        changed.setdefault(file, {})[name] = layer, weight
    for file in snapshot.weight_files(folder):
        if file not in changed:
            shutil.copyfile(folder / file, out / file)
            continue
        with safe_open(folder / file, "pt") as opened:
            metadata = opened.metadata()
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}
        for name, (layer, weight) in changed[file].items():
            tensors[name] = weight.detach().cpu().to(tensors[name].dtype).contiguous()
            if not torch.isfinite(tensors[name]).all():
                raise ValueError(f"the edited weight of layer {layer!r} does not fit into {tensors[name].dtype}")
        try:
            with files.atomic(out / file) as temporary:
                save_file(tensors, temporary, metadata=metadata)
        except (OSError, SafetensorError) as error:
            raise OSError(
                f"{file} of the edited model cannot be written ({error}): make room or choose another --out; what was "
                "there before is untouched, and the eigenvectors are kept"
            ) from None
    if (folder / snapshot.INDEX).exists():
        shutil.copyfile(folder / snapshot.INDEX, out / snapshot.INDEX)
    for beside in ("generation_config.json", "world.json"):
        if (folder / beside).exists():
            shutil.copyfile(folder / beside, out / beside)
    write_configuration(folder, out)


def write_configuration(folder: Path, out: Path) -> None:
    """Copy `config.json` from `folder` to `out`, with "dtype" set to the one that most of the weights are stored in."""
    config = files.read_json(folder / "config.json")
    counts = Counter()
    for _, dtype, shape in _tensors(folder).values():
        counts[dtype] += torch.Size(shape).numel()
    names = {"BF16": "bfloat16", "F16": "float16", "F32": "float32", "F64": "float64"}
    stored = names.get(counts.most_common(1)[0][0])
    said = config.get("dtype") or config.get("torch_dtype")
    if stored and said != stored:
        config.pop("torch_dtype", None)
        config["dtype"] = stored
    files.write_json(out / "config.json", config)
