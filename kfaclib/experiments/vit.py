"""A tiny ViT with a tenth of wrong labels: the edit and its controls, which layers, and what goes wrong with a vanishing Fisher (chapter 7).

Every method, every set of layers and every estimate of the curvature is brought to the same clean accuracy on the
choosing half; what was chosen there is measured on the reporting half.
"""

import json
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
from tqdm.auto import tqdm

from kfaclib import files, vit
from kfaclib.eigenbasis import decompose
from kfaclib.layers import linear_layers
from kfaclib.paths import DATA

SEEDS, DRAWS = (0, 1, 2), 3
CURVE = (0.4, 0.6, 0.8, 1.0, 1.3, 1.7)  # points of a trade-off curve, as multiples of x at matched accuracy; strength = 1 - exp(-x)
ESTIMATES = {  # name: (labels, noise on the images, temperature, tokens)
    "exact": ("exact", True, 1, "all"), "exact, CLS token": ("exact", True, 1, "cls"), "exact, clean images": ("exact", False, 1, "all"),
    "exact, clean images, tempered": ("exact", False, 4, "all"), "one draw": ("sampled", True, 1, "all"),
    "one draw, clean images": ("sampled", False, 1, "all"), "training labels": ("data", True, 1, "all"),
}


def curvature(model, images, layers, labels="exact", noise=True, temperature=1, tokens="all", seed=0):
    """Bases {name: Eigenbasis} from the choosing half's images."""
    batches = vit.collection_batches(images, noise=noise, seed=seed)
    if labels == "data":
        batches = [{**b, "labels": y} for b, y in zip(batches, images.given[images.half("choose")].split(500))]
    generator = torch.Generator().manual_seed(seed)
    return decompose(vit.collect(model, batches, layers, labels=labels, tokens=tokens, temperature=temperature, generator=generator, progress=False))


def at_matched(model, images, layers, change, learned):
    """One row: strength at the agreed clean accuracy, and what was measured on both halves there."""
    strength, _ = vit.matched(model, images, layers, change)
    weights = change(strength)
    return {"strength": strength, **{half: vit.outcome(model, images, layers, weights, half, learned[half]) for half in vit.HALVES}}


@torch.no_grad()
def surprises(model, x, temperature=1):
    """How many of the labels drawn for images x would not be the model's own answer, in expectation."""
    logits = torch.cat([model(pixel_values=rows).logits for rows in x.split(1000)])
    return (1 - torch.softmax(logits / temperature, -1).max(-1)[0]).sum().item()


def estimates(model, images, layers, learned):
    """Rows of K-FAC at matched clean accuracy for each way to estimate the curvature, and the surprises it could see."""
    rows, x = [], images.x[images.half("choose")]
    for name, (labels, noise, temperature, tokens) in tqdm(ESTIMATES.items(), desc="estimates"):
        for draw in range(DRAWS if labels == "sampled" else 1):
            bases = curvature(model, images, layers, labels, noise, temperature, tokens, seed=draw)
            row = at_matched(model, images, layers, vit.methods(layers, bases)["K-FAC"], learned)
            seen = vit.noisy(x, torch.Generator().manual_seed(draw)) if noise else x
            rows.append({"estimate": name, "draw": draw, "surprises": surprises(model, seen, temperature), **row})
    return {"rows": rows, "images": len(x)}


def examine(folder, seed):
    """Everything about one checkpoint."""
    model, images = vit.load(folder)
    before, learned = {}, {}
    for half in vit.HALVES:
        before[half], learned[half] = vit.measure(model, images, half)
    every = linear_layers(model, vit.LAYERS)
    bases = curvature(model, images, every)
    rows, names = [], list(vit.methods(every, bases))
    for layers, patterns in tqdm(vit.LAYER_SETS.items(), desc=f"seed {seed}, layers"):
        chosen = linear_layers(model, patterns)
        for method, change in vit.methods(chosen, bases, seed).items():
            rows.append({"method": method, "layers": layers, **at_matched(model, images, chosen, change, learned)})
    best = {m: max((r for r in rows if r["method"] == m), key=lambda r: r["choose"]["recovered_of_memorized"])["layers"] for m in names}
    own = {m: next(r for r in rows if (r["method"], r["layers"]) == (m, best[m])) for m in names}
    curves = []
    for method in names:
        chosen = linear_layers(model, vit.LAYER_SETS[best[method]])
        change = vit.methods(chosen, bases, seed)[method]
        for part in CURVE:
            strength = 1 - (1 - own[method]["strength"]) ** part
            curves.append({"method": method, "strength": strength, **vit.outcome(model, images, chosen, change(strength), "report", learned["report"])})
    chosen = linear_layers(model, vit.LAYER_SETS[best["K-FAC"]])
    by_curvature = vit.methods(chosen, bases)["K-FAC"](own["K-FAC"]["strength"])
    generator = torch.Generator().manual_seed(seed)
    noise = {n: vit.perturbed(layer.weight, (by_curvature[n] - layer.weight.detach()).norm(), generator) for n, layer in chosen.items()}
    return {"seed": seed, "before": before, "rows": rows, "best": best, "curves": curves,
            "equal_norm": {"layers": best["K-FAC"], **vit.outcome(model, images, chosen, noise, "report", learned["report"])},
            "change": {n: ((by_curvature[n] - layer.weight).norm() / layer.weight.norm()).item() for n, layer in chosen.items()},
            "estimates": estimates(model, images, chosen, learned),
            "training": [json.loads(line) for line in (Path(folder) / "training.jsonl").read_text().splitlines()]}


def examine_overconfident(folder):
    """What one draw of labels does to a net that was trained without noise: no doubt is left, so there is nothing to draw."""
    model, images = vit.load(folder)
    before, learned = {}, {}
    for half in vit.HALVES:
        before[half], learned[half] = vit.measure(model, images, half)
    return {"seed": 0, "before": before, "estimates": estimates(model, images, linear_layers(model, vit.LAYERS), learned)}


def job(name, folder):
    """One process's share of the work: a seed, or the overconfident net."""
    torch.set_num_threads(1)
    if not Path(folder, "manifest.json").exists():
        vit.train(folder, *((0, 0.0) if name == "overconfident" else (name,)))
    return examine_overconfident(folder) if name == "overconfident" else examine(folder, name)


def run(out, folder=Path(tempfile.gettempdir()) / "vit-tiny"):
    """Three seeds (the first is the shipped checkpoint) and one overconfident net, in four processes: about fifteen minutes of CPU.

    folder: where the other checkpoints are, or will be when they are trained.
    """
    names = [*SEEDS, "overconfident"]
    folders = [DATA / "vit-tiny", *(Path(folder) / str(n) for n in names[1:])]
    with ProcessPoolExecutor(len(names), mp_context=get_context("spawn")) as pool:
        results = list(pool.map(job, names, folders))
    files.write_json(out, {"provenance": files.provenance(list(SEEDS)), "target": vit.CLEAN, "seeds": results[:-1], "overconfident": results[-1]})
