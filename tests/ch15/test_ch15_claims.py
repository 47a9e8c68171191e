"""What chapter 15 says, held against shapes, data sheets, records, and one live measurement on small numbers."""

import copy

import pytest
import torch

from kfaclib.bench import measure, report
from kfaclib.collecting import costs
from kfaclib.curvature import labels as fisher
from kfaclib.curvature.layers import linear_layers
from kfaclib.io import files
from kfcourse.ch15 import figures, sums
from kfcourse.experiments import roofline
from kfcourse.notebooks import execution, notebooks
from kfcourse.paths import DATA

CPU = report.recorded()["cpu"]
PUBLISHED = files.read_json(DATA / "results" / "published_kernels.json")["rows"]
H200 = costs.DEVICES["H200"]


def bill(name):
    model = costs.meta_model(name)
    layers = linear_layers(model)
    return costs.flops_per_token(model, layers), layers


def test_updates_are_the_largest_part_of_a_token_at_1b_and_shapes_decide_how_large():
    one, _ = bill("OLMo-2-0425-1B")
    assert one["updates"] > 1.2 * one["forward"] > 1.2 * one["backward"]
    share = {name: flops["updates"] / sum(flops.values()) for name, flops in ((n, bill(n)[0]) for n in costs.SHAPES)}
    wider = {name: shape[1] / shape[0] for name, shape in costs.SHAPES.items()}
    assert sorted(share, key=share.get) == sorted(wider, key=wider.get)


@pytest.mark.parametrize("name", costs.SHAPES)
def test_triangles_and_shared_factors_halve_the_updates(name):
    flops, layers = bill(name)
    full = sum(2 * (m.out_features**2 + m.in_features**2) for m in layers.values())
    assert 2 <= full / flops["updates"] < 2.2


def test_where_the_parts_of_a_batch_stand_under_the_roof():
    ridge, rows, D, F, V = H200.flops / H200.bandwidth, 16384, 2048, 8192, costs.VOCABULARY
    update = lambda T: T * F * F / (2 * T * F + 4 * F * F)
    assert update(512) < ridge < update(rows)
    vocabulary = costs.seconds(2 * rows * D * V, 2 * (rows * D + D * V + rows * V), H200)
    steps, fused = (costs.seconds(12 * rows * V, moved * rows * V, H200) for moved in (42, 8))
    assert steps > vocabulary > fused and 4 < steps / fused < 6


@pytest.mark.parametrize("seed", range(3))
def test_sums_in_sixteen_bits_are_wrong_and_no_covariances_and_those_in_float32_are_neither(seed):
    found = {dtype: sums.follow(dtype, seed) for dtype in (torch.bfloat16, torch.float16, torch.float32)}
    last = {dtype: rows[-1][1:] for dtype, rows in found.items()}
    assert last[torch.bfloat16][0] > 0.1 and last[torch.bfloat16][1] >= 10
    assert 1e-3 < last[torch.float16][0] < 1e-2 and last[torch.float16][1] >= 5
    assert last[torch.float32][0] < 1e-6 and last[torch.float32][1] == 0
    errors = [error for _, error, _ in found[torch.bfloat16]]
    assert errors[-1] > 10 * errors[0]  # it grows with the tokens


