"""The tables in pages/olmo2_1b.md: what each step of the road to OLMo-2-1B takes, from shapes and data sheets, and the
presets of smaller models."""

TOKENS, SHARE = 20_000_000, 0.6  # the paper's; of a data sheet's speed, a target and not a measurement
GPUS = ("H200", "RTX 4090")


def bill():
    """Markdown table of memory, disk and time of each step."""
    from kfaclib.collecting import costs, planning  # they load torch, which `course` must not wait for
    from kfaclib.curvature import layers
    from kfaclib.lm import presets

    model = costs.meta_model("OLMo-2-0425-1B")
    chosen = layers.linear_layers(model, presets.GATE_AND_UP)
    plan = planning.make(model, chosen, 12 * 2**30)
    gib = lambda size: f"{size / 2**30:.1f} GiB"
    weights, sums = plan.weights / 2, plan.sums  # bfloat16 on the disk and on a GPU
    times = [
        planning.duration(planning.seconds(plan, TOKENS, SHARE * costs.DEVICES[gpu].flops)) + f" ({gpu})"
        for gpu in GPUS
    ]
    rows = [
        ["download", "-", gib(weights), "your network"],
        ["evaluate", f"{gib(weights)} and a batch", "-", "minutes"],
        ["collect", f"{gib(weights + sums)} and a batch", f"{gib(sums)} and the windows", " or ".join(times)],
        ["sweep", f"{gib(weights + 2 * sums)} of main memory", gib(sums), "one evaluation for each candidate"],
        [
            "edit",
            f"{gib(weights)} and one matrix in float64",
            gib(weights),
            "seconds, after the sweep's decompositions",
        ],
        ["reproduce", f"{gib(weights)} and a batch", "-", "some forty evaluations"],
    ]
    lines = ["| step | memory | disk | time |", "|---|---|---|---|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def presets():
    """Markdown table of the models that have a public list of what they recite."""
    from kfaclib.lm import presets  # it loads torch

    head = ["model", "layers that are edited", "mass", "windows that it recites", "licence of the list"]
    lines = [f"| {' | '.join(head)} |", "|---|---|---|---|---|"]
    for name, preset in presets.PRESETS.items():
        if preset.sequences:
            listed = preset.sequences.source.partition("@")[0] if preset.sequences.sha256 is None else "mem_strings.csv"
            edited = preset.edited.replace(",", ", ")
            lines.append(f"| `{name}` | `{edited}` | {preset.mass:g} | `{listed}` | {preset.sequences.licence} |")
    return "\n".join(lines)
