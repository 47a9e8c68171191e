"""Chapter 1's sweep: the same net on clean and on random labels, five seeds, and the clean net at the random one's
training loss."""

import torch
import torch.nn.functional as F
from torch.func import functional_call
from tqdm.auto import tqdm

from kfaclib.curvature import landscape, products, spectrum
from kfaclib.io import files
from kfaclib.toy import digits

SEEDS, DIRECTIONS, STEPS, IMAGES = range(5), 10, (-1.0, -0.5, -0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.5, 1.0), 500
EPOCHS = {"clean": 30, "random": 150}


def trained(kind, seed, until=0.0):
    """(loss of Params, final Params, training accuracy, test accuracy): stops early once the mean loss is at most
    `until`."""
    data = digits.load()
    y = data.y if kind == "clean" else digits.corrupt(data.y, 1.0, seed)[0]
    net, stopped = digits.make_net(seed), {}

    def watch(epoch):
        if not stopped and until and F.cross_entropy(net(data.x), y).item() <= until:
            stopped.update({name: p.detach().clone() for name, p in net.named_parameters()})

    digits.train(net, data.x, y, EPOCHS[kind], seed, watch=watch)
    if stopped:
        net.load_state_dict(stopped)
    params = {name: p.detach() for name, p in net.named_parameters()}
    loss = lambda q: F.cross_entropy(functional_call(net, q, (data.x[:IMAGES],)), y[:IMAGES])
    return loss, params, digits.accuracy(net, data.x, y), digits.accuracy(net, data.x_test, data.y_test)


def measure(loss, params, on_train, on_test, seed):
    """Slices along filter-normalised directions, the share of a plane below a loss of 1, the sharpness."""
    generator = torch.Generator().manual_seed(seed)
    ways = [
        landscape.filter_normalise(landscape.random_direction(params, generator), params) for _ in range(DIRECTIONS)
    ]
    grid = landscape.loss_grid(loss, params, ways[:2], torch.linspace(-1, 1, 25), torch.linspace(-1, 1, 25))
    matvec = lambda v: products.flatten(products.hvp(loss, params, products.unflatten(v, params)))
    start = spectrum.random_signs(products.flatten(params).numel(), generator)
    return {
        "train": on_train,
        "test": on_test,
        "loss": loss(params).item(),
        "norm": products.flatten(params).norm().item(),
        "slice": torch.stack([landscape.loss_slice(loss, params, way, STEPS) for way in ways]).mean(0).tolist(),
        "share_below_1": (grid < 1).double().mean().item(),
        "sharpness": spectrum.ritz(spectrum.lanczos(matvec, start, 30))[0][0].item(),
    }


def run(out):
    """About two minutes on one core."""
    rows = []
    for seed in tqdm(SEEDS, desc="landscapes"):
        random = trained("random", seed)
        level = random[0](random[1]).item()
        rows.append(
            {
                "seed": seed,
                "random": measure(*random, seed),
                "clean": measure(*trained("clean", seed), seed),
                "clean, same loss": measure(*trained("clean", seed, until=level), seed),
            }
        )
    files.write_json(
        out, {"provenance": files.provenance(list(SEEDS)), "steps": list(STEPS), "directions": DIRECTIONS, "rows": rows}
    )
