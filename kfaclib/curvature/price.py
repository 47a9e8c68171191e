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
    present = {f"{name}.weight": layers[name].weight.detach() for name in weights}
    change = {f"{name}.weight": new.to(present[f"{name}.weight"]) for name, new in weights.items()}
    change = {name: new - present[name] for name, new in change.items()}
    total, tokens = 0.0, 0
    for batch in map(as_batch, batches):
        mask = token_mask(batch)

        def logits(params, given=batch):
            return functional_call(model, params, kwargs={**given, "use_cache": False}).logits

        with sdpa_kernel(SDPBackend.MATH):  # the fused kernels have no forward mode
            z, dz = jvp(logits, (present,), (change,))
        p, dz = torch.softmax(z[mask].double(), -1), dz[mask].double()
        total += ((p * dz.square()).sum(-1) - (p * dz).sum(-1).square()).sum().item() / 2
        tokens += int(mask.sum())
    return total / tokens
