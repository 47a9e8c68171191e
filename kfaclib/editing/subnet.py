"""Two baselines that are trained on labelled quotes: BalancedSubnet and gradient ascent.

Both start from windows known to be memorized and from clean rows, and make one loss of the two: up on what is
memorized, down on what is clean, (1 - weight) * clean - weight * memorized. *BalancedSubnet* (Sakarvadia et al. 2024,
arXiv 2410.02159) freezes every weight and trains one score for each; the `ratio` of weights with the lowest |score| is
dropped. *Gradient ascent* moves the weights themselves. Written from the descriptions; where those are silent (how the
two losses are weighted, that a token already forgotten pushes no further) the choice is ours.

Nothing here changes the model: forward passes run on other weights through `torch.func.functional_call`. Training is a
generator that yields after every epoch, so that the caller looks and decides when to stop; weights are for
`kfaclib.editing.edit.edited`.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F


def keep_top(scores: torch.Tensor, ratio: float) -> torch.Tensor:
    """Mask of all entries but the round(ratio * O * I) of lowest absolute score.

    scores: [O, I]; of equal ones the first, row by row, is dropped first. Returns bool [O, I]. Raises ValueError for a
    ratio outside [0, 1).
    """
    if not 0 <= ratio < 1:
        raise ValueError(f"ratio={ratio}: the share of weights to drop lies in [0, 1)")
    keep = torch.ones(scores.numel(), dtype=torch.bool, device=scores.device)
    keep[scores.detach().abs().flatten().argsort(stable=True)[: round(ratio * scores.numel())]] = False
    return keep.view_as(scores)


def straight_through(scores: torch.Tensor, ratio: float) -> torch.Tensor:
    """`keep_top` as numbers 0 and 1, with the gradient of |scores|: the straight-through estimator (Bengio et al. 2013,
    arXiv 1308.3432).

    scores: [O, I]. Returns [O, I]; d mask / d score = sign(score).
    """
    size = scores.abs()
    return keep_top(scores, ratio).to(scores.dtype) + (size - size.detach())


def balance(clean: torch.Tensor, memorized: torch.Tensor, weight: float) -> torch.Tensor:
    """The loss that both methods descend: (1 - weight) * clean - weight * memorized."""
    return (1 - weight) * clean - weight * memorized


def token_losses(model: torch.nn.Module, weights: dict[str, torch.Tensor], ids: torch.Tensor) -> torch.Tensor:
    """Negative log-likelihood of every next token under other weights, in nats: [B, S - 1].

    weights: {layer: [O, I]}. ids: int64 [B, S].
    """
    logits = torch.func.functional_call(
        model, {f"{n}.weight": w for n, w in weights.items()}, kwargs={"input_ids": ids, "use_cache": False}
    ).logits
    return F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), ids[:, 1:].flatten(), reduction="none").view(
        len(ids), -1
    )


def _epochs(model, optimizer, weights_now, memorized, clean, weight, bound, epochs, batch, generator):
    """Descend the balanced loss; yields after every epoch over the memorized rows."""
    if not 0 < weight < 1:
        raise ValueError(f"weight={weight}: the share of the loss that the memorized windows get lies in (0, 1)")
    for name, ids in (("memorized", memorized), ("clean", clean)):
        if ids.ndim != 2 or not len(ids):
            raise ValueError(f"{name} is {tuple(ids.shape)}: token ids [N, S] with at least one row are needed")
    device, order, trained = (
        next(model.parameters()).device,
        torch.arange(0),
        [p for group in optimizer.param_groups for p in group["params"]],
    )
    for _ in range(epochs):
        for rows in torch.randperm(len(memorized), generator=generator).split(batch):
            while len(order) < len(rows):
                order = torch.cat([order, torch.randperm(len(clean), generator=generator)])
            taken, order = order[: len(rows)], order[len(rows) :]
            weights = weights_now()
            up = token_losses(model, weights, memorized[rows].to(device)).clamp(max=bound).mean()
            down = token_losses(model, weights, clean[taken].to(device)).mean()
            optimizer.zero_grad()
            balance(down, up, weight).backward(inputs=trained)  # the model's own parameters get no gradients
            optimizer.step()
        yield


def masked(
    layers: dict[str, torch.nn.Linear], scores: dict[str, torch.Tensor], ratio: float
) -> dict[str, torch.Tensor]:
    """Weights of which the share `ratio` with the lowest absolute scores is zero, in every matrix; ratio 0 gives the
    weights bit for bit.
    """
    return {
        name: layers[name].weight.detach() * keep_top(s, ratio).to(layers[name].weight.dtype)
        for name, s in scores.items()
    }


def balanced_subnet(
    model: torch.nn.Module,
    layers: dict[str, torch.nn.Linear],
    memorized: torch.Tensor,
    clean: torch.Tensor,
    ratio: float,
    weight: float = 0.7,
    lr: float = 300.0,
    epochs: int = 5,
    batch: int = 16,
    momentum: float = 0.9,
    seed: int = 0,
) -> Iterator[dict[str, torch.Tensor]]:
    """Train one score for every weight of the layers by SGD (BalancedSubnet: Sakarvadia et al. 2024, arXiv 2410.02159).

    memorized, clean: token ids [N, S]; each step takes as many rows of one as of the other. ratio: the share of weights
    to drop. Yields {name: scores [O, I]} after every epoch; `masked` makes weights of them. Scores start as nn.Linear's
    own weights would, uniform up to I^-1/2. What `lr` has to be depends on the model: gradients at a mask are as small
    as the weights. Raises ValueError for a ratio outside [0, 1) and for ids without rows.
    """
    keep_top(torch.zeros(1), ratio)  # a wrong ratio is an error before any work
    generator = torch.Generator().manual_seed(seed)
    scores = {
        name: ((2 * torch.rand(layer.weight.shape, generator=generator) - 1) * layer.in_features**-0.5)
        .to(layer.weight.device)
        .requires_grad_()
        for name, layer in layers.items()
    }
    now = lambda: {name: layers[name].weight.detach() * straight_through(s, ratio) for name, s in scores.items()}
    optimizer = torch.optim.SGD(scores.values(), lr=lr, momentum=momentum)
    for _ in _epochs(model, optimizer, now, memorized, clean, weight, float("inf"), epochs, batch, generator):
        yield {name: s.detach().clone() for name, s in scores.items()}


def gradient_ascent(
    model: torch.nn.Module,
    layers: dict[str, torch.nn.Linear],
    memorized: torch.Tensor,
    clean: torch.Tensor,
    weight: float = 0.5,
    lr: float = 1e-3,
    bound: float = 4.0,
    epochs: int = 12,
    batch: int = 16,
    seed: int = 0,
) -> Iterator[dict[str, torch.Tensor]]:
    """Train copies of the layers' weights by Adam, upwards on memorized rows; yields {name: weight [O, I]} after every
    epoch.

    memorized, clean: token ids [N, S]. A memorized token whose loss is above `bound` (nats) pushes no further: without
    a bound, ascent has no end.
    """
    moved = {name: layer.weight.detach().clone().requires_grad_() for name, layer in layers.items()}
    for _ in _epochs(
        model,
        torch.optim.Adam(moved.values(), lr=lr),
        lambda: moved,
        memorized,
        clean,
        weight,
        bound,
        epochs,
        batch,
        torch.Generator().manual_seed(seed),
    ):
        yield {name: w.detach().clone() for name, w in moved.items()}


def part_way(
    layers: dict[str, torch.nn.Linear], weights: dict[str, torch.Tensor], share: float
) -> dict[str, torch.Tensor]:
    """Weights {name: [O, I]} that lie the given share of the way from the layers' own to `weights`; 0 is none of it, 1
    all.
    """
    return {name: torch.lerp(layers[name].weight.detach(), w, share) for name, w in weights.items()}
