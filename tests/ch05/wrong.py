"""Plausible wrong answers to the exercises of chapter 05, with a fragment of what their check must say."""

import torch


def block_summed(a, g):
    rows = (g[:, :, None] * a[:, None, :]).reshape(len(a), -1)
    return rows.T @ rows


def block_input_first(a, g):
    rows = (a[:, :, None] * g[:, None, :]).reshape(len(a), -1)
    return rows.T @ rows / len(a)


def block_of_means(a, g):
    return torch.kron(g.T @ g / len(g), a.T @ a / len(a))


def block_of_mean_gradient(a, g):
    mean = (g[:, :, None] * a[:, None, :]).reshape(len(a), -1).mean(0)
    return torch.outer(mean, mean)


def factors_centred(a, g):
    return torch.cov(a.T), torch.cov(g.T)


def factors_swapped(a, g):
    return g.T @ g / len(g), a.T @ a / len(a)


def factors_summed(a, g):
    return a.T @ a, g.T @ g


def eigenvalues_multiplied(a, g, Q_A, Q_G):
    return torch.outer((g @ Q_G).square().mean(0), (a @ Q_A).square().mean(0))


def eigenvalues_cancelling(a, g, Q_A, Q_G):
    return (((g @ Q_G).T @ (a @ Q_A)) / len(a)).square()


def eigenvalues_turned_back(a, g, Q_A, Q_G):
    return (g @ Q_G.T).square().T @ (a @ Q_A.T).square() / len(a)


def sequences_as_tokens(a, g, Q_A, Q_G):
    return torch.einsum("nso,nsi->oi", (g @ Q_G).square(), (a @ Q_A).square()) / (a.shape[0] * a.shape[1])


def sequences_added_first(a, g, Q_A, Q_G):
    return torch.einsum("nso,nsi->oi", g @ Q_G, a @ Q_A).square() / (a.shape[0] * a.shape[1])


def sequences_per_sequence(a, g, Q_A, Q_G):
    return torch.einsum("nso,nsi->noi", g @ Q_G, a @ Q_A).square().mean(0)


def sequences_reduced(a, g, Q_A, Q_G):
    whole = (g @ Q_G).sum(1)[:, :, None] * (a @ Q_A).mean(1)[:, None, :]
    return whole.square().mean(0)


def sequences_summed(a, g, Q_A, Q_G):
    return torch.einsum("nso,nsi->noi", g @ Q_G, a @ Q_A).square().sum(0)


def sequences_as_products(a, g, Q_A, Q_G):
    return torch.outer((g @ Q_G).sum(1).square().mean(0), (a @ Q_A).mean(1).square().mean(0))


def spectrum_of_sums():
    return [2, 4, 5, 7], [[1, 0], [1, 0]]


def spectrum_of_the_diagonal():
    return [8, 2, 8, 2], [[1, 0], [0, 0]]


def spectrum_one_forgotten():
    return [12, 4, 3, 3], [[1, 0], [1, 0]]


def spectrum_with_exchanged_roles():
    return [12, 4, 3, 1], [[1, 1], [0, 0]]


def spectrum_with_the_flattest_direction():
    return [12, 4, 3, 1], [[0, 1], [0, -1]]


def solve_undamped(V, G, A, damping):
    return torch.linalg.inv(G) @ V @ torch.linalg.inv(A)


def solve_with_damped_factors(V, G, A, damping):
    eye = lambda M: damping**0.5 * torch.eye(len(M), dtype=M.dtype)
    return torch.linalg.inv(G + eye(G)) @ V @ torch.linalg.inv(A + eye(A))


def solve_left_in_the_eigenvectors(V, G, A, damping):
    (lam, U), (mu, Q) = torch.linalg.eigh(G), torch.linalg.eigh(A)
    return (U.T @ V @ Q) / (torch.outer(lam, mu) + damping)


def multiplied_instead(V, G, A, damping):
    return G @ V @ A + damping * V


def solve_with_exchanged_factors(V, G, A, damping):
    big = torch.kron(A, G) + damping * torch.eye(V.numel(), dtype=V.dtype)
    return torch.linalg.solve(big, V.reshape(-1)).reshape(V.shape)


def same_pairs(a, g, generator):
    return a, g


def both_rearranged_together(a, g, generator):
    order = torch.randperm(len(a), generator=generator)
    return a[order], g[order]


def fresh_noise(a, g, generator):
    return a, torch.randn(g.shape, generator=generator, dtype=g.dtype)


def always_the_same_order(a, g, generator):
    return a, g[torch.randperm(len(g), generator=torch.Generator().manual_seed(0))]


def entries_rearranged(a, g, generator):
    return a, g.reshape(-1)[torch.randperm(g.numel(), generator=generator)].reshape(g.shape)


