"""How wrong is K-FAC on a net that is being trained? Chapter 5's sweep: exact blocks of a narrow net for the digits."""

import itertools

import torch
from torch.func import functional_call
from tqdm.auto import tqdm

from kfaclib.curvature.eigenbasis import decompose, eigenvalue_product
from kfaclib.curvature.exact import block, exact_factors, exact_ggn_block
from kfaclib.curvature.layers import linear_layers
from kfaclib.io import files
from kfaclib.toy import digits

SEEDS, EPOCHS, EXAMPLES, WIDTHS = range(5), (0, 2, 5, 10, 20, 40), 200, (16, 16)


def captured(total, curvature, ranking, share=0.1):
    """The part of the trace that lies on the `share` of directions that `ranking` [n] puts first; curvature [n] is
    theirs.
    """
    first = ranking.argsort(descending=True)[: round(share * len(ranking))]
    return (curvature[first].sum() / total).item()


def compare(net, x, name):
    """{what: number}: K-FAC and EK-FAC of one layer against its exact GGN block (float64, exact labels)."""
    layers = linear_layers(net, name)
    factors = exact_factors(net, x, layers)
    exact = exact_ggn_block(lambda W: functional_call(net, {f"{name}.weight": W}, (x,)), layers[name].weight)
    basis = decompose(factors, dtype=torch.float64)[name]
    Q = torch.kron(basis.Q_G, basis.Q_A)
    along = (Q.T @ exact @ Q).diagonal()
    error = lambda approximation: ((approximation - exact).norm() / exact.norm()).item()
    values, total = torch.linalg.eigvalsh(exact).flip(0), exact.trace()
    return {
        "K-FAC": error(torch.kron(factors[name].G, factors[name].A)),
        "EK-FAC": error(block(basis, along.view_as(layers[name].weight))),
        "captured": {
            "the exact eigenvectors": captured(total, values, values),
            "K-FAC": captured(total, along, eigenvalue_product(basis).flatten()),
            "EK-FAC": captured(total, along, along),
            "single weights": captured(total, exact.diagonal(), exact.diagonal()),
        },
    }


def run(out):
    """Five seeds, six moments of training, three layers, images as they are and with every pixel's mean taken out:
    about three minutes on one core."""
    d, rows = digits.load(), []
    for seed, centred in tqdm(list(itertools.product(SEEDS, (False, True))), desc="K-FAC's error"):
        net, x = digits.make_net(seed, WIDTHS), d.x - d.x.mean(0) if centred else d.x

        def watch(epoch):
            if epoch in (EPOCHS[:1] + EPOCHS[-1:] if centred else EPOCHS):
                exact = digits.make_net(seed, WIDTHS).double()
                exact.load_state_dict(net.state_dict())
                for layer, name in enumerate(("0", "2", "4")):
                    rows.append(
                        {
                            "seed": seed,
                            "centred": centred,
                            "epoch": epoch,
                            "layer": layer,
                            "train": digits.accuracy(net, x, d.y),
                            **compare(exact, x[:EXAMPLES].double(), name),
                        }
                    )

        digits.train(net, x, d.y, max(EPOCHS), seed, watch=watch)
    files.write_json(
        out, {"provenance": files.provenance(list(SEEDS)), "examples": EXAMPLES, "widths": list(WIDTHS), "rows": rows}
    )
