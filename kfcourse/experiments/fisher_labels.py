"""Whose labels? The Fisher, its sampled estimate and the data's version, while a net learns a tenth of wrong labels
(chapter 4).
"""

import torch
from tqdm.auto import tqdm

from kfaclib.curvature.per_example import fisher_roots, gradients
from kfaclib.io import files
from kfaclib.toy import digits

SEEDS, EPOCHS, EXAMPLES, DRAWS, REPEATS = range(3), (0, 1, 3, 8, 20, 50, 100), 150, (1, 4, 16, 64), 4


def sampling_error(gram, p, draws, generator):
    """Relative Frobenius error of the Fisher with `draws` sampled labels per example, from the Gram matrix [N C, N C]
    of its root and p [N, C]: a label drawn c times out of k counts c / (k p) times its exact share."""
    labels = torch.multinomial(p, draws, replacement=True, generator=generator)
    counts = torch.zeros_like(p).scatter_add_(1, labels, torch.ones(labels.shape, dtype=p.dtype))
    off = (counts / (draws * p.clamp(min=1e-30)) - 1).flatten()
    return ((off @ gram.square() @ off).clamp(min=0).sqrt() / gram.norm()).item()


def compare(net, x, y, wrong, generator):
    """One moment of training as {what: number}; x, y, wrong: the examples that are looked at."""
    B, g = fisher_roots(net, x), gradients(net, x, y)
    rows, n = B.flatten(0, 1), len(x)
    gram, p = rows @ rows.T, torch.softmax(net(x), -1).detach()
    fisher, data = gram.square().sum(), (g @ g.T).square().sum()
    return {
        "trace": (B.square().sum() / n).item(),
        "trace_data": (g.square().sum() / n).item(),
        "cosine": ((rows @ g.T).square().sum() / (fisher * data).sqrt()).item(),
        "wrong_share": (B[wrong].square().sum() / B.square().sum()).item(),
        "wrong_share_data": (g[wrong].square().sum() / g.square().sum()).item(),
        "sampled": {k: sum(sampling_error(gram, p, k, generator) for _ in range(REPEATS)) / REPEATS for k in DRAWS},
    }


def run(out):
    """Three seeds, seven moments: about two minutes on one core."""
    d, rows = digits.load(), []
    for seed in tqdm(SEEDS, desc="whose labels"):
        y, wrong = digits.corrupt(d.y, 0.1, seed)
        net, generator = digits.make_net(seed), torch.Generator().manual_seed(seed)

        def watch(epoch):
            if epoch in EPOCHS:
                some = slice(EXAMPLES)
                with torch.no_grad():
                    p = torch.softmax(net(d.x), -1)
                rows.append(
                    {
                        "seed": seed,
                        "epoch": epoch,
                        "surprises": (1 - p.max(1)[0]).sum().item(),
                        **compare(net, d.x[some], y[some], wrong[some], generator),
                    }
                )

        digits.train(net, d.x, y, max(EPOCHS), seed, watch=watch)
    files.write_json(out, {"provenance": files.provenance(list(SEEDS)), "examples": EXAMPLES, "rows": rows})
