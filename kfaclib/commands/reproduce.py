"""`kfac reproduce`: collect, edit, and measure before and after."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import torch

from kfaclib.collecting import collection, resumable
from kfaclib.collecting.collection import CollectConfig
from kfaclib.commands import shared
from kfaclib.curvature.eigenbasis import Eigenbasis
from kfaclib.editing import baselines
from kfaclib.editing.edit import edit_weights, edited
from kfaclib.io import files, report
from kfaclib.io.options import ModelOptions, option, positive, share
from kfaclib.lm import corpora, harness, intervals, lists, models, presets, recitation
from kfaclib.toy import harness_tasks, pipeline, small_olmo2

WINDOWS = 200  # of a public list, and of its text, where --limit does not say how many


@dataclasses.dataclass(frozen=True)
class ReproduceConfig(ModelOptions, shared.Downstream, shared.Exam):
    """The whole experiment on one model."""

    layers: str | None = option(help=f"patterns; default: the model's preset, or {pipeline.LAYERS}")
    rows: int | None = option(
        read=positive, help=f"windows to collect on; default: the model's preset, or {pipeline.ROWS}"
    )
    seed: int = option(0, read=int, help="of the collection sample, its labels and the random bases")
    corpus: str | None = option(help="as for collect; not for the small model")
    factors: str = option(
        "factors", help="folder that the factors are collected into, or are in already; not for the small model"
    )
    mass: float | None = option(
        read=share, help="share of curvature mass to keep; default: the model's preset; not for the small model"
    )
    other: str | None = option(help="a second text, unlike the corpus; not for the small model, which has one")
    without_controls: bool = option(
        False, help="measure the edit alone; not for the small model. The controls take some thirty passes more"
    )


def reproduce(config: ReproduceConfig) -> dict:
    """Print the results beside the paper's; the same as a dict."""
    if small_olmo2.load_world(config.model) is None:
        return reproduce_on_files(config)
    files.check_result(config.json)
    paper = report.paper()["rows"]
    model, _ = models.load(config.model, config.revision)
    result = pipeline.reproduce(
        model,
        small_olmo2.load_world(config.model),
        config.layers or pipeline.LAYERS,
        config.rows or pipeline.ROWS,
        config.seed,
        say=shared.say,
    )
    result = {"model": Path(config.model).name, "provenance": files.provenance(config.seed), **result, "paper": paper}
    print(report.results_text(result))
    shared.write(config, result)
    return result


def reproduce_on_files(config: ReproduceConfig) -> dict:
    """`reproduce` for a model without a world: collect (or go on, or take what is there), edit, and measure before and
    after on the user's files.
    """
    files.check_writable(config.json)
    config, preset = with_public_list(config), presets.preset(config.model)
    if not (config.sequences and config.text):
        raise ValueError(
            f"{config.model} has no world.json, so there is no ground truth to measure against: give --sequences FILE "
            "(memorized windows) and --text FILE (other text), or use kfac collect, kfac edit and kfac evaluate one by "
            "one"
        )
    if config.tasks:
        harness.parts()
    names, mass = shared.settings_of(config, preset)
    files.check_result(config.json)
    known = papers_rows(Path(config.model).name)
    there = Path(config.factors) / resumable.RECORD  # factors of all layers, collected for a sweep, do for some of them
    patterns = files.read_json(there).get("patterns") if there.exists() else config.layers
    check_recites(config)
    asked = {"layers": patterns, "corpus": config.corpus, "rows": config.rows, "revision": config.revision}
    collection.run(CollectConfig(model=config.model, out=config.factors, seed=config.seed, **asked))
    pinned = presets.load(config.model, config.revision, say=shared.say)
    model = pinned.model
    windows, text = shared.exam_of(config, model, pinned.tokenizer, "report")
    kinds = {"like_the_corpus": text}
    if config.other:
        kinds["other"] = corpora.text_windows(config.other, pinned.tokenizer, config.length, config.limit, model=model)
    top = recitation.top_tokens(model, text, batch=8)  # before the edit: afterwards it is too late
    unedited = {kind: recitation.nll(model, ids, batch=8).mean(1) for kind, ids in kinds.items()}

    def measure():
        losses = {kind: recitation.nll(model, ids, batch=8).mean(1).double() for kind, ids in kinds.items()}
        change = {kind: loss - unedited[kind] for kind, loss in losses.items()}
        measured = recitation.examined(model, windows, config.batch)
        measured["interval"] |= {kind: intervals.exp_of_mean(values) for kind, values in change.items()}
        measured |= {
            "right_in_a_row": {"quotes": measured["right_in_a_row"]},
            "ndcg": recitation.ndcg(model, text, top, batch=8),
            "perplexity_corpus": math.exp(losses["like_the_corpus"].mean()),
            "perplexity_paper": recitation.papers_perplexity(model, text, batch=8),
            "text": {kind: math.exp(values.mean()) for kind, values in change.items()},
        }
        if config.tasks:
            measured["tasks"] = harness_tasks.examine(
                model, pinned.tokenizer, config.tasks, None, config.task_folder, config.limit, config.batch
            )
        return measured

    shared.say("baseline")
    rows = [{"method": "baseline", **measure()}]
    chosen, bases = shared.curvature_of(model, config.factors, names)
    shared.say(f"K-FAC at mass {mass:g}")
    with edited(chosen, edit_weights(chosen, bases, mass)):
        rows.append({"method": "K-FAC", **measure()})
    strength = {"K-FAC": {"value": mass, "token_accuracy": rows[-1]["token_accuracy"]}}
    if not config.without_controls:
        more, found = controls(model, chosen, bases, windows, rows[-1]["token_accuracy"], measure, config)
        rows, strength = rows + more, strength | found
    print(
        report.table(
            ["", "strict", "loose", "distance", "nDCG@10", "perplexity"],
            [[r["method"], r["strict"], r["loose"], r["levenshtein"], r["ndcg"], r["perplexity_paper"]] for r in rows]
            + [
                [f"paper, {r['method']}", r["strict"], r["loose"], r["distance"], r.get("ndcg", "-"), r["perplexity"]]
                for r in known
            ],
        )
    )
    if config.tasks:
        before, after = (shared.metrics({"tasks": r["tasks"]}) for r in rows[:2])
        print(report.table(["", "baseline", "K-FAC"], [[key, before[key], after[key]] for key in before]))
    result = {
        "model": str(config.model),
        "commit": pinned.commit,
        "layers": list(chosen),
        "mass": mass,
        "strength": strength,
        "sequences": str(config.sequences),
        "text": str(config.text),
        "other": config.other,
        "rows": rows,
        "paper": known,
        "provenance": files.provenance(config.seed),
    }
    shared.write(config, result)
    return result


