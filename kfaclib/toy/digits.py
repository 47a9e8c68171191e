"""Handwritten digits and a net small enough to know completely: the test bed of chapters 1, 2, 4, 5 and 6.

The images are the 1797 test images of the UCI data set "Optical Recognition of Handwritten Digits" (E. Alpaydin and
C. Kaynak, 1998, CC BY 4.0), 8 x 8 pixels; data/digits holds them.
"""

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
    """Images x [N, 64] float32 (mean 0 and deviation 1 over all pixels together), true labels y [N]; train [1000] and
    test [797].
    """

    x: torch.Tensor
    y: torch.Tensor
    x_test: torch.Tensor
    y_test: torch.Tensor


def load(train=TRAIN):
    """`Digits`, always split in the same way: `train` training images, the rest for testing."""
    files.check_manifest(data("digits"))
    raw = load_file(data("digits", "digits.safetensors"))
    x, y = raw["images"].flatten(1).float(), raw["labels"].long()
    x = (x - x.mean()) / x.std()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    x, y = x[order], y[order]
    return Digits(x[:train], y[:train], x[train:], y[train:])


def corrupt(labels, share, seed=0):
    """(labels with `share` of them replaced by a *wrong* one, uniformly; bool [N]: which were replaced).

    share=1 is "random labels": every label wrong.
    """
    generator = torch.Generator().manual_seed(seed)
    wrong = torch.zeros(len(labels), dtype=torch.bool)
    wrong[torch.randperm(len(labels), generator=generator)[: round(share * len(labels))]] = True
    shift = torch.randint(1, CLASSES, labels.shape, generator=generator)
    return torch.where(wrong, (labels + shift) % CLASSES, labels), wrong


def make_net(seed=0, widths=(96, 96)):
    """A fresh multilayer perceptron 64 - widths - 10 with GELU."""
    torch.manual_seed(seed)
    sizes = [PIXELS, *widths]
    layers = [m for i, o in zip(sizes, sizes[1:]) for m in (nn.Linear(i, o), nn.GELU())]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], CLASSES))


def train(net, x, y, epochs, seed=0, lr=3e-3, batch=100, watch=None):
    """Train with Adam on the mean cross-entropy, the rate falling to zero on a cosine; returns the net.

    watch(epoch): called before the first epoch (0) and after every one.
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
def accuracy(net, x, y):
    """Share of x [N, 64] that the net calls y [N]."""
    return (net(x).argmax(-1) == y).float().mean().item()
