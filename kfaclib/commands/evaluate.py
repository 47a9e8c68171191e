"""`kfac evaluate`: recitation, perplexity and tasks of a model."""

from dataclasses import dataclass

from kfaclib.commands import shared
from kfaclib.io import files, report
from kfaclib.io.options import ModelOptions, option
from kfaclib.lm import corpora, harness, presets, recitation
from kfaclib.toy import harness_tasks, pipeline, small_olmo2


@dataclass(frozen=True)
class EvaluateConfig(ModelOptions, shared.Downstream, shared.Exam):
    """What is measured, and a measurement to compare with."""

    before: str | None = option(help="a --json of the model before the edit: show both side by side")


def evaluate(config: EvaluateConfig) -> dict:
    """Print what was asked for (of a small model, if nothing was: all that its world can ask); the same as a dict."""
    before = shared.metrics(files.read_json(config.before)) if config.before else {}
    if config.tasks:
        harness.parts()  # if it is missing, better now than after the model is loaded
    files.check_result(config.json)
    pinned = presets.load(config.model, config.revision, say=shared.say)
    model, tokenizer, world = pinned.model, pinned.tokenizer, small_olmo2.load_world(config.model)
    result = {"model": str(config.model), "commit": pinned.commit, "provenance": files.provenance()}
    if config.sequences:
        windows = recitation.load_sequences(config.sequences, tokenizer, model)[: config.limit]
        result["sequences"] = {
            "file": str(config.sequences),
            **recitation.recitation(model, windows, config.batch).as_dict(),
        }
    if config.text:
        text = corpora.text_windows(config.text, tokenizer, config.length, config.limit, model=model)
        result["text"] = {
            "file": str(config.text),
            "corpus": recitation.perplexity(model, text),
            "paper": recitation.papers_perplexity(model, text),
        }
    if config.tasks:
        result["tasks"] = harness_tasks.examine(
            model, tokenizer, config.tasks, world, config.task_folder, config.limit, config.batch
        )
    if world and not (config.sequences or config.text or config.tasks):
        result["row"] = {"method": "as given", **pipeline.take(model, pipeline.make_exam(model, world, "report"))}
        del result["row"]["ndcg"]  # of a model against itself
    if not {"sequences", "text", "row", "tasks"} & set(result):
        raise ValueError(
            f"nothing to evaluate: {config.model} has no world of its own; give --sequences FILE, --text FILE or "
            "--tasks NAMES"
        )
    for part in ("sequences", "text", "row"):
        for key, value in result.get(part, {}).items():
            print(f"{key:16} {value if not isinstance(value, float) else f'{value:.4f}'}")
    for task, row in result.get("tasks", {}).items():
        print(f"{task:32}", "  ".join(f"{metric} {value:.4f}" for metric, value in row.items()))
    if config.before:
        both = [(key, before[key], value) for key, value in shared.metrics(result).items() if key in before]
        print(
            report.table(
                ["", "before", "now", "now / before"], [[key, x, y, y / x if x else "-"] for key, x, y in both]
            )
        )
        result["before"] = {key: x for key, x, _ in both}
    shared.write(config, result)
    return result
