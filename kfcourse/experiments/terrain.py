"""Chapter 1's controls: what makes a pit, what the step size does to the sharpness, and how two minima are joined."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call
from tqdm.auto import tqdm

from kfaclib.curvature import landscape, products, spectrum
from kfaclib.io import files
from kfaclib.toy import digits
from kfcourse.experiments.landscape import IMAGES

SEEDS, DIRECTIONS, DISTANCES, PROBES = range(3), 6, (0.1, 0.2), 10
RATES, EDGE_SEEDS, EDGE_STEPS, EVERY = (0.1, 0.2), range(3), 600, 50
PATH_SEEDS, PLACES = range(2), 21
KINDS = {  # what the labels are, and for how many epochs the net is trained
    "true labels": ("true", 30),
    "true labels, as long": ("true", 150),
    "every label wrong": ("wrong", 150),
    "drawn at random": ("random", 150),
    "wrong by a rule": ("rule", 30),
}
STOPPED = ("true labels", "wrong by a rule")  # these are also stopped at the loss of the net with every label wrong


def labels(kind, true, seed):
    """The labels [N] that a net is given: the true ones, all wrong without or with a rule, or drawn at random."""
    if kind == "wrong":
        return digits.corrupt(true, 1.0, seed)[0]
    if kind == "random":
        generator = torch.Generator().manual_seed(seed)
        return torch.randint(0, digits.CLASSES, true.shape, generator=generator)
    return true if kind == "true" else (true + 1) % digits.CLASSES


def trained(kind, seed, epochs, until=0.0):
    """(loss of Params, final Params, right in training): stops early once the mean loss is at most `until`."""
    data = digits.load()
    y, net, stopped = labels(kind, data.y, seed), digits.make_net(seed), {}

    def watch(epoch):
        if not stopped and until and F.cross_entropy(net(data.x), y).item() <= until:
            stopped.update({name: p.detach().clone() for name, p in net.named_parameters()})

    digits.train(net, data.x, y, epochs, seed, watch=watch)
    net.load_state_dict(stopped or net.state_dict())
    params = {name: p.detach() for name, p in net.named_parameters()}
    loss = lambda q: F.cross_entropy(functional_call(net, q, (data.x[:IMAGES],)), y[:IMAGES])
    return loss, params, digits.accuracy(net, data.x, y)


def sharpness(loss, params, steps=20, seed=0):
    """The largest eigenvalue of the Hessian, by Lanczos."""
    matvec = lambda v: products.flatten(products.hvp(loss, params, products.unflatten(v, params)))
    start = spectrum.random_signs(products.flatten(params).numel(), torch.Generator().manual_seed(seed))
    return spectrum.ritz(spectrum.lanczos(matvec, start, steps))[0][0].item()


def bend_along(loss, params, direction):
    """v' H v."""
    return (products.flatten(direction) @ products.flatten(products.hvp(loss, params, direction))).item()


def measure(loss, params, on_train, seed):
    """How far the loss rises along filter-normalised directions, and what curvature says of it."""
    generator = torch.Generator().manual_seed(seed)
    ways = [
        landscape.filter_normalise(landscape.random_direction(params, generator), params) for _ in range(DIRECTIONS)
    ]
    flat = products.flatten(params)
    probes = [products.unflatten(spectrum.random_signs(flat.numel(), generator), params) for _ in range(PROBES)]
    middle = loss(params).item()
    heights = torch.stack([landscape.loss_slice(loss, params, way, DISTANCES) for way in ways]).mean(0)
    return {
        "train": on_train,
        "loss": middle,
        "norm": flat.norm().item(),
        "rise": (heights - middle).tolist(),
        "bend": sum(bend_along(loss, params, way) for way in ways) / DIRECTIONS,
        "sharpness": sharpness(loss, params, seed=seed),
        "trace": sum(bend_along(loss, params, probe) for probe in probes) / PROBES,
    }


def nets():
    """[{"seed", kind: what `measure` says}]."""
    rows = []
    for seed in tqdm(SEEDS, desc="nets"):
        row = {"seed": seed}
        for name, (kind, epochs) in KINDS.items():
            row[name] = measure(*trained(kind, seed, epochs), seed)
        for name in STOPPED:
            kind, epochs = KINDS[name]
            stopped = trained(kind, seed, epochs, until=row["every label wrong"]["loss"])
            row[f"{name}, same loss"] = measure(*stopped, seed)
        rows.append(row)
    return rows


def small_net(seed):
    """(squared loss of Params, fresh Params) of a net 64-32-10 on 300 digits: what `edge` trains without batches."""
    data = digits.load()
    x, target = data.x[:300], F.one_hot(data.y[:300], digits.CLASSES).float()
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(digits.PIXELS, 32), nn.Tanh(), nn.Linear(32, digits.CLASSES))
    loss = lambda p: 0.5 * (functional_call(net, p, (x,)) - target).square().sum(1).mean()
    return loss, {name: p.detach().clone() for name, p in net.named_parameters()}


def edge(rate, seed, steps=EDGE_STEPS, every=EVERY):
    """Gradient descent on all examples at once: [(step, loss, sharpness)] every `every` steps."""
    loss, params = small_net(seed)
    seen = []
    for step in range(steps + 1):
        leaves = {name: p.requires_grad_() for name, p in params.items()}
        value = loss(leaves)
        slopes = torch.autograd.grad(value, list(leaves.values()))
        params = {name: p.detach() for name, p in params.items()}
        if step % every == 0:
            seen.append((step, value.item(), sharpness(loss, params)))
        params = {name: p - rate * g for (name, p), g in zip(params.items(), slopes, strict=True)}
    return seen


def paths(kind, seed):
    """The highest loss on the straight line between two nets of one task, and on a bent path."""
    epochs = 30 if kind == "true" else 150
    loss, first, _ = trained(kind, seed, epochs)
    data, other = digits.load(), digits.make_net(seed + 100)
    digits.train(other, data.x, labels(kind, data.y, seed), epochs, seed + 100)
    second = {name: p.detach() for name, p in other.named_parameters()}
    half = {name: (first[name] + second[name]) / 2 for name in first}
    middle = landscape.bend(loss, first, second, steps=300, rate=0.01, generator=torch.Generator().manual_seed(seed))
    places = torch.linspace(0, 1, PLACES).tolist()
    on = {name: landscape.path_losses(loss, first, m, second, places) for name, m in (("line", half), ("bent", middle))}
    return {"seed": seed, "labels": kind, "ends": max(on["line"][0].item(), on["line"][-1].item())} | {
        name: losses.max().item() for name, losses in on.items()
    }


def run(out):
    """About three minutes on one core."""
    files.write_json(
        out,
        {
            "provenance": files.provenance(list(SEEDS)),
            "distances": list(DISTANCES),
            "nets": nets(),
            "edges": [
                {"rate": rate, "seed": seed, "seen": edge(rate, seed)}
                for rate in RATES
                for seed in tqdm(EDGE_SEEDS, desc=f"step size {rate}")
            ],
            "paths": [paths(kind, seed) for kind in ("true", "wrong") for seed in tqdm(PATH_SEEDS, desc="paths")],
        },
    )
