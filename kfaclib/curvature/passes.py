"""One forward and backward pass: batches, the mask of what contributes, the gradient that enters at the top, and what
is checked before anything is added.

A causal LM's last position and padding do not contribute.
"""

import weakref
from collections.abc import Sequence

import torch

from kfaclib.curvature.capture import capture, measured
from kfaclib.curvature.labels import logit_gradient, output_gradient, sample_labels

# token ids [B, S], inputs, a pair (inputs, labels), or a dict of what the model's forward takes
Batch = torch.Tensor | tuple[torch.Tensor, torch.Tensor] | dict[str, torch.Tensor]


def as_batch(batch: Batch) -> dict[str, torch.Tensor]:
    """A batch as a dict of tensors.

    Token ids [B, S] become {"input_ids": ids}; for a plain module, floating-point inputs become {"x": inputs} and a
    pair (inputs, labels) becomes {"x": inputs, "labels": labels}.
    """
    if isinstance(batch, (tuple, list)):
        return dict(zip(("x", "labels"), batch, strict=True))
    if torch.is_tensor(batch):
        return {"x" if batch.is_floating_point() else "input_ids": batch}
    return dict(batch)


def token_mask(batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Mask of the positions whose next token is a real one: bool [B, S]. Raises ValueError if there is none."""
    ids = batch["input_ids"]
    real = batch.get("attention_mask", torch.ones_like(ids)).bool()
    mask = torch.zeros_like(real)
    mask[:, :-1] = real[:, :-1] & real[:, 1:]
    if not mask.any():
        raise ValueError(
            f"a batch of shape {tuple(ids.shape)} has no position with a next token: there is no target to take a "
            "gradient of; drop empty documents and use windows of at least two tokens"
        )
    return mask


def padded_on_the_right(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The batch with the real tokens of every row first.  A causal model never sees what follows, so that neither
    learned positions nor a mask that some models cannot bear at the beginning of a row matter."""
    mask = batch.get("attention_mask")
    if mask is None or mask[:, 0].all():
        return batch
    order = mask.bool().to(torch.uint8).argsort(dim=1, descending=True, stable=True)
    return {k: x.gather(1, order) if x.shape == mask.shape else x for k, x in batch.items()}


def check_recorded(output: torch.Tensor) -> None:
    """Raise RuntimeError if no layer of the block's `capture` is part of what led to `output`."""
    if not output.requires_grad:
        raise RuntimeError(
            "none of the chosen layers took part in this batch: take them from this very model, with `linear_layers`"
        )


def classify(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Logits [examples, classes] of a classifier's batch (from `as_batch`) that can be differentiated."""
    output = model(batch["x"]) if set(batch) == {"x"} else model(**batch)
    logits = getattr(output, "logits", output)
    if logits.ndim != 2:
        raise ValueError(f"the model's logits have shape {tuple(logits.shape)}: a classifier's are [examples, classes]")
    check_recorded(logits)
    return logits


def backward(
    model: torch.nn.Module, batch: dict[str, torch.Tensor], *, labels: str, generator: torch.Generator | None
) -> torch.Tensor | None:
    """One forward and one backward pass of the summed loss; returns the mask of contributing rows, or None for all.

    A causal LM gets the closed-form gradient at its last hidden states; a classifier (a batch with "pixel_values" or
    whatever its forward takes; a plain module may return the logits themselves) gets softmax - onehot at its logits,
    and its rows are examples. labels: "sampled" from the model or "data" (next tokens, or batch["labels"]). Sampling
    takes its random numbers from batch["uniform"] (float64, shaped like input_ids) if it is there, from `generator`
    otherwise. Raises ValueError for other labels, missing labels, or a batch without any next token.
    """
    if labels not in ("sampled", "data"):
        raise ValueError(f"labels={labels!r}: labels are 'exact', 'sampled' or 'data', and one pass takes the last two")
    device = next(model.parameters()).device
    batch = {k: v.to(device) for k, v in batch.items()}
    if "input_ids" not in batch:
        targets = batch.pop("labels", None)
        if labels == "data" and targets is None:
            raise ValueError("labels='data' needs batch['labels'], and this batch has none")
        logits = classify(model, batch)
        if labels == "sampled":
            targets = sample_labels(logits.detach(), torch.rand(len(logits), generator=generator).to(device))
        logits.backward(logit_gradient(logits.detach(), targets).to(logits.dtype))
        return None
    batch = padded_on_the_right(batch)
    uniform = batch.pop("uniform", None)
    mask = token_mask(batch)
    hidden = model.get_decoder()(**batch, use_cache=False).last_hidden_state
    check_recorded(hidden)
    ids = batch["input_ids"]
    flat = hidden.detach().flatten(0, 1)
    if labels == "data":
        drawn = dict(labels=ids.roll(-1, 1).flatten())
    else:
        uniform = (
            torch.rand(ids.numel(), generator=generator, dtype=torch.float64).to(device)
            if uniform is None
            else uniform.flatten()
        )
        drawn = dict(uniform=uniform)
    gradient = output_gradient(flat, model.get_output_embeddings().weight, mask=mask.flatten(), **drawn)
    hidden.backward(gradient.view_as(hidden))
    return mask


@measured
def check_head(model: torch.nn.Module, batch: Batch) -> None:
    """Raise ValueError if the logits are not plainly `unembedding @ hidden` (a cap, a scale or a bias would make the
    closed-form gradient wrong).  `collect_factors` calls it; a long job may call it earlier."""
    ids = as_batch(batch)["input_ids"][:1, :8].to(next(model.parameters()).device)
    head = model.get_output_embeddings()
    plain = model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state @ head.weight.T
    apart = (plain - model(input_ids=ids).logits).abs().max()
    rounding = 2e-2 if plain.element_size() == 2 else 1e-5
    if getattr(head, "bias", None) is not None or apart > rounding * plain.abs().max():
        raise ValueError(
            f"{type(model).__name__} does something to its logits after the unembedding (a bias, a scale, a soft "
            "cap): the closed-form output gradient would be wrong, so this model is refused"
        )


_causal = weakref.WeakSet()  # models that passed `check_causal`: it asks about their architecture


@measured
def check_causal(model: torch.nn.Module) -> None:
    """Raise ValueError if what follows a token changes what the model says at that token: then next-token predictions
    have seen their targets, and neither curvature nor recitation means anything. The same for a model without weights,
    on the meta device."""
    if model in _causal:
        return
    if any(p.is_meta for p in model.parameters()):
        raise ValueError(
            f"the weights of this {type(model).__name__} are not loaded (it is on the meta device): load it with "
            "kfaclib.lm.models.load"
        )
    ids = torch.tensor([[0, 1, 2, 0, 1, 2], [0, 1, 2, 2, 0, 0]], device=next(model.parameters()).device)
    logits = model(input_ids=ids, use_cache=False).logits
    before = logits[:, :3].float()
    rounding = 2e-2 if logits.element_size() == 2 else 1e-4
    if (before[0] - before[1]).abs().max() > rounding * before.abs().max():
        raise ValueError(
            f"{type(model).__name__} lets a token see those that follow it, as BERT does: it is no causal language "
            "model (or its configuration lacks is_decoder), so it cannot be asked for the next token"
        )
    _causal.add(model)


def check_model(model: torch.nn.Module) -> None:
    """`check_causal` and `check_head` on a few tokens, for a model that has a head to check."""
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    if head is not None:
        check_causal(model)
        check_head(model, torch.arange(8)[None] % len(head.weight))


def contributing(x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """The rows [T, d] of x [..., d] where mask [...] is True; all of them without a mask."""
    return x.flatten(0, -2) if mask is None else x[mask]


def check_pass(
    layers: Sequence[str] | dict[str, torch.nn.Linear],
    inputs: dict[str, torch.Tensor],
    gradients: dict[str, torch.Tensor],
) -> None:
    """Raise RuntimeError naming a layer that no gradient reached, or FloatingPointError naming the layer where a value
    that is not finite came up first: on the way forward, then on the way back."""
    for name in layers:
        if name not in gradients:
            raise RuntimeError(f"layer {name!r} took no part in the loss of this batch: no gradient reached it")
    forward = [(name, "activations", inputs[name]) for name in layers]
    back = [(name, "output gradients", gradients[name]) for name in reversed(layers)]
    for name, what, x in forward + back:
        if not torch.isfinite(x.sum(dtype=torch.float64 if x.dtype == torch.float64 else torch.float32)):
            raise FloatingPointError(
                f"layer {name!r}: its {what} are not finite in this batch; nothing of the batch was "
                "added. Look for an overflow (load the model in bfloat16 or float32 instead of float16) "
                "or a broken checkpoint"
            )


def shared_inputs(model: torch.nn.Module, layers: dict[str, torch.nn.Linear]) -> dict[str, str]:
    """{name: the first layer that is handed the same input tensor}, from one forward pass of a causal LM over two
    tokens.
    """
    inputs = {}
    device = next(model.parameters()).device
    with capture(model, layers, on_input=inputs.__setitem__, on_output_gradient=lambda *_: None):
        model.get_decoder()(input_ids=torch.zeros(1, 2, dtype=torch.int64, device=device), use_cache=False)
    unseen = [name for name in layers if name not in inputs]
    if unseen:
        raise ValueError(
            f"layer {unseen[0]!r} takes no part in the model's decoder: its curvature cannot be collected; leave it "
            "out of --layers"
        )
    return owners(inputs)


def owners(inputs: dict[str, torch.Tensor]) -> dict[str, str]:
    """{name: the first layer whose input is the same memory read the same way} for {name: input}."""
    first = {}
    return {name: first.setdefault((a.data_ptr(), a.shape, a.stride()), name) for name, a in inputs.items()}
