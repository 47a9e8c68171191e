"""The main experiment on a small model: collect, decompose, choose on one half, edit, and report on the other half.

Every method and every control is brought to the same forgetting (the same token accuracy on the quotes used for
choosing), so that their costs elsewhere can be compared.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from kfaclib.curvature.eigenbasis import Eigenbasis, collect_eigenvalues, decompose
from kfaclib.curvature.factors import collect_factors
from kfaclib.curvature.layers import linear_layers
from kfaclib.editing import baselines, matching
from kfaclib.editing.edit import edit_weights, edited, kept_share
from kfaclib.lm import intervals
from kfaclib.lm.recitation import examined, hits, ndcg, nll, right_in_a_row, split_windows, token_accuracy, top_tokens
from kfaclib.toy import tasks
from kfaclib.toy.rows import world_rows
from kfaclib.toy.world import World

# the upper half of olmo2-tiny; gate and up, as in the paper
LAYERS = "model.layers.[345].mlp.gate_proj,model.layers.[345].mlp.up_proj"
EVERYWHERE = "*_proj"  # all projections of all blocks: without them the model knows nothing
ROWS = 512  # rows of 128 tokens that curvature is collected on
# token accuracy, on the quotes for choosing, that every method is brought to; a passage never seen has about 0.5
FORGOTTEN = 0.91
LOUDEST = 4.0  # the norm of noise at strength 0, in norms of the weight
DOCUMENTS = 48  # of every kind of text in an exam
STAIRCASE = (0.5, 0.8, 0.9, 0.95, 0.99, 0.999)


@dataclass(frozen=True)
class Curvature:
    """A model's layers {name: nn.Linear} with their bases {name: Eigenbasis} and EK-FAC eigenvalues {name: [O, I]}."""

    layers: dict[str, torch.nn.Linear]
    bases: dict[str, Eigenbasis]
    eigenvalues: dict[str, torch.Tensor]


def curvature(
    model: torch.nn.Module,
    world: World,
    patterns: str = LAYERS,
    rows: int = ROWS,
    seed: int = 0,
    batch: int = 32,
    progress: bool = True,
) -> Curvature:
    """Collect and decompose the curvature of a small model on `rows` rows of its own mixture, without the quotes."""
    layers = linear_layers(model, patterns)
    batches = world_rows(world, rows, seed).split(batch)
    bases = decompose(
        collect_factors(model, batches, layers, generator=torch.Generator().manual_seed(seed), progress=progress)
    )
    eigenvalues = collect_eigenvalues(
        model,
        batches,
        layers,
        bases,
        unit="token",
        generator=torch.Generator().manual_seed(seed + 1),
        progress=progress,
    )
    return Curvature(layers, bases, eigenvalues)


def methods(c: Curvature, seed: int = 0) -> dict[str, Callable[[float], dict[str, torch.Tensor]]]:
    """The edits to compare: {method: function of a strength in (0, 1] that returns {layer: weight}}; a larger strength
    keeps more."""
    drawn, svd = torch.Generator().manual_seed(seed), {}
    others = {name: baselines.random_basis(basis, drawn) for name, basis in c.bases.items()}

    def low_rank(share):
        if not svd:  # of all layers once, not at every strength
            svd.update((n, torch.linalg.svd(c.layers[n].weight.detach().float(), full_matrices=False)) for n in c.bases)
        return {name: baselines.svd_edit(c.layers[name].weight, share, svd[name]) for name in c.bases}

    return {
        "K-FAC": lambda mass: edit_weights(c.layers, c.bases, mass),
        "EK-FAC": lambda mass: edit_weights(c.layers, c.bases, mass, c.eigenvalues),
        "SVD": low_rank,
        "random basis": lambda mass: edit_weights(c.layers, others, mass),
        "noise": lambda strength: baselines.noisy(c.layers, LOUDEST * (1 - strength), seed),
    }


def flattest_block(c: Curvature) -> Callable[[float], dict[str, torch.Tensor]]:
    """One more edit to compare with, as those of `methods`: the block of the flattest output and input directions goes,
    as large as the strength leaves it."""
    return lambda strength: {
        name: baselines.block_edit(c.layers[name].weight, basis, 1 - strength) for name, basis in c.bases.items()
    }


