"""Sharp alone, flat together? Chapter 6: single examples' curvature, and what averaging leaves of it, on digits and on
`olmo2-tiny`.
"""

from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

import torch
import torch.nn.functional as F
from tqdm.auto import tqdm

from kfaclib.curvature.per_example import (
    average_top,
    curvature_along,
    fisher_roots,
    layer_curvature_along,
    layer_top_eigenpairs,
    squared_jacobians,
    top_eigenpairs,
)
from kfaclib.io import files
from kfaclib.lm import models
from kfaclib.toy import digits, small_olmo2, tasks
from kfaclib.toy import world as w
from kfaclib.toy.rows import world_rows
from kfcourse.paths import DATA

SEEDS, EPOCHS, EXAMPLES, SOFT = range(3), 100, 100, 20
SIZES, REPEATS = (1, 2, 4, 8, 16, 32, 64), 5  # of the groups whose top eigenvalue is compared with the members' own
COMPANY = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # images averaged, an example's own among them
LAYER, SEQUENCES, PREFIX, POPULATION, STEPS = "model.layers.{}.mlp.up_proj", 8, 64, 128, 6


def uncertainty(logits):
    """1 - sum p^2 over the last axis: the trace of diag(p) - p p^T, the softmax's own share in the curvature."""
    return 1 - torch.softmax(logits, -1).square().sum(-1)


def digit_net(seed):
    """(net that learned a tenth of wrong labels, images [1000, 64], {"memorized", "clean": indices of those it
    learned}).
    """
    d = digits.load()
    y, wrong = digits.corrupt(d.y, 0.1, seed)
    net = digits.train(digits.make_net(seed), d.x, y, EPOCHS, seed)
    with torch.no_grad():
        said = net(d.x).argmax(-1) == y
    return net, d.x, {"memorized": (wrong & said).nonzero()[:, 0], "clean": (~wrong & said).nonzero()[:, 0]}


@torch.no_grad()
def matched_pairs(net, x, memorized, clean, gap=0.01):
    """(memorized, clean) indices in pairs that differ in uncertainty by less than gap; nobody is used twice, the most
    uncertain choose first.
    """
    u, free, pairs = uncertainty(net(x)), clean, []
    for i in memorized[u[memorized].argsort(descending=True)]:
        best = (u[free] - u[i]).abs().argmin()
        if (u[free[best]] - u[i]).abs() < gap:
            pairs.append((i, free[best]))
            free = torch.cat([free[:best], free[best + 1 :]])
    return [torch.stack(side) for side in zip(*pairs, strict=True)]


def in_company(net, x, indices, directions, temperature=1.0):
    """(the others' mean curvature along every example's direction [K], the same table in the order of walks [N, K]).

    indices [K] of the examples in x [N, ...], directions [K, P]. Column k of the walk: example k's own curvature first,
    then the mean over it and ever more others, in an order of its own, until at last all of x are in.
    """
    table = curvature_along(net, x, directions, temperature)
    own = table[indices, range(len(indices))]
    others = (table.sum(0) - own) / (len(x) - 1)
    generator, walks = torch.Generator().manual_seed(0), []
    for k, i in enumerate(indices):
        order = torch.randperm(len(x), generator=generator)
        order = torch.cat([i[None], order[order != i]])
        walks.append(table[order, k].cumsum(0) / torch.arange(1, len(x) + 1))
    return others, torch.stack(walks, 1)


def shrinking(B, generator):
    """Largest eigenvalue of the average of n random examples, over the mean of their own largest ones, for each n of
    SIZES.
    """
    own, out = top_eigenpairs(B)[0], []
    for n in SIZES:
        picks = [torch.randperm(len(B), generator=generator)[:n] for _ in range(REPEATS)]
        out.append(sum(average_top(B[p]) / own[p].mean().item() for p in picks) / REPEATS)
    return out


def measure_group(net, x, indices, temperature, generator):
    """What one kind of image shows, alone and in the average of all of x: a dict of floats and of lists over COMPANY
    and SIZES.
    """
    B = fisher_roots(net, x[indices], temperature)
    own, directions = top_eigenpairs(B)
    others, walks = in_company(net, x, indices, directions, temperature)
    with torch.no_grad():
        unsure = uncertainty(net(x[indices]) / temperature).mean().item()
    return {
        "count": len(indices),
        "uncertainty": unsure,
        "top": own.mean().item(),
        "trace": B.square().sum().item() / len(B),
        "jacobian": squared_jacobians(net, x[indices]).mean().item(),
        "population": others.mean().item(),
        "own_over_population": (own / others).median().item(),
        "company": [walks[n - 1].mean().item() for n in COMPANY],
        "shrinking": shrinking(B, generator),
    }


def measure_digits(seed):
    """One net at two temperatures, two dicts: {kind: `measure_group`} for two kinds and (at temperature 1) for as many
    of each as come in pairs of equal uncertainty; and "random", the average's curvature along a random direction."""
    torch.set_num_threads(1)
    net, x, every = digit_net(seed)
    groups = {kind: i[:EXAMPLES] for kind, i in every.items()}
    paired = dict(
        zip(
            ("memorized, paired", "clean, paired"),
            matched_pairs(net, x, every["memorized"], every["clean"]),
            strict=True,
        )
    )
    rows = []
    for temperature, kinds in ((1, groups | paired), (SOFT, groups)):
        generator = torch.Generator().manual_seed(seed)
        row = {kind: measure_group(net, x, i, temperature, generator) for kind, i in kinds.items()}
        random = torch.randn(20, sum(p.numel() for p in net.parameters()), generator=generator)
        row["random"] = curvature_along(net, x, F.normalize(random), temperature).mean().item()
        rows.append({"seed": seed, "temperature": temperature, **row})
    return rows


