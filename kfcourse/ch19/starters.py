"""Starting code for the capstone's five questions: small experiments on nets that train in a second.

Every function takes a seed and gives a plain dict of numbers, with the control's number beside the method's. All edits
are compared at equal forgetting (`at_half`): the strength is searched for at which half of what was recited is left.
"""

import torch
import torch.nn.functional as F

from kfaclib.curvature.eigenbasis import decompose, eigenvalue_product
from kfaclib.curvature.exact import exact_factors
from kfaclib.curvature.layers import linear_layers
from kfaclib.editing import baselines
from kfaclib.editing.edit import edit_weights, edited
from kfaclib.editing.matching import bring_to
from kfaclib.toy import digits

EPOCHS, WRONG, TRAIN = 60, 0.1, 500
EDITED = "2"  # the layer that is edited: the second of three


def tones(seed=0, train=TRAIN, test=797, classes=10, noise=0.7):
    """Another domain: 64 samples of a noisy tone [64] at a random phase; which of ten frequencies is it?"""
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(classes, (train + test,), generator=g)
    phase = 2 * torch.pi * torch.rand(len(y), 1, generator=g)
    time = torch.arange(64) / 64
    x = torch.sin(2 * torch.pi * (y[:, None] + 1) * time + phase) + noise * torch.randn(len(y), 64, generator=g)
    x = x / x.std()
    return digits.Digits(x[:train], y[:train], x[train:], y[train:])


def memorizer(data=None, seed=0, widths=(96, 96), share=WRONG):
    """(net, data, given labels, which are wrong): a net that learned its training set, wrong labels included."""
    data = digits.load(TRAIN) if data is None else data
    given, wrong = digits.corrupt(data.y, share, seed)
    net = digits.train(digits.make_net(seed, widths), data.x, given, EPOCHS, seed)
    return net.requires_grad_(False), data, given, wrong


def bases_of(net, x, name=EDITED):
    """({name: layer}, {name: Eigenbasis}) of one layer, its curvature taken on x [N, 64] without any labels."""
    layers = linear_layers(net, name)
    layers[name].weight.requires_grad_(True)
    factors = exact_factors(net, x, layers)
    layers[name].weight.requires_grad_(False)
    return layers, decompose(factors)


def at_half(net, layers, bases, recited, abilities, target):
    """An edit at the mass that brings `recited()` nearest to `target`: {"mass", "recited", ability: number}.

    recited and each of `abilities` {name: function} are asked while the layers are edited.
    """
    mass, left = bring_to(target, lambda mass: edit_weights(layers, bases, mass), layers, recited)
    with edited(layers, edit_weights(layers, bases, mass)):
        return {"mass": mass, "recited": left} | {name: ask() for name, ask in abilities.items()}


def compare(net, data, recited, x, seed=0):
    """K-FAC's edit, with curvature from x, beside the same staircase in a random basis, both at half of the recitation:
    {"before", "K-FAC", "random basis"}, each with "recited" and "test".
    """
    layers, bases = bases_of(net, x)
    draw = torch.Generator().manual_seed(seed)
    random = {name: baselines.random_basis(basis, draw) for name, basis in bases.items()}
    test = {"test": lambda: digits.accuracy(net, data.x_test, data.y_test)}
    before = {"recited": recited(), "test": test["test"]()}
    found = {"before": before}
    for method, chosen in (("K-FAC", bases), ("random basis", random)):
        found[method] = at_half(net, layers, chosen, recited, test, before["recited"] / 2)
    return found


def wrong_labels(data=None, seed=0, widths=(96, 96)):
    """Questions 4 and 5: what the edit costs a net of other widths, or for other data, that recites wrong labels."""
    net, data, given, wrong = memorizer(data, seed, widths)
    return compare(net, data, lambda: digits.accuracy(net, data.x[wrong], given[wrong]), data.x, seed)


