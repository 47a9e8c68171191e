"""The curvature of single examples: small matrices instead of one large one, because an example has few outputs."""

import torch
from torch.func import functional_call, jacrev, jvp, vmap

from kfaclib.curvature.capture import capture
from kfaclib.curvature.layers import linear_layers
from kfaclib.curvature.passes import backward
from kfaclib.curvature.products import cross_entropy_hvp, ggnvp, unflatten


def fisher_roots(net: torch.nn.Module, x: torch.Tensor, temperature: float = 1.0, chunk: int = 50) -> torch.Tensor:
    """Roots of the Fisher of single examples: B [N, C, P], for which B_n^T B_n is the Fisher (and the GGN) of example
    n.

    Row y of B_n is sqrt(p(y)) times the gradient of log p(y) in all P parameters of `net`, in their order. x: [N, ...].
    temperature: the softmax is taken of logits / temperature, and the curvature is the one of that softer loss. Memory
    for N C P numbers: for nets of some ten thousand parameters.
    """
    params = {name: p.detach() for name, p in net.named_parameters()}
    log_p = lambda params, one: torch.log_softmax(functional_call(net, params, (one[None],))[0] / temperature, -1)
    rows = vmap(jacrev(log_p), in_dims=(None, 0), chunk_size=chunk)(params, x)
    scores = torch.cat([r.flatten(2) for r in rows.values()], -1)  # [N, C, P]
    with torch.no_grad():
        root_p = torch.softmax(net(x) / temperature, -1).sqrt()
    return scores * root_p[..., None]


def gradients(net: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, chunk: int = 50) -> torch.Tensor:
    """Gradients of -log p(y) of single examples: [N, P], for x [N, ...] and labels y [N]."""
    params = {name: p.detach() for name, p in net.named_parameters()}
    loss = lambda params, one, label: torch.nn.functional.cross_entropy(
        functional_call(net, params, (one[None],)), label[None]
    )
    rows = vmap(torch.func.grad(loss), in_dims=(None, 0, 0), chunk_size=chunk)(params, x, y)
    return torch.cat([r.flatten(1) for r in rows.values()], -1)


def squared_jacobians(net: torch.nn.Module, x: torch.Tensor, chunk: int = 50) -> torch.Tensor:
    """Squared Frobenius norm of the logits' Jacobian in all parameters, for every example of x [N, ...]: [N]."""
    params = {name: p.detach() for name, p in net.named_parameters()}
    rows = vmap(
        jacrev(lambda params, one: functional_call(net, params, (one[None],))[0]), in_dims=(None, 0), chunk_size=chunk
    )(params, x)
    return sum(r.flatten(1).square().sum(1) for r in rows.values())


def top_eigenpairs(B: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Largest eigenvalue of every B_n^T B_n and its unit eigenvector: (values [N], directions [N, P]), from B [N, C,
    P].
    """
    values, s = torch.linalg.eigh(B @ B.mT)
    directions = torch.einsum("nc,ncp->np", s[..., -1], B)
    return values[:, -1].clamp(min=0), directions / directions.norm(dim=1, keepdim=True).clamp(min=1e-30)


def curvature_along(
    net: torch.nn.Module, x: torch.Tensor, directions: torch.Tensor, temperature: float = 1.0
) -> torch.Tensor:
    """Curvature of every example along every unit direction, without roots, by one product with the Jacobian each: [N,
    K].

    x: [N, ...]; directions: [K, P]. An example's curvature along v is the variance, under its own probabilities, of the
    change J v of its logits.
    """
    params = {name: p.detach() for name, p in net.named_parameters()}
    logits = lambda params: functional_call(net, params, (x,)) / temperature
    p = torch.softmax(logits(params), -1)
    changes = (jvp(logits, (params,), (unflatten(v, params),))[1] for v in directions)
    return torch.stack([(p * (z - (p * z).sum(-1, keepdim=True)).square()).sum(-1) for z in changes], 1)


def average_top(B: torch.Tensor) -> float:
    """Largest eigenvalue of the mean of the B_n^T B_n, for B [N, C, P], through a Gram matrix [N C, N C]."""
    rows = B.flatten(0, 1)
    gram = rows @ rows.T if len(rows) <= rows.shape[1] else rows.T @ rows
    return torch.linalg.eigvalsh(gram)[-1].item() / len(B)


def layer_top_eigenpairs(
    model: torch.nn.Module,
    name: str,
    ids: torch.Tensor,
    first: int,
    steps: int = 12,
    seed: int = 0,
    counts: torch.Tensor | None = None,
    together: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(values [N], directions [N, O, I]) of every sequence's own GGN in the weight of one layer, by power iteration.

    model: a causal LM with attn_implementation "eager". name: of an nn.Linear. ids: [N, S]. The loss is the mean over
    the tokens ids[:, first:], each predicted from all before it, or over those of them that counts (bool [N, S -
    first]) names. together: one pair (N = 1) instead, of the average of all sequences.

    Sequences do not meet in the net, so a change V_n of the weight *per sequence* gives all N products in one pass.
    """
    layer, changes = model.get_submodule(name), {}
    counts = torch.ones(len(ids), ids.shape[1] - first) if counts is None else counts.to(layer.weight.dtype)
    if (counts.sum(1) == 0).any():
        raise ValueError(f"counts: no token of sequence {int(counts.sum(1).argmin())} counts; leave that sequence out")
    shares = (counts / counts.sum(1, keepdim=True))[..., None] / (len(ids) if together else 1)

    def add_change(_, inputs, output):
        return output + torch.einsum("noi,nsi->nso", changes["V"].expand(len(ids), -1, -1), inputs[0])

    def logits(params):
        changes.update(params)
        return model(input_ids=ids, use_cache=False).logits[:, first - 1 : -1]

    shape = (1 if together else len(ids), *layer.weight.shape)
    zero = {"V": torch.zeros(shape)}
    direction = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    handle = layer.register_forward_hook(add_change)
    norms = lambda V: V.flatten(1).norm(dim=1)
    try:
        for _ in range(steps):
            direction = direction / norms(direction)[:, None, None].clamp(min=1e-30)
            product = ggnvp(logits, lambda z, u: cross_entropy_hvp(z, u) * shares, zero, {"V": direction})["V"].detach()
            values, direction = (direction * product).flatten(1).sum(1), product
    finally:
        handle.remove()
    return values, direction / norms(direction)[:, None, None].clamp(min=1e-30)


def layer_curvature_along(
    model: torch.nn.Module,
    name: str,
    ids: torch.Tensor,
    directions: torch.Tensor,
    generator: torch.Generator,
    batch: int = 32,
) -> torch.Tensor:
    """The curvature of the average token of ids [R, S] along unit directions [K, O, I] of one layer's weight: [K].

    Labels are drawn from the model: the mean of (sum_t g_t^T V a_t)^2 over sequences, per token.
    """
    layers, seen_a, seen_g, total, tokens = linear_layers(model, name), {}, {}, 0, 0
    with capture(model, layers, on_input=seen_a.__setitem__, on_output_gradient=seen_g.__setitem__):
        for rows in ids.split(batch):
            mask = backward(model, {"input_ids": rows}, labels="sampled", generator=generator)
            a, g = seen_a[name] * mask[..., None], seen_g[name]
            along = torch.einsum("noi,koi->nk", torch.einsum("nso,nsi->noi", g, a), directions)
            total, tokens = total + along.square().sum(0), tokens + int(mask.sum())
    return total / tokens
