"""The edit of chapter 7 on a full-size ViT: a folder of images in ImageNet's layout, wrong labels from a list,
curvature of the CLS token in the first and last block (Merullo et al. 2025, arXiv 2510.24256).

    folder/n01440764/picture.JPEG  one folder per class, as in ILSVRC's train and val
    wrong.json                     the wrong labels in training: {"n01440764/picture.JPEG": "n01443537", ...}

The model must have been trained on these wrong labels. The models on the hub were not, and are refused.
"""

from __future__ import annotations  # naming a model's class must not load it

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from PIL import Image
from tqdm.auto import tqdm

from kfaclib.curvature.eigenbasis import decompose
from kfaclib.curvature.factors import collect_factors
from kfaclib.curvature.layers import linear_layers
from kfaclib.editing.edit import edit_weights, edited, kept_share
from kfaclib.io import files
from kfaclib.vision import vit

SUFFIXES = (".jpeg", ".jpg", ".png")
MASS, IMAGES = (
    0.75,
    10_000,
)  # the paper's: curvature mass that is kept, and training images that curvature is collected on
LEARNED = 0.2  # a model that repeats a smaller share of the wrong labels was not trained on them


@dataclass(frozen=True)
class Folder:
    """Images with their labels: paths of N files, the class that each was given in training [N] and its true one
    [N]."""

    paths: list[Path]
    given: torch.Tensor
    true: torch.Tensor


def load(name: str | Path, revision: str | None = None) -> tuple[torch.nn.Module, object]:
    """Load (model in evaluation mode, its image processor) from a folder or by a hub name, on a GPU if there is one.
    Raises ValueError if it is not a ViT or its files are not those of its manifest."""
    if files.manifest_of(name):
        files.check_manifest(name)
    options = dict(revision=revision) if revision else {}
    try:
        config = transformers.AutoConfig.from_pretrained(name, trust_remote_code=False, **options)
        if config.model_type != "vit":
            raise ValueError(
                f"{name} is a {config.model_type!r} model: this command is for ViTForImageClassification; language "
                "models go "
                "through kfac collect and kfac edit"
            )
        processor = transformers.AutoImageProcessor.from_pretrained(name, **options)
        model = transformers.ViTForImageClassification.from_pretrained(name, use_safetensors=True, **options)
    except OSError as error:
        raise ValueError(
            f"{name!r} is neither a ViT's folder here nor a model that the hub could give: {error}"
        ) from None
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval(), processor


def class_numbers(names: Sequence[str], config: transformers.PretrainedConfig) -> dict[str, int]:
    """{folder name: class number}: by the names in the model's configuration or, where all classes have a folder, in
    alphabetical order. Raises ValueError where a number would be a guess."""
    known = {n: int(i) for n, i in config.label2id.items()}
    if all(n in known for n in names):
        return {n: known[n] for n in names}
    if len(names) != config.num_labels:
        stranger = next(n for n in names if n not in known)
        raise ValueError(
            f"{len(names)} class folders for a model of {config.num_labels} classes, and {stranger!r} is not among "
            "its label names: which "
            "class it is would be a guess. Give the folder with all classes, or a model whose label2id has the "
            "folders' names"
        )
    return {n: i for i, n in enumerate(sorted(names))}