def check_recites(config: ReproduceConfig) -> None:
    """ValueError, before anything is collected, if the model recites none of the windows."""
    pinned = presets.load(config.model, config.revision, say=lambda text: None)
    windows = recitation.load_sequences(config.sequences, pinned.tokenizer, pinned.model)[: config.limit]
    strict, right = recitation.by_one_pass(pinned.model, windows, config.batch)
    if not strict:
        raise ValueError(
            f"{config.model} recites none of the {len(windows)} windows of {config.sequences} ({right:.0%} of their "
            "tokens are right), so there is nothing to forget: was the list made for another model or tokenizer? Find "
            "windows that it does recite with `kfac mine`"
        )


def with_public_list(config: ReproduceConfig) -> ReproduceConfig:
    """The options with the windows and the text of the model's preset, if it has a public list and the user none.

    At most `config.limit` windows of the list, or WINDOWS, lie beside the factors afterwards.
    """
    preset = presets.preset(config.model)
    if config.sequences or not (preset and preset.sequences):
        return config
    limit = config.limit or WINDOWS
    path = lists.write(preset.sequences, f"{config.factors}-sequences.jsonl", limit, shared.say)
    return dataclasses.replace(config, sequences=str(path), text=config.text or preset.text, limit=limit)


def controls(
    model: torch.nn.Module,
    chosen: dict[str, torch.nn.Linear],
    bases: dict[str, Eigenbasis],
    windows: list,
    target: float,
    measure: Callable[[], dict],
    config: ReproduceConfig,
) -> tuple[list[dict], dict]:
    """(rows, {method: {"value", "token_accuracy"}}): SVD, a random basis, noise and the flattest block deleted, where
    the token accuracy of `windows` is `target`, as under K-FAC's edit, and the layers zeroed."""
    c, rows, strength = pipeline.Curvature(chosen, bases, {}), [], {}
    methods = {**pipeline.methods(c, config.seed), "flattest block": pipeline.flattest_block(c)}
    accuracy = lambda: recitation.token_accuracy(model, windows, config.batch)
    for name in ("SVD", "random basis", "noise", "flattest block"):
        shared.say(f"{name}: to token accuracy {target:.3f}")
        value, reached, measured = pipeline.brought_to(target, name, methods[name], chosen, accuracy, measure)
        rows.append({"method": name, **measured})
        strength[name] = {"value": value, "token_accuracy": reached}
    shared.say("zeroed")
    with edited(chosen, baselines.zeroed(chosen)):
        rows.append({"method": "zeroed", **measure()})
    return rows, strength


def papers_rows(model: str) -> list[dict]:
    """The paper's rows on this model; none, and a line that says so, where the course's data is not at hand."""
    try:
        rows = report.paper()["rows"]
    except FileNotFoundError as error:
        shared.say(f"the paper's numbers are not shown: {error}")
        return []
    return [row for row in rows if row["model"] == model and row["method"] in ("baseline", "K-FAC")]
