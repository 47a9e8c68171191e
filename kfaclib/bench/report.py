"""A record of `kfac bench` as a few rows, beside the targets that it is compared with."""

from kfaclib.io import files
from kfaclib.io.paths import data

COMMAND = "kfac bench --json data/results/bench-gpu.json"  # makes the record of a GPU


def recorded() -> dict[str, dict]:
    """The records that ship with the course: {"cpu": record, "gpu": record}, or those of them that exist."""
    places = {where: data("results", f"bench-{where}.json") for where in ("cpu", "gpu")}
    return {where: files.read_json(path) for where, path in places.items() if path.exists()}


def rows(record: dict) -> list[tuple[str, str, str]]:
    """A record's main figures as strings: [(what, measured, target)], with "-" where this kind of device has no
    target."""
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
