"""The lower triangle of C += alpha X^T X on tensor cores: every tile that touches it is one program.

Import this module only where Triton is installed. bfloat16 and float16 tiles go to the tensor cores as they are and are
accumulated in float32; X is read as it lies in memory, [T, d], and transposed on the way into the tensor cores.
"""

import torch
import triton
import triton.language as tl

# tile of C, rows of X a step, warps, stages of the pipeline, by the first digit of the compute capability
CONFIGS = {
    8: dict(BLOCK_I=128, BLOCK_J=128, BLOCK_T=32, num_warps=8, num_stages=4),
    9: dict(BLOCK_I=128, BLOCK_J=256, BLOCK_T=64, num_warps=8, num_stages=4),
}
GROUP = 8


@triton.jit
def syrk_kernel(
    X,
    C,
    keep,
    T,
    d,
    alpha,
    stride_t,
    stride_d: tl.constexpr,
    stride_c,
    BLOCK_I: tl.constexpr,
    BLOCK_J: tl.constexpr,
    BLOCK_T: tl.constexpr,
    GROUP: tl.constexpr,
    MASKED: tl.constexpr,
    UPCAST: tl.constexpr,
):
    per_row = tl.cdiv(d, BLOCK_J)
    program = tl.program_id(0)
    first = (
        program // (GROUP * per_row) * GROUP
    )  # GROUP rows of tiles run together: they share columns of X in the cache
    group = tl.minimum(tl.cdiv(d, BLOCK_I) - first, GROUP)
    i = first + program % (GROUP * per_row) % group
    j = program % (GROUP * per_row) // group
    if j * BLOCK_J >= (i + 1) * BLOCK_I:
        return
    t = tl.arange(0, BLOCK_T)
    rows, columns = i * BLOCK_I + tl.arange(0, BLOCK_I), j * BLOCK_J + tl.arange(0, BLOCK_J)
    # offsets may pass 2^31, so they have 64 bits
    left = (
        X + rows[:, None].to(tl.int64) * stride_d + t[None, :].to(tl.int64) * stride_t
    )  # [BLOCK_I, BLOCK_T], a transposed view
    right = X + t[:, None].to(tl.int64) * stride_t + columns[None, :].to(tl.int64) * stride_d  # [BLOCK_T, BLOCK_J]
    step = tl.cast(BLOCK_T, tl.int64) * stride_t
    total = tl.zeros((BLOCK_I, BLOCK_J), tl.float32)
    for start in range(0, T, BLOCK_T):
        here = t < T - start
        if MASKED:
            here = here & (tl.load(keep + start + t, mask=here, other=0) != 0)
        x = tl.load(left, mask=(rows < d)[:, None] & here[None, :], other=0.0)
        y = tl.load(right, mask=here[:, None] & (columns < d)[None, :], other=0.0)
        if UPCAST:
            x, y = x.to(tl.float32), y.to(tl.float32)
        total = tl.dot(x, y, total, input_precision="ieee")
        left += step
        right += step
    # in two halves: all of the old and all of the new values at once are more than there are registers
    half: tl.constexpr = BLOCK_J // 2
    one, two = tl.split(tl.permute(tl.reshape(total, (BLOCK_I, 2, half)), (0, 2, 1)))
    columns = j * BLOCK_J + tl.arange(0, half)
    place = C + rows[:, None].to(tl.int64) * stride_c + columns[None, :]
    lower = (rows[:, None] < d) & (columns[None, :] <= rows[:, None])
    tl.store(place, tl.load(place, mask=lower) + alpha * one, mask=lower)
    tl.debug_barrier()  # or the compiler would load both at once after all
    lower = (rows[:, None] < d) & (columns[None, :] + half <= rows[:, None])
    tl.store(place + half, tl.load(place + half, mask=lower) + alpha * two, mask=lower)


INTERPRETED = not isinstance(syrk_kernel, triton.JITFunction)


def launch(
    C: torch.Tensor, X: torch.Tensor, alpha: float = 1.0, mask: torch.Tensor | None = None, **changes: object
) -> torch.Tensor:
    """Lower triangle of C += alpha X^T X, the strict upper one untouched; shapes as in `syrk_`, rows of C in one piece.
    `changes` to the device's entry of CONFIGS are for measurements."""
    T, d = X.shape
    if C.dtype != torch.float32 or C.stride(1) != 1 or X.dtype == torch.float64:
        raise ValueError(
            f"the kernel adds to float32 rows in one piece from 16 or 32 bits; C is {C.dtype} with strides "
            f"{C.stride()}, X {X.dtype}"
        )
    major = torch.cuda.get_device_capability(X.device)[0] if X.is_cuda else 8
    options = dict(CONFIGS[9 if major == 9 else 8], **changes)
    grid = (triton.cdiv(d, options["BLOCK_I"]) * triton.cdiv(d, options["BLOCK_J"]),)
    keep = X if mask is None else mask.contiguous().view(torch.uint8)
    with torch.cuda.device_of(X):
        # the interpreter multiplies the bit patterns of bfloat16 numbers: there they are made float32 first
        syrk_kernel[grid](
            X,
            C,
            keep,
            T,
            d,
            float(alpha),
            X.stride(0),
            X.stride(1),
            C.stride(0),
            GROUP=GROUP,
            MASKED=mask is not None,
            UPCAST=INTERPRETED and X.dtype == torch.bfloat16,
            **options,
        )
    return C
