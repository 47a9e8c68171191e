"""What tests/test_kernels.py runs in a process of its own: one process cannot both interpret and compile Triton
kernels.

python tests/triton_child.py interpret    (with TRITON_INTERPRET=1) runs the kernels on the CPU
python tests/triton_child.py compile      compiles them for GPUs that need not be there
Prints one JSON object with what was found; the parent judges it.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import torch

from kfaclib import kernels
from kfaclib.curvature.factors import collect_factors
from kfaclib.curvature.labels import logit_gradient, sample_labels
from kfaclib.kernels import syrk, triton_labels, triton_syrk


def syrk_case(dtype, T, d, seed=0):
    """Masked rows hold NaN, C is not zero, alpha is not one; changed twice, as the accumulation does."""
    g = torch.Generator().manual_seed(seed)
    X, C, mask = (
        torch.randn(T, d, generator=g).to(dtype),
        torch.randn(d, d, generator=g),
        torch.rand(T, generator=g) < 0.7,
    )
    exact = C.double() + 2 * 0.5 * (X[mask].double().T @ X[mask].double())
    X[~mask] = torch.nan
    found, full = C.clone(), C.clone()
    for _ in range(2):
        triton_syrk.launch(found, X, 0.5, mask)
        syrk.full_(full, X.float(), alpha=0.5, mask=mask)
    error, reference = (((x - exact).tril().norm() / exact.norm()).item() for x in (found, full))
    return {"error": error, "reference": reference, "upper_untouched": torch.equal(found.triu(1), C.triu(1))}


def strided_case():
    """Every second row and every third column of a matrix that lies column by column, and a C that is part of
    another.
    """
    X = torch.randn(81, 120, generator=torch.Generator().manual_seed(1)).half().T[::2, ::3]
    around = torch.full((50, 60), 7.0)
    C = around[2:29, 5:32]
    exact = 7 + X.double().T @ X.double()
    error = ((triton_syrk.launch(C, X) - exact).tril().norm() / exact.norm()).item()
    C.fill_(7)
    return {"error": error, "around_untouched": bool((around == 7).all())}


def far_case():
    """The last row begins 2^31 numbers after the first: with offsets of 32 bits this ends in a crash. Nearly all of it
    is never touched.
    """
    stride, g = 2**26, torch.Generator().manual_seed(2)
    try:
        X = torch.empty(32 * stride + 16, dtype=torch.float16).as_strided((33, 16), (stride, 1))
    except RuntimeError:
        return {"skipped": "this machine does not hand out 4 GiB of address space"}
    X.copy_(torch.randn(33, 16, generator=g))
    exact = X.double().T @ X.double()
    return {"error": ((triton_syrk.launch(torch.zeros(16, 16), X) - exact).tril().norm() / exact.norm()).item()}


def label_case(dtype, T, V, seed=0):
    g = torch.Generator().manual_seed(seed)
    logits, uniform = (3 * torch.randn(T, V, generator=g)).to(dtype), torch.rand(T, generator=g, dtype=torch.float64)
    logits[0] = -torch.inf  # one label is possible
    logits[0, V // 2] = 0
    logits[1, V // 2 :] = -torch.inf
    uniform[1] = 1 - 2**-53  # float32 makes it one: the last label that is possible, not the last
    uniform[2] = 0
    buffer = torch.full((T, V + 3), 5.0, dtype=dtype)  # rows that do not lie end to end
    buffer[:, :V] = logits
    gradient, labels = triton_labels.launch(buffer[:, :V], uniform=uniform)
    given, _ = triton_labels.launch(logits.clone(), labels=labels)
    exact = logit_gradient(logits.double(), labels)
    p = torch.softmax(logits.double(), -1)
    cumulative = p.cumsum(-1)
    low = (cumulative - p).gather(1, labels[:, None])[:, 0]
    high = cumulative.gather(1, labels[:, None])[:, 0]
    return {
        "outside": torch.maximum(low - uniform, uniform - high)
        .max()
        .item(),  # how far u is from its label's share of [0, 1)
        "impossible": int((p.gather(1, labels[:, None]) == 0).sum()),
        "edges": labels[:2].tolist(),
        "half": V // 2,
        "same_as_reference": (labels == sample_labels(logits.double(), uniform)).float().mean().item(),
        "error": ((gradient - exact).norm() / exact.norm()).item(),
        "in_place": gradient.data_ptr() == buffer.data_ptr(),
        "given_equals_drawn": torch.equal(given, gradient),
        "around_untouched": bool((buffer[:, V:] == 5).all()),
        "again": torch.equal(labels, triton_labels.launch(logits.clone(), uniform=uniform)[1]),
    }


class Decoder(torch.nn.Module):
    """A language model of one block, as far as the collector asks."""

    def __init__(self):
        super().__init__()
        self.words, self.up, self.down = torch.nn.Embedding(37, 16), torch.nn.Linear(16, 24), torch.nn.Linear(24, 16)
        self.head = torch.nn.Linear(16, 37, bias=False)

    def get_decoder(self):
        return lambda input_ids, use_cache: SimpleNamespace(
            last_hidden_state=self.down(self.up(self.words(input_ids)).relu())
        )

    def get_output_embeddings(self):
        return self.head

    def forward(self, input_ids, use_cache=False):
        return SimpleNamespace(logits=self.head(self.get_decoder()(input_ids, False).last_hidden_state))


def wiring_case():
    """Factors collected by the kernels, as on a GPU, against those collected without."""
    torch.manual_seed(0)
    model, ids = Decoder(), torch.randint(37, (3, 20))
    layers = {"up": model.up, "down": model.down}
    found = []
    for choose, has_triton in ((syrk.choose, kernels.has_triton), (lambda *_: syrk.triton_, lambda x: True)):
        syrk.choose, kernels.has_triton = choose, has_triton
        found.append(
            collect_factors(
                model, [ids, ids.flip(0)], layers, generator=torch.Generator().manual_seed(0), progress=False
            )
        )
    without, with_kernels = found
    return {
        f"{name}.{side}": ((getattr(with_kernels[name], side) - x).norm() / x.norm()).item()
        for name, f in without.items()
        for side, x in (("A", f.A), ("G", f.G))
    }


def interpret():
    dtypes = {"float16": torch.float16, "float32": torch.float32, "bfloat16": torch.bfloat16}
    return {
        "interpreted": triton_syrk.INTERPRETED,
        "syrk": {
            f"{name} {T}x{d}": syrk_case(dtype, T, d)
            for name, dtype in dtypes.items()
            for T, d in ((1, 1), (67, 33), (130, 300))
        },
        "strided": strided_case(),
        "far": far_case(),
        "wiring": wiring_case(),
        "labels": {name: label_case(dtype, 12, 5003) for name, dtype in dtypes.items()},
    }


def compiled(kernel, capability, arguments, constants, *, num_warps, num_stages):
    """Compile for a compute capability as the launcher would specialise it: pointers and sizes are multiples of 16."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    signature = {name: arguments.get(name, "constexpr") for name in kernel.arg_names}
    attrs = {
        (i,): [["tt.divisibility", 16]]
        for i, name in enumerate(kernel.arg_names)
        if signature[name] not in ("constexpr", "fp32")
    }
    source = ASTSource(fn=kernel, signature=signature, attrs=attrs, constexprs=constants)
    result = triton.compile(
        source, target=GPUTarget("cuda", capability, 32), options=dict(num_warps=num_warps, num_stages=num_stages)
    )
    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder) / "kernel.cubin"
        cubin.write_bytes(result.asm["cubin"])
        tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
        usage = subprocess.run(
            [tool, "--dump-resource-usage", cubin], capture_output=True, text=True, check=True
        ).stdout
    ptx = result.asm["ptx"]
    return {
        "target": re.search(r"\.target (\S+)", ptx)[1],
        "shared": result.metadata.shared,
        "registers": int(re.search(r"REG:(\d+)", usage)[1]),
        "stack": int(re.search(r"STACK:(\d+)", usage)[1]),
        "local": int(re.search(r"LOCAL:(\d+)", usage)[1]),
        **{name: ptx.count(name) for name in ("wgmma.mma_async", "mma.sync", "cp.async.cg")},
    }


def compile():
    found = {"interpreted": triton_syrk.INTERPRETED}
    arguments = dict(X="*bf16", C="*fp32", keep="*u8", T="i32", d="i32", alpha="fp32", stride_t="i32", stride_c="i32")
    for capability, masked in ((80, True), (90, True), (90, False)):
        config = dict(triton_syrk.CONFIGS[capability // 10])
        options = {name: config.pop(name) for name in ("num_warps", "num_stages")}
        constants = dict(stride_d=1, GROUP=triton_syrk.GROUP, MASKED=masked, UPCAST=False, **config)
        found[f"syrk sm_{capability}" + " masked" * masked] = compiled(
            triton_syrk.syrk_kernel, capability, arguments, constants, **options
        )
    arguments = dict(logits="*bf16", labels="*i64", uniform="*fp32", V="i32", stride="i32")
    for capability in (80, 90):
        found[f"labels sm_{capability}"] = compiled(
            triton_labels.softmax_gradient_kernel,
            capability,
            arguments,
            dict(DRAW=True, BLOCK=triton_labels.BLOCK),
            num_warps=8,
            num_stages=3,
        )
    return found


if __name__ == "__main__":
    print(json.dumps({"interpret": interpret, "compile": compile}[sys.argv[1]]()))