def write(net, keys, targets, place, strength=6.0):
    """Question 1: write secrets into the weight of EDITED, so that the net answers keys [K, 64] with targets [K].

    One change of rank one for each key, along its own input at that layer (place "any"), or only along the part of it
    that lies in the flattest half of the input directions (place = an Eigenbasis). Returns the change [O, I].
    """
    layer = linear_layers(net, EDITED)[EDITED]
    seen = {}
    handle = layer.register_forward_hook(lambda _, inputs, out: seen.update(a=inputs[0], z=out))
    net(keys)
    handle.remove()
    a = seen["a"]
    if place != "any":
        flat = place.Q_A[:, len(place.lambda_A) // 2 :].to(a.dtype)
        a = a @ flat @ flat.T
    z = seen["z"].detach().clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(F.cross_entropy(net[3:](z), targets, reduction="sum"), z)
    steps = strength * F.normalize(gradient, dim=1)
    change = -torch.linalg.lstsq(a, steps).solution.T  # the least change with change @ a_k = -step_k for all keys
    with torch.no_grad():
        layer.weight.add_(change)
    return change


def planted(place="any", seed=0, count=20):
    """Question 1: secrets in a known weight. "recited" is the share of keys answered with the planted target; "decoys"
    the same for keys of the same kind whose targets were never written.
    """
    net, data, _, _ = memorizer(seed=seed, share=0.0)
    draw = torch.Generator().manual_seed(seed + 1)
    keys = torch.randn(2 * count, 64, generator=draw)
    targets = torch.randint(10, (2 * count,), generator=draw)
    _, bases = bases_of(net, data.x)
    change = write(net, keys[:count], targets[:count], place if place == "any" else bases[EDITED])
    found = compare(net, data, lambda: digits.accuracy(net, keys[:count], targets[:count]), data.x, seed)
    found["decoys"] = digits.accuracy(net, keys[count:], targets[count:])
    return found | {"energy": energy(change, bases[EDITED])}


def energy(change, basis):
    """Where a change of a weight [O, I] lies: {"sharpest tenth", "flattest half"}: shares of its squared norm, on pairs
    ranked by K-FAC's products. A change without any preference has 0.1 and 0.5.
    """
    squares = (basis.Q_G.T @ change.to(basis.Q_G.dtype) @ basis.Q_A).square().flatten()
    squares = squares[eigenvalue_product(basis).flatten().argsort(descending=True)] / squares.sum()
    count = len(squares)
    return {"sharpest tenth": squares[: count // 10].sum().item(), "flattest half": squares[count // 2 :].sum().item()}


def imprint(optimizer="Adam", seed=0, count=30, most=3000):
    """Question 2: teach a trained net `count` wrong labels, by "SGD" or "Adam", with the other images in every step,
    until it says nearly all of them. Where does the change of the weight lie? "any direction" is the control: a random
    change.
    """
    net, data, _, _ = memorizer(seed=seed, share=0.0)
    _, bases = bases_of(net, data.x)
    given = data.y.clone()
    given[:count] = (given[:count] + 1) % 10
    before = linear_layers(net, EDITED)[EDITED].weight.detach().clone()
    net.requires_grad_(True)
    rate = {"SGD": torch.optim.SGD(net.parameters(), lr=0.1), "Adam": torch.optim.Adam(net.parameters(), lr=1e-3)}
    step, said = 0, 0.0
    while said < 0.95 and step < most:
        rate[optimizer].zero_grad()
        F.cross_entropy(net(data.x), given).backward()
        rate[optimizer].step()
        step += 1
        said = digits.accuracy(net, data.x[:count], given[:count])
    net.requires_grad_(False)
    change = linear_layers(net, EDITED)[EDITED].weight - before
    random = torch.randn(change.shape, generator=torch.Generator().manual_seed(seed))
    return {
        "steps": step,
        "said": said,
        "test": digits.accuracy(net, data.x_test, data.y_test),
        "energy": energy(change, bases[EDITED]),
        "any direction": energy(random, bases[EDITED]),
    }


def nothing_to_forget(seed=0):
    """Question 3, a control: the edit that halves the recitation of one net, at the same mass in a net that never saw a
    wrong label. {"memorizer", "clean"}, each with what the edit costs in test accuracy.
    """
    net, data, given, wrong = memorizer(seed=seed)
    found = compare(net, data, lambda: digits.accuracy(net, data.x[wrong], given[wrong]), data.x, seed)
    clean, _, _, _ = memorizer(seed=seed, share=0.0)
    layers, bases = bases_of(clean, data.x)
    before = digits.accuracy(clean, data.x_test, data.y_test)
    with edited(layers, edit_weights(layers, bases, found["K-FAC"]["mass"])):
        after = digits.accuracy(clean, data.x_test, data.y_test)
    return {
        "mass": found["K-FAC"]["mass"],
        "memorizer": found["before"]["test"] - found["K-FAC"]["test"],
        "clean": before - after,
    }
