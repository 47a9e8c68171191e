"""What a record of `kfac bench` says, in a few rows beside the targets it is held against."""

from kfaclib.io import files
from kfaclib.io.paths import data

COMMAND = "kfac bench --json data/results/bench-gpu.json"  # what makes the record of a GPU


def recorded():
    """{"cpu": record, "gpu": record} of those that are there."""
    places = {where: data("results", f"bench-{where}.json") for where in ("cpu", "gpu")}
    return {where: files.read_json(path) for where, path in places.items() if path.exists()}


def rows(record):
    """[(what, measured, target)] as strings; a target only where one was set for this kind of device."""
    gpu = not record["missing"]
    found = []
    if "kernels" in record:
        for case in record["kernels"]["syrk"]:
            target = ("1.5" if case["d"] >= 8192 and case["T"] == 16384 else "0.95") if gpu else "-"
            found.append(
                (
                    f"update, d = {case['d']}, {case['T']} rows ({case['chosen']}): times addmm",
                    f"{case['times_addmm']['chosen']:.2f}",
                    target,
                )
            )
        labels = record["kernels"]["labels"]
        if "times_reference" in labels:
            found.append(
                (
                    f"labels and gradient over {labels['V']} words: times the reference",
                    f"{labels['times_reference']:.1f}",
                    "-",
                )
            )
    if "collection" in record:
        c = record["collection"]
        slow, best = c["times_plain"]["plain, 4 blocks a pass, checkpointing"], min(c["times_plain"].values())
        found += [
            (
                f"collection, {c['model']}: times the plain collector, 4 blocks a pass",
                f"{slow:.1f}",
                "5" if gpu else "2",
            ),
            (f"collection, {c['model']}: times the plain collector at its best", f"{best:.2f}", "2.5" if gpu else "-"),
            (
                f"collection, {c['model']}: share of the speed that the operations allow",
                f"{c['share_of_possible_speed']:.0%}",
                "60%" if gpu else "-",
            ),
        ]
    if "selection" in record:
        O, I = record["selection"]["shape"]
        times = min(heap["times"] for heap in record["selection"]["heaps"].values())
        found.append((f"selection of pairs, {O} x {I}: times a heap", f"{times:.0f}", "1000"))
    return found
