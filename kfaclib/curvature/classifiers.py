"""What only a classifier's factors can be asked for: the expectation over all its labels, and the CLS token alone.

Both are options of `factors.collect_factors`; this module says what one pass and one mask of them are.
"""

from collections.abc import Iterator

import torch

from kfaclib.curvature.labels import logit_gradient
from kfaclib.curvature.passes import classify

MOST_CLASSES = 100  # for which the exact expectation over classes is still affordable


def backward_classes(
    model: torch.nn.Module, batch: dict[str, torch.Tensor], temperature: float = 1.0
) -> Iterator[None]:
    """Yield after each class's forward and backward pass of the exact Fisher: sqrt(p_c) (p - e_c) enters at the logits.

    The summed outer products of the C gradients are E[g g^T] over labels drawn from softmax(logits / temperature)
    (Martens and Grosse 2015, section 2.1, with the expectation taken exactly).  batch: from `as_batch`; its labels, if
    it has some, are ignored.  ValueError for a language model, or where one pass for every class would be too many.
    """
    if "input_ids" in batch:
        raise ValueError("labels='exact' is for classifiers: a language model's vocabulary is too large to enumerate")
    device = next(model.parameters()).device
    batch = {k: v.to(device) for k, v in batch.items() if k != "labels"}
    c, classes = 0, 1  # their number is known after the first forward pass
    while c < classes:
        logits = classify(model, batch)
        classes = logits.shape[-1]
        if classes > MOST_CLASSES:
            raise ValueError(
                f"labels='exact' means one backward pass per class, and this model has {classes}: use "
                "labels='sampled', with more images"
            )
        tempered = logits.detach() / temperature
        weight = torch.softmax(tempered if tempered.dtype == torch.float64 else tempered.float(), -1)[:, c, None].sqrt()
        label = torch.full((len(logits),), c, device=device)
        logits.backward((weight * logit_gradient(tempered, label)).to(logits.dtype))
        yield
        c += 1


def cls_mask(inputs: dict[str, torch.Tensor], mask: torch.Tensor | None) -> torch.Tensor:
    """bool [B, S], True for the first token of every example, from {name: input [B, S, d]}.

    mask: of the pass itself.  A classifier has none; ValueError where there is one, or for a layer without tokens.
    """
    if mask is not None:
        raise ValueError("tokens='cls' is for classifiers: a language model has no CLS token; use tokens='all'")
    for name, a in inputs.items():
        if a.ndim != 3:
            raise ValueError(
                f"layer {name!r} has inputs of shape {tuple(a.shape)}, without tokens: there is no CLS token to "
                "take; use tokens='all'"
            )
    mask = torch.zeros(a.shape[:2], dtype=torch.bool, device=a.device)
    mask[:, 0] = True
    return mask
