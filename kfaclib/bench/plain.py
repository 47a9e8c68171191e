"""A plain collector of factors, which makes no use of their structure: ours is measured against it.

It does what a first version does, and what the released code of the paper does by its description: hooks that copy
activations and gradients to float32 and take full products, one A for every layer though layers share their input,
weight gradients that are not used, a loss whose float32 logits go through autograd, gradient checkpointing of the whole
model with a graph that begins at the embedding, one pass over the data for each group of blocks, and a transfer of the
loss to the CPU after every batch.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F


def collect(
    model: torch.nn.Module,
    batches: Sequence[torch.Tensor],
    groups: Sequence[dict[str, torch.nn.Linear]],
    *,
    checkpointing: bool,
    labels: str = "sampled",
    generator: torch.Generator | None = None,
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Collect {name: (A [I, I], G [O, O])} in float32, in one pass over `batches` for each group of layers.

    batches: token ids [B, S]. labels: "sampled" (with `generator`, on the model's device) or "data".
    """
    flags = {p: p.requires_grad for p in model.parameters()}
    factors = {}
    if checkpointing:
        _switch_checkpointing(model, "enable")
        model.train()  # transformers checkpoints in training mode only; these models have no dropout
    embedding = model.get_input_embeddings().register_forward_hook(lambda _, __, output: output.requires_grad_(True))
    try:
        for group in groups:
            for p in flags:
                p.requires_grad_(False)
            for layer in group.values():
                layer.weight.requires_grad_(True)
            factors |= _one_pass(model, batches, group, labels, generator)
    finally:
        embedding.remove()
        if checkpointing:
            _switch_checkpointing(model, "disable")
            model.disable_input_require_grads()  # which checkpointing enabled
            model.eval()
        for p, flag in flags.items():
            p.requires_grad_(flag)
            p.grad = None
    return factors


def _switch_checkpointing(model, word):
    """ "enable" or "disable": transformers 5 has an old name for it and a new one."""
    (getattr(model, f"activation_checkpointing_{word}", None) or getattr(model, f"gradient_checkpointing_{word}"))()


def _one_pass(model, batches, group, labels, generator):
    A, G, inputs, handles, tokens = {}, {}, {}, [], 0

    def forward_hook(name):
        def hook(_, given, __):
            inputs[name] = given[0].detach()

        return hook

    def backward_hook(name):
        def hook(_, __, gradients):
            for sums, x in ((A, inputs.pop(name)), (G, gradients[0])):
                x = x[:, :-1].flatten(0, 1).float()  # the last position has no next token
                sums[name] = sums.get(name, 0) + x.T @ x

        return hook

    for name, layer in group.items():
        handles += [
            layer.register_forward_hook(forward_hook(name)),
            layer.register_full_backward_hook(backward_hook(name)),
        ]
    try:
        for ids in batches:
            ids = ids.to(model.device)
            logits = model(input_ids=ids, use_cache=False).logits[:, :-1].float().flatten(0, 1)
            targets = ids[:, 1:].flatten()
            if labels == "sampled":
                targets = torch.multinomial(torch.softmax(logits.detach(), -1), 1, generator=generator)[:, 0]
            loss = F.cross_entropy(logits, targets, reduction="sum")
            loss.backward()
            loss.item()
            model.zero_grad(set_to_none=True)
            tokens += len(targets)
    finally:
        for handle in handles:
            handle.remove()
    return {name: (A[name] / tokens, G[name] / tokens) for name in group}
