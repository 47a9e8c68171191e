"""What further training changed in a model, in a file small enough to ship: each weight moved by one of four steps.

A weight's row of differences D [O, I] is written as s c with one scale s a row and c in {-3, -1, 1, 3}, two bits each:
the nearest of four levels that are fitted to the row (Lloyd 1982; with two levels it is BitDelta, Liu et al. 2024,
arXiv 2402.10193). A model made of the base and such a file is not the one that was trained, so it is measured anew.
"""

from pathlib import Path

import torch

from kfaclib.io import storage

KIND = "difference"
MEND = "restore it, for example with git checkout, or make it with `kfac train`"
LEVELS = torch.tensor([-3.0, -1.0, 1.0, 3.0])
FITS = 12  # rounds of fitting a row's scale


def encode(D: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(codes uint8 [O, I / 4], scales float16 [O]) of a difference D [O, I]; I is a multiple of 4."""
    D = D.float()
    scale = D.abs().mean(1) / 2
    for _ in range(FITS):  # the best codes for a scale, then the best scale for these codes
        levels = LEVELS[_nearest(D, scale)]
        scale = (levels * D).sum(1) / levels.square().sum(1)
    code = _nearest(D, scale.half().float()).to(torch.uint8).view(len(D), -1, 4)
    return code[..., 0] | code[..., 1] << 2 | code[..., 2] << 4 | code[..., 3] << 6, scale.half()


def _nearest(D, scale):
    at = (D / scale.clamp_min(1e-12)[:, None] + 4) / 2  # the levels are at 1/2, 3/2, 5/2, 7/2
    return at.long().clamp(0, 3)


def decode(codes: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """The difference float32 [O, I] of codes uint8 [O, I / 4] and scales [O]."""
    code = torch.stack([codes >> shift & 3 for shift in (0, 2, 4, 6)], -1).flatten(1)
    return LEVELS[code.long()] * scales.float()[:, None]


def write(path: str | Path, differences: dict[str, torch.Tensor], header: dict) -> None:
    """Write {weight: D [O, I]} with a header of plain values, atomically."""
    tensors = {}
    for name, D in differences.items():
        tensors[f"{name}.codes"], tensors[f"{name}.scales"] = encode(D)
    storage.write(path, tensors, {"format": f"kfaclib {KIND} 1", **header})


@torch.no_grad()
def add(model: torch.nn.Module, path: str | Path) -> dict:
    """Add the differences of a file to a model's weights in place; the file's header.

    Raises ValueError for a file that is damaged, or that does not belong to a model of these weights.
    """
    header, tensors = storage.read(path, KIND, mend=MEND)
    weights = dict(model.named_parameters())
    for name in [key.removesuffix(".codes") for key in tensors if key.endswith(".codes")]:
        D = decode(tensors[f"{name}.codes"], tensors[f"{name}.scales"])
        if name not in weights or weights[name].shape != D.shape:
            raise ValueError(f"{path} changes {name} {list(D.shape)}, which this model does not have")
        weights[name] += D.to(weights[name].dtype)
    return header
