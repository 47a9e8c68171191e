"""A tiny ViT with a tenth of wrong labels: the edit, its controls, other layers, and what a vanishing Fisher does to it
(chapter 7).

Everything is brought to the same clean accuracy on the choosing half and measured on the reporting half.
"""

import json
import tempfile
from pathlib import Path

import torch
from tqdm.auto import tqdm

from kfaclib.curvature.eigenbasis import decompose
from kfaclib.curvature.factors import collect_factors
from kfaclib.curvature.layers import linear_layers
from kfaclib.editing.baselines import low_ranks, noise_edit
from kfaclib.io import files
from kfaclib.toy import mislabelled
from kfaclib.vision import vit
from kfcourse.paths import DATA

SEEDS, DRAWS = (0, 1, 2), 2
CURVE = (
    0.4,
    0.7,
    1.0,
    1.4,
)  # points of a trade-off curve, as multiples of x at matched accuracy; strength = 1 - exp(-x)
ESTIMATES = {  # name: (labels, noise on the images, temperature, tokens)
    "exact, noisy images": ("exact", True, 1, "all"),
    "exact, clean images": ("exact", False, 1, "all"),
    "exact, tempered": ("exact", False, 4, "all"),
    "exact, CLS token only": ("exact", True, 1, "cls"),
    "one draw, noisy images": ("sampled", True, 1, "all"),
    "one draw, clean images": ("sampled", False, 1, "all"),
}
ONLY_ONCE = ("exact, tempered", "exact, CLS token only")  # for the shipped seed and the overconfident net


def curvature(model, images, layers, labels="exact", noise=True, temperature=1, tokens="all", seed=0):
    """Bases {name: Eigenbasis} from the choosing half's images."""
    batches = mislabelled.collection_batches(images, noise=noise, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    return decompose(
        collect_factors(
            model,
            batches,
            layers,
            labels=labels,
            tokens=tokens,
            temperature=temperature,
            generator=generator,
            progress=False,
        )
    )


def at_matched(model, images, layers, change, learned, grid=None):
    """One row: strength at the agreed clean accuracy, and what was measured on both halves there."""
    found = vit.at_price(model, images, layers, change, grid=grid)
    return {
        "strength": sum(strength * share for strength, share in found),
        **{half: vit.mixed(model, images, layers, change, found, half, learned[half]) for half in mislabelled.HALVES},
    }


def estimates(model, images, layers, learned, names=ESTIMATES):
    """Rows of K-FAC at matched clean accuracy for ways to estimate the curvature, with the surprises each could see."""
    rows, x = [], images.x[images.half("choose")]
    for name in tqdm(names, desc="estimates"):
        labels, noise, temperature, tokens = ESTIMATES[name]
        for draw in range(DRAWS if labels == "sampled" else 1):
            bases = curvature(model, images, layers, labels, noise, temperature, tokens, seed=draw)
            row = at_matched(model, images, layers, vit.methods(layers, bases)["K-FAC"], learned)
            seen = mislabelled.noisy(x, torch.Generator().manual_seed(draw)) if noise else x
            rows.append({"estimate": name, "draw": draw, "surprises": vit.surprises(model, seen, temperature), **row})
    return {"rows": rows, "images": len(x)}


def examine(folder, seed):
    """Everything about one checkpoint."""
    model, images = mislabelled.load(folder)
    every, before, learned = linear_layers(model, mislabelled.LAYERS), {}, {}
    for half in mislabelled.HALVES:
        before[half], learned[half] = vit.measure(model, images, half)
    training = [json.loads(line) for line in (Path(folder) / "training.jsonl").read_text().splitlines()]
    record = {"seed": seed, "before": before, "training": training}
    if seed == "overconfident":
        return {**record, "estimates": estimates(model, images, every, learned)}
    bases, rows, curves = curvature(model, images, every), [], []
    for method, change in tqdm(vit.methods(every, bases, seed).items(), desc=f"seed {seed}, methods"):
        ranks = low_ranks(every) if method == "SVD" else None
        rows.append({"method": method, **at_matched(model, images, every, change, learned, ranks)})
        for part in CURVE:
            strength = 1 - (1 - rows[-1]["strength"]) ** part
            curves.append(
                {
                    "method": method,
                    "strength": strength,
                    **vit.outcome(model, images, every, change(strength), "report", learned["report"]),
                }
            )
    by_curvature, generator = (
        vit.methods(every, bases)["K-FAC"](rows[0]["strength"]),
        torch.Generator().manual_seed(seed),
    )
    noise = {
        n: noise_edit(layer.weight, (by_curvature[n] - layer.weight.detach()).norm(), generator)
        for n, layer in every.items()
    }
    sets = []
    for layers, patterns in mislabelled.LAYER_SETS.items():
        chosen = linear_layers(model, patterns)
        sets.append(
            {"layers": layers, **at_matched(model, images, chosen, vit.methods(chosen, bases)["K-FAC"], learned)}
        )
    return {
        **record,
        "rows": rows,
        "curves": curves,
        "layers": sets,
        "equal_norm": vit.outcome(model, images, every, noise, "report", learned["report"]),
        "estimates": estimates(
            model, images, every, learned, [n for n in ESTIMATES if seed == 0 or n not in ONLY_ONCE]
        ),
    }


def run(out, folder=None):
    """Three seeds (the first is the shipped checkpoint) and one overconfident net, trained without noise: about ten
    minutes on one core.

    folder: where the other checkpoints are, or will be when they are trained.
    """
    folder, results = Path(folder or tempfile.gettempdir()) / "vit-tiny", []
    for name in (*SEEDS, "overconfident"):
        place = folder / str(name) if name else DATA / "vit-tiny"
        if not (place / "manifest.json").exists():
            mislabelled.train(place, *((0, 0.0) if name == "overconfident" else (name,)))
        results.append(examine(place, name))
    files.write_json(
        out,
        {
            "provenance": files.provenance(list(SEEDS)),
            "target": vit.CLEAN,
            "seeds": results[:-1],
            "overconfident": results[-1],
        },
    )