def read_folder(folder: str | Path, config: transformers.PretrainedConfig, wrong: str | Path | None = None) -> Folder:
    """`Folder` of all images in class folders below `folder`.

    wrong: the JSON file of wrong labels; None if all labels are right. Raises FileNotFoundError if there is no such
    folder, ValueError if it has no image in a class folder or `wrong` names an image or a class that it does not have.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} is not a folder: give one with a folder of images for each class, as ImageNet's train"
        )
    paths = sorted(p for p in folder.glob("*/*") if p.suffix.lower() in SUFFIXES)
    if not paths:
        raise ValueError(
            f"{folder} has no image in a class folder (looked for */*{', */*'.join(SUFFIXES)}): it should look like "
            f"{folder.name}/n01440764/picture.JPEG"
        )
    number = class_numbers(sorted(p.name for p in folder.iterdir() if p.is_dir()), config)
    place = {p.relative_to(folder).as_posix(): i for i, p in enumerate(paths)}
    true = torch.tensor([number[p.parent.name] for p in paths])
    given = true.clone()
    for key, name in (files.read_json(wrong) if wrong else {}).items():
        if key not in place:
            raise ValueError(f"{wrong} names {key!r}, and there is no such image in {folder}")
        if name not in number:
            raise ValueError(f"{wrong} gives {key!r} the class {name!r}, which has no folder in {folder}")
        given[place[key]] = number[name]
    return Folder(paths, given, true)


def batches(
    paths: Sequence[Path], processor: transformers.BaseImageProcessor, channels: int = 3, size: int = 64
) -> Iterator[dict[str, torch.Tensor]]:
    """Yield {"pixel_values": [B, channels, H, W]} of `size` images at a time, read as they are needed. Raises
    ValueError naming a file that cannot be read as an image."""
    mode = {1: "L", 3: "RGB"}[channels]
    for start in range(0, len(paths), size):
        opened = []
        for path in paths[start : start + size]:
            try:
                with Image.open(path) as image:
                    opened.append(image.convert(mode))
            except OSError as error:
                raise ValueError(f"{path} cannot be read as an image ({error}): restore it or take it out") from None
        yield {"pixel_values": processor(opened, return_tensors="pt")["pixel_values"]}


def answers(
    model: torch.nn.Module, processor: transformers.BaseImageProcessor, paths: Sequence[Path], what: str
) -> torch.Tensor:
    """Predicted class of the n images at `paths`: int64 [n]; `what` names the progress bar."""
    said = [
        vit.predict(model, batch["pixel_values"])
        for batch in tqdm(batches(paths, processor, model.config.num_channels), desc=what, total=-(-len(paths) // 64))
    ]
    return torch.cat(said)


def edit_folder(
    model: torch.nn.Module,
    processor: transformers.BaseImageProcessor,
    train: Folder,
    validation: Folder | None = None,
    *,
    mass: float = MASS,
    images: int = IMAGES,
    seed: int = 0,
) -> dict:
    """Make and measure the paper's edit of a ViT: {"baseline": scores, "K-FAC": scores, ...}, as of `vit.scores`.

    Curvature is collected with labels sampled from the model, at the CLS token, on `images` random training images; fc1
    and fc2 of the first and last block keep `mass` of it. Nothing is chosen on these images, so all mislabelled ones
    are reported, beside at most `images` correctly labelled ones. The weights are restored. Raises ValueError if there
    is no wrong label or the model has not learned them.
    """
    wrong = (train.given != train.true).nonzero()[:, 0].tolist()
    if not wrong:
        raise ValueError(
            "no training image has a wrong label, so there is nothing memorized to take out: give the list that the "
            "model was trained with"
        )
    rng = random.Random(seed)
    right = (train.given == train.true).nonzero()[:, 0].tolist()
    rows = torch.tensor(wrong + sorted(rng.sample(right, min(images, len(right)))))
    given, true = train.given[rows], train.true[rows]

    def take(what, learned=None):
        said = answers(model, processor, [train.paths[i] for i in rows], f"{what}: training images")
        row = vit.scores(said, given, true, learned)
        if validation:
            row["test"] = vit.share(
                answers(model, processor, validation.paths, f"{what}: validation") == validation.true
            )
        return row, said == given

    before, learned = take("before")
    if before["memorized"] < LEARNED:
        raise ValueError(
            f"this model repeats only {before['memorized']:.1%} of the {len(wrong)} wrong labels: it was not trained "
            "on them, so the edit "
            "has nothing to show. Train one on the labels of the list first (no model on the hub was)"
        )
    last = model.config.num_hidden_layers - 1
    chosen = linear_layers(model, ["*.0.mlp.*", f"*.{last}.mlp.*"])
    sample = rng.sample(train.paths, min(images, len(train.paths)))
    bases = decompose(
        collect_factors(
            model,
            batches(sample, processor, model.config.num_channels),
            chosen,
            labels="sampled",
            tokens="cls",
            generator=torch.Generator().manual_seed(seed),
        )
    )
    with edited(chosen, edit_weights(chosen, bases, mass)):
        after, _ = take("after", learned)
    return {
        "baseline": before,
        "K-FAC": after,
        "wrong": len(wrong),
        "mass": mass,
        "curvature_images": len(sample),
        "kept": {name: kept_share(basis, mass) for name, basis in bases.items()},
    }
