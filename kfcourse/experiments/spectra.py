"""The Hessian's spectrum on clean, partly wrong and random labels: chapter 4's sweep over seeds."""

import torch
import torch.nn.functional as F
from torch.func import functional_call
from tqdm.auto import tqdm

from kfaclib.curvature.products import cross_entropy_hvp, flatten, ggnvp, hvp, unflatten
from kfaclib.curvature.spectrum import lanczos, quadrature, random_signs, ritz
from kfaclib.io import files
from kfaclib.toy import digits

NETS = {  # (share of wrong labels, epochs, whether every pixel's mean is taken out of the images)
    "clean": (0, 8, False),
    "clean, centred pixels": (0, 8, True),
    "clean, longer": (0, 30, False),
    "a tenth wrong": (0.1, 60, False),
    "random": (1, 150, False),
}
SEEDS, STEPS, PROBES, TOP = range(3), 80, 4, 20


def trained(kind, seed):
    """(net, images, labels it was trained on) for one of NETS."""
    share, epochs, centred = NETS[kind]
    d = digits.load()
    x, (y, _) = d.x - d.x.mean(0) if centred else d.x, digits.corrupt(d.y, share, seed)
    return digits.train(digits.make_net(seed), x, y, epochs, seed), x, y


def curvature(net, x, y, matrix="Hessian"):
    """(matvec on flat vectors [P], P) of the mean loss's Hessian or GGN."""
    params = {n: p.detach() for n, p in net.named_parameters()}
    outputs = lambda p: functional_call(net, p, (x,))
    loss = lambda p: F.cross_entropy(outputs(p), y, reduction="sum")
    product = {
        "Hessian": lambda v: hvp(loss, params, v),
        "GGN": lambda v: ggnvp(outputs, cross_entropy_hvp, params, v),
    }[matrix]
    return (lambda v: flatten(product(unflatten(v, params))) / len(x)), len(flatten(params))


def largest_gap(values, among=16):
    """After which of the first `among` eigenvalues (descending, counted from 1) the largest ratio to the next one lies,
    and that ratio.
    """
    ratios = values[: among - 1] / values[1:among]
    return int(ratios.argmax()) + 1, ratios.max().item()


def run(out):
    """Fifteen nets, four probes of 80 steps each: about two minutes on one core."""
    rows = []
    for seed in tqdm(SEEDS, desc="spectra"):
        for kind in NETS:
            net, x, y = trained(kind, seed)
            matvec, size = curvature(net, x, y)
            generator = torch.Generator().manual_seed(seed)
            runs = [lanczos(matvec, random_signs(size, generator), STEPS) for _ in range(PROBES)]
            values, residuals, _ = ritz(runs[0])
            ggn = ritz(lanczos(curvature(net, x, y, "GGN")[0], random_signs(size, generator), STEPS))[0]
            gap, ratio = largest_gap(values)
            rules = [quadrature(t) for t in runs]
            rows.append(
                {
                    "seed": seed,
                    "labels": kind,
                    "train": digits.accuracy(net, x, y),
                    "loss": F.cross_entropy(net(x), y).item(),
                    "top": values[:TOP].tolist(),
                    "residuals": residuals[:TOP].tolist(),
                    "ggn": ggn[:TOP].tolist(),
                    "smallest": values[-1].item(),
                    "trace": size * sum((n * w).sum().item() for n, w in rules) / PROBES,
                    "gap": gap,
                    "ratio": ratio,
                }
            )
    files.write_json(out, {"provenance": files.provenance(list(SEEDS)), "rows": rows})
