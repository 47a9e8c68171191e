"""The `kfac` command: collect, edit, evaluate, reproduce, train, experiments, doctor.  Every default is the small model in `data/`."""

import argparse
import contextlib
import os
import shutil
import sys
from pathlib import Path

import psutil
import torch
from tqdm.auto import tqdm

from kfaclib import corpora, doctor, experiments, factors, files, layers, memorization, models, pipeline, report, training
from kfaclib.edit import edit_weights, edited, kept_share
from kfaclib.eigenbasis import decompose
from kfaclib.paths import DATA


def say(text):
    tqdm.write(text, file=sys.stderr)


def available_memory(device):
    """Free bytes on the device that the factors will be on."""
    return torch.cuda.mem_get_info()[0] if device == "cuda" else psutil.virtual_memory().available


def collect(a):
    model, tokenizer = models.load(a.model, a.revision)
    chosen = layers.linear_layers(model, a.layers)
    print(f"{len(chosen)} layers; their factors need {layers.factor_bytes(chosen) / 2**20:.1f} MiB in float32")
    layers.check_memory(chosen, available_memory(model.device.type))
    files.check_writable(a.out)
    world = models.load_world(a.model)
    if a.corpus:
        windows = corpora.text_windows(a.corpus, tokenizer, a.length, a.rows)
    elif world:
        windows = corpora.world_rows(world, a.rows, a.seed)
    else:
        raise ValueError(f"--corpus is needed: {a.model} does not come with a world of its own (give a .jsonl or .txt file)")
    found = factors.collect_factors(model, windows.split(a.batch), chosen, labels=a.labels, generator=torch.Generator().manual_seed(a.seed))
    path = Path(a.out) / "factors.safetensors"
    factors.save_factors(path, found, chosen, model=str(a.model), patterns=a.layers, labels=a.labels, corpus=a.corpus or "the model's own mixture",
                         provenance=files.provenance(a.seed))
    print(f"{next(iter(found.values())).tokens} tokens; factors of {len(found)} layers in {path}")


def edit(a):
    model, tokenizer = models.load(a.model, a.revision)
    path = Path(a.factors) / "factors.safetensors" if Path(a.factors).is_dir() else Path(a.factors)
    names = a.layers or ",".join(factors.load_factors(path))
    chosen = layers.linear_layers(model, names)
    bases = decompose({n: f for n, f in factors.load_factors(path, chosen).items() if n in chosen})
    weights = edit_weights(chosen, bases, a.mass)
    for name, basis in bases.items():
        change = (weights[name] - chosen[name].weight).norm() / chosen[name].weight.norm()
        print(f"{name}: {kept_share(basis, a.mass):.1%} of the pairs kept, weight changed by {change:.1%} of its norm")
    out = Path(a.out)
    files.check_writable(out)
    dtype = model.config.dtype if model.device.type == "cuda" else models.checkpoint_dtype(a.model)
    with edited(chosen, weights):
        model.to(dtype).save_pretrained(out)
    tokenizer.save_pretrained(out)
    if (Path(a.model) / "world.json").exists():
        shutil.copy(Path(a.model) / "world.json", out)
    files.write_json(out / "edit.json", {"model": str(a.model), "factors": str(path), "mass": a.mass, "provenance": files.provenance()})
    files.write_manifest(out)
    print(f"edited model in {out}")


def evaluate(a):
    model, tokenizer = models.load(a.model, a.revision)
    world, result = models.load_world(a.model), {"model": str(a.model), "provenance": files.provenance()}
    if a.sequences:
        windows = memorization.load_sequences(a.sequences, tokenizer)
        result["sequences"] = {"file": str(a.sequences), **memorization.recitation(model, windows, a.batch).as_dict()}
    if a.text:
        text = corpora.text_windows(a.text, tokenizer, a.length)
        result["text"] = {"file": str(a.text), **{kind: memorization.perplexity(model, text, kind=kind) for kind in ("corpus", "paper")}}
    if world and not (a.sequences or a.text):
        result["row"] = {"method": "as given", **pipeline.take(model, pipeline.make_exam(model, world, "report"))}
        del result["row"]["ndcg"]  # of a model against itself
    if len(result) == 2:
        raise ValueError(f"nothing to evaluate: {a.model} has no world of its own; give --sequences FILE or --text FILE")
    for part in ("sequences", "text", "row"):
        for key, value in result.get(part, {}).items():
            print(f"{key:16} {value if not isinstance(value, float) else f'{value:.4f}'}")
    write(a, result)


