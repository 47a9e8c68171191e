"""What a ViT memorized of wrong labels, edits by curvature and without it, and an edit at a given price (chapter 7).

`images` are training images x [N, C, H, W] with the labels that were given and the true ones [N], bool wrong [N], test
images, and exam(half), the indices of what is measured on a half: `kfaclib.toy.mislabelled.Images`.
"""

import math

import torch

from kfaclib.curvature.capture import measured
from kfaclib.editing import baselines, matching
from kfaclib.editing.edit import edit_weights, edited

CLEAN = 0.98  # the clean accuracy that every method is brought to


@measured
def predict(model, x, batch=1000):
    """Predicted class [N] of images x [N, C, H, W]."""
    return torch.cat([model(pixel_values=rows.to(model.device)).logits.argmax(-1).cpu() for rows in x.split(batch)])


def share(mask):
    """The share of true entries of a bool tensor, as a float; nan if there is none to count."""
    return mask.double().mean().item()


def scores(said, given, true, learned=None):
    """What a model that says `said` [n] memorized and recovered of images with labels `given` and `true` [n], as a dict
    of shares.

    memorized: wrong labels that it repeats. recovered: mislabelled images that it gives the true label, over all of
    them, and (recovered_of_memorized) over those in the mask `learned` [n], whose wrong label it repeated before the
    edit (default: now). clean: correctly labelled images that it gets right.
    """
    wrong = given != true
    learned = wrong & (said == given if learned is None else learned)
    return {
        "memorized": share((said == given)[wrong]),
        "recovered": share((said == true)[wrong]),
        "recovered_of_memorized": share((said == true)[learned]),
        "clean": share((said == true)[~wrong]),
    }


def measure(model, images, half, learned=None):
    """(`scores` of one half with the test accuracy; bool [n], the images whose given label the model repeats).

    Pass the second one, from before the edit, as `learned` afterwards.
    """
    rows = images.exam(half)
    said, given = predict(model, images.x[rows]), images.given[rows]
    test = share(predict(model, images.x_test) == images.y_test)
    return {**scores(said, given, images.true[rows], learned), "test": test}, said == given


@torch.no_grad()
def surprises(model, x, temperature=1.0):
    """How many of the labels that a model draws for images x [N, C, H, W], one each, are expected not to be its own
    answer.
    """
    logits = torch.cat([model(pixel_values=rows).logits for rows in x.split(1000)])
    return (1 - torch.softmax(logits / temperature, -1).max(-1)[0]).sum().item()


def methods(layers, bases, seed=0):
    """{method: strength in (0, 1] -> {layer: weight}}; a larger strength changes less. Random methods draw the same
    numbers every time.
    """
    random = {
        name: baselines.random_basis(basis, torch.Generator().manual_seed(seed + i))
        for i, (name, basis) in enumerate(bases.items())
    }

    def each(change):
        def at(strength):
            generator = torch.Generator().manual_seed(seed)
            return {name: change(layer.weight, strength, generator) for name, layer in layers.items()}

        return at

    return {
        "K-FAC": lambda mass: edit_weights(layers, {name: bases[name] for name in layers}, mass),
        "SVD": each(lambda W, kept, generator: baselines.svd_edit(W, kept)),
        "random basis": lambda mass: edit_weights(layers, {name: random[name] for name in layers}, mass),
        "magnitude": each(lambda W, kept, generator: baselines.magnitude_edit(W, kept)),
        "random noise": each(
            lambda W, s, generator: baselines.noise_edit(W, -math.log(s) * W.detach().norm(), generator)
        ),
    }


def matched(model, images, layers, change, target=CLEAN, steps=9):
    """The strength at which the clean accuracy on the choosing half is closest to `target`: (strength, accuracy there).

    Searched on x, strength = 1 - exp(-x), between 0 and 12: a random basis needs strengths very close to one.
    """
    rows = images.exam("choose")
    rows = rows[~images.wrong[rows]]
    strength = lambda x: -math.expm1(-x)

    def clean(x):
        with edited(layers, change(strength(x))):
            return share(predict(model, images.x[rows]) == images.true[rows])

    x, reached = matching.nearest(clean, target, 0.0, 12.0, steps=steps)
    return strength(x), reached


def outcome(model, images, layers, weights, half, learned):
    """`scores` of a half, and the test accuracy, under edited weights."""
    with edited(layers, weights):
        return measure(model, images, half, learned)[0]
