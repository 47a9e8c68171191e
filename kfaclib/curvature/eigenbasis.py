"""Eigenvectors of A and G: the basis in which curvature is nearly diagonal, and its corrected eigenvalues (EK-FAC)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm.auto import tqdm

from kfaclib.curvature import distributed
from kfaclib.curvature.capture import capture
from kfaclib.curvature.passes import Batch, as_batch, backward, check_pass, contributing
from kfaclib.io import storage


@dataclass(frozen=True)
class Eigenbasis:
    """Eigenvectors and eigenvalues of a layer's factors: A = Q_A diag(lambda_A) Q_A^T and G = Q_G diag(lambda_G) Q_G^T.

    Q_A [I, I] and Q_G [O, O] hold eigenvectors as columns; lambda_A [I] and lambda_G [O] are float64, descending, >= 0.
    """

    Q_A: torch.Tensor
    Q_G: torch.Tensor
    lambda_A: torch.Tensor
    lambda_G: torch.Tensor


def _eigh(matrix, name, device):
    if not torch.isfinite(matrix).all():
        raise FloatingPointError(f"{name} has values that are not finite: it cannot be decomposed; collect it again")
    try:
        there = matrix.to(device).double()
        values, vectors = torch.linalg.eigh((there + there.T) / 2)
    except torch.OutOfMemoryError:  # in float64, with its workspace, several times the matrix; a CPU has more room
        there = matrix.cpu().double()
        values, vectors = torch.linalg.eigh((there + there.T) / 2)
    return values.flip(0).clamp(min=0), vectors.flip(1)


def _key(matrix, dtype):
    """What the eigenvectors of a matrix are kept under: they depend on its bits and on the dtype alone."""
    return storage.digest({"matrix": matrix}, {"dtype": str(dtype)})[:32]


def _kept(path):
    """(values, vectors) from `path`; None if they are not there, or damaged."""
    if not path.exists():
        return None
    try:
        _, tensors = storage.read(path, "basis")
    except ValueError:
        return None
    return tensors["values"], tensors["rows"].T


def decompose(
    factors: dict,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
    *,
    folder: str | Path | None = None,
    progress: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Eigenbasis]:
    """Decompose the factors {name: Factors} into {name: Eigenbasis}; a shared A is decomposed once.

    The eigendecomposition runs in float64; eigenvectors are kept in `dtype`, on the device of the factors. device:
    where it runs (default: where the factors are); it moves to the CPU if memory there is short. Started by torchrun,
    the processes share the work, and all have all bases. folder: where the eigenvectors of each matrix are kept, in a
    file named by the matrix's digest, and read again with the same bits; `say` receives a sentence if they cannot be
    kept. progress: show a bar, a step for each matrix. Raises FloatingPointError naming a factor that is not finite.
    """
    jobs = {}  # what is decomposed: matrix, and what an error calls it
    for name, f in factors.items():
        jobs.setdefault(("A", f.A.data_ptr()), (f.A, f"A of layer {name!r}"))
        jobs["G", name] = f.G, f"G of layer {name!r}"
    matrices, keep = list(jobs.values()), folder is not None
    if keep and distributed.place()[0] == 0:
        for half in Path(folder).glob(".basis-*"):  # of a run that was killed
            half.unlink()
    distributed.wait_for_all()
    bar = tqdm(total=len(matrices), desc="eigenvectors", unit="matrix", **({} if progress else {"disable": True}))

    def compute(job):
        nonlocal keep
        matrix, name = matrices[job]
        bar.set_postfix_str(name)
        path = folder and Path(folder) / f"basis-{_key(matrix, dtype)}.safetensors"
        values, vectors = (path and _kept(path)) or (None, None)
        if values is None:
            values, vectors = _eigh(matrix, name, device or matrix.device)
            if keep:  # by rows, as eigh lays them out: what is read has the bits and the strides of what was computed
                rows = vectors.to(dtype).T.contiguous()
                vectors = rows.T
                try:
                    storage.write(path, {"values": values, "rows": rows}, {"format": "kfaclib basis 1"})
                except OSError as error:
                    keep = False
                    say(f"the eigenvectors are not kept: {error}")
        bar.update()
        return values.to(matrix.device), vectors.to(matrix.device, dtype)

    def empty(job):
        matrix = matrices[job][0]
        return torch.empty_like(matrix[0], dtype=torch.float64), torch.empty_like(matrix, dtype=dtype)

    with bar:
        done = dict(zip(jobs, distributed.shared_out([len(matrix) for matrix, _ in matrices], compute, empty)))
    bases = {}
    for name, f in factors.items():
        (lambda_A, Q_A), (lambda_G, Q_G) = done["A", f.A.data_ptr()], done["G", name]
        bases[name] = Eigenbasis(Q_A, Q_G, lambda_A, lambda_G)
    return bases


def eigenvalue_product(basis: Eigenbasis) -> torch.Tensor:
    """K-FAC's eigenvalues, Pi[i, j] = lambda_G[i] lambda_A[j]: float64 [O, I]."""
    return torch.outer(basis.lambda_G, basis.lambda_A)


