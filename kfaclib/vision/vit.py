"""A tiny vision transformer that learned a tenth of wrong labels, what it memorized of them, and an edit at a given
price (chapter 7).

The images are distorted copies of the digits of `kfaclib.toy.digits`; a tenth of their labels is made wrong. Images
whose labels are chosen with (which layers, how strong an edit) and images that are reported come from different digits.
"""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load_file
from tqdm.auto import tqdm

from kfaclib.curvature.capture import capture
from kfaclib.curvature.factors import Factors, _check_recorded, as_batch, backward, check_pass
from kfaclib.curvature.labels import logit_gradient
from kfaclib.editing import baselines
from kfaclib.editing.edit import edit_weights, edited
from kfaclib.io import files, folders
from kfaclib.io.paths import data
from kfaclib.toy import digits

RECIPE = "recipe.json"
SIDE, BASE, IMAGES, WRONG, EXAM, HALVES = 8, 1300, 4000, 0.1, 800, ("choose", "report")
EPOCHS, BATCH, LEARNING_RATE, WARM_UP, WEIGHT_DECAY = 100, 128, 7e-4, 50, 0.05
NOISE = 0.3  # standard deviation of the noise on every training image, every time it is seen; pixels have deviation one
MOST_CLASSES = 100  # for which the exact expectation over classes is still affordable
LAYERS, CLEAN = "*.mlp.*", 0.98  # candidates for the edit; the clean accuracy that every method is brought to
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

    def half(self, name):
        """Indices [n] of the training images of one half; copies of one digit are in the same half."""
        if name not in HALVES:
            raise ValueError(f"half {name!r}: it is one of {HALVES}")
        return ((self.base < BASE // 2) == (name == "choose")).nonzero()[:, 0]

    def exam(self, name):
        """Indices [n] of what is measured on a half: all its mislabelled images, and its first 800 others."""
        rows = self.half(name)
        return torch.cat([rows[self.wrong[rows]], rows[~self.wrong[rows]][:EXAM]])


def distort(x, generator):
    """Every image of x [N, 1, 8, 8] turned by up to 15 degrees, scaled by up to 12 %, sheared and shifted by up to 0.7
    pixels.
    """
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


def make_images(seed=0):
    """`Images`: 4000 distorted copies of 1300 digits, a tenth with a wrong label; `seed` draws which labels are wrong,
    nothing else.
    """
    d = digits.load(BASE)
    base = torch.arange(IMAGES) % BASE
    x = distort(d.x[base].view(-1, 1, SIDE, SIDE), torch.Generator().manual_seed(0))
    given, wrong = digits.corrupt(d.y[base], WRONG, seed)
    return Images(x, given, d.y[base], wrong, base, d.x_test.view(-1, 1, SIDE, SIDE), d.y_test)


def make_model(seed=0):
    """A fresh `ViTForImageClassification`: two blocks of width 128, four patches and the CLS token."""
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


def noisy(x, generator):
    """x with the noise that the model was trained with."""
    return x + NOISE * torch.randn(x.shape, generator=generator)


@torch.no_grad()
def predict(model, x, batch=1000):
    """Predicted class [N] of images x [N, C, H, W]; the model is in evaluation mode afterwards."""
    model.eval()
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


def train(out, seed=0, noise=NOISE, epochs=EPOCHS):
    """Train and save weights, configuration, preprocessing, `recipe.json`, `training.jsonl` and the manifest in the
    folder `out`.

    About a minute and a half on one core.  noise=0 gives the overconfident net that chapter 7 warns of.
    """
    folders.check_free(out, RECIPE)
    out, images, model, generator = Path(out), make_images(seed), make_model(seed), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.95), weight_decay=WEIGHT_DECAY)
    steps, step, log = epochs * -(-IMAGES // BATCH), 0, []
    for epoch in tqdm(range(1, epochs + 1), desc=f"training vit-tiny, seed {seed}"):
        model.train()
        for rows in torch.randperm(IMAGES, generator=generator).split(BATCH):
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
            everything = scores(predict(model, images.x), images.given, images.true)
            log.append(
                {
                    "epoch": epoch,
                    **{k: round(everything[k], 4) for k in ("memorized", "recovered", "clean")},
                    "test": round(share(predict(model, images.x_test) == images.y_test), 4),
                }
            )
    save(model, out, {"seed": seed, "noise": noise, "epochs": epochs, "labels": digest(images)}, log)


def digest(images):
    """SHA-256 of the given labels: what a checkpoint's recipe must lead to again."""
    return hashlib.sha256(bytes(images.given.tolist())).hexdigest()


def save(model, folder, recipe, log):
    """Write a checkpoint in the hub's format, with how it was made."""
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


def pixel_statistics():
    """(mean, deviation) that `digits.load` standardises with, for pixels between 0 and 1."""
    raw = load_file(data("digits", "digits.safetensors"))["images"].float() / 16
    return raw.mean().item(), raw.std().item()


def load(folder=None):
    """(model in evaluation mode, `Images` it was trained on) from a checkpoint of `train` (None: the shipped one);
    checksums and labels are compared.
    """
    folder = folder or data("vit-tiny")
    files.check_manifest(folder)
    recipe = files.read_json(Path(folder) / RECIPE)
    images = make_images(recipe["seed"])
    if digest(images) != recipe["labels"]:
        raise ValueError(
            f"{folder}/recipe.json: its seed no longer gives the labels this model was trained on: "
            "kfaclib/toy/digits.py or "
            "kfaclib/vision/vit.py has changed since; check out the version that trained it"
        )
    return transformers.ViTForImageClassification.from_pretrained(folder, use_safetensors=True).eval(), images


def collect(model, batches, layers, *, labels="exact", tokens="all", temperature=1.0, generator=None, progress=True):
    """A classifier's factors {name: Factors}, with two choices that `collect_factors` does not have.

    labels: "exact" takes the expectation over all classes (one forward and backward pass for each); "sampled" draws one
    label per image from the model, "data" takes batch["labels"]. tokens: "all", or "cls" for the first token alone, as
    the paper does it for ViT-B/16. temperature divides the logits (exact labels only). batches: dicts with
    "pixel_values", or inputs for a plain module.
    """
    if labels not in ("exact", "sampled", "data") or tokens not in ("all", "cls"):
        raise ValueError(
            f"labels={labels!r}, tokens={tokens!r}: labels are 'exact', 'sampled' or 'data', tokens 'all' or 'cls'"
        )
    if temperature != 1 and labels != "exact":
        raise ValueError(
            f"temperature={temperature} goes with labels='exact' only: sampled labels come from the model as it is"
        )
    inputs, gradients, A, G, count = {}, {}, {}, {}, dict.fromkeys(layers, 0)

    def rows(x, name):
        if tokens == "all":
            return x.flatten(0, -2)
        if x.ndim != 3:
            raise ValueError(
                f"layer {name!r} has inputs of shape {tuple(x.shape)}, without tokens: there is no CLS token to "
                "take; use tokens='all'"
            )
        return x[:, 0]

    was_training = model.training
    model.eval()
    try:
        with capture(model, layers, on_input=inputs.__setitem__, on_output_gradient=gradients.__setitem__):
            for batch in tqdm(batches, desc="collecting A and G") if progress else batches:
                batch = as_batch(batch)
                c, classes = 0, 1  # one pass, or with exact labels one for every class
                while c < classes:
                    inputs.clear()
                    gradients.clear()
                    if labels == "exact":
                        classes = backward_class(model, batch, c, temperature)
                    else:
                        backward(model, batch, labels=labels, generator=generator)
                    check_pass(layers, inputs, gradients)
                    for name in layers:
                        g = rows(gradients[name], name)
                        G[name] = G.get(name, 0) + g.T @ g
                    c += 1
                for name in layers:
                    a = rows(inputs[name], name)
                    A[name] = A.get(name, 0) + a.T @ a
                    count[name] += len(a)
    finally:
        model.train(was_training)
    if not A:
        raise ValueError("there was no batch to collect from: the folder of images is empty")
    return {name: Factors(A[name] / count[name], G[name] / count[name], count[name]) for name in layers}


def backward_class(model, batch, c, temperature=1.0):
    """One forward and backward pass of class c's part of the exact Fisher: sqrt(p_c) (p - e_c) enters at the logits [B,
    classes].

    Returns the number of classes; ValueError where one pass for each would be too many.
    """
    batch = {k: v.to(next(model.parameters()).device) for k, v in batch.items() if k != "labels"}
    output = model(batch["x"]) if set(batch) == {"x"} else model(**batch)
    logits = getattr(output, "logits", output)
    if logits.shape[-1] > MOST_CLASSES:
        raise ValueError(
            f"labels='exact' means one backward pass per class, and this model has {logits.shape[-1]}: use "
            "labels='sampled', with more "
            "images"
        )
    _check_recorded(logits)
    tempered = logits.detach() / temperature
    weight = torch.softmax(tempered, -1)[:, c, None].sqrt()
    logits.backward(weight * logit_gradient(tempered, torch.full((len(logits),), c, device=logits.device)))
    return logits.shape[-1]


def collection_batches(images, half="choose", noise=True, seed=0, batch=500):
    """Batches of one half's images to collect curvature on, with the noise of training or without it."""
    x = images.x[images.half(half)]
    if noise:
        x = noisy(x, torch.Generator().manual_seed(seed))
    return [{"pixel_values": rows} for rows in x.split(batch)]


@torch.no_grad()
def surprises(model, x, temperature=1.0):
    """How many of the labels that a model draws for images x [N, C, H, W], one each, are expected not to be its own
    answer.
    """
    logits = torch.cat([model(pixel_values=rows).logits for rows in x.split(1000)])
    return (1 - torch.softmax(logits / temperature, -1).max(-1)[0]).sum().item()


def magnitude_edit(W, kept):
    """W [O, I] with all but its `kept` share of largest entries set to zero."""
    smallest = W.detach().abs().flatten().sort(descending=True)[0][max(1, round(kept * W.numel())) - 1]
    return W.detach() * (W.detach().abs() >= smallest)


def perturbed(W, norm, generator):
    """W [O, I] plus a random matrix of Frobenius norm `norm`."""
    noise = torch.randn(W.shape, generator=generator)
    return W.detach() + (norm * noise / noise.norm()).to(W)


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
        "magnitude": each(lambda W, kept, generator: magnitude_edit(W, kept)),
        "random noise": each(lambda W, s, generator: perturbed(W, -math.log(s) * W.detach().norm(), generator)),
    }


def matched(model, images, layers, change, target=CLEAN, steps=9):
    """The strength at which the clean accuracy on the choosing half is closest to `target`: (strength, accuracy there).

    Bisected on x, strength = 1 - exp(-x), between 0 and 12: a random basis needs strengths very close to one.
    """
    rows = images.exam("choose")
    rows = rows[~images.wrong[rows]]
    low, high, tried = 0.0, 12.0, []
    for _ in range(steps):
        x = (low + high) / 2
        with edited(layers, change(-math.expm1(-x))):
            clean = share(predict(model, images.x[rows]) == images.true[rows])
        tried.append((-math.expm1(-x), clean))
        low, high = (x, high) if clean < target else (low, x)
    return min(tried, key=lambda t: abs(t[1] - target))


def outcome(model, images, layers, weights, half, learned):
    """`scores` of a half, and the test accuracy, under edited weights."""
    with edited(layers, weights):
        return measure(model, images, half, learned)[0]
