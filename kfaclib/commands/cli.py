"""The `kfac` command: plan, collect, sweep, edit, evaluate, reproduce, train, vit, experiments, bench, doctor. Every
default is the small model in `data/`.
"""

import argparse
import contextlib
import os
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import psutil
import torch
from tqdm.auto import tqdm

from kfaclib import bench
from kfaclib.collecting import costs, planning, resumable
from kfaclib.curvature import distributed, factors, layers
from kfaclib.curvature.eigenbasis import decompose
from kfaclib.editing import sweep
from kfaclib.editing.edit import edit_weights, edited, kept_share
from kfaclib.io import files, report, storage
from kfaclib.io.paths import data
from kfaclib.lm import corpora, harness, models, presets, recitation, snapshot
from kfaclib.toy import harness_tasks, pipeline, small_olmo2, tasks, training
from kfaclib.toy.rows import world_rows
from kfaclib.toy.world import ROW


def say(text):
    tqdm.write(text, file=sys.stderr)


def available_memory(device):
    """Free bytes on the device that the factors will be on."""
    return torch.cuda.mem_get_info()[0] if device == "cuda" else psutil.virtual_memory().available


def load(a, dtype=None):
    """(model, tokenizer, preset or None) that a command asks for. A model with a preset is pinned to the preset's
    revision; `a.commit` becomes the commit it is."""
    preset = presets.preset(a.model)
    revision = a.revision or (preset and preset.revision)
    model, tokenizer = models.load(a.model, revision, dtype=dtype)
    a.commit = models.commit(a.model, revision)
    if not revision and a.commit:
        say(f"no --revision was given: this is commit {a.commit} of {a.model}; pin it to repeat the result")
    return model, tokenizer, preset


