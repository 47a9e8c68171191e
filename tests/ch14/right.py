"""Right answers to the exercises of chapter 14 in forms that differ from the course's own."""

import copy
from itertools import permutations

import numpy as np
import torch


def as_arrays():
    k1, k2 = np.array([1.0, 1.0]), np.array([1.0, 0.5])
    step = 0.5 * 1.0 * k1
    return 1 - step @ k2, -1 - step @ k2


def by_interpolation(rows, level):
    for i, (tokens, value) in enumerate(rows):
        if value >= level:
            if not i:
                return tokens
            (t0, v0), (t1, v1) = rows[i - 1], rows[i]
            return np.interp(level, [v0, v1], [t0, t1])


def by_sgd(model, ids, looks, measure, rate, batch):
    """Rounds of whole permutations, plain gradient descent, looks between the batches."""
    trained, rows = copy.deepcopy(model), []
    stream = [b for _ in range(looks[-1]) for b in torch.randperm(len(ids)).split(batch) if len(b) == batch]
    for step in range(looks[-1] + 1):
        if step in looks:
            with torch.no_grad():
                rows.append([step * batch * ids.shape[1], measure(trained)])
        if step < looks[-1]:
            taken = ids[stream[step]]
            log_p = trained(input_ids=taken).logits[:, :-1].log_softmax(-1)
            loss = -log_p.gather(2, taken[:, 1:, None]).mean()
            gradients = torch.autograd.grad(loss, list(trained.parameters()))
            with torch.no_grad():
                for p, g in zip(trained.parameters(), gradients, strict=True):
                    p -= 20 * rate * g
    return rows


def by_permutations(edited, control):
    """Every order of the pool: each choice of a first group comes equally often."""
    pool, n = np.array([*edited, *control]), len(edited)
    orders = np.array(list(permutations(range(len(pool)))))
    differences = pool[orders][:, :n].mean(1) - pool[orders][:, n:].mean(1)
    return (differences >= np.mean(edited) - np.mean(control) - 1e-9).mean()


RIGHT = {
    "14.one_step": [as_arrays],
    "14.tokens_until": [by_interpolation],
    "14.attack": [by_sgd],
    "14.by_chance": [by_permutations],
}
