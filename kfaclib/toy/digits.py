"""Handwritten digits and a small net for them, used in chapters 1, 2, 4, 5 and 6.

The images are the 1797 test images of the UCI data set "Optical Recognition of Handwritten Digits" (E. Alpaydin and
C. Kaynak, 1998, CC BY 4.0), 8 x 8 pixels; data/digits holds them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from kfaclib.io import files
from kfaclib.io.paths import data

CLASSES, PIXELS, TRAIN = 10, 64, 1000


@dataclass(frozen=True)
class Digits:
    """Training images x [N, 64] float32 (mean 0 and deviation 1 over all pixels together) with true labels y int64 [N],
    and the same for testing; by default 1000 and 797 images."""

    x: torch.Tensor
    y: torch.Tensor
    x_test: torch.Tensor
    y_test: torch.Tensor


def load(train: int = TRAIN) -> Digits:
    """Load the digits, always split in the same way: `train` images for training, the rest for testing. Raises
    ValueError if the files are not those of their manifest."""
    files.check_manifest(data("digits"))
    raw = load_file(data("digits", "digits.safetensors"))
    x, y = raw["images"].flatten(1).float(), raw["labels"].long()
    x = (x - x.mean()) / x.std()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    x, y = x[order], y[order]
    return Digits(x[:train], y[:train], x[train:], y[train:])


def corrupt(labels: torch.Tensor, share: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Replace a share of labels [N] by wrong ones, drawn uniformly: (the new labels; bool [N], which were replaced).

    With share=1 every label is wrong.
    """
    generator = torch.Generator().manual_seed(seed)
    wrong = torch.zeros(len(labels), dtype=torch.bool)
    wrong[torch.randperm(len(labels), generator=generator)[: round(share * len(labels))]] = True
    shift = torch.randint(1, CLASSES, labels.shape, generator=generator)
    return torch.where(wrong, (labels + shift) % CLASSES, labels), wrong


def make_net(seed: int = 0, widths: Sequence[int] = (96, 96)) -> nn.Sequential:
    """A new multilayer perceptron 64 - widths - 10 with GELU."""
    torch.manual_seed(seed)
    sizes = [PIXELS, *widths]
    layers = [m for i, o in zip(sizes, sizes[1:]) for m in (nn.Linear(i, o), nn.GELU())]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], CLASSES))


def train(
    net: nn.Module,
    x: torch.Tensor,
    y: torch.Tensor,
    epochs: int,
    seed: int = 0,
    lr: float = 3e-3,
    batch: int = 100,
    watch: Callable[[int], object] | None = None,
) -> nn.Module:
    """Train a net in place with Adam on the mean cross-entropy of x [N, 64] and y [N], and return it.

    The learning rate falls from `lr` to zero on a cosine. watch(epoch) is called before the first epoch (0) and after
    every one.
    """
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(net.parameters(), lr=lr)
    steps = epochs * -(-len(x) // batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    if watch:
        watch(0)
    for epoch in range(epochs):
        for rows in torch.randperm(len(x), generator=generator).split(batch):
            optimizer.zero_grad()
            F.cross_entropy(net(x[rows]), y[rows]).backward()
            optimizer.step()
            schedule.step()
        if watch:
            watch(epoch + 1)
    return net


@torch.no_grad()
def accuracy(net: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    """Share of images x [N, 64] whose largest output is at y [N]."""
    return (net(x).argmax(-1) == y).float().mean().item()
