"""C += alpha X^T X, of which only the lower triangle is wanted: half of the work of a full product.

Three ways, one result up to rounding: the full product (`full_`, the reference), the lower triangle in a few wide
panels of full products (`panels_`, any device), and a Triton kernel over the tiles of the lower triangle
(`triton_syrk.launch`).  float32 is accumulated whatever the dtype of X: products of bfloat16 numbers are exact in
float32, so nothing is gained by a float32 copy of X, and on a GPU none is made.
"""

from collections.abc import Callable

import torch

from kfaclib.kernels.device import has_triton

# from published ratios of symmetric kernels on such GPUs; `kfac bench` says where another choice would have been faster
MIN_WIDTH = 2048  # up to this width a few dozen tiles do not fill a GPU: the full product is faster
MIN_WORK = 2e11  # rows * width^2; below, reading and writing C takes longer than the products


def kept_rows(X: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """The rows of X [T, d] that count, a copy unless mask is None."""
    return X if mask is None else X[mask]


def add_product_(C: torch.Tensor, X: torch.Tensor, Y: torch.Tensor, alpha: float) -> torch.Tensor:
    """C += alpha X^T Y in the dtype of C, for C that may be a strided view; X [T, m] and Y [T, n] of one dtype."""
    if X.dtype == C.dtype:
        return C.addmm_(X.T, Y, alpha=alpha)
    if X.is_cuda:
        return torch.addmm(C, X.T, Y, alpha=alpha, out_dtype=C.dtype, out=C)
    return C.addmm_(X.to(C.dtype).T, Y.to(C.dtype), alpha=alpha)


def full_(C: torch.Tensor, X: torch.Tensor, *, alpha: float = 1.0, mask: torch.Tensor | None = None) -> torch.Tensor:
    """The reference: the whole of C, both triangles."""
    X = kept_rows(X, mask)
    return add_product_(C, X, X, alpha)


def panel_width(d: int) -> int:
    """The width of the panels: an eighth of d in multiples of 128, and at least 256."""
    return max(256, -(-d // 1024) * 128)


def panels_(C: torch.Tensor, X: torch.Tensor, *, alpha: float = 1.0, mask: torch.Tensor | None = None) -> torch.Tensor:
    """The lower triangle, one panel of rows of C after the other: with n panels (n + 1) / 2n of the full product's
    work.
    """
    X = kept_rows(X, mask)
    if not X.is_cuda:
        X = X.to(C.dtype)  # once, not once a panel
    width = panel_width(len(C))
    for start in range(0, len(C), width):
        stop = min(start + width, len(C))
        add_product_(C[start:stop, :stop], X[:, start:stop], X[:, :stop], alpha)
    return C


def triton_(C: torch.Tensor, X: torch.Tensor, *, alpha: float = 1.0, mask: torch.Tensor | None = None) -> torch.Tensor:
    """The lower triangle, by the Triton kernel; the upper one is left alone."""
    from kfaclib.kernels import triton_syrk  # not at the top: Triton may be missing

    return triton_syrk.launch(C, X, alpha, mask)


def choose(d: int, rows: int, dtype: torch.dtype, on_gpu: bool, with_triton: bool) -> Callable:
    """Which of the three ways takes X [rows, d]."""
    if on_gpu and (d <= MIN_WIDTH or rows * d * d < MIN_WORK):
        return full_
    if with_triton and dtype in (torch.bfloat16, torch.float16) and d % 16 == 0:  # loads of 16 bytes need aligned rows
        return triton_
    return panels_


def syrk_(C: torch.Tensor, X: torch.Tensor, *, alpha: float = 1.0, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Add alpha X^T X to the lower triangle of C, in place, and return C (BLAS's symmetric rank-k update).

    C: [d, d], float32 (float64 for float64 X). X: [T, d] bfloat16, float16, float32 or float64, any strides. mask: bool
    [T]; rows that are False do not count, whatever they hold. What stands above C's diagonal afterwards is not defined
    until `symmetrize_`, which is for once, after the last update. Raises ValueError for shapes or dtypes that do not
    fit.
    """
    d = X.shape[-1]
    if X.ndim != 2 or C.shape != (d, d):
        raise ValueError(f"X {tuple(X.shape)} must be [T, d] and C {tuple(C.shape)} [d, d]")
    if C.dtype != (torch.float64 if X.dtype == torch.float64 else torch.float32):
        raise ValueError(
            f"C is {C.dtype} for X of {X.dtype}: sums are float32 (float64 for float64 X); fewer bits lose "
            "positive semi-definiteness"
        )
    if mask is not None and (mask.dtype != torch.bool or mask.shape != X.shape[:1]):
        raise ValueError(
            f"mask is {mask.dtype} {tuple(mask.shape)}: it must be bool [{len(X)}], one entry per row of X"
        )
    return choose(d, len(X), X.dtype, X.is_cuda, has_triton(X))(C, X, alpha=alpha, mask=mask)


def symmetrize_(C: torch.Tensor, block: int = 1024) -> torch.Tensor:
    """Copy the lower triangle of C [d, d] over the upper one, in place, block by block; returns C."""
    for start in range(0, len(C), block):
        stop = start + block
        diagonal = C[start:stop, start:stop].tril()
        C[start:stop, start:stop] = diagonal + diagonal.tril(-1).T
        C[start:stop, stop:] = C[stop:, start:stop].T
    return C
