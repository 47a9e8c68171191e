"""Labels from the model, and the gradient that enters at the top in closed form.

For a softmax with logits z = W h and the summed loss -log p(y), dL/dh = W^T (softmax(z) - onehot(y)).  It is
computed in chunks of tokens, so that float32 logits [tokens, vocabulary] never exist at once.
"""

import torch

from kfaclib import kernels


def sample_labels(logits: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """Draw one label for each row of logits by inverting the distribution function of its softmax.

    logits: [T, V] in any floating dtype; the probabilities are computed in float32 (float64 for float64 logits).
    uniform: [T] in [0, 1). Returns int64 [T]. Labels drawn from the model make the Fisher; the data's labels make the
    empirical Fisher, which is another matrix (Kunstner, Balles and Hennig 2019, arXiv 1905.12558).
    """
    cumulative = torch.softmax(logits.float() if logits.dtype != torch.float64 else logits, -1).cumsum(-1)
    total = cumulative[:, -1:]
    below = torch.nextafter(
        total, torch.zeros_like(total)
    )  # a product that is rounded up to the total would hit no label
    target = torch.minimum(uniform.to(cumulative)[:, None] * total, below)
    return torch.searchsorted(cumulative, target, right=True).clamp_(max=logits.shape[-1] - 1)[:, 0]


def logit_gradient(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Gradient of the summed loss -log p(labels) with respect to the logits: softmax(logits) - onehot(labels).

    logits: [T, V]; labels: int64 [T]. Returns [T, V] in nats per logit, float32 (float64 for float64 logits).
    """
    gradient = torch.softmax(logits if logits.dtype == torch.float64 else logits.float(), -1)
    gradient[torch.arange(len(labels), device=labels.device), labels] -= 1
    return gradient


@torch.no_grad()
def output_gradient(
    hidden: torch.Tensor,
    unembedding: torch.Tensor,
    *,
    labels: torch.Tensor | None = None,
    uniform: torch.Tensor | None = None,
    mask: torch.Tensor | None = None,
    chunk: int = 1024,
) -> torch.Tensor:
    """Gradient of the summed loss -log p(label) with respect to the last hidden states, in closed form.

    hidden: [T, D]. unembedding: [V, D]. labels: int64 [T], the data's, for the empirical Fisher; otherwise uniform: [T]
    in [0, 1) draws them from the model, for the Fisher. mask: bool [T]; rows that are False get gradient zero. chunk:
    rows at a time, which changes the memory and not the result.

    Returns [T, D] in the dtype of `hidden`. Raises ValueError unless exactly one of `labels` and `uniform` is given.
    """
    if (labels is None) == (uniform is None):
        raise ValueError(
            "give either labels (the data's) or uniform numbers (to sample from the model), not both or neither"
        )
    gradient = torch.zeros_like(hidden)
    kept = torch.arange(len(hidden), device=hidden.device) if mask is None else mask.nonzero()[:, 0]
    for rows in kept.split(chunk):
        logits = hidden[rows] @ unembedding.T
        given = dict(labels=labels[rows]) if labels is not None else dict(uniform=uniform[rows])
        gradient[rows] = _logit_gradient(logits, **given) @ unembedding
    return gradient


def _logit_gradient(logits, labels=None, uniform=None):
    """`logit_gradient` in the dtype of `logits`, by the kernel where there is one: it needs no memory of its own."""
    if kernels.has_triton(logits):
        from kfaclib.kernels import triton_labels  # not at the top: Triton may be missing

        return triton_labels.launch(logits, labels=labels, uniform=uniform)[0]
    labels = sample_labels(logits, uniform) if labels is None else labels
    return logit_gradient(logits, labels).to(logits.dtype)
