"""Sharp alone, flat together?  Chapter 6: single examples' curvature, and what averaging leaves of it, on digits and on `olmo2-tiny`."""

import torch
from tqdm.auto import tqdm

from kfaclib import corpora, digits, files, models, tasks
from kfaclib.paths import DATA
from kfaclib.per_example import average_top, fisher_roots, layer_curvature_along, layer_top_eigenpairs, top_eigenpairs

SEEDS, EPOCHS, EXAMPLES, SIZES, REPEATS = range(3), 100, 100, (1, 2, 4, 8, 16, 32, 64), 5
LAYER, SEQUENCES, PREFIX, POPULATION = "model.layers.{}.mlp.up_proj", 16, 64, 128


def digit_net(seed):
    """(net that learned a tenth of wrong labels, images, indices {"memorized": [100], "clean": [100]}), all labels fitted or nearly."""
    d = digits.load()
    y, wrong = digits.corrupt(d.y, 0.1, seed)
    net = digits.train(digits.make_net(seed), d.x, y, EPOCHS, seed)
    return net, d.x, {"memorized": wrong.nonzero()[:EXAMPLES, 0], "clean": (~wrong).nonzero()[:EXAMPLES, 0]}


def along(B, directions):
    """Curvature of every example of B [N, C, P] along every unit direction [K, P]: [N, K]."""
    return torch.einsum("ncp,kp->nck", B, directions).square().sum(1)


def shrinking(B, generator):
    """Largest eigenvalue of the average of n random examples, over the mean of their own largest ones, for each n of SIZES."""
    own, out = top_eigenpairs(B)[0], []
    for n in SIZES:
        picks = [torch.randperm(len(B), generator=generator)[:n] for _ in range(REPEATS)]
        out.append(sum(average_top(B[p]) / own[p].mean().item() for p in picks) / REPEATS)
    return out


def measure_digits(seed, temperature):
    """One net: {"memorized": {...}, "clean": {...}, "population_top", "random"}; the population is nine parts clean, one part memorized."""
    net, x, groups = digit_net(seed)
    roots = {kind: fisher_roots(net, x[i], temperature) for kind, i in groups.items()}
    generator, record = torch.Generator().manual_seed(seed), {}
    average = lambda directions: 0.9 * along(roots["clean"], directions).mean(0) + 0.1 * along(roots["memorized"], directions).mean(0)
    for kind, B in roots.items():
        own, directions = top_eigenpairs(B)
        logits = torch.func.vmap(torch.func.jacrev(lambda p, one: torch.func.functional_call(net, p, (one[None],))[0]), (None, 0), chunk_size=50)(
            {n: p.detach() for n, p in net.named_parameters()}, x[groups[kind]])
        record[kind] = {
            "trace": B.square().sum().item() / len(B), "top": own.mean().item(), "top_median": own.median().item(),
            "jacobian": sum(j.square().sum() for j in logits.values()).item() / len(B),
            "population": average(directions).mean().item(), "own_over_population": (own / average(directions)).median().item(),
            "shrinking": shrinking(B, generator),
        }
    random = torch.randn(20, roots["clean"].shape[-1], generator=generator)
    record["random"] = average(random / random.norm(dim=1, keepdim=True)).mean().item()
    record["population_top"] = average_top(torch.cat([roots["clean"] * 1.8**0.5, roots["memorized"] * 0.2**0.5]))
    return record


def measure_language_model(blocks=range(6), temperatures=(1, 4)):
    """`olmo2-tiny`, one up-projection per block: quotes and fresh text, the 48 tokens after 64, alone and in the average of the mixture."""
    model, _ = models.load(DATA / "olmo2-tiny")
    model.set_attn_implementation("eager")
    world = models.load_world(DATA / "olmo2-tiny")
    texts = {"quotes": tasks.quote_windows(world, "report")[:SEQUENCES], "fresh text": tasks.fresh_text("chapter 6", SEQUENCES)}
    population, rows = corpora.world_rows(world, POPULATION, seed=6), []
    for block in tqdm(blocks, desc="blocks"):
        name = LAYER.format(block)
        for temperature in temperatures:
            for kind, ids in texts.items():
                own, directions = layer_top_eigenpairs(model, name, ids, PREFIX, temperature, steps=8)
                shared = layer_curvature_along(model, name, population, directions, torch.Generator().manual_seed(0))
                rows.append({"block": block, "temperature": temperature, "kind": kind, "own": own.tolist(), "population": shared.tolist()})
        weight = model.get_submodule(name).weight
        random = torch.randn(SEQUENCES, *weight.shape, generator=torch.Generator().manual_seed(1))
        random = random / random.flatten(1).norm(dim=1)[:, None, None]
        shared = layer_curvature_along(model, name, population, random, torch.Generator().manual_seed(0))
        rows.append({"block": block, "temperature": 1, "kind": "random direction", "own": [], "population": shared.tolist()})
    confidence = {}
    for kind, ids in texts.items():
        with torch.no_grad():
            p = torch.softmax(model(input_ids=ids, use_cache=False).logits[:, PREFIX - 1 : -1], -1)
        confidence[kind] = p.max(-1)[0].mean().item()
    return {"rows": rows, "confidence": confidence}


def run(out):
    """Three digit nets at two temperatures, then the language model: about ten minutes on one core."""
    rows = [{"seed": seed, "temperature": t, **measure_digits(seed, t)} for seed in tqdm(SEEDS, desc="digits") for t in (1, 20)]
    files.write_json(out, {"provenance": files.provenance(list(SEEDS)), "sizes": list(SIZES), "digits": rows, "language_model": measure_language_model()})
