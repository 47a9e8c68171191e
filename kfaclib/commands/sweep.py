"""`kfac sweep`: which blocks to edit, at which mass."""

from dataclasses import dataclass

from kfaclib.commands import shared
from kfaclib.io import files, report
from kfaclib.io.options import ModelOptions, option, positive, shares
from kfaclib.lm import presets
from kfaclib.lm import sweep as sweeping


@dataclass(frozen=True)
class SweepConfig(ModelOptions, shared.Exam):
    """The candidates, and what is asked of the one to recommend."""

    factors: str = option("factors", help="folder or file written by collect")
    layers: str | None = option(help="patterns; default: all layers in the factor file")
    masses: tuple[float, ...] = option((0.6, 0.7, 0.8, 0.9), read=shares, help="joined by commas")
    width: int = option(3, read=positive, help="neighbouring blocks edited together, at most")
    strict: float = option(0.05, read=float, help="with labels: strict recall that is low enough")
    removed: float = option(0.3, read=float, help="without labels: share of the weights' squared norm that has to go")


def sweep(config: SweepConfig) -> None:
    """Print every candidate's predicted cost and measured effect, and the best one with and without labels."""
    files.check_result(config.json)
    pinned = presets.load(config.model, config.revision, say=shared.say)
    model = pinned.model
    windows, text = shared.exam_of(config, model, pinned.tokenizer, "choose")
    chosen, bases = shared.curvature_of(model, config.factors, config.layers)
    predicted = sweeping.without_labels(chosen, bases, config.masses, config.width)
    rows = sweeping.with_labels(model, chosen, bases, predicted, windows, text, config.batch, say=shared.say)
    keys = ("blocks", "mass", "cost", "removed", "token_accuracy", "strict", "perplexity")
    print(
        report.table(
            keys,
            [
                [
                    "-" if r["blocks"] is None else "-".join(map(str, r["blocks"])),
                    f"{r['mass']:g}",
                    f"{r['cost']:.1e}",
                    *(float(r[k]) for k in keys[3:]),
                ]
                for r in rows
            ],
        )
    )
    unedited, *candidates = rows
    found = {
        "with_labels": sweeping.best(candidates, config.strict),
        "without_labels": sweeping.cheapest(predicted, config.removed),
    }
    if unedited["strict"] <= config.strict:
        found["with_labels"] = None
        print(
            f"the model does not recite these windows (strict recall {unedited['strict']:.3f} before any edit): there "
            "is nothing to forget, so no blocks are recommended with labels"
        )
    for how, row in found.items():
        said = "blocks {} to {}, mass {:g}".format(*row["blocks"], row["mass"]) if row else "no candidate"
        print(f"{how.replace('_', ' ')}: {said}")
    shared.write(
        config,
        {
            "model": str(config.model),
            "commit": pinned.commit,
            "factors": str(config.factors),
            "rows": rows,
            **found,
            "provenance": files.provenance(),
        },
    )
