"""Right answers to the exercises of chapter 10, of unusual form."""

import numpy as np
import torch


def as_fractions():
    return torch.tensor([5.0, 13.0]).div(3).tolist()


def with_searchsorted(Pi, edges):
    rank = (-Pi.flatten()).argsort(stable=True).argsort()
    ends = torch.tensor([round(e * Pi.numel()) for e in edges])
    return torch.searchsorted(ends, rank, right=True).view(Pi.shape)


def with_a_sorted_list(Pi, edges):
    values = Pi.flatten().tolist()
    order = sorted(range(len(values)), key=lambda k: -values[k])
    found = torch.zeros(len(values), dtype=torch.int32)
    for end in (round(e * len(values)) for e in edges):
        found[order[end:]] += 1
    return found.reshape(Pi.shape)


def by_counts(x, Q_A, pairs):
    size = (x @ Q_A).abs().mean(0)
    counts = torch.stack([(pairs == b).sum(0) for b in range(int(pairs.max()) + 1)]).to(size)
    return counts @ size / counts.sum(1)


def pair_by_pair(x, Q_A, pairs):
    found = [[] for _ in range(int(pairs.max()) + 1)]
    for row in pairs:
        for j, band in enumerate(row.tolist()):
            found[band].append((x @ Q_A[:, j]).norm(dim=0, p=1) / len(x))
    return torch.stack([torch.stack(sizes).mean() for sizes in found])


def token_by_token(model, name, items):
    """Every prefix in a pass of its own."""
    rows = []
    for prompt, answer in items:
        for k in range(len(answer)):
            seen = []
            handle = model.get_submodule(name).register_forward_hook(
                lambda module, given, output: seen.append(given[0])
            )
            try:
                model(input_ids=torch.tensor([prompt + answer[:k]]))
            finally:
                handle.remove()
            rows.append(seen[0][0, -1])
    return torch.stack(rows).detach()


def padded_batch(model, name, items):
    seen = []
    handle = model.get_submodule(name).register_forward_pre_hook(
        lambda module, given: seen.append(given[0].detach().clone())
    )
    texts = [torch.tensor(p + a) for p, a in items]
    with torch.no_grad():
        model(input_ids=torch.nn.utils.rnn.pad_sequence(texts, batch_first=True))
    handle.remove()
    return torch.cat([seen[0][n, len(p) - 1 : len(p + a) - 1] for n, (p, a) in enumerate(items)])


def by_sorting_noise(pairs, generator):
    places = torch.rand(pairs.numel(), generator=generator).argsort()
    return pairs.reshape(-1)[places].reshape(pairs.shape)


def by_numpy(pairs, generator):
    draw = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
    return torch.from_numpy(draw.permutation(pairs.numpy().ravel()).reshape(pairs.shape))


RIGHT = {
    "10.by_hand": [as_fractions],
    "10.bands": [with_searchsorted, with_a_sorted_list],
    "10.band_activity": [by_counts, pair_by_pair],
    "10.answer_inputs": [token_by_token, padded_batch],
    "10.shuffled_bands": [by_sorting_noise, by_numpy],
}