def reproduce(a):
    model, _ = models.load(a.model, a.revision)
    world = models.load_world(a.model)
    if world is None:
        raise ValueError(f"{a.model} has no world.json, so there is no ground truth to measure against: for other models use "
                         "kfac collect, kfac edit and kfac evaluate --sequences FILE")
    files.check_writable(a.json)
    result = pipeline.reproduce(model, world, a.layers, a.rows, a.seed, say=say)
    result = {"model": Path(a.model).name, "provenance": files.provenance(a.seed), **result, "paper": report.paper()["rows"]}
    print(report.results_text(result))
    write(a, result)


def train(a):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    training.train(a.out, a.seed, a.size, a.steps, device=device)
    print(f"weights, tokenizer, world.json, training.jsonl and manifest.json in {a.out}")


def experiment(a):
    out = Path(a.out) if a.out else DATA / "results" / f"{a.name}.json"
    files.check_writable(out)
    experiments.run(a.name, out)
    print(f"written to {out}")


def examine(a):
    return 0 if doctor.report(a.model) else 1


def write(a, result):
    if a.json:
        files.write_json(a.json, result)
        print(f"written to {a.json}")


def share(text):
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not in (0, 1]: it is the share of curvature mass to keep")
    return value


def positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive whole number")
    return value


def parser():
    main_parser = argparse.ArgumentParser(prog="kfac", description=__doc__)
    commands = main_parser.add_subparsers(required=True, metavar="COMMAND")

    def command(function, name, help, model=True):
        p = commands.add_parser(name, help=help, description=help, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        p.set_defaults(function=function)
        if model:
            p.add_argument("--model", default=str(DATA / "olmo2-tiny"), help="a folder, or a name on the hub")
            p.add_argument("--revision", help="commit or tag on the hub; pin it for a result that others can repeat")
        return p

    p = command(collect, "collect", "collect the factors A and G of some layers")
    p.add_argument("--layers", default=pipeline.LAYERS, help="patterns of layer names, joined by commas")
    p.add_argument("--corpus", help=".jsonl (rows with a text) or .txt; default: the small model's own mixture")
    p.add_argument("--rows", type=positive, default=pipeline.ROWS, help="windows of tokens")
    p.add_argument("--length", type=positive, default=512, help="tokens in a window of --corpus")
    p.add_argument("--batch", type=positive, default=32, help="windows in a batch")
    p.add_argument("--labels", choices=("sampled", "data"), default="sampled", help="sampled from the model (Fisher) or the data's")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--out", default="factors", help="folder")
    p = command(edit, "edit", "project weights on their high-curvature directions and save the model")
    p.add_argument("--factors", default="factors", help="folder or file written by collect")
    p.add_argument("--layers", help="patterns; default: all layers in the factor file")
    p.add_argument("--mass", type=share, required=True, help="share of curvature mass to keep, in (0, 1]")
    p.add_argument("--out", default="edited", help="folder of the edited model")
    p = command(evaluate, "evaluate", "measure recitation, perplexity and tasks")
    p.add_argument("--sequences", help="jsonl with prefix_ids and suffix_ids, or prefix and target_suffix")
    p.add_argument("--text", help=".jsonl or .txt to take the perplexity of")
    p.add_argument("--length", type=positive, default=512, help="tokens in a window of --text")
    p.add_argument("--batch", type=positive, default=64)
    p.add_argument("--json", help="also write the result to this file")
    p = command(reproduce, "reproduce", "the whole experiment on a small model, beside the paper's numbers")
    p.add_argument("--layers", default=pipeline.LAYERS)
    p.add_argument("--rows", type=positive, default=pipeline.ROWS)
    p.add_argument("--seed", type=int, default=0, help="of the collection sample, its labels and the random bases")
    p.add_argument("--json", help="also write the result to this file")
    p = command(train, "train", "train a small OLMo-2 on its world", model=False)
    p.add_argument("--size", choices=list(models.SIZES), default="olmo2-tiny")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--steps", type=positive, help="default: olmo2-tiny as the shipped model, about an hour on two cores; olmo2-mini under ten minutes")
    p.add_argument("--out", required=True, help="folder")
    p = command(experiment, "experiments", "regenerate a recorded experiment", model=False)
    p.add_argument("name", choices=list(experiments.EXPERIMENTS))
    p.add_argument("--out", help="default: data/results/NAME.json")
    command(examine, "doctor", "check this machine and the shipped files, with a mend for what is wrong")
    return main_parser


def main(argv=None):
    """Entry point; errors that a user can mend are one line on stderr and exit status 1."""
    a = parser().parse_args(argv)
    try:
        return a.function(a) or 0
    except (ValueError, OSError, MemoryError, FloatingPointError, RuntimeError) as error:
        if os.environ.get("KFAC_TRACEBACK"):
            raise
        print(f"kfac: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        with contextlib.suppress(Exception):
            print("kfac: interrupted; nothing half-written was left", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
