"""The curvature of single examples: small matrices instead of one large one, because an example has few outputs."""

import torch
from torch.func import functional_call, jacrev, vmap


def fisher_roots(net, x, temperature=1.0, chunk=50):
    """B [N, C, P] with B_n^T B_n the Fisher (and the GGN) of example n in all P parameters of `net`, in their order.

    Row y of B_n is sqrt(p(y)) times the gradient of log p(y).  temperature: the softmax is taken of logits / temperature;
    the curvature is then the one of that softer loss.  x: [N, ...].  Memory N C P numbers: for nets of some ten thousand.
    """
    params = {name: p.detach() for name, p in net.named_parameters()}
    log_p = lambda params, one: torch.log_softmax(functional_call(net, params, (one[None],))[0] / temperature, -1)
    rows = vmap(jacrev(log_p), in_dims=(None, 0), chunk_size=chunk)(params, x)
    scores = torch.cat([r.flatten(2) for r in rows.values()], -1)  # [N, C, P]
    with torch.no_grad():
        root_p = torch.softmax(net(x) / temperature, -1).sqrt()
    return scores * root_p[..., None]


def gradients(net, x, y, chunk=50):
    """Gradients of -log p(y), one per example: [N, P]."""
    params = {name: p.detach() for name, p in net.named_parameters()}
    loss = lambda params, one, label: torch.nn.functional.cross_entropy(functional_call(net, params, (one[None],)), label[None])
    rows = vmap(torch.func.grad(loss), in_dims=(None, 0, 0), chunk_size=chunk)(params, x, y)
    return torch.cat([r.flatten(1) for r in rows.values()], -1)


def top_eigenpairs(B):
    """(values [N], directions [N, P]): the largest eigenvalue of every B_n^T B_n and its unit eigenvector, from B [N, C, P]."""
    values, s = torch.linalg.eigh(B @ B.mT)
    directions = torch.einsum("nc,ncp->np", s[..., -1], B)
    return values[:, -1].clamp(min=0), directions / directions.norm(dim=1, keepdim=True).clamp(min=1e-30)


def average_top(B):
    """Largest eigenvalue of the mean of the B_n^T B_n, for B [N, C, P], through a Gram matrix [N C, N C]."""
    rows = B.flatten(0, 1)
    gram = rows @ rows.T if len(rows) <= rows.shape[1] else rows.T @ rows
    return torch.linalg.eigvalsh(gram)[-1].item() / len(B)
