"""Kernels: every way to the same sums, in the interpreter, through the compiler, and (with a GPU) on the device."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from kfaclib import kernels
from kfaclib.curvature import labels as fisher
from kfaclib.curvature.factors import collect_factors
from kfaclib.curvature.layers import linear_layers
from kfaclib.kernels import device, syrk

triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not installed (there are wheels for Linux only)"
)
COMPILES = os.environ.get("TRITON_INTERPRET", "0") != "1"
gpu = pytest.mark.skipif(not (torch.cuda.is_available() and COMPILES), reason="needs a CUDA GPU, and Triton compiling")
WAYS = [syrk.full_, syrk.panels_, kernels.syrk_]


def data(T, d, dtype=torch.float32, device="cpu", seed=0):
    g = torch.Generator().manual_seed(seed)
    X, C, mask = (
        torch.randn(T, d, generator=g).to(dtype),
        torch.randn(d, d, generator=g),
        torch.rand(T, generator=g) < 0.7,
    )
    return X.to(device), C.to(device), mask.to(device)


def error(found, exact):
    return ((found.double() - exact).tril().norm() / exact.norm()).item()


# on any machine


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("T, d", [(1, 1), (7, 5), (33, 256), (50, 257), (40, 777)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_lower_triangle_is_the_sum_of_outer_products_and_masked_rows_are_never_read(way, T, d, dtype):
    X, C, mask = data(T, d, dtype)
    mask[0] = True
    exact = C.double() + 0.5 * X[mask].double().T @ X[mask].double()
    X[~mask] = torch.nan
    assert error(way(C, X, alpha=0.5, mask=mask), exact) < 1e-6


@pytest.mark.parametrize("d", [5, 256, 777])
def test_the_result_does_not_depend_on_what_is_above_the_diagonal(d):
    X, C, _ = data(30, d)
    exact = C.tril().double() + X.double().T @ X.double()
    C[torch.ones_like(C).triu(1).bool()] = torch.nan
    found = kernels.symmetrize_(kernels.syrk_(C, X))
    assert torch.equal(found, found.T) and error(found, exact) < 1e-6


@pytest.mark.parametrize("block", [1, 3, 10, 64])
def test_symmetrize_mirrors_the_lower_triangle_whatever_the_block(block):
    C = torch.arange(100.0).view(10, 10)
    assert torch.equal(kernels.symmetrize_(C.clone(), block), C.tril() + C.tril(-1).T)


def test_float64_stays_float64():
    X, C, _ = data(30, 300, torch.float64)
    assert error(kernels.syrk_(C.double(), X), C.double() + X.T @ X) < 1e-15


def test_strided_inputs_and_parts_of_other_matrices_are_fine():
    X = data(60, 90)[0].T[::2].T[::3]
    around = torch.full((50, 60), 7.0)
    C = around[2:47, 5:50]
    exact = 7 + X.double().T @ X.double()
    assert error(kernels.syrk_(C, X), exact) < 1e-6
    C.fill_(7)
    assert (around == 7).all()


def test_bfloat16_sums_would_lose_what_float32_sums_keep():
    X, _, _ = data(64 * 64, 24, torch.bfloat16)
    exact = X.double().T @ X.double()
    kept, lost = torch.zeros(24, 24), torch.zeros(24, 24, dtype=torch.bfloat16)
    for part in X.split(64):
        kernels.syrk_(kept, part)
        lost += part.T @ part
    assert error(kept, exact) < 1e-6 < 1e-3 < error(lost, exact)


def test_panels_do_little_more_than_half_of_the_full_work(monkeypatch):
    work = []
    monkeypatch.setattr(syrk, "add_product_", lambda C, X, Y, alpha: work.append(C.numel()))
    for d in (2048, 8192, 11008):
        work.clear()
        syrk.panels_(torch.empty(d, d, device="meta"), torch.empty(4, d, device="meta"))
        assert d * d / 2 < sum(work) < 0.6 * d * d


def test_what_cannot_be_summed_is_refused_with_the_reason():
    X, C, mask = data(30, 8)
    for match, sums, rows, kept in [
        ("must be", C, X[0], None),
        ("must be", C[:4], X, None),
        ("sums are float32", C.bfloat16(), X.bfloat16(), None),
        ("sums are float32", C, X.double(), None),
        ("one entry per row", C, X, mask[1:]),
        ("must be bool", C, X, mask.float()),
    ]:
        with pytest.raises(ValueError, match=match):
            kernels.syrk_(sums, rows, mask=kept)


def test_the_choice_depends_on_shape_dtype_and_device_alone():
    half = torch.bfloat16
    assert syrk.choose(8192, 16384, half, on_gpu=True, with_triton=True) is syrk.triton_
    assert syrk.choose(8192, 16384, half, on_gpu=True, with_triton=False) is syrk.panels_
    assert syrk.choose(8192, 16384, torch.float32, on_gpu=True, with_triton=True) is syrk.panels_
    assert syrk.choose(8200, 16384, half, on_gpu=True, with_triton=True) is syrk.panels_
    assert syrk.choose(2048, 16384, half, on_gpu=True, with_triton=True) is syrk.full_  # too few tiles to fill a GPU
    assert (
        syrk.choose(8192, 512, half, on_gpu=True, with_triton=True) is syrk.full_
    )  # too few rows to be worth C's traffic
    assert syrk.choose(2048, 16384, half, on_gpu=False, with_triton=False) is syrk.panels_


def test_no_kernel_is_taken_on_a_cpu_nor_without_triton(monkeypatch):
    assert not kernels.has_triton(torch.zeros(1))
    device.triton_runs_on.cache_clear()
    monkeypatch.setattr(device.importlib.util, "find_spec", lambda name: None)
    assert not device.triton_runs_on(0)
    device.triton_runs_on.cache_clear()


def test_importing_the_kernels_does_not_import_triton():
    code = "import sys, kfaclib.kernels, kfaclib.curvature.labels, kfaclib.curvature.factors; "
    code += "sys.exit('kfaclib.kernels.triton_syrk' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# in a process of its own, without a GPU


def child(mode, **environment):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TRITON_")}
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("triton_child.py"), mode],
        env=kept | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory):
    return child("interpret", TRITON_INTERPRET="1", TRITON_CACHE_DIR=str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    return child("compile", TRITON_CACHE_DIR=str(tmp_path_factory.mktemp("cache")))


@triton
def test_interpreted_syrk_is_as_exact_as_the_full_product_and_leaves_the_upper_triangle_alone(interpreted):
    assert interpreted["interpreted"] and len(interpreted["syrk"]) == 9
    for case, found in interpreted[
        "syrk"
    ].items():  # bfloat16 among them: the interpreter's own product of it is wrong by 1e9
        assert found["error"] < max(1.5 * found["reference"], 1e-7), case
        assert found["upper_untouched"], case


@triton
def test_interpreted_syrk_takes_strided_input_and_offsets_beyond_32_bits(interpreted):
    assert interpreted["strided"] == {"error": pytest.approx(0, abs=2e-7), "around_untouched": True}
    if "skipped" in interpreted["far"]:
        pytest.skip(interpreted["far"]["skipped"])
    assert interpreted["far"]["error"] < 2e-7


@triton
@pytest.mark.parametrize("dtype, rounding", [("float32", 1e-6), ("float16", 1e-3), ("bfloat16", 6e-3)])
def test_interpreted_labels_are_drawn_by_their_probability_and_the_gradient_is_in_place(interpreted, dtype, rounding):
    found = interpreted["labels"][dtype]
    assert found["outside"] < 1e-6 and found["impossible"] == 0 and found["same_as_reference"] >= 11 / 12
    assert found["edges"][0] == found["half"] and found["edges"][1] == found["half"] - 1
    assert found["error"] < rounding
    assert found["in_place"] and found["around_untouched"] and found["given_equals_drawn"] and found["again"]


@triton
def test_factors_collected_by_the_interpreted_kernels_are_those_collected_without(interpreted):
    assert set(interpreted["wiring"]) == {"up.A", "up.G", "down.A", "down.G"}
    assert max(interpreted["wiring"].values()) < 1e-5


SHARED = {"80": 163 * 1024, "90": 227 * 1024}  # bytes a program may have


@triton
@pytest.mark.parametrize(
    "kernel", ["syrk sm_80 masked", "syrk sm_90 masked", "syrk sm_90", "labels sm_80", "labels sm_90"]
)
def test_kernels_compile_without_spills_and_within_shared_memory(compiled, kernel):
    found = compiled[kernel]
    capability = kernel.split("sm_")[1][:2]
    assert not compiled["interpreted"] and found["target"].startswith(f"sm_{capability}")
    assert found["stack"] == found["local"] == 0, "registers are spilled"
    assert found["shared"] <= SHARED[capability]
    if kernel.startswith("syrk"):
        assert found["cp.async.cg" if capability == "80" else "wgmma.mma_async"] > 0
        assert (
            found["mma.sync" if capability == "80" else "cp.async.cg"] > 0
        )  # tensor cores, fed by copies that run ahead


# with a GPU


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_kernels_hold_on_this_machines_gpu_in_a_process_that_compiles():
    """The tests below, which this process skips: it interprets Triton for the exercises of chapter 15."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", "test_on_a_gpu"]
    done = subprocess.run(command, env=os.environ | {"TRITON_INTERPRET": "0"}, capture_output=True, text=True)
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout[-3000:]