def passages(model, world, count=SEQUENCES):
    """{kind: (ids [count, 112], which of the last 48 tokens count, bool [count, 48])}: what is compared on the language
    model.

    "quotes" and "fresh text" count all 48. The other two are as certain as the quotes, though never learned by heart:
    the most certain tokens of the fresh text, and the most certain names and things said again in refrains, as many as
    keep the mean uncertainty at the quotes'.
    """
    quotes, fresh = tasks.quote_windows(world, "report")[:count], tasks.fresh_text("chapter 6", count)
    refrains = world_rows(world, count, seed=7, kinds=("refrain",))[:, : quotes.shape[1]]
    order, repeat = (refrains == w.encode(word)[0] for word in ("order", "repeat"))
    again = (order.cumsum(1) == repeat.cumsum(1)) & (
        refrains < w.encode("the")[0]
    )  # names and things; the small words come later
    every = torch.ones(count, quotes.shape[1] - PREFIX, dtype=torch.bool)
    wanted = unsure(model, quotes).mean()
    return {
        "quotes": (quotes, every),
        "fresh text": (fresh, every),
        "sure by grammar": (fresh, as_certain(unsure(model, fresh), every, wanted)),
        "sure by copying": (refrains, as_certain(unsure(model, refrains), again[:, PREFIX:], wanted)),
    }


@torch.no_grad()
def unsure(model, ids):
    """Uncertainty of the prediction of every token of ids[:, PREFIX:]: [N, S - PREFIX]."""
    return uncertainty(model(input_ids=ids, use_cache=False).logits[:, PREFIX - 1 : -1])


def as_certain(unsure, allowed, wanted):
    """bool like unsure: the most certain of the allowed tokens, as many as keep their mean uncertainty at or below
    `wanted`.
    """
    values = unsure[allowed].sort()[0]
    count = int((values.cumsum(0) / torch.arange(1, len(values) + 1) <= wanted).sum())
    return allowed & (unsure <= values[:count].max())


def language_model(count=SEQUENCES, rows=POPULATION):
    """(model, {kind: passages}, rows of its training mixture without quotes): what chapter 06 measures live."""
    model, _ = models.load(DATA / "olmo2-tiny")
    model.set_attn_implementation("eager")
    world = small_olmo2.load_world(DATA / "olmo2-tiny")
    return model, passages(model, world, count), world_rows(world, rows, seed=6)


def ratio_interval(a, b, draws=4000):
    """(median(a) / median(b), and the 95 % bootstrap interval of that ratio) of two lists of positive numbers."""
    generator = torch.Generator().manual_seed(0)
    medians = []
    for values in map(torch.as_tensor, (a, b)):
        drawn = torch.randint(len(values), (draws, len(values)), generator=generator)
        medians.append((values.quantile(0.5), values[drawn].quantile(0.5, dim=1)))
    (top, tops), (bottom, bottoms) = medians
    low, high = (tops / bottoms).quantile(torch.tensor([0.025, 0.975])).tolist()
    return (top / bottom).item(), low, high


def measure_block(block):
    """One up-projection of `olmo2-tiny`: four kinds of text, alone and in the average of the mixture without quotes,
    one dict each.
    """
    torch.set_num_threads(1)
    model, _ = models.load(DATA / "olmo2-tiny")
    model.set_attn_implementation("eager")
    world, name, rows, directions = small_olmo2.load_world(DATA / "olmo2-tiny"), LAYER.format(block), [], []
    mixture = world_rows(world, POPULATION, seed=6)
    for kind, (ids, counts) in passages(model, world).items():
        own, V = layer_top_eigenpairs(model, name, ids, PREFIX, steps=STEPS, counts=counts)
        together = layer_top_eigenpairs(model, name, ids, PREFIX, steps=STEPS, counts=counts, together=True)[0].item()
        rows.append(
            {
                "block": block,
                "kind": kind,
                "own": own.tolist(),
                "shared": together / own.mean().item(),
                "uncertainty": unsure(model, ids)[counts].mean().item(),
                "tokens": int(counts.sum()),
            }
        )
        directions.append(V)
    V = torch.randn(directions[0].shape, generator=torch.Generator().manual_seed(1))
    directions.append(V / V.flatten(1).norm(dim=1)[:, None, None])
    rows.append({"block": block, "kind": "random direction"})
    average = layer_curvature_along(
        model, name, mixture, torch.cat(directions), torch.Generator().manual_seed(0)
    ).split(SEQUENCES)
    return [row | {"population": values.tolist()} for row, values in zip(rows, average, strict=True)]


def run(out):
    """Six blocks of the language model and three digit nets, shared out over two processes: a few minutes."""
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        jobs = [*(pool.submit(measure_block, b) for b in range(6)), *(pool.submit(measure_digits, s) for s in SEEDS)]
        for _ in tqdm(as_completed(jobs), total=len(jobs), desc="blocks and nets"):
            pass
    found = [job.result() for job in jobs]
    files.write_json(
        out,
        {
            "provenance": files.provenance(list(SEEDS)),
            "sizes": list(SIZES),
            "company": list(COMPANY),
            "digits": sum(found[6:], []),
            "language_model": sum(found[:6], []),
        },
    )