def collect_eigenvalues(
    model: torch.nn.Module,
    batches: Iterable[Batch],
    layers: dict[str, torch.nn.Linear],
    bases: dict[str, Eigenbasis],
    *,
    unit: str,
    labels: str = "sampled",
    generator: torch.Generator | None,
    progress: bool = True,
) -> dict[str, torch.Tensor]:
    """EK-FAC's eigenvalues {name: [O, I]}: the curvature along each pair of eigenvectors, measured instead of
    multiplied (George et al. 2018, arXiv 1806.03884).

    unit="token": mean over tokens of (Q_G^T g)_i^2 (Q_A^T a)_j^2, one matrix product of squares for each batch.
    unit="sequence": the squared gradient of a whole sequence, (sum_t (Q_G^T g_t)_i (Q_A^T a_t)_j)^2, summed over
    sequences and divided by the number of tokens, so that the units agree for sequences of one token. bases: from
    `decompose`; the rest as in `collect_factors`. Raises ValueError for another unit, or without batches.
    """
    if unit not in ("token", "sequence"):
        raise ValueError(f"unit={unit!r}: the examples whose gradients are squared are 'token's or 'sequence's")
    inputs, gradients, sums, tokens = {}, {}, {}, dict.fromkeys(bases, 0)
    with capture(model, layers, on_input=inputs.__setitem__, on_output_gradient=gradients.__setitem__):
        for batch in tqdm(batches, desc=f"EK-FAC eigenvalues, unit {unit}") if progress else batches:
            inputs.clear()
            gradients.clear()
            mask = backward(model, as_batch(batch), labels=labels, generator=generator)
            check_pass(bases, inputs, gradients)
            for name, basis in bases.items():
                Q_A, Q_G = basis.Q_A.to(inputs[name].device), basis.Q_G.to(inputs[name].device)
                a, g = inputs[name].to(Q_A.dtype), gradients[name].to(Q_G.dtype)
                if unit == "token":
                    a, g = contributing(a, mask) @ Q_A, contributing(g, mask) @ Q_G
                    update = (g * g).T @ (a * a)
                else:
                    keep = (
                        torch.ones(a.shape[:-1], dtype=a.dtype, device=a.device) if mask is None else mask.to(a.dtype)
                    )
                    a, g = (a * keep[..., None]) @ Q_A, g @ Q_G
                    update = sum((g_n.T @ a_n).square_() for a_n, g_n in zip(_sequences(a), _sequences(g)))
                sums[name] = sums.get(name, 0) + update
                tokens[name] += len(contributing(inputs[name], mask))
    if not sums:
        raise ValueError("there was no batch to collect from: the corpus is empty")
    return {name: value / tokens[name] for name, value in sums.items()}


def _sequences(x):
    return x if x.ndim == 3 else x[:, None]
