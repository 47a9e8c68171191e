"""The main experiment on a small model: collect, decompose, choose on one half, edit, and report on the other half.

Every method is brought to the same forgetting (the same token accuracy on the quotes used for choosing), so that their
costs elsewhere can be compared.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from kfaclib.curvature.eigenbasis import Eigenbasis, collect_eigenvalues, decompose
from kfaclib.curvature.factors import collect_factors
from kfaclib.curvature.layers import linear_layers
from kfaclib.editing import baselines, matching
from kfaclib.editing.edit import edit_weights, edited, kept_share
from kfaclib.lm.recitation import ndcg, perplexity, recitation, split_windows, token_accuracy, top_tokens
from kfaclib.toy import tasks
from kfaclib.toy.rows import world_rows
from kfaclib.toy.world import World

# the upper half of olmo2-tiny; gate and up, as in the paper
LAYERS = "model.layers.[345].mlp.gate_proj,model.layers.[345].mlp.up_proj"
ROWS = 512  # rows of 128 tokens that curvature is collected on
# token accuracy, on the quotes for choosing, that every method is brought to; a passage never seen has about 0.5
FORGOTTEN = 0.91
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

    def random(mass):
        generator = torch.Generator().manual_seed(seed)
        return {
            name: baselines.random_edit(c.layers[name].weight, basis, mass, generator)
            for name, basis in c.bases.items()
        }

    return {
        "K-FAC": lambda mass: edit_weights(c.layers, c.bases, mass),
        "EK-FAC": lambda mass: edit_weights(c.layers, c.bases, mass, c.eigenvalues),
        "SVD": lambda share: {name: baselines.svd_edit(c.layers[name].weight, share) for name in c.bases},
        "random basis": random,
    }


@dataclass(frozen=True)
class Exam:
    """The measurements of one half: windows of quotes, new text [N, S], tasks, and the unedited model's top-10
    tokens."""

    windows: list
    text: torch.Tensor
    suite: dict[str, list]
    top: torch.Tensor


def make_exam(model: torch.nn.Module, world: World, half: str, count: int = 200) -> Exam:
    """The exam of one half, with at most `count` items per task.

    Make it before any edit, because nDCG compares with the model as it is now.
    """
    text = tasks.fresh_text(f"{world.seed} {half}", documents=48)
    return Exam(
        split_windows(tasks.quote_windows(world, half)),
        text,
        tasks.make_suite(world, half, count),
        top_tokens(model, text),
    )


def take(model: torch.nn.Module, exam: Exam) -> dict:
    """Measure a model: one row of results with recitation, perplexity, nDCG@10 and every task's accuracy."""
    quotes = recitation(model, exam.windows)
    return {
        "strict": quotes.strict,
        "loose": quotes.loose,
        "levenshtein": quotes.levenshtein,
        "token_accuracy": quotes.token_accuracy,
        "perplexity": perplexity(model, exam.text),
        "ndcg": ndcg(model, exam.text, exam.top),
        "tasks": {"recitation": quotes.strict, **tasks.accuracy(model, exam.suite)},
    }


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

    "rows": baseline and four methods at equal forgetting (token accuracy `target` on the choosing half), measured on
    the reporting half. "staircase": K-FAC at every mass of `staircase`, on at most 60 items per task. "settings": what
    was chosen, on the choosing half only. The weights are restored.
    """
    exam, short = make_exam(model, world, "report"), make_exam(model, world, "report", count=60)
    choosing = split_windows(tasks.quote_windows(world, "choose"))
    say("baseline")
    result = [{"method": "baseline", **take(model, exam)}]
    c = curvature(model, world, patterns, rows, seed)
    settings = {"layers": patterns, "rows": rows, "tokens": rows * 127, "target_token_accuracy": target, "strength": {}}
    for method, edit in methods(c, seed).items():
        say(f"{method}: to token accuracy {target} on the quotes for choosing")
        strength, reached = matching.bring_to(target, edit, c.layers, lambda: token_accuracy(model, choosing))
        settings["strength"][method] = {"value": strength, "token_accuracy": reached}
        with edited(c.layers, edit(strength)):
            result.append({"method": method, **take(model, exam)})
    stairs = []
    for mass in staircase:
        say(f"K-FAC at mass {mass}")
        with edited(c.layers, edit_weights(c.layers, c.bases, mass)):
            share = sum(kept_share(b, mass) for b in c.bases.values()) / len(c.bases)
            stairs.append({"mass": mass, "kept": share, **take(model, short)})
    return {"rows": result, "staircase": stairs, "settings": settings}
