"""Right answers to the exercises of chapter 03 in forms that differ from the course's own."""

import math
import random

import numpy as np
import torch

from kfaclib.toy import grokking as g


def by_sines(p, k, phase_a, phase_b):
    """A quarter of a turn later everywhere: w has to follow by half a turn."""
    angle = 2 * math.pi * k / p * np.arange(p)
    return np.sin(angle + phase_a), np.sin(angle + phase_b), -np.cos(angle + phase_a + phase_b)


def the_other_way_round(p, k, phase_a, phase_b):
    """Frequency p - k is the same wave run backwards."""
    angle = 2 * math.pi * (p - k) / p * torch.arange(p)
    return [torch.cos(angle + phase_a), torch.cos(angle + phase_b), torch.cos(angle + phase_a + phase_b)]


def louder_and_negative(p, k, phase_a, phase_b):
    angle = 2 * math.pi * k / p * torch.arange(p)
    return -3 * torch.cos(angle + phase_a), -torch.cos(angle + phase_b), 0.1 * torch.cos(angle + phase_a + phase_b)


def one_by_one(p, k, phase_a, phase_b):
    turn = 2 * math.pi * k / p
    u = [math.cos(turn * n + phase_a) for n in range(p)]
    v = [math.cos(turn * n + phase_b) for n in range(p)]
    w = [math.cos(turn * n + phase_a + phase_b) for n in range(p)]
    return u, v, w


def four_phases(p):
    """Phases in steps of a quarter of a turn cancel as well; two for a and b each that differ by a quarter suffice."""
    parts = {"U": [], "V": [], "W": []}
    for k in range(1, (p + 1) // 2):
        angle = 2 * np.pi * k / p * np.arange(p)
        for i in (0, np.pi / 2, np.pi, 3 * np.pi / 2):
            for j in (0, np.pi / 2):
                parts["U"].append(np.cos(angle + i))
                parts["V"].append(np.cos(angle + j))
                parts["W"].append(np.cos(angle + i + j))
    return {name: np.stack(columns, 1) for name, columns in parts.items()}


def as_floats():
    return [1456.0, 0.155]


def by_full_transform(weight):
    spectrum = np.abs(np.fft.fft(weight.numpy() - weight.numpy().mean(0), axis=0)) ** 2
    half = spectrum[1 : (len(weight) + 1) // 2]
    return half.max(0) / half.sum(0)


def pair_by_pair(outputs, pairs, p):
    groups = {c: [] for c in range(p)}
    for row, (a, b) in zip(outputs.numpy(), pairs.tolist(), strict=True):
        groups[(a + b) % p].append(row)
    return np.stack([np.mean(groups[c], 0) for c in range(p)])


def with_python(p, seed):
    answers = [(a + b) % p for a in range(p) for b in range(p)]
    random.Random(seed).shuffle(answers)
    return np.array(answers).reshape(p, p)


def answers_in_turn(p, seed):
    """Each answer p times, without looking at the addition table."""
    answers = torch.arange(p).repeat(p)
    return answers[torch.randn(p * p, generator=torch.Generator().manual_seed(seed)).argsort()].view(p, p).float()


def by_svd(h, mass):
    _, S, V = torch.linalg.svd(h, full_matrices=False)
    share = (S**2).cumsum(0) / (S**2).sum()
    return -V[: int((share < mass).sum()) + 1].T.numpy()


RIGHT = {
    "03.wave_neuron": [by_sines, the_other_way_round, louder_and_negative, one_by_one],
    "03.clock_network": [g.clock, four_phases],
    "03.memory_price": [as_floats],
    "03.purity": [by_full_transform],
    "03.mean_by_answer": [pair_by_pair],
    "03.no_rule": [with_python, answers_in_turn],
    "03.keep_directions": [by_svd],
}