GRIDS = {"SVD": baselines.low_ranks, "flattest block": baselines.block_shares}  # methods whose strength goes in steps


def at_forgetting(
    target: float,
    edit: Callable,
    layers: dict,
    score: Callable[[], float],
    grid: Sequence[float] | None = None,
    tolerance: float = matching.NEAR,
) -> list[tuple[float, float, float]]:
    """The strengths that bring score() to `target`: [(strength, score there, its share)].

    One strength, within `tolerance`. Where strengths go in steps, `grid`, and none comes so near, the two neighbours of
    the target instead, with the shares by which their measurements are to be mixed; its first or last step where the
    target is out of reach.
    """
    if grid is None:
        return [(*matching.bring_to(target, edit, layers, score, tolerance=tolerance), 1.0)]

    @functools.cache  # the ends of the grid are looked at twice
    def under(strength):
        with edited(layers, edit(strength)):
            return score()

    if (best := under(grid[-1])) < target:  # a model that recites less than that before any edit
        return [(grid[-1], best, 1.0)]
    if (worst := under(grid[0])) > target:  # nothing is left, and that is not enough
        return [(grid[0], worst, 1.0)]
    return matching.on_grid(under, target, grid, tolerance)


def brought_to(
    target: float,
    method: str,
    edit: Callable[[float], dict[str, torch.Tensor]],
    layers: dict[str, torch.nn.Linear],
    score: Callable[[], float],
    measure: Callable[[], dict],
    tolerance: float = matching.NEAR,
) -> tuple[float, float, dict]:
    """(strength, score() there, measure() there) of one edit, brought to where score() is `target`.

    method: its name, by which GRIDS says whether its strength goes in steps; then all three may be the mixture of the
    two neighbours of the target.
    """
    grid = GRIDS[method](layers) if method in GRIDS else None
    found, measured = at_forgetting(target, edit, layers, score, grid, tolerance), []
    for strength, _, _ in found:
        with edited(layers, edit(strength)):
            measured.append(measure())
    shares = [share for _, _, share in found]
    strength, reached, _ = matching.mixture(found, shares)
    return strength, reached, matching.mixture(measured, shares)


@dataclass(frozen=True)
class Exam:
    """The measurements of one half, and what the unedited model says: windows of quotes, new stories [N, S], tasks, two
    kinds of text {"like_the_corpus", "other"}, the unedited model's top-10 tokens and its mean loss of each row of
    these texts."""

    windows: list
    text: torch.Tensor
    suite: dict[str, list]
    kinds: dict[str, torch.Tensor]
    top: torch.Tensor
    losses: dict[str, torch.Tensor]


def make_exam(model: torch.nn.Module, world: World, half: str, count: int = 200, documents: int = DOCUMENTS) -> Exam:
    """The exam of one half, with at most `count` items per task and `documents` rows of every kind of text.

    Make it before any edit, because nDCG and the ratios of perplexity compare with the model as it is now.
    """
    text = tasks.fresh_text(f"{world.seed} {half}", documents)
    kinds = {
        "like_the_corpus": world_rows(world, documents, f"held out {half}"),
        "other": tasks.strange_text(f"{world.seed} {half}", documents),
    }
    return Exam(
        split_windows(tasks.quote_windows(world, half)),
        text,
        tasks.make_suite(world, half, count),
        kinds,
        top_tokens(model, text),
        {kind: nll(model, ids).mean(1) for kind, ids in kinds.items()},
    )


