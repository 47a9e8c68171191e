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


def bytes_of_the_weight(O, I):
    return 4 * O * I, 4 * (O**2 + I**2)


def numbers_not_bytes(O, I):
    return (O * I) ** 2, O**2 + I**2


def bytes_of_diagonals(O, I):
    return 4 * (O * I) ** 2, 4 * (O + I)


WRONG = {
    "05.fisher_block": [
        (block_summed, "divide by T"),
        (block_input_first, "output first"),
        (block_of_means, "product of means"),
        (block_of_mean_gradient, "square first"),
    ],
    "05.kfac_factors": [
        (factors_centred, "not centred"),
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
        (sequences_added_first, "on its own"),
        (sequences_per_sequence, "not by the number of sequences"),
    ],
    "05.curvature_bytes": [
        (bytes_of_the_weight, "the weight itself"),
        (numbers_not_bytes, "4 bytes"),
        (bytes_of_diagonals, "diagonals"),
    ],
}