def _collected(model, name, batches, loss):
    """[(a, g)] of each batch as rows."""
    kept, rows = {}, []

    def hook(layer, inputs, output):
        kept["a"], kept["z"] = inputs[0].detach(), output.detach()
        output.register_hook(lambda gradient: kept.update(g=gradient))

    handle = model.get_submodule(name).register_forward_hook(hook)
    for batch in batches:
        loss(model(batch)).backward()
        rows.append([kept[k].reshape(-1, kept[k].shape[-1]) for k in "agz"])
    handle.remove()
    return rows


def mean_of_means(model, name, batches, loss):
    rows = _collected(model, name, batches, loss)
    return tuple(sum(r[k].T @ r[k] / len(r[k]) for r in rows) / len(rows) for k in (0, 1))


def last_batch_only(model, name, batches, loss):
    a, g, _ = _collected(model, name, batches, loss)[-1]
    return a.T @ a / len(a), g.T @ g / len(g)


def outputs_for_gradients(model, name, batches, loss):
    a, _, z = (torch.cat(x) for x in zip(*_collected(model, name, batches, loss)))
    return a.T @ a / len(a), z.T @ z / len(z)


def loss_averaged(model, name, batches, loss):
    return _whole(_collected(model, name, batches, lambda outputs: loss(outputs) / 2))


def collected_and_swapped(model, name, batches, loss):
    return _whole(_collected(model, name, batches, loss))[::-1]


def _whole(rows):
    a, g, _ = (torch.cat(x) for x in zip(*rows))
    return a.T @ a / len(a), g.T @ g / len(g)


def bytes_of_the_weight(O, I):
    return 4 * O * I, 4 * (O**2 + I**2)


def numbers_not_bytes(O, I):
    return (O * I) ** 2, O**2 + I**2


def bytes_of_diagonals(O, I):
    return 4 * (O * I) ** 2, 4 * (O + I)


def bytes_of_both_squares(O, I):
    return 4 * (O**2 + I**2) ** 2, 4 * (O**2 + I**2)


def bytes_swapped(O, I):
    return 4 * (O**2 + I**2), 4 * (O * I) ** 2


def bytes_of_one_size(O, I):
    return 900, 136


WRONG = {
    "05.fisher_block": [
        (block_summed, "the Fisher is the mean"),
        (block_input_first, "index of the output"),
        (block_of_means, "product of two means"),
        (block_of_mean_gradient, "square comes first"),
    ],
    "05.kfac_factors": [
        (factors_centred, "not centered"),
        (factors_swapped, "swapped"),
        (factors_summed, "divide by the number of tokens"),
    ],
    "05.ekfac_eigenvalues": [
        (eigenvalues_multiplied, "product of two means"),
        (eigenvalues_cancelling, "cancel"),
        (eigenvalues_turned_back, "wrong way"),
    ],
    "05.sequence_eigenvalues": [
        (sequences_as_tokens, "token unit"),
        (sequences_added_first, "before the square"),
        (sequences_per_sequence, "length of a sequence"),
        (sequences_reduced, "*reduce*"),
        (sequences_summed, "divide by the number of tokens"),
        (sequences_as_products, "multiplies two means"),
    ],
    "05.kron_spectrum": [
        (spectrum_of_sums, "these are sums"),
        (spectrum_of_the_diagonal, "the diagonal of G"),
        (spectrum_one_forgotten, "the trace of G times"),
        (spectrum_with_exchanged_roles, "exchanged roles"),
        (spectrum_with_the_flattest_direction, "not the direction of the largest"),
    ],
    "05.damped_solve": [
        (solve_undamped, "without damping"),
        (solve_with_damped_factors, "damped on its own"),
        (solve_left_in_the_eigenvectors, "way back"),
        (multiplied_instead, "multiplies with the damped matrix"),
        (solve_with_exchanged_factors, "does not solve the equation"),
    ],
    "05.unrelated_pairs": [
        (same_pairs, "nothing has changed"),
        (both_rearranged_together, "in the same way"),
        (fresh_noise, "G is no longer"),
        (always_the_same_order, "randomness from `generator`"),
        (entries_rearranged, "G is no longer"),
    ],
    "05.collect_by_hooks": [
        (mean_of_means, "mean of the batches' means"),
        (last_batch_only, "only the last batch"),
        (outputs_for_gradients, "layer's outputs"),
        (loss_averaged, "0.25 times"),
        (collected_and_swapped, "swapped"),
    ],
    "05.curvature_bytes": [
        (bytes_of_the_weight, "the weight itself"),
        (numbers_not_bytes, "4 bytes"),
        (bytes_of_diagonals, "diagonals"),
        (bytes_of_both_squares, "how many rows and columns"),
        (bytes_swapped, "swapped"),
        (bytes_of_one_size, "written in"),
    ],
}