def take(model: torch.nn.Module, exam: Exam) -> dict:
    """Measure a model: one row of results.

    Recitation ("strict", "loose", "levenshtein", "token_accuracy"), "perplexity" of new stories, "ndcg"@10, "tasks"
    {task: accuracy}, "text" {kind: perplexity over the unedited model's}, "right_in_a_row" {task, or "quotes": {k:
    share}}, and "interval" {any of these metrics or tasks: [low, high]}, of 95 % over the items asked.
    """
    recited = examined(model, exam.windows)
    in_a_row, over_windows = recited.pop("right_in_a_row"), recited.pop("interval")
    found = {task: hits(model, items) for task, items in exam.suite.items()}
    stories = nll(model, exam.text).double().mean(1)
    change = {kind: (nll(model, ids).mean(1) - exam.losses[kind]).double() for kind, ids in exam.kinds.items()}
    solved = {task: torch.tensor([row.all() for row in rows]) for task, rows in found.items()}
    return {
        **recited,
        "perplexity": math.exp(stories.mean()),
        "ndcg": ndcg(model, exam.text, exam.top),
        "tasks": {"recitation": recited["strict"], **{task: x.float().mean().item() for task, x in solved.items()}},
        "text": {kind: math.exp(x.mean()) for kind, x in change.items()},
        "right_in_a_row": {"quotes": in_a_row, **{task: right_in_a_row(rows) for task, rows in found.items()}},
        "interval": {
            **over_windows,
            "perplexity": intervals.exp_of_mean(stories),
            **{kind: intervals.exp_of_mean(x) for kind, x in change.items()},
            **{task: intervals.share(int(x.sum()), len(x)) for task, x in solved.items()},
        },
    }


def at_equal_forgetting(
    model: torch.nn.Module,
    edits: dict[str, Callable],
    layers: dict[str, torch.nn.Linear],
    choosing: list,
    exam: Exam,
    target: float = FORGOTTEN,
    say: Callable[[str], object] = lambda text: None,
) -> tuple[list[dict], dict]:
    """(rows, {method: {"value": strength, "token_accuracy": reached on `choosing`}}): every edit of `edits` {method:
    function of a strength} at the same forgetting.

    A method whose strength goes in steps may end as a mixture of the two neighbours of the target.
    """
    rows, strengths = [], {}
    for method, edit in edits.items():
        say(f"{method}: to token accuracy {target} on the quotes for choosing")
        score, measure = lambda: token_accuracy(model, choosing), lambda: take(model, exam)
        value, reached, measured = brought_to(target, method, edit, layers, score, measure)
        rows.append({"method": method, **measured})
        strengths[method] = {"value": value, "token_accuracy": reached}
    return rows, strengths


def zeroed(model: torch.nn.Module, layers: dict[str, torch.nn.Linear], exam: Exam) -> dict:
    """The row of the model with nothing left of the layers."""
    with edited(layers, baselines.zeroed(layers)):
        return {"method": "zeroed", **take(model, exam)}


def reproduce(
    model: torch.nn.Module,
    world: World,
    patterns: str = LAYERS,
    rows: int = ROWS,
    seed: int = 0,
    staircase: Sequence[float] = STAIRCASE,
    target: float = FORGOTTEN,
    say: Callable[[str], object] = lambda text: None,
) -> dict:
    """Run the main experiment on a small model and return its results as a dict of plain values.

    "rows": the baseline, the methods and controls at equal forgetting (token accuracy `target` on the choosing half),
    and the layers zeroed, measured on the reporting half. "staircase": K-FAC at every mass of `staircase`, and before
    it, as "unedited", the model itself on the same at most 60 items per task. "settings": what was chosen, on the
    choosing half only. The weights are restored.
    """
    exam, short = make_exam(model, world, "report"), make_exam(model, world, "report", count=60)
    choosing = split_windows(tasks.quote_windows(world, "choose"))
    say("baseline")
    result = [{"method": "baseline", **take(model, exam)}]
    c = curvature(model, world, patterns, rows, seed)
    edited_rows, strengths = at_equal_forgetting(model, methods(c, seed), c.layers, choosing, exam, target, say)
    say("zeroed")
    result += [*edited_rows, zeroed(model, c.layers, exam)]
    settings = {
        "layers": patterns,
        "rows": rows,
        "tokens": rows * 127,
        "target_token_accuracy": target,
        "strength": strengths,
    }
    stairs, unedited = [], take(model, short)
    for mass in staircase:
        say(f"K-FAC at mass {mass}")
        with edited(c.layers, edit_weights(c.layers, c.bases, mass)):
            share = sum(kept_share(b, mass) for b in c.bases.values()) / len(c.bases)
            stairs.append({"mass": mass, "kept": share, **take(model, short)})
    return {"rows": result, "staircase": stairs, "unedited": unedited, "settings": settings}