def needed(d, block_i=128, block_j=256):
    return sum(
        j * block_j < min((i + 1) * block_i, d) for i in range(-(-d // block_i)) for j in range(-(-d // block_j))
    )


def test_narrow_triangles_save_no_round_of_programs_and_wide_ones_nearly_half():
    rounds = lambda count: -(-count // H200.processors)
    limit = {d: rounds(-(-d // 128) * -(-d // 256)) / rounds(needed(d)) for d in (512, 1024, 2048, 8192, 11008)}
    assert limit[512] == limit[1024] == limit[2048] == 1 and limit[8192] > 1.9 < limit[11008]


def test_published_kernels_disagree_at_narrow_widths_and_agree_at_wide_ones():
    at = lambda d: [row["times"][d] for row in PUBLISHED if d in row["times"]]
    assert min(at("2048")) < 0.8 and max(at("2048")) > 1.6
    assert all(1.4 < times < 1.8 for times in at("8192"))


def test_in_steps_the_labels_take_several_times_the_logits():
    logits, uniform = torch.randn(64, 5000), torch.rand(64)
    peak = measure.peak_bytes(lambda: fisher.logit_gradient(logits, fisher.sample_labels(logits, uniform)), "cpu")
    assert peak > 1.8 * logits.nbytes


@pytest.mark.parametrize("seed", range(3))
def test_gumbels_noise_and_one_number_a_token_draw_from_the_same_distribution(seed):
    g = torch.Generator().manual_seed(seed)
    z = torch.randn(6, generator=g, dtype=torch.float64)
    many = z.expand(20_000, 6)
    gumbel = (many - (-torch.rand(many.shape, generator=g, dtype=torch.float64).log()).log()).argmax(-1)
    inverted = fisher.sample_labels(many, torch.rand(len(many), generator=g, dtype=torch.float64))
    for labels in (gumbel, inverted):
        assert (labels.bincount(minlength=6) / len(many) - torch.softmax(z, 0)).abs().max() < 0.015


# the records


def test_updates_with_few_rows_stay_far_below_the_roof_and_those_with_many_come_near_it():
    found = files.read_json(DATA / "results" / "roofline.json")
    assert {"command", "commit", "machine", "date", "seed", "versions"} <= found["provenance"].keys()
    rate, bandwidth = roofline.roofs(found["points"])
    shares = {T: roofline.share(found["points"], f"update, {T} rows") for T in roofline.ROWS}
    assert max(roofline.share(found["points"], name) for name in found["points"]) == pytest.approx(1)
    few, *_, many = roofline.ROWS
    assert shares[few] < 0.5 and shares[many] > 0.7
    assert all(device.flops / device.bandwidth > 5 * rate / bandwidth for device in costs.DEVICES.values())


def test_the_roofline_is_measured_in_seconds_of_the_same_works_that_it_counts(monkeypatch):
    monkeypatch.setattr(roofline, "NUMBERS", 2**14)
    monkeypatch.setattr(roofline, "WIDTH", 32)
    monkeypatch.setattr(roofline, "SIDE", 16)
    todo = roofline.works()
    X_bytes, C_bytes = 4 * 64 * 32, 4 * 32 * 32
    assert todo["update, 64 rows"][1:] == (2 * 64 * 32 * 32, X_bytes + 2 * C_bytes)
    assert all(one["seconds"] > 0 for one in roofline.points(1).values())


def test_the_recorded_cpu_run_says_what_the_chapter_says():
    times = CPU["collection"]["times_plain"]
    assert times["plain, 4 blocks a pass, checkpointing"] > 2 and min(times.values()) > 1
    narrow, *_, wide = CPU["kernels"]["syrk"]
    assert narrow["times_addmm"]["chosen"] < 1 < wide["times_addmm"]["chosen"]


def test_rows_of_the_record_stand_beside_their_targets():
    rows = report.rows(CPU)
    assert {target for _, _, target in rows} == {"-", "2", "1000"}
    assert len(rows) == len(CPU["kernels"]["syrk"]) + 3 + 1
    assert report.rows({"missing": ["all"]}) == []


def like_a_gpu():
    """A record of the form that `kfac bench` writes on a GPU.  Its figures are made up: they only test the form."""
    record = copy.deepcopy(CPU) | {"missing": [], "device": "a made-up GPU"}
    record["kernels"]["syrk"] = [dict(record["kernels"]["syrk"][0], d=8192, T=16384, chosen="triton")]
    record["kernels"]["labels"] |= {"times_reference": 3.0, "V": 100_352}
    return record


def test_a_gpus_record_is_picked_up_when_it_is_there(tmp_path, monkeypatch):
    assert report.COMMAND.endswith("data/results/bench-gpu.json")
    monkeypatch.setattr(report, "data", lambda *parts: tmp_path / parts[-1])
    assert "gpu" not in report.recorded()
    files.write_json(tmp_path / "bench-gpu.json", like_a_gpu())
    found = {what: target for what, _, target in report.rows(report.recorded()["gpu"])}
    assert found["update, d = 8192, 16384 rows (triton): times addmm"] == "1.5"
    assert "labels and gradient over 100352 words: times the reference" in found and "60%" in found.values()


def test_no_gpu_figure_is_shown_without_a_record():
    cells = notebooks.code_cells(notebooks.read(notebooks.chapter_of("15.copy_kernel")))
    last = [cell for cell in cells if cell.outputs][-1]
    shown = "\n".join(output.data["text/markdown"] for output in last.outputs)
    assert ("No GPU has been measured" in shown) == ("gpu" not in report.recorded())


# what the notebook shows


def test_a_functions_source_is_shown_as_it_stands(capsys, tmp_path):
    (tmp_path / "module.py").write_text(
        "import torch\n\n\n@torch.no_grad()\ndef f(x):\n    # why\n    return x\n\n\ny = 1\n", encoding="utf-8"
    )
    shown = []
    display, figures.display = figures.display, shown.append
    try:
        figures.source(tmp_path / "module.py", "f")
    finally:
        figures.display = display
    assert shown[0].data == "```python\n@torch.no_grad()\ndef f(x):\n    # why\n    return x\n```"


def test_what_belongs_to_one_machine_is_not_stored():
    nb = notebooks.read(notebooks.chapter_of("15.copy_kernel"))
    for cell in notebooks.code_cells(nb):
        for output in cell.outputs:
            if "your machine's" in str(output.get("data", {}).get("text/plain")):
                assert set(output.data) == {"text/plain"}
    assert execution.normalise(copy.deepcopy(nb)) == nb
