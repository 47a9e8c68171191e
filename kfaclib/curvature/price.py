"""What a change of the weights costs, before it is made: the quadratic form of the Fisher, exactly.

To second order, a change dW of the weights moves the model's own predictions by KL = 1/2 dW^T F dW nats a token, and
the Fisher F is J^T (diag(p) - p p^T) J: the form is half the variance, under the model's distribution p, of the change
of the logits along dW. So one pass in forward mode gives it, over all layers together and without a factorisation.
"""

from collections.abc import Iterable

import torch
from torch.func import functional_call, jvp
from torch.nn.attention import SDPBackend, sdpa_kernel

from kfaclib.curvature.capture import measured
from kfaclib.curvature.passes import as_batch, token_mask


@measured
def exact_price(
    model: torch.nn.Module, batches: Iterable, layers: dict[str, torch.nn.Linear], weights: dict[str, torch.Tensor]
) -> float:
    """1/2 E[(sum over layers of g^T dW a)^2] in nats per token, for labels that the model samples: the expectation over
    them is exact.

    batches: token ids [B, S] or dicts with an attention mask. layers: {name: nn.Linear} of `model`, by the names that
    they have in it. weights: {name: [O, I]}, the changed weights. All layers change together, so that what they do to
    each other's inputs counts. Source: Martens 2020, arXiv 1412.1193, section 8 (Fisher = GGN) and 9.
    """
    total, tokens = 0.0, 0
    for batch in map(as_batch, batches):
        p, dz = _probabilities_and_change(model, batch, layers, weights)
        total += _half_variance(p, dz)
        tokens += len(p)
    return total / tokens


@measured
def exact_prices(
    model: torch.nn.Module,
    batches: Iterable,
    layers: dict[str, torch.nn.Linear],
    weights: dict[str, torch.Tensor],
    groups: Iterable[Iterable[str]],
) -> list[float]:
    """`exact_price` of each of `groups`, names of layers that change together: [price].

    The change of the logits is linear in that of the weights, so the groups cost one forward-mode pass for each layer
    in `weights`, however many they are. A batch's changes of logits, [tokens, V] of each layer, are in memory together.
    """
    groups = [list(group) for group in groups]
    totals, tokens = [0.0] * len(groups), 0
    for batch in map(as_batch, batches):
        moved = {name: _probabilities_and_change(model, batch, layers, {name: weights[name]}) for name in weights}
        p = next(iter(moved.values()))[0]
        for i, group in enumerate(groups):
            totals[i] += _half_variance(p, sum(moved[name][1] for name in group))
        tokens += len(p)
    return [total / tokens for total in totals]


def _probabilities_and_change(model, batch, layers, weights):
    """(p, dz): the model's distribution at the tokens that have a next one, and the change of the logits there to first
    order in that of the weights, both [tokens, V] in float64."""
    present = {f"{name}.weight": layers[name].weight.detach() for name in weights}
    change = {f"{name}.weight": new.to(present[f"{name}.weight"]) for name, new in weights.items()}
    change = {name: new - present[name] for name, new in change.items()}
    mask = token_mask(batch)

    def logits(params):
        return functional_call(model, params, kwargs={**batch, "use_cache": False}).logits

    with sdpa_kernel(SDPBackend.MATH):  # the fused kernels have no forward mode
        z, dz = jvp(logits, (present,), (change,))
    return torch.softmax(z[mask].double(), -1), dz[mask].double()


def _half_variance(p, dz):
    return ((p * dz.square()).sum(-1) - (p * dz).sum(-1).square()).sum().item() / 2
