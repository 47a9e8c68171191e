"""Plausible wrong answers to the exercises of chapter 03, with a fragment of what their check must say."""

import torch

TURN = 2 * torch.pi


def neuron_without_turns(p, k, phase_a, phase_b):
    n = torch.arange(p)
    return torch.cos(k * n + phase_a), torch.cos(k * n + phase_b), torch.cos(k * n + phase_a + phase_b)


def neuron_answers_without_phase(p, k, phase_a, phase_b):
    angle = TURN * k / p * torch.arange(p)
    return torch.cos(angle + phase_a), torch.cos(angle + phase_b), torch.cos(angle)


def neuron_doubles_the_frequency(p, k, phase_a, phase_b):
    angle = TURN * k / p * torch.arange(p)
    return torch.cos(angle + phase_a), torch.cos(angle + phase_b), torch.cos(2 * angle + phase_a + phase_b)


def purity_with_the_constant(weight):
    spectrum = torch.fft.rfft(weight, dim=0).abs() ** 2
    return spectrum.max(0).values / spectrum.sum(0)


def purity_of_amplitudes(weight):
    spectrum = torch.fft.rfft(weight, dim=0)[1:].abs()
    return spectrum.max(0).values / spectrum.sum(0)


def purity_with_both_halves(weight):
    spectrum = torch.fft.fft(weight, dim=0)[1:].abs() ** 2
    return spectrum.max(0).values / spectrum.sum(0)


def purity_of_all_columns(weight):
    spectrum = torch.fft.rfft(weight, dim=0)[1:].abs() ** 2
    return (spectrum.sum(1) / spectrum.sum()).max()


def _groups(pairs, p):
    return [pairs.sum(1) % p == c for c in range(p)]


def mean_forgets_to_divide(outputs, pairs, p):
    return torch.stack([outputs[rows].sum(0) for rows in _groups(pairs, p)])


def mean_divides_by_p(outputs, pairs, p):
    return torch.stack([outputs[rows].sum(0) / p for rows in _groups(pairs, p)])


def mean_without_modulo(outputs, pairs, p):
    return torch.stack([outputs[pairs.sum(1) == c].mean(0) for c in range(p)])


def rank_counts(G):
    return torch.linalg.matrix_rank(G)


def rank_not_squared(G):
    return G.trace() / G.square().sum()


def rank_of_the_norm(G):
    return G.trace() / G.norm()


def _eigen(h):
    values, vectors = torch.linalg.eigh(h.T @ h / len(h))
    return values.flip(0), vectors.flip(1)


def directions_one_too_few(h, mass):
    values, vectors = _eigen(h)
    return vectors[:, : max(1, int((values.cumsum(0) < mass * values.sum()).sum()))]


def directions_of_smallest(h, mass):
    values, vectors = torch.linalg.eigh(h.T @ h / len(h))
    return vectors[:, : int((values.cumsum(0) < mass * values.sum()).sum()) + 1]


def directions_centred(h, mass):
    values, vectors = torch.linalg.eigh(torch.cov(h.T))
    values, vectors = values.flip(0), vectors.flip(1)
    return vectors[:, : int((values.cumsum(0) < mass * values.sum()).sum()) + 1]


def directions_as_rows(h, mass):
    values, vectors = _eigen(h)
    return vectors[:, : int((values.cumsum(0) < mass * values.sum()).sum()) + 1].T


WRONG = {
    "03.wave_neuron": [
        (neuron_without_turns, "no 2 pi / p"),
        (neuron_answers_without_phase, "the phases add up"),
        (neuron_doubles_the_frequency, "twice the frequency"),
    ],
    "03.purity": [
        (purity_with_the_constant, "leave frequency 0 out"),
        (purity_of_amplitudes, "power is its square"),
        (purity_with_both_halves, "each frequency counted once"),
        (purity_of_all_columns, "shape []"),
    ],
    "03.mean_by_answer": [
        (mean_forgets_to_divide, "these are sums"),
        (mean_divides_by_p, "not by p"),
        (mean_without_modulo, "modulo p"),
    ],
    "03.effective_rank": [
        (rank_counts, "2.91"),
        (rank_not_squared, "must not change"),
        (rank_of_the_norm, "effective rank 6"),
    ],
    "03.keep_directions": [
        (directions_one_too_few, "less than"),
        (directions_of_smallest, "more than needed"),
        (directions_centred, "uncentred"),
        (directions_as_rows, "[width, rank]"),
    ],
}
