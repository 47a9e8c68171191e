"""The benchmark measures what it says: the plain collector is right, the heap keeps the same set, memory is counted."""

import pytest
import torch

from kfaclib import bench
from kfaclib.bench import collection, kernels, plain, selection
from kfaclib.bench.measure import compare, peak_bytes
from kfaclib.commands import cli
from kfaclib.curvature.layers import linear_layers
from kfaclib.editing.edit import keep_prefix
from kfaclib.io import files
from kfcourse.paths import DATA


@pytest.fixture
def model(tiny_olmo):
    return tiny_olmo().float()


IDS = torch.randint(37, (3, 20), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("blocks", [1, 2])
def test_the_plain_collector_finds_our_factors_and_leaves_the_model_as_it_was(model, blocks, checkpointing):
    layers = linear_layers(model)
    flags = [p.requires_grad for p in model.parameters()]
    found = plain.collect(
        model, [IDS, IDS.flip(0)], collection.in_groups(layers, blocks), checkpointing=checkpointing, labels="data"
    )
    ours = collection.ours(model, torch.cat([IDS, IDS.flip(0)]), layers, labels="data")
    assert set(found) == set(ours)
    for name, pair in found.items():
        for side, x in zip("AG", pair):
            torch.testing.assert_close(x, getattr(ours[name], side), rtol=1e-4, atol=1e-5 * x.abs().max().item())
    assert [p.requires_grad for p in model.parameters()] == flags and all(p.grad is None for p in model.parameters())
    assert not model.training and not any(m._forward_hooks or m._backward_hooks for m in model.modules())


def test_agreement_is_a_relative_difference_that_sees_a_wrong_factor(model, monkeypatch):
    layers = linear_layers(model)
    assert collection.agreement(model, IDS, layers) < 1e-4
    right = plain.collect
    monkeypatch.setattr(plain, "collect", lambda *a, **k: {n: (A, 1.5 * G) for n, (A, G) in right(*a, **k).items()})
    assert 0.3 < collection.agreement(model, IDS, layers) < 0.4


@pytest.mark.parametrize("shape", [(40, 30), (30, 40), (1, 9)])
def test_both_heaps_keep_the_staircase(shape):
    G, A = (selection.spectrum(n, torch.Generator().manual_seed(n)) for n in shape)
    for mass in (0.1, 0.6, 0.95):
        prefix = keep_prefix(G, A, mass)
        assert torch.equal(selection.heap_prefix(G.tolist(), A.tolist(), mass), prefix)
        assert torch.equal(selection.heap_prefix(G, A, mass, torch.Tensor.item), prefix)


def test_selection_reports_times_and_the_same_set():
    result = selection.run(lambda text: None, (1000, 600))
    assert result["cpu_seconds"] > 0 and all(
        heap["same_set"] and heap["times"] > 1 for heap in result["heaps"].values()
    )


def test_all_settings_of_the_plain_collector_are_measured_and_one_without_memory_is_reported(model, monkeypatch):
    monkeypatch.setattr(collection, "subject", lambda device: ("a tiny one", model, IDS))
    right, said = plain.collect, []

    def short(*args, checkpointing, **rest):
        if not checkpointing and rest.get("labels") != "data":
            raise torch.OutOfMemoryError
        return right(*args, checkpointing=checkpointing, **rest)

    monkeypatch.setattr(plain, "collect", short)
    result = collection.against_plain(said.append, "cpu", 1e9)
    assert set(result["times_plain"]) == {"plain, 4 blocks a pass, checkpointing", "plain, one pass, checkpointing"}
    assert result["refused"] == {"plain, one pass, no checkpointing": "out of memory"}
    ours = result["taken"]["ours"]
    assert ours["tokens_per_cpu_second"] == pytest.approx(collection.BATCHES * IDS.numel() / ours["cpu_seconds"])
    assert ours["peak_bytes"] > 0 and result["agreement"] < 1e-4 and "times as fast as 4 blocks a pass" in said[-1]


def test_growth_measures_tokens_layers_and_width(model, monkeypatch):
    monkeypatch.setattr(collection, "subject", lambda device: ("a tiny one", model, IDS))
    monkeypatch.setitem(collection.WIDTHS, "cpu", (64,))
    result = collection.growth(lambda text: None, "cpu")
    assert [row["size"] for row in result["tokens"]] == [60, 120, 240, 480] and [
        row["size"] for row in result["layers"]
    ] == [3, 6]
    assert [row["size"] for row in result["width"]] == [64]
    two, eight = result["tokens"][1]["peak_bytes"], result["tokens"][3]["peak_bytes"]
    assert eight < 1.1 * two  # more batches take no more memory


def test_blocks_are_grouped_in_order(model):
    layers = linear_layers(model)
    one, two = collection.in_groups(layers, 1)
    assert all("layers.0." in name for name in one) and all("layers.1." in name for name in two)
    assert collection.in_groups(layers, 4) == [layers]


def test_necessary_operations_are_those_of_the_issue_for_olmo2_1b():
    model = collection.olmo2(2048, 16, "meta")
    flops = collection.necessary_flops(model, linear_layers(model))
    assert {part: round(value / 1e9, 1) for part, value in flops.items()} == {
        "forward": 2.6,
        "backward": 2.6,
        "updates": 3.4,
    }


def test_peak_memory_counts_what_lives_at_once():
    def work():
        a, b = torch.zeros(2**18), torch.zeros(2**18)  # a megabyte each
        del a
        return b, torch.zeros(2**18)

    assert 2 * 2**20 <= peak_bytes(work, "cpu") < 2.2 * 2**20
    assert peak_bytes(lambda: [work() for _ in range(5)][:0], "cpu") < 12 * 2**20


def test_works_take_turns_and_the_first_call_is_not_counted():
    calls = []
    taken = compare({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, "cpu", rounds=2)
    assert calls == ["a", "b"] * 3 and all(t["seconds"] >= 0 for t in taken.values())


def test_kernels_are_compared_at_every_size_and_missing_figures_are_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(kernels.SIZES, "cpu", ((64, 300), (32,)))
    monkeypatch.setitem(kernels.VOCABULARY, "cpu", (8, 50))
    said = []
    result = bench.run(["kernels"], "cpu", said.append)
    assert [case["d"] for case in result["kernels"]["syrk"]] == [64, 300]
    assert all(case["times_addmm"]["addmm"] == 1 and case["chosen"] == "panels" for case in result["kernels"]["syrk"])
    assert result["missing"] == list(bench.NEEDS_GPU) and "no GPU here: syrk_ against" in said[-1]
    assert set(result) == {"device", "load_average_before", "provenance", "missing", "kernels"}


def test_an_unknown_part_is_refused(capsys):
    assert cli.main(["bench", "--parts", "kernels,speed"]) == 1
    assert "no 'speed'; there are kernels, collection, selection, growth" in capsys.readouterr().err


def test_the_recorded_run_meets_its_targets_and_names_what_is_missing():
    found = files.read_json(DATA / "results" / "bench-cpu.json")
    times = found["collection"]["times_plain"]
    assert times["plain, 4 blocks a pass, checkpointing"] >= 2 and min(times.values()) > 1
    assert found["collection"]["agreement"] < 1e-5
    assert found["selection"]["shape"] == [8192, 2048]
    assert all(heap["times"] >= 1000 and heap["same_set"] for heap in found["selection"]["heaps"].values())
    one, *more = found["growth"]["tokens"]
    for row in more:
        assert 0.5 < row["cpu_seconds"] / one["cpu_seconds"] * one["size"] / row["size"] < 1.5  # linear
        assert row["peak_bytes"] <= 1.01 * more[0]["peak_bytes"]  # flat, once the sums are there
    assert found["missing"] and not any(
        "/" in word and word.startswith("/") for word in found["provenance"]["command"].split()
    )
