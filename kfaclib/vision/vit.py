"""How many wrong labels a ViT memorized, edits with and without curvature, and edits of equal cost (chapter 7).

`images` are training images x [N, C, H, W] with the labels that were given and the true ones [N], bool wrong [N], test
images, and exam(half), the indices of what is measured on a half: `kfaclib.toy.mislabelled.Images`.
"""

import math
from collections.abc import Callable, Sequence

import torch

from kfaclib.curvature.capture import measured
from kfaclib.curvature.eigenbasis import Eigenbasis
from kfaclib.editing import baselines, matching
from kfaclib.editing.edit import edit_weights, edited

CLEAN = 0.98  # the clean accuracy that every method is brought to
NEAR = 0.002  # how far from it counts as equal


@measured
def predict(model: torch.nn.Module, x: torch.Tensor, batch: int = 1000) -> torch.Tensor:
    """Predicted class of images x [N, C, H, W], `batch` at a time: int64 [N]."""
    return torch.cat([model(pixel_values=rows.to(model.device)).logits.argmax(-1).cpu() for rows in x.split(batch)])


def share(mask: torch.Tensor) -> float:
    """The share of true entries of a bool tensor; nan if it is empty."""
    return mask.double().mean().item()


def scores(
    said: torch.Tensor, given: torch.Tensor, true: torch.Tensor, learned: torch.Tensor | None = None
) -> dict[str, float]:
    """Shares of memorized and recovered labels, for answers `said` to images with labels `given` and `true`, each [n].

    "memorized": mislabelled images whose wrong label is repeated. "recovered": mislabelled images that get their true
    label; "recovered_of_memorized": the same among those in the mask `learned`, bool [n], whose wrong label was
    repeated before the edit (default: is repeated now). "clean": correctly labelled images that get their label."""
    wrong = given != true
    learned = wrong & (said == given if learned is None else learned)
    return {
        "memorized": share((said == given)[wrong]),
        "recovered": share((said == true)[wrong]),
        "recovered_of_memorized": share((said == true)[learned]),
        "clean": share((said == true)[~wrong]),
    }


def measure(
    model: torch.nn.Module, images, half: str, learned: torch.Tensor | None = None
) -> tuple[dict[str, float], torch.Tensor]:
    """Measure a model on one half: (`scores` with the accuracy "test"; bool [n], whose given label it repeats).

    learned: the second of these from before the edit, when measuring after it.
    """
    rows = images.exam(half)
    said, given = predict(model, images.x[rows]), images.given[rows]
    test = share(predict(model, images.x_test) == images.y_test)
    return {**scores(said, given, images.true[rows], learned), "test": test}, said == given


@torch.no_grad()
def surprises(model: torch.nn.Module, x: torch.Tensor, temperature: float = 1.0) -> float:
    """Expected number of sampled labels that differ from the model's answer, over images x [N, C, H, W] with one label
    each, drawn from softmax(logits / temperature)."""
    logits = torch.cat([model(pixel_values=rows).logits for rows in x.split(1000)])
    return (1 - torch.softmax(logits / temperature, -1).max(-1)[0]).sum().item()


def methods(
    layers: dict[str, torch.nn.Linear], bases: dict[str, Eigenbasis], seed: int = 0
) -> dict[str, Callable[[float], dict[str, torch.Tensor]]]:
    """The edits that chapter 7 compares: {method: function of a strength in (0, 1] that returns {layer: weight}}.

    A larger strength changes less. Random methods draw the same numbers every time.
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


def _clean(model, images, layers, change):
    """The function from a strength of `change` to the clean accuracy on the choosing half."""
    rows = images.exam("choose")
    rows = rows[~images.wrong[rows]]

    def clean(strength):
        with edited(layers, change(strength)):
            return share(predict(model, images.x[rows]) == images.true[rows])

    return clean


def at_price(
    model: torch.nn.Module,
    images,
    layers: dict[str, torch.nn.Linear],
    change: Callable[[float], dict[str, torch.Tensor]],
    target: float = CLEAN,
    grid: Sequence[float] | None = None,
) -> list[tuple[float, float]]:
    """The strengths at which the clean accuracy on the choosing half is `target`: [(strength, share)].

    change: one of `methods`. One strength, within NEAR of the target if there is one: the search is over x between
    0 and 12, with strength = 1 - exp(-x), because a random basis needs strengths very close to one. Where strengths
    go in steps, `grid`, and none comes so near, its two neighbours, with the shares by which what is measured there
    is to be mixed (`mixed`).
    """
    clean = _clean(model, images, layers, change)
    if grid is None:
        strength = lambda x: -math.expm1(-x)
        x, _ = matching.nearest(lambda x: clean(strength(x)), target, 0.0, 12.0, steps=16, tolerance=NEAR)
        return [(strength(x), 1.0)]
    found = matching.on_grid(clean, target, grid, NEAR)
    return [(strength, part) for strength, _, part in found]


def mixed(
    model: torch.nn.Module,
    images,
    layers: dict[str, torch.nn.Linear],
    change: Callable[[float], dict[str, torch.Tensor]],
    strengths: Sequence[tuple[float, float]],
    half: str,
    learned: torch.Tensor,
) -> dict[str, float]:
    """`outcome` at the strengths of `at_price`, mixed by their shares."""
    rows = [outcome(model, images, layers, change(x), half, learned) for x, _ in strengths]
    return matching.mixture(rows, [part for _, part in strengths])


def outcome(
    model: torch.nn.Module,
    images,
    layers: dict[str, torch.nn.Linear],
    weights: dict[str, torch.Tensor],
    half: str,
    learned: torch.Tensor,
) -> dict[str, float]:
    """`scores` of a half and the test accuracy under edited weights, which are restored afterwards."""
    with edited(layers, weights):
        return measure(model, images, half, learned)[0]
