"""A tiny vision transformer that was trained with a tenth of wrong labels, and its images (chapter 7).

The images are distorted copies of the digits of `kfaclib.toy.digits`; a tenth of their labels is made wrong. The half
on which layers and strength are chosen and the half that is reported come from different digits.
"""

from __future__ import annotations  # naming a model's class must not load it

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
import transformers
from PIL import Image
from safetensors.torch import load_file
from tqdm.auto import tqdm

from kfaclib.io import files, folders
from kfaclib.io.paths import data
from kfaclib.toy import digits
from kfaclib.vision import vit

RECIPE = "recipe.json"
SIDE, BASE, IMAGES, WRONG, EXAM, HALVES = 8, 1300, 4000, 0.1, 800, ("choose", "report")
EPOCHS, BATCH, LEARNING_RATE, WARM_UP, WEIGHT_DECAY = 100, 128, 7e-4, 50, 0.05
NOISE = 0.3  # standard deviation of the noise on every training image, every time it is seen; pixels have deviation one
LAYERS = "*.mlp.*"  # candidates for the edit
LAYER_SETS = {"both blocks": "*.mlp.*", "block 0": "*.0.mlp.*", "block 1": "*.1.mlp.*", "every fc2": "*.mlp.fc2"}


@dataclass(frozen=True)
class Images:
    """Training images x [N, 1, 8, 8] with the labels they were given and their true ones [N], bool wrong [N] and base
    [N], which digit each is a copy of; test images and true labels, from digits of which no copy is in training."""

    x: torch.Tensor
    given: torch.Tensor
    true: torch.Tensor
    wrong: torch.Tensor
    base: torch.Tensor
    x_test: torch.Tensor
    y_test: torch.Tensor

    def half(self, name: str) -> torch.Tensor:
        """Indices [n] of the training images of one half; copies of one digit are in the same half. Raises ValueError
        for a name that is not one of HALVES."""
        if name not in HALVES:
            raise ValueError(f"half {name!r}: it is one of {HALVES}")
        different = int(self.base.max()) + 1
        return ((self.base < different // 2) == (name == "choose")).nonzero()[:, 0]

    def exam(self, name: str) -> torch.Tensor:
        """Indices [n] of the images to measure on a half: all mislabelled ones, and the first 800 others."""
        rows = self.half(name)
        return torch.cat([rows[self.wrong[rows]], rows[~self.wrong[rows]][:EXAM]])


def distort(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Images x [N, 1, 8, 8], each turned by up to 15 degrees, scaled by up to 12 %, sheared by up to 0.06 and shifted
    by up to 0.7 pixels: [N, 1, 8, 8]."""
    turn, scale, shear, *shift = (2 * torch.rand(5, len(x), generator=generator) - 1) * torch.tensor(
        [[math.pi / 12], [0.12], [0.06], [0.7], [0.7]]
    )
    rows = [
        [turn.cos() * (1 + scale), shear - turn.sin(), shift[0] * 2 / SIDE],
        [turn.sin() + shear, turn.cos() * (1 + scale), shift[1] * 2 / SIDE],
    ]
    theta = torch.stack([torch.stack(row, -1) for row in rows], 1)
    paper = x.min()  # the background, so that nothing else comes in at the edges
    return (
        F.grid_sample(x - paper, F.affine_grid(theta, list(x.shape), align_corners=False), align_corners=False) + paper
    )


def make_images(seed: int = 0, count: int | None = None, different: int = BASE) -> Images:
    """Make `count` distorted copies (IMAGES, if it is None) of `different` digits, a tenth with a wrong label; `seed`
    only decides the wrong labels."""
    d = digits.load(BASE)
    base = torch.arange(IMAGES if count is None else count) % different
    x = distort(d.x[base].view(-1, 1, SIDE, SIDE), torch.Generator().manual_seed(0))
    given, wrong = digits.corrupt(d.y[base], WRONG, seed)
    return Images(x, given, d.y[base], wrong, base, d.x_test.view(-1, 1, SIDE, SIDE), d.y_test)


def make_model(seed: int = 0) -> transformers.ViTForImageClassification:
    """A new `ViTForImageClassification`: two blocks of width 128, four patches and the CLS token."""
    torch.manual_seed(seed)
    names = {i: str(i) for i in range(digits.CLASSES)}
    return transformers.ViTForImageClassification(
        transformers.ViTConfig(
            image_size=SIDE,
            patch_size=4,
            num_channels=1,
            hidden_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=512,
            id2label=names,
            label2id={n: i for i, n in names.items()},
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    )


def noisy(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Images x with the noise of training added: the shape of x."""
    return x + NOISE * torch.randn(x.shape, generator=generator)


def collection_batches(
    images: Images, half: str = "choose", noise: bool = True, seed: int = 0, batch: int = 500
) -> list[dict[str, torch.Tensor]]:
    """Batches of one half's images to collect curvature on, {"pixel_values": [B, 1, 8, 8]}, with or without the noise
    of training."""
    x = images.x[images.half(half)]
    if noise:
        x = noisy(x, torch.Generator().manual_seed(seed))
    return [{"pixel_values": rows} for rows in x.split(batch)]


def fit(
    model: transformers.ViTForImageClassification,
    images: Images,
    seed: int = 0,
    noise: float = NOISE,
    epochs: int = EPOCHS,
    desc: str = "training",
) -> list[dict]:
    """Train a model in place on the labels that its images were given; every fifth epoch is a line of the log
    {"epoch", "memorized", "recovered", "clean", "test"}, which is returned.

    noise: standard deviation of what is added to every image, every time it is seen.
    """
    generator, count = torch.Generator().manual_seed(seed), len(images.x)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.95), weight_decay=WEIGHT_DECAY)
    steps, step, log = epochs * -(-count // BATCH), 0, []
    for epoch in tqdm(range(1, epochs + 1), desc=desc):
        model.train()
        for rows in torch.randperm(count, generator=generator).split(BATCH):
            for group in optimizer.param_groups:
                group["lr"] = (
                    LEARNING_RATE
                    * min(1, (step + 1) / WARM_UP)
                    * (0.05 + 0.475 * (1 + math.cos(math.pi * step / steps)))
                )
            x = images.x[rows] + noise * torch.randn(images.x[rows].shape, generator=generator)
            F.cross_entropy(model(pixel_values=x).logits, images.given[rows]).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            step += 1
        if epoch % 5 == 0:
            everything = vit.scores(vit.predict(model, images.x), images.given, images.true)
            log.append(
                {
                    "epoch": epoch,
                    **{k: round(everything[k], 4) for k in ("memorized", "recovered", "clean")},
                    "test": round(vit.share(vit.predict(model, images.x_test) == images.y_test), 4),
                }
            )
    return log


def train(out: str | Path, seed: int = 0, noise: float = NOISE, epochs: int = EPOCHS) -> None:
    """Train the tiny ViT and save weights, configuration, preprocessing, `recipe.json`, `training.jsonl` and the
    manifest in the folder `out`.

    It takes about a minute and a half on one core. noise=0 gives the overconfident net of chapter 7.
    """
    folders.check_free(out, RECIPE)
    images, model = make_images(seed), make_model(seed)
    log = fit(model, images, seed, noise, epochs, desc=f"training vit-tiny, seed {seed}")
    save(model, Path(out), {"seed": seed, "noise": noise, "epochs": epochs, "labels": digest(images)}, log)


def digest(images: Images) -> str:
    """SHA-256 of the given labels, which the seed in a checkpoint's recipe must reproduce."""
    return hashlib.sha256(bytes(images.given.tolist())).hexdigest()


def save(model: transformers.ViTForImageClassification, folder: str | Path, recipe: dict, log: list[dict]) -> None:
    """Write a checkpoint in the hub's format, with its recipe and the log of its training."""
    mean, std = pixel_statistics()
    with folders.filled(folder, RECIPE) as partial:
        model.save_pretrained(partial)
        files.write_json(
            partial / "preprocessor_config.json",
            {
                "image_processor_type": "ViTImageProcessor",
                "do_resize": True,
                "size": {"height": SIDE, "width": SIDE},
                "do_rescale": True,
                "rescale_factor": 1 / 255,
                "do_normalize": True,
                "image_mean": [mean],
                "image_std": [std],
            },
        )
        files.write_json(partial / RECIPE, recipe)
        files.write_rows(partial / "training.jsonl", log)


def pixel_statistics() -> tuple[float, float]:
    """(mean, standard deviation) that `digits.load` standardizes with, for pixels between 0 and 1."""
    raw = load_file(data("digits", "digits.safetensors"))["images"].float() / 16
    return raw.mean().item(), raw.std().item()


def load(folder: str | Path | None = None) -> tuple[transformers.ViTForImageClassification, Images]:
    """Load (model in evaluation mode, the `Images` it was trained on) from a checkpoint of `train`; None: the shipped
    one.

    Raises ValueError if the files are not those of the manifest, or the recipe no longer gives the labels of training.
    """
    folder = folder or data("vit-tiny")
    files.check_manifest(folder)
    recipe = files.read_json(Path(folder) / RECIPE)
    images = make_images(recipe["seed"])
    if digest(images) != recipe["labels"]:
        raise ValueError(
            f"{folder}/recipe.json: its seed no longer gives the labels this model was trained on: "
            "kfaclib/toy/digits.py or kfaclib/toy/mislabelled.py has changed since; check out the version that "
            "trained it"
        )
    return transformers.ViTForImageClassification.from_pretrained(folder, use_safetensors=True).eval(), images


def write_folder(folder: str | Path, images: Images, rows: torch.Tensor) -> tuple[Path, Path]:
    """Write training images of the tiny ViT as PNG files in class folders, with `wrong.json`, in ImageNet's layout.

    rows: indices [n] of the images. Returns the paths (folder/train, folder/wrong.json).
    """
    folder, wrong = Path(folder), {}
    mean, std = pixel_statistics()
    for i in rows.tolist():
        place = folder / "train" / str(images.true[i].item()) / f"{i:04d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(((images.x[i, 0] * std + mean).clamp(0, 1) * 255).round().byte().numpy()).save(place)
        if images.wrong[i]:
            wrong[f"{place.parent.name}/{place.name}"] = str(images.given[i].item())
    files.write_json(folder / "wrong.json", wrong)
    return folder / "train", folder / "wrong.json"
