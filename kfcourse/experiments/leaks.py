"""Chapter 2's sweep over seeds: labels that are partly wrong and what helps, secrets in models of three sizes."""

from dataclasses import asdict
from statistics import mean

from tqdm.auto import tqdm

from kfaclib.io import files
from kfaclib.lm import recitation
from kfaclib.toy import canaries, generalization

SEEDS, WIDTHS = range(8), (32, 64, 128)
CURVES = "30% wrong"  # of this one every epoch is recorded, of the others the end
RUNS = {  # name: arguments of generalization.watch
    "clean labels": dict(share=0.0),
    CURVES: dict(share=0.3),
    "random labels": dict(share=0.9),  # drawn from ten classes: one in ten is right by luck
    "all wrong": dict(share=1.0),
    "30% wrong, weight decay": dict(share=0.3, shrink=0.1),
    "30% wrong, noise": dict(share=0.3, noise=1.0, epochs=25),  # four copies each: as many steps
    "clean, 75 images": dict(share=0.0, images=75),
    "clean, 300 images": dict(share=0.0, images=300),
}
CHOOSING_SEED = 100  # not one of SEEDS; the strengths above are those with the best accuracy on held-out (wrong) labels
STRENGTHS = [dict(shrink=s) for s in (0.01, 0.03, 0.1, 0.3)] + [dict(noise=s, epochs=25) for s in (0.25, 0.5, 1.0, 2.0)]


def labels(name, seed):
    """One `generalization.Watch` as a dict, rounded."""
    start = 0 if name == CURVES else -1
    watched = asdict(generalization.watch(seed=seed, **RUNS[name]))
    return {k: [round(v, 4) for v in row[start:]] for k, row in watched.items()}


def secrets(width, seed):
    """One model trained from scratch, as {repeats: one value per secret}: exposure in bits; the same code's exposure
    when the people whose code was never said are asked instead (mean); whether the model says the code when asked,
    word by word; whether it says the fixed code of somebody else."""
    planted = canaries.plant(seed)
    model = canaries.train(canaries.make_model(width, seed), canaries.stream(planted, seed), progress=False)
    scores = {s.person: canaries.code_scores(model, s.person) for s in planted}
    answers = recitation.greedy(model, [canaries.prompt(s.person) for s in planted], 3).tolist()
    found = {what: {n: [] for n in canaries.REPEATS} for what in ("exposure", "stranger", "said", "anothers")}
    for secret, answer in zip(planted, answers, strict=True):
        place, said = canaries.CODES.index(secret.code), tuple(canaries.decode(answer).split())
        strangers = [s for s in planted if s.repeats == 0 and s is not secret]
        values = {
            "exposure": round(canaries.exposure(scores[secret.person], place), 3),
            "stranger": round(mean(canaries.exposure(scores[s.person], place) for s in strangers), 3),
            "said": said == secret.code,
            "anothers": said in {s.code for s in planted if s.repeats and s is not secret},
        }
        for what, value in values.items():
            found[what][secret.repeats].append(value)
    return {"width": width, "seed": seed, **found}


def run(out):
    """About eight minutes on one core."""
    chosen = [
        {**how, "held_out": round(generalization.watch(0.3, CHOOSING_SEED, **how).validation[-1], 4)}
        for how in STRENGTHS
    ]
    watched = {name: [labels(name, seed) for seed in SEEDS] for name in tqdm(RUNS, desc="labels")}
    rows = [secrets(width, seed) for width in WIDTHS for seed in tqdm(SEEDS, desc=f"secrets, width {width}")]
    files.write_json(
        out, {"provenance": files.provenance(list(SEEDS)), "strengths": chosen, "labels": watched, "secrets": rows}
    )
