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


def neuron_with_minus(p, k, phase_a, phase_b):
    angle = TURN * k / p * torch.arange(p)
    return torch.cos(angle + phase_a), torch.cos(angle + phase_b), -torch.cos(angle + phase_a + phase_b)


def neuron_ignores_phases(p, k, phase_a, phase_b):
    angle = TURN * k / p * torch.arange(p)
    return torch.cos(angle), torch.cos(angle), torch.cos(angle)


def neuron_of_frequency_one(p, k, phase_a, phase_b):
    angle = TURN / p * torch.arange(p)
    return torch.cos(angle + phase_a), torch.cos(angle + phase_b), torch.cos(angle + phase_a + phase_b)


def network_of_one_frequency(p):
    angle = TURN / p * torch.arange(p, dtype=torch.float64)[:, None]
    i, j = torch.cartesian_prod(torch.arange(3), torch.arange(3)).T * TURN / 3
    return {"U": torch.cos(angle + i), "V": torch.cos(angle + j), "W": torch.cos(angle + i + j)}


def network_without_phases(p):
    angle = TURN / p * torch.arange(p, dtype=torch.float64)[:, None] * torch.arange(1, (p + 1) // 2)
    return {name: torch.cos(angle) for name in "UVW"}


def network_by_heart(p):
    a, b = torch.cartesian_prod(torch.arange(p), torch.arange(p)).T
    return {"U": torch.eye(p)[:, a], "V": torch.eye(p)[:, b], "W": torch.eye(p)[:, (a + b) % p]}


def network_on_its_side(p):
    return {name: matrix.T for name, matrix in network_of_one_frequency(p).items()}


def price_without_margins():
    return 62856 / 3, 62856 / 3 / 97**2


def price_divided_by_the_margin():
    count = 62856 / 218.25 / (3 / 4)
    return count, count / 97**2


def price_of_margin_one():
    count = 62856 / 218.25 ** (2 / 3) / 3
    return count, count / 97**2


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


def _sums(p):
    return (torch.arange(p)[:, None] + torch.arange(p)) % p


def drawn_with_replacement(p, seed):
    return torch.randint(p, (p, p), generator=torch.Generator().manual_seed(seed))


def new_names_of_answers(p, seed):
    return torch.randperm(p, generator=torch.Generator().manual_seed(seed))[_sums(p)]


def new_names_of_numbers(p, seed):
    generator = torch.Generator().manual_seed(seed)
    rows, columns = (torch.randperm(p, generator=generator) for _ in range(2))
    return _sums(p)[rows][:, columns]


def unseeded(p, seed):
    return _sums(p).flatten()[torch.randperm(p * p)].view(p, p)


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
        (neuron_with_minus, "wrong sign"),
        (neuron_ignores_phases, "Does phase_a move u"),
        (neuron_of_frequency_one, "not k ="),
    ],
    "03.clock_network": [
        (network_of_one_frequency, "Which frequencies"),
        (network_without_phases, "all combinations of three phases"),
        (network_by_heart, "too many"),
        (network_on_its_side, "one row for each number"),
    ],
    "03.memory_price": [
        (price_without_margins, "bare squared norms"),
        (price_divided_by_the_margin, "third power"),
        (price_of_margin_one, "not 1"),
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
    "03.no_rule": [
        (drawn_with_replacement, "each answer occurs"),
        (new_names_of_answers, "whatever name"),
        (new_names_of_numbers, "new names"),
        (unseeded, "same seed gave another"),
    ],
    "03.keep_directions": [
        (directions_one_too_few, "less than"),
        (directions_of_smallest, "more than needed"),
        (directions_centred, "uncentred"),
        (directions_as_rows, "[width, rank]"),
    ],
}
