"""The digits net on labels that are partly wrong, watched epoch by epoch: what it fits, what it understands (chapter
2)."""

import math
from dataclasses import dataclass

import torch

from kfaclib.toy import digits


@dataclass(frozen=True)
class Watch:
    """Accuracies after every epoch, the start first, each a list: on the labels it was given (train), on the same
    number of held-out images with labels made wrong in the same way (validation), and on the true labels of the test
    images (test); and of the images with a wrong label the share that gets this label (memorized) or the true one
    (true)."""

    train: list
    validation: list
    test: list
    memorized: list
    true: list


def watch(share, seed=0, images=600, epochs=100, shrink=0.0, noise=0.0):
    """`Watch` of one training on `images` digits of which `share` have a wrong label.

    shrink: the part of every weight that is taken off after the first epoch (weight decay); it falls to zero with the
    learning rate.  noise: standard deviation of the noise that four copies of every image get (augmentation).
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
