"""How wrong a sum of X^T X becomes in a type of few bits."""

import torch


def follow(dtype, seed=0, d=48, step=64, total=2**15):
    """[(tokens, relative error, eigenvalues below zero)] at every power of two of a sum that is kept in this dtype.

    Batches of `step` tokens [step, d] in bfloat16, whose spectrum falls as k^-3, are multiplied in float32, and each
    product is rounded to `dtype` when it is added. The exact sum is in float64.
    """
    g = torch.Generator().manual_seed(seed)
    mix = torch.linalg.qr(torch.randn(d, d, generator=g))[0] * torch.arange(1, d + 1) ** -1.5
    tokens = (torch.randn(total, d, generator=g) @ mix.T).bfloat16()
    kept, exact, found = torch.zeros(d, d, dtype=dtype), torch.zeros(d, d, dtype=torch.float64), []
    for k, part in enumerate(tokens.split(step), 1):
        kept += (part.float().T @ part.float()).to(dtype)
        exact += part.double().T @ part.double()
        if k & (k - 1) == 0:
            error = ((kept.double() - exact).norm() / exact.norm()).item()
            found.append((k * step, error, int((torch.linalg.eigvalsh(kept.double()) < 0).sum())))
    return found
