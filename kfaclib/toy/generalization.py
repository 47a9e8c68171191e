"""The digits net on partly wrong labels: its accuracies on several sets after every epoch (chapter 2)."""

import math
from dataclasses import dataclass

import torch

from kfaclib.toy import digits


@dataclass(frozen=True)
class Watch:
    """Accuracies at the start and after every epoch.

    train: on the given labels. validation: on held-out images with labels made wrong in the same way. test: on the true
    labels of the test images. memorized, true: among the training images with a wrong label, the share that gets this
    label or the true one.
    """

    train: list[float]
    validation: list[float]
    test: list[float]
    memorized: list[float]
    true: list[float]


def watch(
    share: float, seed: int = 0, images: int = 600, epochs: int = 100, shrink: float = 0.0, noise: float = 0.0
) -> Watch:
    """Train on `images` digits, of which a `share` have a wrong label, and measure after every epoch.

    shrink: the part of every weight that is removed after the first epoch (weight decay); it falls to zero with the
    learning rate. noise: standard deviation of the noise on four copies of every image (augmentation). Raises
    ValueError if `images` would include held-out ones.
    """
    data = digits.load()
    labels, wrong = digits.corrupt(data.y, share, seed)
    held_out = slice(600, 1000)
    if not 0 < images <= held_out.start:
        raise ValueError(
            f"images={images}: between 1 and {held_out.start}, the rest of the training images is held out"
        )
    x, y = data.x[:images], labels[:images]
    net = digits.make_net(seed)
    rows = {name: [] for name in ("train", "validation", "test", "memorized", "true")}

    def look(epoch):
        if shrink and epoch:
            with torch.no_grad():
                for p in net.parameters():
                    p.mul_(1 - shrink * (1 + math.cos(math.pi * epoch / epochs)) / 2)
        rows["train"].append(digits.accuracy(net, x, y))
        rows["validation"].append(digits.accuracy(net, data.x[held_out], labels[held_out]))
        rows["test"].append(digits.accuracy(net, data.x_test, data.y_test))
        bad = wrong[:images]
        rows["memorized"].append(digits.accuracy(net, x[bad], y[bad]) if bad.any() else 0.0)
        rows["true"].append(digits.accuracy(net, x[bad], data.y[:images][bad]) if bad.any() else 0.0)

    copies = torch.cat(
        [x + noise * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed + i)) for i in range(4)]
    )
    digits.train(net, *((copies, y.repeat(4)) if noise else (x, y)), epochs, seed, watch=look)
    return Watch(**rows)
