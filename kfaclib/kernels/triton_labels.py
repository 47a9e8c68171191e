"""softmax(logits) - onehot(label), written over the logits, the label given or drawn: one program a row of the
vocabulary.

Import this module only where Triton is installed.
"""

import torch
import triton
import triton.language as tl

BLOCK = 4096  # logits in hand at once


@triton.jit
def softmax_gradient_kernel(logits, labels, uniform, V, stride, DRAW: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    logits += row.to(tl.int64) * stride
    v = tl.arange(0, BLOCK)
    # 1, read: the largest logit and the sum of exponentials
    best = tl.full((BLOCK,), float("-inf"), tl.float32)
    for start in range(0, V, BLOCK):
        best = tl.maximum(best, tl.load(logits + start + v, mask=v < V - start, other=float("-inf")).to(tl.float32))
    largest = tl.max(best, 0)
    total = 0.0
    for start in range(0, V, BLOCK):
        total += tl.sum(
            tl.exp(tl.load(logits + start + v, mask=v < V - start, other=float("-inf")).to(tl.float32) - largest), 0
        )
    # 2, read: the label is the first at which the distribution function passes u; in case rounding lets none pass it,
    # the
    # last that is possible
    if DRAW:
        target = tl.load(uniform + row).to(tl.float32) * total
        label, last, before = V, 0, 0.0
        for start in range(0, V, BLOCK):
            e = tl.exp(tl.load(logits + start + v, mask=v < V - start, other=float("-inf")).to(tl.float32) - largest)
            here = start + v
            label = tl.minimum(label, tl.min(tl.where((before + tl.cumsum(e, 0) > target) & (e > 0), here, V), 0))
            last = tl.maximum(last, tl.max(tl.where(e > 0, here, 0), 0))
            before += tl.sum(e, 0)
        label = tl.where(label < V, label, last)
        tl.store(labels + row, label.to(tl.int64))
    else:
        label = tl.load(labels + row)
    # 3, read and write
    for start in range(0, V, BLOCK):
        z = tl.load(logits + start + v, mask=v < V - start, other=float("-inf")).to(tl.float32)
        p = tl.exp(z - largest) / total
        tl.store(
            logits + start + v, tl.where(start + v == label, p - 1, p).to(logits.dtype.element_ty), mask=v < V - start
        )


def launch(
    logits: torch.Tensor, *, labels: torch.Tensor | None = None, uniform: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Write softmax(logits) - onehot(labels) over logits [T, V], rows in one piece; returns (logits, labels [T]).

    labels: int64 [T], or uniform: [T] in [0, 1) to draw them.
    """
    if logits.stride(1) != 1 or logits.dtype == torch.float64:
        raise ValueError(
            f"the kernel takes rows in one piece of 16 or 32 bits; logits are {logits.dtype} with strides "
            f"{logits.stride()}"
        )
    T, V = logits.shape
    if uniform is not None:
        labels = torch.empty(T, dtype=torch.int64, device=logits.device)
    if T:
        with torch.cuda.device_of(logits):
            softmax_gradient_kernel[(T,)](
                logits,
                labels,
                labels if uniform is None else uniform.float(),
                V,
                logits.stride(0),
                DRAW=uniform is not None,
                BLOCK=BLOCK,
                num_warps=8,
            )
    return logits, labels
