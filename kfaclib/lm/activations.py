"""How strongly a text drives the sharp and the flat directions of a layer, before any edit.

Pairs of eigenvectors (i of G, j of A) are ranked by lambda_G[i] lambda_A[j] and cut into *bands* by their number: the
sharpest 10 % of all pairs, the next 15 %, the next 25 %, the flattest half. A pair's direction in weight space is u_i
v_j^T, and what it makes of an input x has the size ||u_i v_j^T x|| = |v_j^T x|: G has a say in which band a pair
belongs to, and none in what is measured. An *activity* is the mean of |v_j^T x| over all pairs of a band (all of them,
not a sample), one number for a token and a band. A *ratio* is the mean activity over the tokens of one text divided by
that over the tokens of another.
"""

from collections.abc import Sequence

import torch

from kfaclib.curvature.capture import capture
from kfaclib.curvature.eigenbasis import Eigenbasis, eigenvalue_product

EDGES = (0.1, 0.25, 0.5)  # the paper's bands end here, as shares of all pairs
BANDS = ("top 10 %", "10-25 %", "25-50 %", "bottom 50 %")


def bands(basis: Eigenbasis, edges: Sequence[float] = EDGES) -> torch.Tensor:
    """The band of each pair of eigenvectors, 0 the sharpest (Merullo et al. 2025, arXiv 2510.24256).

    edges: increasing shares of all pairs, where the bands end. A band ends after round(edge * O * I) pairs in
    descending order of the eigenvalue products (ties: row by row). Returns int64 [O, I]. Raises ValueError for other
    edges.
    """
    if list(edges) != sorted(set(edges)) or not all(0 < e < 1 for e in edges):
        raise ValueError(f"edges={edges}: the ends of the bands are increasing shares of all pairs, between 0 and 1")
    products = eigenvalue_product(basis)
    rank = torch.empty(products.numel(), dtype=torch.int64)
    rank[products.flatten().argsort(descending=True, stable=True).cpu()] = torch.arange(len(rank))
    ends = torch.tensor([round(e * len(rank)) for e in edges])
    return torch.bucketize(rank, ends, right=True).view_as(products)


def shuffled(pairs: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The control of a banding: bands as large as those of pairs, int64 [O, I], filled with random pairs."""
    return pairs.flatten()[torch.randperm(pairs.numel(), generator=generator)].view_as(pairs)


def activity(x: torch.Tensor, basis: Eigenbasis, pairs: torch.Tensor, power: float = 1) -> torch.Tensor:
    """Mean over a band's pairs of |v_j^T x|^power, for each input and band.

    x: [T, I]; pairs: int64 [O, I] from `bands`. Returns float64 [T, bands]. Times the number of a band's pairs and
    summed over bands, power=2 gives O |x|^2: the bands share out the whole. Raises ValueError for widths that do not
    fit.
    """
    if x.shape[-1] != len(basis.Q_A) or pairs.shape[1] != len(basis.Q_A):
        raise ValueError(
            f"x has width {x.shape[-1]}, the bands {pairs.shape[1]}, and the basis is for inputs of width "
            f"{len(basis.Q_A)}: "
            "one of them belongs to another layer"
        )
    columns = torch.stack(
        [(pairs == b).sum(0) for b in range(int(pairs.max()) + 1)]
    ).double()  # pairs of each v_j in each band
    return (x.double() @ basis.Q_A.double()).abs().pow(power) @ (columns / columns.sum(1, keepdim=True)).T


def ratio(x: torch.Tensor, y: torch.Tensor, basis: Eigenbasis, pairs: torch.Tensor, power: float = 1) -> torch.Tensor:
    """Activation ratio of each band: mean activity over the tokens x [T, I] over the mean over the tokens y [S, I];
    float64 [bands].
    """
    return activity(x, basis, pairs, power).mean(0) / activity(y, basis, pairs, power).mean(0)


def removed(x: torch.Tensor, weight: torch.Tensor, edited: torch.Tensor) -> torch.Tensor:
    """Share of a layer's output that an edit changes at each input: |(W - W') x| / |W x|, [T], for x [T, I] and weights
    [O, I].
    """
    return (x @ (weight - edited).T).norm(dim=-1) / (x @ weight.T).norm(dim=-1)


def inputs(
    model: torch.nn.Module, layers: dict, items: list, batch: int = 64
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Inputs of the layers at every token from which a token of an answer is predicted: ({name: [T, I]}, int64 [T], the
    item of each row).

    items: [(prompt ids, answer ids)]. An answer of n tokens gives n rows: the prompt's last token and all of the
    answer's but its last. Rows are padded on the right, where a causal model never looks.
    """
    seen, found, owner = {}, {name: [] for name in layers}, []
    for start in range(0, len(items), batch):
        rows = items[start : start + batch]
        ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(p + a) for p, a in rows], batch_first=True)
        with (
            capture(model, layers, on_input=seen.__setitem__, on_output_gradient=lambda name, g: None),
            torch.no_grad(),
        ):
            model(input_ids=ids.to(next(model.parameters()).device), use_cache=False, logits_to_keep=1)
        line, place = torch.tensor(
            [(n, k) for n, (p, a) in enumerate(rows) for k in range(len(p) - 1, len(p) + len(a) - 1)]
        ).T
        owner.append(line + start)
        for name in layers:
            found[name].append(seen[name].cpu()[line, place])
    return {name: torch.cat(x) for name, x in found.items()}, torch.cat(owner)