def corpus_of(a, model, tokenizer, preset):
    """(function that makes the windows, what they depend on) for `collect`."""
    world, corpus = small_olmo2.load_world(a.model), a.corpus or (preset and preset.corpus)
    longest = models.positions(model) or 512
    length = a.length or min(preset.length if preset else 512, longest)
    rows = a.rows or (preset.tokens // length if preset else pipeline.ROWS)
    if corpus:
        return (
            lambda: corpora.text_windows(corpus, tokenizer, length, rows, progress=True, model=model),
            {
                "corpus": str(corpus),
                "files": corpora.checksums(corpus),
                "length": length,
                "rows": rows,
                "tokenizer": corpora.tokenizer_digest(tokenizer),
            },
        )
    if world:
        return (lambda: world_rows(world, rows, a.seed)), {
            "corpus": f"the model's own mixture, seed {a.seed}",
            "world": world.seed,
            "rows": rows,
        }
    raise ValueError(
        f"--corpus is needed: {a.model} does not come with a world of its own (give a .jsonl or .txt file, or a dataset's name)"
    )


def passes_of(a, model, chosen, owner, tokens, world):
    """(passes, device of the sums) that fit the memory, or that were asked for."""
    at, beside = model.device.type, resumable.batch_bytes(model, chosen, owner, tokens)
    share = int(os.environ.get("LOCAL_WORLD_SIZE", 1)) if at == "cpu" else 1  # GPUs are not shared, memory is
    room = int(0.9 * available_memory(at) / share) - beside
    if a.sums == "cpu" and at != "cpu":
        at, room = "cpu", int(0.8 * available_memory("cpu") / int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
    return resumable.plan(chosen, owner, room, a.passes), at


def foresee(a):
    """`kfac plan`."""
    preset, device = presets.preset(a.model), "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    model = planning.outline(a.model, a.revision or (preset and preset.revision), dtype)
    chosen = layers.linear_layers(model, a.layers or (preset.layers if preset else "*.mlp.*"))
    tokens = a.tokens or (preset.tokens if preset else 20_000_000)
    batch = resumable.batch_bytes(model, chosen, costs.owners(chosen), a.batch * a.length)
    free = a.memory * 2**30 if a.memory else available_memory(device)
    plan = planning.make(
        model, chosen, 0.9 * free - sum(p.numel() * p.element_size() for p in model.parameters()) - batch, a.passes
    )
    rate = bench.kernels.matmul_rate(device, dtype) * (torch.get_num_threads() if device == "cpu" else 1)
    rates = {f"at least, at the {rate / 1e12:.3g} TFLOP/s of this machine's products": rate}
    record = data("results", f"bench-{'gpu' if device == 'cuda' else 'cpu'}.json")
    if record.exists():
        share = files.read_json(record)["collection"]["share_of_possible_speed"]
        rates[f"at the {share:.0%} of it that the collector reached in {record.name}"] = share * rate
    print(f"{free / 2**30:.1f} GiB of memory, batches of {a.batch} x {a.length} tokens")
    print(planning.text(a.model, plan, tokens, rates))
    write(
        a,
        {
            "model": str(a.model),
            **asdict(plan),
            "tokens": tokens,
            "seconds": {k: planning.seconds(plan, tokens, r) for k, r in rates.items()},
            "provenance": files.provenance(),
        },
    )


def collect(a):
    os.environ.setdefault(
        "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
    )  # before the GPU is first used: its products shall be repeatable
    with distributed.processes() as (rank, world):
        collect_here(a, rank, world)


def collect_here(a, rank, world):
    """`collect` as process `rank` of `world`; only the first one speaks, and packs the corpus."""
    tell = print if rank == 0 else lambda text: None
    dtype = getattr(torch, a.dtype) if a.dtype else (torch.bfloat16 if torch.cuda.is_available() else None)
    model, tokenizer, preset = load(a, dtype)
    patterns = a.layers or (preset.layers if preset else pipeline.LAYERS)
    chosen = layers.linear_layers(model, patterns)
    factors.check_model(model)
    cached = a.commit and rank == 0 and snapshot.find(a.model, a.commit)
    if cached and snapshot.check(cached):
        tell("the download's files have the checksums that the hub gave them")
    owner = factors.shared_inputs(model, chosen)
    make, wanted = corpus_of(a, model, tokenizer, preset)
    need = layers.factor_bytes(chosen, owner)
    tell(f"{len(chosen)} layers; their factors need {need / 2**20:.1f} MiB in float32")
    passes, at = passes_of(a, model, chosen, owner, a.batch * wanted.get("length", ROW), world)
    out = Path(a.out)
    files.check_writable(out)
    resumable.check_disk(out, need + (1 + world) * need)
    if rank == 0:
        resumable.prepare(out, a.restart)
        windows, digest = resumable.keep_windows(out, make, wanted)
        settings = resumable.record(
            out,
            {
                "model": storage.digest(dict(model.named_parameters())),
                "dtype": str(model.dtype),
                "layers": list(chosen),
                "labels": a.labels,
                "seed": a.seed,
                "windows": digest,
                "passes": passes,
            },
            {
                "model": str(a.model),
                "commit": a.commit,
                "patterns": patterns,
                "corpus": wanted,
                "provenance": files.provenance(a.seed),
            },
        )
    distributed.wait_for_all()
    if rank > 0:
        windows, digest = resumable.keep_windows(out, make, wanted)
        settings = files.read_json(out / resumable.RECORD)["settings"]
    passes = settings["passes"]
    tell(
        f"{len(windows)} windows of {windows.shape[1]} tokens in {'one pass' if len(passes) == 1 else f'{len(passes)} passes'}"
        f"{f' on {world} processes' if world > 1 else ''}; sums in {'memory' if at == 'cpu' else 'GPU memory'}, "
        f"{max(layers.factor_bytes({n: chosen[n] for n in names}, owner) for names in passes) / 2**20:.1f} MiB at a time"
    )
    if len(windows) < wanted["rows"]:
        tell(f"the corpus ended after {len(windows)} of {wanted['rows']} windows")
    paths = resumable.collect(
        model,
        chosen,
        windows,
        out,
        settings,
        batch=a.batch,
        device=torch.device(at) if at != model.device.type else None,
        every=60 * a.checkpoint_minutes,
        notes={
            "model": str(a.model),
            "commit": a.commit,
            "patterns": patterns,
            "labels": a.labels,
            "corpus": wanted["corpus"],
            "provenance": files.provenance(a.seed),
        },
        say=say,
    )
    if rank == 0:
        files.write_manifest(out)
        tell(
            f"{len(windows) * (windows.shape[1] - 1)} tokens; factors of {len(chosen)} layers in {', '.join(map(str, paths))}"
        )


def curvature_of(a, model, names):
    """(layers, bases) of the layers `names` (patterns or names; None: all) from the factors in `a.factors`."""
    chosen = layers.linear_layers(model, names or list(factors.load_factors(a.factors)))
    found = factors.load_factors(a.factors, chosen)
    return chosen, decompose({name: found[name] for name in chosen}, device=model.device)


def settings_of(a, preset):
    """(patterns of the layers to edit or None for all, mass) as asked for, or as the model's preset says."""
    mass = a.mass or (preset and preset.mass)
    if not mass:
        raise ValueError(f"--mass is needed: the paper gives none for {a.model}; `kfac sweep` helps to choose")
    if preset and not (a.layers or preset.edited):
        raise ValueError(
            f"--layers is needed: the paper does not say which of {a.model} it edited; `kfac sweep` helps to choose"
        )
    return a.layers or (preset and preset.edited), mass


def edit(a):
    with distributed.processes() as (rank, _):
        model, tokenizer, preset = load(a)
        names, mass = settings_of(a, preset)
        files.check_writable(a.out)
        chosen, bases = curvature_of(
            a, model, names
        )  # several processes share the eigendecompositions; the rest is one's work
        if rank == 0:
            save_edited(a, model, tokenizer, chosen, bases, mass)


def save_edited(a, model, tokenizer, chosen, bases, mass):
    out = Path(a.out)
    weights = edit_weights(chosen, bases, mass)
    for name, basis in bases.items():
        change = (weights[name] - chosen[name].weight).norm() / chosen[name].weight.norm()
        print(f"{name}: {kept_share(basis, mass):.1%} of the pairs kept, weight changed by {change:.1%} of its norm")
    dtype = model.config.dtype if model.device.type == "cuda" else models.checkpoint_dtype(a.model, a.commit)
    with edited(chosen, weights):
        model.to(dtype).save_pretrained(out)
    tokenizer.save_pretrained(out)
    if (Path(a.model) / "world.json").exists():
        shutil.copy(Path(a.model) / "world.json", out)
    files.write_json(
        out / "edit.json",
        {
            "model": str(a.model),
            "commit": a.commit,
            "factors": str(a.factors),
            "layers": list(chosen),
            "mass": mass,
            "provenance": files.provenance(),
        },
    )
    files.write_manifest(out)
    print(f"edited model in {out}")


def exam_of(a, model, tokenizer, half):
    """(memorized windows, text [N, S]) from --sequences and --text, or from the small model's world; at most a.limit of
    each.
    """
    world = small_olmo2.load_world(a.model)
    if world and not (a.sequences or a.text):
        windows, text = (
            recitation.split_windows(tasks.quote_windows(world, half)),
            tasks.fresh_text(f"{world.seed} {half}", documents=48),
        )
    elif a.sequences and a.text:
        windows, text = (
            recitation.load_sequences(a.sequences, tokenizer, model),
            corpora.text_windows(a.text, tokenizer, a.length, model=model),
        )
    else:
        raise ValueError(
            f"{a.model} has no world.json, so there is no ground truth to measure against: give --sequences FILE (memorized windows) "
            "and --text FILE (other text)"
        )
    return windows[: a.limit], text[: a.limit]


def choose(a):
    """`kfac sweep`."""
    model, tokenizer, _ = load(a)
    windows, text = exam_of(a, model, tokenizer, "choose")
    files.check_writable(a.json)
    chosen, bases = curvature_of(a, model, a.layers)
    predicted = sweep.without_labels(chosen, bases, a.masses, a.width)
    rows = sweep.with_labels(model, chosen, bases, predicted, windows, text, a.batch, say=say)
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
    found = {"with_labels": sweep.best(rows, a.strict), "without_labels": sweep.cheapest(predicted, a.removed)}
    for how, row in found.items():
        said = "blocks {} to {}, mass {:g}".format(*row["blocks"], row["mass"]) if row else "no candidate"
        print(f"{how.replace('_', ' ')}: {said}")
    write(
        a,
        {
            "model": str(a.model),
            "commit": a.commit,
            "factors": str(a.factors),
            "rows": rows,
            **found,
            "provenance": files.provenance(),
        },
    )


def metrics(result):
    """{label: number} of all that `evaluate` measured."""
    flat = {key: value for part in ("sequences", "text", "row") for key, value in result.get(part, {}).items()}
    flat |= {
        f"{task} {metric}": value for task, row in result.get("tasks", {}).items() for metric, value in row.items()
    }
    return {key: value for key, value in flat.items() if isinstance(value, float)}


def evaluate(a):
    before = metrics(files.read_json(a.before)) if a.before else {}
    if a.tasks:
        harness.parts()  # if it is missing, better now than after the model is loaded
    files.check_writable(a.json)
    model, tokenizer, _ = load(a)
    world, result = (
        small_olmo2.load_world(a.model),
        {"model": str(a.model), "commit": a.commit, "provenance": files.provenance()},
    )
    if a.sequences:
        windows = recitation.load_sequences(a.sequences, tokenizer, model)
        result["sequences"] = {"file": str(a.sequences), **recitation.recitation(model, windows, a.batch).as_dict()}
    if a.text:
        text = corpora.text_windows(a.text, tokenizer, a.length, model=model)
        result["text"] = {
            "file": str(a.text),
            **{kind: recitation.perplexity(model, text, kind=kind) for kind in ("corpus", "paper")},
        }
    if a.tasks:
        result["tasks"] = harness_tasks.examine(model, tokenizer, a.tasks, world, a.task_folder, a.limit, a.batch)
    if world and not (a.sequences or a.text or a.tasks):
        result["row"] = {"method": "as given", **pipeline.take(model, pipeline.make_exam(model, world, "report"))}
        del result["row"]["ndcg"]  # of a model against itself
    if not {"sequences", "text", "row", "tasks"} & set(result):
        raise ValueError(
            f"nothing to evaluate: {a.model} has no world of its own; give --sequences FILE, --text FILE or --tasks NAMES"
        )
    for part in ("sequences", "text", "row"):
        for key, value in result.get(part, {}).items():
            print(f"{key:16} {value if not isinstance(value, float) else f'{value:.4f}'}")
    for task, row in result.get("tasks", {}).items():
        print(f"{task:32}", "  ".join(f"{metric} {value:.4f}" for metric, value in row.items()))
    if a.before:
        both = [(key, before[key], value) for key, value in metrics(result).items() if key in before]
        print(
            report.table(
                ["", "before", "now", "now / before"], [[key, x, y, y / x if x else "-"] for key, x, y in both]
            )
        )
        result["before"] = {key: x for key, x, _ in both}
    write(a, result)


def reproduce(a):
    if small_olmo2.load_world(a.model) is None:
        return reproduce_on_files(a)
    model, _ = models.load(a.model, a.revision)
    files.check_writable(a.json)
    result = pipeline.reproduce(
        model, small_olmo2.load_world(a.model), a.layers or pipeline.LAYERS, a.rows or pipeline.ROWS, a.seed, say=say
    )
    result = {
        "model": Path(a.model).name,
        "provenance": files.provenance(a.seed),
        **result,
        "paper": report.paper()["rows"],
    }
    print(report.results_text(result))
    write(a, result)


def reproduce_on_files(a):
    """`reproduce` for a model without a world: collect (or go on, or take what is there), edit, and measure before and
    after on the user's files.
    """
    if not (a.sequences and a.text):
        raise ValueError(
            f"{a.model} has no world.json, so there is no ground truth to measure against: give --sequences FILE (memorized windows) "
            "and --text FILE (other text), or use kfac collect, kfac edit and kfac evaluate one by one"
        )
    if a.tasks:
        harness.parts()
    preset = presets.preset(a.model)
    names, mass = settings_of(a, preset)
    files.check_writable(a.json)
    there = Path(a.factors) / resumable.RECORD  # factors of all layers, collected for a sweep, do for an edit of some
    patterns = files.read_json(there).get("patterns") if there.exists() else a.layers
    asked = {"--revision": a.revision, "--layers": patterns, "--corpus": a.corpus, "--rows": a.rows, "--seed": a.seed}
    collect(
        parser().parse_args(
            [
                "collect",
                "--model",
                str(a.model),
                "--out",
                str(a.factors),
                *(str(word) for key, value in asked.items() if value is not None for word in (key, value)),
            ]
        )
    )
    model, tokenizer, _ = load(a)
    windows, text = exam_of(a, model, tokenizer, "report")
    top = recitation.top_tokens(model, text, batch=8)  # before the edit: afterwards it is too late

    def row(method):
        measured = {
            "method": method,
            **recitation.recitation(model, windows, a.batch).as_dict(),
            "ndcg": recitation.ndcg(model, text, top, batch=8),
            **{
                f"perplexity_{kind}": recitation.perplexity(model, text, kind=kind, batch=8)
                for kind in ("corpus", "paper")
            },
        }
        return measured | (
            {"tasks": harness_tasks.examine(model, tokenizer, a.tasks, None, a.task_folder, a.limit, a.batch)}
            if a.tasks
            else {}
        )

    say("baseline")
    rows = [row("baseline")]
    chosen, bases = curvature_of(a, model, names)
    say(f"K-FAC at mass {mass:g}")
    with edited(chosen, edit_weights(chosen, bases, mass)):
        rows.append(row("K-FAC"))
    known = [
        r for r in report.paper()["rows"] if r["model"] == Path(a.model).name and r["method"] in ("baseline", "K-FAC")
    ]
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
    if a.tasks:
        before, after = (metrics({"tasks": r["tasks"]}) for r in rows)
        print(report.table(["", "baseline", "K-FAC"], [[key, before[key], after[key]] for key in before]))
    write(
        a,
        {
            "model": str(a.model),
            "commit": a.commit,
            "layers": list(chosen),
            "mass": mass,
            "sequences": str(a.sequences),
            "text": str(a.text),
            "rows": rows,
            "paper": known,
            "provenance": files.provenance(a.seed),
        },
    )


def train(a):
    if a.size == "vit-tiny":
        if a.steps:
            raise ValueError(
                "--steps is for the language models: vit-tiny is trained as the shipped checkpoint was, in about two minutes"
            )
        from kfaclib.vision import vit

        vit.train(a.out, a.seed)
        print(f"weights, recipe.json, training.jsonl and manifest.json in {a.out}")
        return
    device = "cuda" if torch.cuda.is_available() else "cpu"
    training.train(a.out, a.seed, a.size, a.steps, device=device)
    print(f"weights, tokenizer, world.json, training.jsonl and manifest.json in {a.out}")


def heal(a):
    from kfaclib.vision import imagenet

    files.check_writable(a.json)
    model, processor = imagenet.load(a.model, a.revision)
    folder = imagenet.read_folder(a.images, model.config, a.wrong)
    validation = imagenet.read_folder(a.validation, model.config) if a.validation else None
    result = imagenet.edit_folder(model, processor, folder, validation, mass=a.mass, images=a.rows, seed=a.seed)
    columns = list(result["baseline"])
    print(report.table(["", *columns], [[name, *result[name].values()] for name in ("baseline", "K-FAC")]))
    write(a, {"model": str(a.model), "provenance": files.provenance(a.seed), **result})


def measure(a):
    unknown = [part for part in a.parts.split(",") if part not in bench.PARTS]
    if unknown:
        raise ValueError(f"--parts: there is no {unknown[0]!r}; there are {', '.join(bench.PARTS)}")
    files.check_writable(a.json)
    write(a, bench.run(a.parts.split(","), say=say))


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
        p = commands.add_parser(
            name, help=help, description=help, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        p.set_defaults(function=function)
        if model:
            p.add_argument("--model", default=str(data("olmo2-tiny")), help="a folder, or a name on the hub")
            p.add_argument("--revision", help="commit or tag on the hub; pin it for a result that others can repeat")
        return p

    def exam(p):
        p.add_argument(
            "--sequences", help="memorized windows: jsonl with prefix_ids and suffix_ids, or prefix and target_suffix"
        )
        p.add_argument("--text", help="other text, .jsonl or .txt, for perplexity and nDCG")
        p.add_argument(
            "--length",
            type=positive,
            help="tokens in a window of --text; default: 512, or as many as the model has positions",
        )
        p.add_argument("--limit", type=positive, help="windows of each that are used; default: all")
        p.add_argument("--batch", type=positive, default=64, help="windows at a time")
        p.add_argument("--json", help="also write the result to this file")

    def downstream(p):
        p.add_argument(
            "--tasks",
            help=f"tasks through lm-evaluation-harness, which downloads their data: names joined by commas; real stands for "
            f"{','.join(harness.REAL)}, local for tasks of the small model's world, which need no network",
        )
        p.add_argument("--task-folder", help="folder with task configurations of your own, in the harness's format")

    p = command(
        foresee,
        "plan",
        "how much memory, disk and time a collection will take, before anything but a configuration is loaded",
    )
    p.add_argument(
        "--layers", help="patterns of layer names, joined by commas; default: the model's preset, or *.mlp.*"
    )
    p.add_argument("--tokens", type=positive, help="to collect on; default: the model's preset, or 20 million")
    p.add_argument("--length", type=positive, default=512, help="tokens in a window")
    p.add_argument("--batch", type=positive, default=32, help="windows in a batch")
    p.add_argument("--memory", type=float, help="GiB; default: what is free on this machine (its GPU, if it has one)")
    p.add_argument(
        "--passes",
        type=positive,
        help="at most so many passes over the corpus; default: the fewest that fit into memory",
    )
    p.add_argument("--json", help="also write the result to this file")
    p = command(collect, "collect", "collect the factors A and G of some layers")
    p.add_argument(
        "--layers", help=f"patterns of layer names, joined by commas; default: the model's preset, or {pipeline.LAYERS}"
    )
    p.add_argument(
        "--corpus",
        help="a file (.jsonl with a text in each row, .txt, also .gz), a dataset (owner/name:config@revision), dolmino, or a "
        "mixture (a.jsonl=0.7,b.jsonl=0.3); default: the model's preset, or the small model's own mixture",
    )
    p.add_argument("--rows", type=positive, help=f"windows of tokens; default: the model's preset, or {pipeline.ROWS}")
    p.add_argument(
        "--length",
        type=positive,
        help="tokens in a window of --corpus; default: 512, or as many as the model has positions",
    )
    p.add_argument("--batch", type=positive, default=32, help="windows in a batch; it is halved when memory is short")
    p.add_argument(
        "--passes",
        type=positive,
        help="at most so many passes over the corpus; default: the fewest that fit into memory",
    )
    p.add_argument(
        "--sums",
        choices=("model", "cpu"),
        default="model",
        help="where the float32 sums are: with the model, or in the CPU's memory",
    )
    p.add_argument(
        "--dtype", choices=("bfloat16", "float32"), help="of the model; default: float32 on a CPU, bfloat16 on a GPU"
    )
    p.add_argument("--checkpoint-minutes", type=float, default=10, help="minutes between checkpoints")
    p.add_argument("--restart", action="store_true", help="begin anew instead of going on with what is in --out")
    p.add_argument(
        "--labels", choices=("sampled", "data"), default="sampled", help="sampled from the model (Fisher) or the data's"
    )
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--out", default="factors", help="folder")
    p = command(edit, "edit", "project weights on their high-curvature directions and save the model")
    p.add_argument("--factors", default="factors", help="folder or file written by collect")
    p.add_argument("--layers", help="patterns; default: all layers in the factor file")
    p.add_argument("--mass", type=share, help="share of curvature mass to keep, in (0, 1]; default: the model's preset")
    p.add_argument("--out", default="edited", help="folder of the edited model")
    p = command(evaluate, "evaluate", "measure recitation, perplexity and tasks")
    p.add_argument("--sequences", help="jsonl with prefix_ids and suffix_ids, or prefix and target_suffix")
    p.add_argument("--text", help=".jsonl or .txt to take the perplexity of")
    p.add_argument(
        "--length",
        type=positive,
        help="tokens in a window of --text; default: 512, or as many as the model has positions",
    )
    p.add_argument("--limit", type=positive, help="items of each task that are used; default: all")
    p.add_argument("--batch", type=positive, default=64)
    p.add_argument("--json", help="also write the result to this file")
    p.add_argument("--before", help="a --json of the model before the edit: show both side by side")
    downstream(p)
    p = command(
        reproduce,
        "reproduce",
        "the whole experiment: on the small model with all its controls, on another one with --sequences and --text",
    )
    p.add_argument("--layers", help=f"patterns; default: the model's preset, or {pipeline.LAYERS}")
    p.add_argument(
        "--rows", type=positive, help=f"windows to collect on; default: the model's preset, or {pipeline.ROWS}"
    )
    p.add_argument("--seed", type=int, default=0, help="of the collection sample, its labels and the random bases")
    p.add_argument("--corpus", help="as for collect; not for the small model")
    p.add_argument(
        "--factors",
        default="factors",
        help="folder that the factors are collected into, or are in already; not for the small model",
    )
    p.add_argument(
        "--mass",
        type=share,
        help="share of curvature mass to keep; default: the model's preset; not for the small model",
    )
    exam(p)
    downstream(p)
    p = command(
        choose,
        "sweep",
        "which layers to edit, at which mass: predicted from the factors alone, and measured on memorized windows",
    )
    p.add_argument("--factors", default="factors", help="folder or file written by collect")
    p.add_argument("--layers", help="patterns; default: all layers in the factor file")
    p.add_argument(
        "--masses",
        type=lambda text: [share(x) for x in text.split(",")],
        default="0.6,0.7,0.8,0.9",
        help="joined by commas",
    )
    p.add_argument("--width", type=positive, default=3, help="neighbouring blocks edited together, at most")
    p.add_argument("--strict", type=float, default=0.05, help="with labels: strict recall that is low enough")
    p.add_argument(
        "--removed", type=float, default=0.3, help="without labels: share of the weights' squared norm that has to go"
    )
    exam(p)
    p = command(train, "train", "train a small OLMo-2 on its world, or the small ViT on its digits", model=False)
    p.add_argument("--size", choices=[*small_olmo2.SIZES, "vit-tiny"], default="olmo2-tiny")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument(
        "--steps",
        type=positive,
        help="default: olmo2-tiny as the shipped model, about an hour on two cores; olmo2-mini under ten minutes",
    )
    p.add_argument("--out", required=True, help="folder")
    p = command(
        heal, "vit", "edit a ViT on a folder of images in ImageNet's format and measure what it memorized", model=False
    )
    p.add_argument(
        "--model",
        required=True,
        help="a ViTForImageClassification that was trained on the wrong labels: a folder, or a name on the hub",
    )
    p.add_argument("--revision", help="commit or tag on the hub")
    p.add_argument("--images", required=True, help="folder of the training images: one folder per class")
    p.add_argument(
        "--wrong", required=True, help='JSON file of the wrong labels: {"class/picture.JPEG": "the class it was given"}'
    )
    p.add_argument("--validation", help="folder of validation images, in the same format")
    p.add_argument("--mass", type=share, default=0.75)
    p.add_argument(
        "--rows",
        type=positive,
        default=10_000,
        help="images that curvature is collected on, and clean images that are measured",
    )
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--json", help="also write the result to this file")
    p = command(measure, "bench", "measure this machine: kernels, collection, selection of pairs, growth", model=False)
    p.add_argument("--parts", default=",".join(bench.PARTS), help="some of them, joined by commas")
    p.add_argument("--json", help="also write the result to this file")
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
