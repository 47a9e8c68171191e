"""Labels from the model, and the gradient that enters at the top in closed form.

For a softmax with logits z = W h and the summed loss -log p(y), dL/dh = W^T (softmax(z) - onehot(y)).  It is
computed in chunks of tokens, so that float32 logits [tokens, vocabulary] never exist at once.
"""

import torch


def sample_labels(logits, uniform):
    """Draw one label per row of logits [T, V] by inverting the distribution function at uniform [T] in [0, 1)."""
    cumulative = torch.softmax(logits.float() if logits.dtype != torch.float64 else logits, -1).cumsum(-1)
    total = cumulative[:, -1:]
    below = torch.nextafter(total, torch.zeros_like(total))  # a product that is rounded up to the total would hit no label
    target = torch.minimum(uniform.to(cumulative)[:, None] * total, below)
    return torch.searchsorted(cumulative, target, right=True).clamp_(max=logits.shape[-1] - 1)[:, 0]


def logit_gradient(logits, labels):
    """softmax(logits) - onehot(labels): the gradient of the summed -log p(labels), [T, V], for labels [T]."""
    gradient = torch.softmax(logits if logits.dtype == torch.float64 else logits.float(), -1)
    gradient[torch.arange(len(labels), device=labels.device), labels] -= 1
    return gradient


@torch.no_grad()
def output_gradient(hidden, unembedding, *, labels=None, uniform=None, mask=None, chunk=1024):
    """Gradient of the summed -log p(label) with respect to the last hidden states.

    hidden: [T, D].  unembedding: [V, D].  labels: [T] gives the loss on the data (empirical Fisher); otherwise
    uniform: [T] in [0, 1) draws them from the model (Fisher).  mask: bool [T], False rows get gradient zero.
    Returns [T, D] in the dtype of `hidden`; the result does not depend on `chunk`, only the memory does.
    """
    if (labels is None) == (uniform is None):
        raise ValueError("give either labels (the data's) or uniform numbers (to sample from the model), not both or neither")
    gradient = torch.zeros_like(hidden)
    for rows in torch.arange(len(hidden), device=hidden.device).split(chunk):
        if mask is not None:
            rows = rows[mask[rows]]
        logits = hidden[rows] @ unembedding.T
        y = labels[rows] if labels is not None else sample_labels(logits, uniform[rows])
        gradient[rows] = logit_gradient(logits, y).to(hidden.dtype) @ unembedding
    return gradient
