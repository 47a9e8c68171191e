"""Chapter 8's protocol on the three training seeds: mining, repetition, prefix length, place, and what noise does to it
all.
"""

import json
import random

import torch
from tqdm.auto import tqdm

from kfaclib.curvature.layers import linear_layers
from kfaclib.editing.baselines import noisy
from kfaclib.editing.edit import edited
from kfaclib.io import files
from kfaclib.lm import mining, models
from kfaclib.lm.recitation import ndcg, perplexity, recitation, split_windows, top_tokens
from kfaclib.toy import pipeline, small_olmo2, tasks
from kfaclib.toy import world as w
from kfaclib.toy.stream import world_stream
from kfcourse.experiments.seeds import CHECKPOINTS

PREFIXES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
MOVES = (1, 2, 3, 4, 6, 8, 12, 16)
PAPER_PLACES = 63  # other places at which the paper asks in its stress test: longer by 1 to 20, shorter by 1 to 43
SIZES = (0.5, 0.75, 1.0, 1.25, 1.5)


def passages(world, quotes=48):
    """{repeats: ids [N, 112]} of the ladder, of new stories (0 repeats) and of `quotes` passages that training repeated
    most.
    """
    repeated = {**world.ladder, world.quote_repeats: world.quotes[:quotes]}
    return {0: tasks.fresh_text(f"chapter 8, {world.seed}", quotes)} | {
        n: torch.tensor([[w.BOS] + w.encode(p) for p in ps]) for n, ps in repeated.items()
    }


def moved(ids, by, seed=0):
    """Windows ids [N, S] at another place: `by` words of new story between `<s>` and the passage, or without its first
    -by words.
    """
    if by <= 0:
        return torch.cat([ids[:, :1], ids[:, 1 - by :]], 1)
    rng = random.Random(f"place {seed}")
    before = torch.tensor([w.encode(w.text(rng, by)) for _ in ids])
    return torch.cat([ids[:, :1], before, ids[:, 1:]], 1)


def under_noise(model, world, seeds, sizes=SIZES, count=32):
    """Rows of the protocol for the model as it is (size 0) and with noise in the layers that chapter 9 edits."""
    layers = linear_layers(model, pipeline.LAYERS)
    windows = split_windows(tasks.quote_windows(world, "report")[:count])
    text = tasks.fresh_text(f"noise {world.seed}", 32)
    top, rows = top_tokens(model, text), []
    for size, seed in [(0.0, None)] + [(size, seed) for seed in seeds for size in sizes]:
        with edited(layers, noisy(layers, size, seed) if size else {}):
            rows.append(
                {
                    "size": size,
                    "seed": seed,
                    **recitation(model, windows).as_dict(),
                    "perplexity": perplexity(model, text),
                    "ndcg": ndcg(model, text, top),
                }
            )
    return rows


def last_words(hit):
    """(strict recall, share of right words) over the last 48 tokens, from `mining.hits`."""
    return hit[:, -w.SUFFIX :].all(1).double().mean().item(), hit[:, -w.SUFFIX :].double().mean().item()


def mined(model, world):
    """Mining a `world_stream` on its rows' grid: what was found, by repetition, and what there was to find."""
    stream = world_stream(world, seed=0)
    rows = range(0, len(stream.ids), w.ROW)
    found = mining.mine(model, stream.ids, range(0, len(stream.ids) - 111, 16), progress=False)
    there, hit = [stream.known(r) for r in rows], [stream.known(s) for s in found]
    count = lambda xs: {n: xs.count(n) for n in sorted(set(there))}
    return {"rows": count(there), "found": count(hit), "precision": sum(n > 0 for n in hit) / max(len(hit), 1)}


def measure(model, world):
    """Everything about one model, as plain values."""
    there = {n: mining.hits(model, ids) for n, ids in passages(world).items()}
    strict = {
        n: [(mining.matched(h, p) >= w.SUFFIX).double().mean().item() for p in PREFIXES] for n, h in there.items()
    }
    quotes = passages(world)[world.quote_repeats]
    return {
        "strict": strict,
        "next_word": {n: last_words(h)[1] for n, h in there.items()},
        "place": {
            by: last_words(mining.hits(model, moved(quotes, by))) for by in (*(-m for m in MOVES[::-1]), 0, *MOVES)
        },
        "mining": mined(model, world),
        "noise": under_noise(model, world, seeds=range(2)),
    }


def times_shown(folder, world):
    """{repeats: times that training really showed such a passage}: every round after the first shows it half as often
    again.
    """
    rounds = json.loads((folder / "training.jsonl").read_text().splitlines()[-1]).get("round", 1)
    return {n: n + (rounds - 1) * (n // 2) for n in (0, *world.ladder, world.quote_repeats)}


def run(out):
    """Measure the checkpoints of the three training seeds (some minutes a seed on two cores)."""
    results = {}
    for seed, folder in tqdm(CHECKPOINTS.items(), desc="seeds"):
        model, _ = models.load(folder)
        world = small_olmo2.load_world(folder)
        results[seed] = {"told": times_shown(folder, world), **measure(model, world)}
    files.write_json(out, {"provenance": files.provenance(list(CHECKPOINTS)), "prefixes": PREFIXES, "seeds": results})