@gpu
@pytest.mark.parametrize("T, d", [(1, 16), (513, 2064), (1000, 2049), (4096, 4096), (16384, 2048), (16383, 4112)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("masked", [False, True])
def test_on_a_gpu_no_way_is_worse_than_addmm_with_float32_out_and_the_first_call_equals_the_second(T, d, dtype, masked):
    X, C, mask = data(T, d, dtype, "cuda")
    mask[0], mask = True, mask if masked else None
    rows = X if mask is None else X[mask]
    exact = C.double() + rows.double().T @ rows.double()
    allowed = error(torch.addmm(C, rows.T, rows, out_dtype=torch.float32), exact)
    ways = WAYS + ([syrk.triton_] if kernels.has_triton(X) else [])
    for way in ways:
        first, second = way(C.clone(), X, mask=mask), way(C.clone(), X, mask=mask)
        assert error(first, exact) <= 1.25 * allowed + 1e-8, way.__name__
        assert torch.equal(first.tril(), second.tril()), way.__name__


@gpu
@triton
def test_on_a_gpu_offsets_pass_32_bits():
    X = torch.randn(300_000, 8192, device="cuda", dtype=torch.bfloat16)[:, -2064:]
    found = syrk.triton_(torch.zeros(2064, 2064, device="cuda"), X)
    exact = torch.zeros(2064, 2064, device="cuda", dtype=torch.float64)
    for part in X.split(20_000):
        exact.addmm_(part.double().T, part.double())
    assert error(found, exact) < 1e-5


@gpu
@triton
@pytest.mark.parametrize("dtype, rounding", [(torch.float32, 1e-5), (torch.bfloat16, 6e-3)])
def test_on_a_gpu_labels_and_gradient_are_the_references(dtype, rounding):
    from kfaclib.kernels import triton_labels

    g = torch.Generator().manual_seed(0)
    logits, uniform = (
        (3 * torch.randn(300, 100_352, generator=g)).to("cuda", dtype),
        torch.rand(300, generator=g, dtype=torch.float64).cuda(),
    )
    gradient, labels = triton_labels.launch(logits.clone(), uniform=uniform)
    exact = fisher.logit_gradient(logits.double(), labels)
    assert ((gradient - exact).norm() / exact.norm()).item() < rounding
    assert (labels == fisher.sample_labels(logits.double(), uniform)).float().mean() > 0.98
    assert torch.equal(labels, triton_labels.launch(logits.clone(), uniform=uniform)[1])


@gpu
def test_on_a_gpu_factors_are_the_cpus(tiny_olmo):
    ids = torch.randint(37, (4, 32), generator=torch.Generator().manual_seed(0))
    found = {}
    for where in ("cpu", "cuda"):
        model = tiny_olmo().float().to(where)
        found[where] = collect_factors(
            model, [ids], linear_layers(model), generator=torch.Generator().manual_seed(0), progress=False
        )
    for name, f in found["cpu"].items():
        for side in "AG":
            torch.testing.assert_close(getattr(found["cuda"][name], side).cpu(), getattr(f, side), rtol=1e-3, atol=1e-5)
