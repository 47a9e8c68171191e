"""Right answers to the exercises of chapter 05 in unusual form: every one of them must pass its check."""

import numpy as np
import torch


def block_by_loops(a, g):
    total = np.zeros((g.shape[1] * a.shape[1],) * 2)
    for x, y in zip(a.numpy(), g.numpy()):
        row = np.outer(y, x).ravel()
        total += np.outer(row, row)
    return total / len(a)


def block_by_kron(a, g):
    return torch.stack([torch.kron(torch.outer(y, y), torch.outer(x, x)) for x, y in zip(a, g)]).mean(0)


def block_in_single_precision(a, g):
    rows = torch.einsum("to,ti->toi", g.float(), a.float()).flatten(1)
    return (rows[:, :, None] * rows[:, None, :]).mean(0)


def factors_as_arrays(a, g):
    a, g = a.numpy(), g.numpy()
    return [np.einsum("ti,tj->ij", a, a) / len(a), np.einsum("ti,tj->ij", g, g) / len(g)]


def factors_by_outer_products(a, g):
    return (a[:, :, None] * a[:, None, :]).mean(0), torch.einsum("ti,tj->ij", g, g / len(g))


def spectrum_as_numbers():
    return [1, 3, 4, 12], [[-5, 0], [-5, 0]]


def spectrum_computed():
    G, A = torch.tensor([[2.0, 1], [1, 2]]), torch.tensor([[4.0, 0], [0, 1]])
    values, vectors = torch.linalg.eigh(torch.kron(G, A))
    return values.numpy(), vectors[:, -1].reshape(2, 2).numpy()


def solve_by_generalized_loops(V, G, A, damping):
    mu, Q = np.linalg.eigh(A.numpy())
    columns = [np.linalg.solve(m * G.numpy() + damping * np.eye(len(G)), V.numpy() @ q) for m, q in zip(mu, Q.T)]
    return np.stack(columns, 1) @ Q.T


def solve_by_conjugate_gradients(V, G, A, damping):
    x, r = torch.zeros_like(V), V.clone()
    p, square = r.clone(), (r * r).sum()
    for _ in range(3 * V.numel()):
        if square < 1e-26:
            break
        step = G @ p @ A + damping * p
        alpha = square / (p * step).sum()
        x, r = x + alpha * p, r - alpha * step
        square, before = (r * r).sum(), square
        p = r + square / before * p
    return x


def inputs_rearranged(a, g, generator):
    return a[torch.randperm(len(a), generator=generator)], g


def gradients_rearranged_in_numpy(a, g, generator):
    order = np.argsort(torch.rand(len(g), generator=generator).numpy())
    return a.numpy(), g.numpy()[order]


def both_rearranged_apart(a, g, generator):
    order = lambda: torch.randperm(len(a), generator=generator)
    return [a[order()], g[order()]]


def gradients_shifted(a, g, generator):
    return a, g.roll(int(torch.randint(1, len(g), (), generator=generator)), 0)


def eigenvalues_by_loops(a, g, Q_A, Q_G):
    result = torch.zeros(g.shape[1], a.shape[1])
    for i in range(g.shape[1]):
        for j in range(a.shape[1]):
            result[i, j] = ((g @ Q_G[:, i]) * (a @ Q_A[:, j])).square().mean()
    return result


def eigenvalues_from_gradients(a, g, Q_A, Q_G):
    return (Q_G.T @ (g[:, :, None] * a[:, None, :]) @ Q_A).square().mean(0).numpy()


def sequences_by_loops(a, g, Q_A, Q_G):
    return sum((Q_G.T @ y.T @ x @ Q_A) ** 2 for x, y in zip(a, g)) / a[..., 0].numel()


def sequences_in_numpy(a, g, Q_A, Q_G):
    a, g, Q_A, Q_G = (x.numpy() for x in (a, g, Q_A, Q_G))
    whole = np.swapaxes(g @ Q_G, 1, 2) @ (a @ Q_A)
    return (whole**2).mean(0) / a.shape[1]


def collected_in_lists(model, name, batches, loss):
    layer, inputs, gradients = model.get_submodule(name), [], []
    first = layer.register_forward_pre_hook(lambda _, args: inputs.append(args[0].detach().flatten(0, -2)))
    second = layer.register_full_backward_hook(lambda _, down, up: gradients.append(up[0].detach().flatten(0, -2)))
    for batch in batches:
        loss(model(batch)).backward()
    first.remove()
    second.remove()
    a, g = torch.cat(inputs).numpy(), torch.cat(gradients).numpy()
    return a.T @ a / len(a), g.T @ g / len(g)


def collected_with_autograd(model, name, batches, loss):
    A = G = tokens = 0
    kept = []
    handle = model.get_submodule(name).register_forward_hook(
        lambda layer, inputs, output: kept.append((inputs[0], output))
    )
    for batch in batches:
        kept.clear()
        value = loss(model(batch))
        a, z = kept[0]
        (g,) = torch.autograd.grad(value, z)
        a, g = a.detach().reshape(-1, a.shape[-1]), g.reshape(-1, g.shape[-1])
        A, G, tokens = A + a.T @ a, G + g.T @ g, tokens + len(a)
    handle.remove()
    return [A / tokens, G / tokens]


def bytes_of_tensors(O, I):
    weight, A, G = (torch.empty(*shape, device="meta") for shape in ((O, I), (I, I), (O, O)))
    return [weight.nbytes * weight.numel(), A.nbytes + G.nbytes]


def bytes_as_floats(O, I):
    return 4.0 * O * O * I * I, 4.0 * (O**2 + I**2)


def bytes_in_numpy(O, I):
    sizes = np.array([O, I], dtype=np.int64)
    return 4 * sizes.prod() ** 2, 4 * (sizes @ sizes)


RIGHT = {
    "05.fisher_block": [block_by_loops, block_by_kron, block_in_single_precision],
    "05.kfac_factors": [factors_as_arrays, factors_by_outer_products],
    "05.kron_spectrum": [spectrum_as_numbers, spectrum_computed],
    "05.damped_solve": [solve_by_generalized_loops, solve_by_conjugate_gradients],
    "05.unrelated_pairs": [inputs_rearranged, gradients_rearranged_in_numpy, both_rearranged_apart, gradients_shifted],
    "05.ekfac_eigenvalues": [eigenvalues_by_loops, eigenvalues_from_gradients],
    "05.sequence_eigenvalues": [sequences_by_loops, sequences_in_numpy],
    "05.collect_by_hooks": [collected_in_lists, collected_with_autograd],
    "05.curvature_bytes": [bytes_of_tensors, bytes_as_floats, bytes_in_numpy],
}
