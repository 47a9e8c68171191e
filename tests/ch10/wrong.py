"""Plausible wrong answers to the exercises of chapter 10, with a fragment of what their check must say."""

import torch


def _cut(order, ends):
    rank = torch.empty(len(order), dtype=torch.int64)
    rank[order] = torch.arange(len(order))
    return sum((rank >= end).long() for end in ends)


def bands_of_mass(Pi, edges):
    values = Pi.flatten()
    order = values.argsort(descending=True)
    before = values[order].cumsum(0) - values[order]
    ends = [int((before < e * values.sum()).sum()) for e in edges]
    return _cut(order, ends).view_as(Pi)


def flattest_first(Pi, edges):
    return _cut(Pi.flatten().argsort(), [round(e * Pi.numel()) for e in edges]).view_as(Pi)


def edges_as_widths(Pi, edges):
    ends = torch.tensor([round(e * Pi.numel()) for e in edges]).cumsum(0).tolist()
    return _cut(Pi.flatten().argsort(descending=True), ends).view_as(Pi)


def _along(size, pairs):
    return torch.stack([size.expand(len(pairs), -1)[pairs == b].mean() for b in range(int(pairs.max()) + 1)])


def rows_as_eigenvectors(x, Q_A, pairs):
    return _along((x @ Q_A.T).abs().mean(0), pairs)


def mean_then_abs(x, Q_A, pairs):
    return _along((x @ Q_A).mean(0).abs(), pairs)


def squares(x, Q_A, pairs):
    return _along((x @ Q_A).square().mean(0), pairs)


def once_a_band(x, Q_A, pairs):
    size = (x @ Q_A).abs().mean(0)
    return torch.stack([size[(pairs == b).any(0)].mean() for b in range(int(pairs.max()) + 1)])


def halves_by_row():
    return 3.0, 3.0


def once_a_direction():
    return 2.0, 4.0


def sums_of_three():
    return 5.0, 13.0


def weighted_by_curvature():
    return 23.0, 31 / 3


def flatter_first():
    return 13 / 3, 5 / 3


def _seen(model, name, items):
    seen = []
    layer = model.get_submodule(name)
    handle = layer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0][0].detach()))
    for prompt, answer in items:
        model(input_ids=torch.tensor([prompt + answer]))
    handle.remove()
    return seen


def every_token(model, name, items):
    return torch.cat(_seen(model, name, items))


def at_the_answer(model, name, items):
    return torch.cat([x[len(p) :] for x, (p, _) in zip(_seen(model, name, items), items)])


def prompts_end(model, name, items):
    return torch.cat([x[len(p) - 1 : len(p)] for x, (p, _) in zip(_seen(model, name, items), items)])


def last_item_first(model, name, items):
    seen = _seen(model, name, items)
    return torch.cat([x[len(p) - 1 : -1] for x, (p, _) in reversed(list(zip(seen, items)))])


def hook_left(model, name, items):
    seen = []
    model.get_submodule(name).register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0][0].detach()))
    for prompt, answer in items:
        model(input_ids=torch.tensor([prompt + answer]))
    return torch.cat([x[len(p) - 1 : -1] for x, (p, _) in zip(seen, items)])


def outputs_padded(model, name, items):
    seen = []
    layer = model.get_submodule(name)
    handle = layer.register_forward_hook(lambda module, inputs, output: seen.append(output[0].detach()))
    for prompt, answer in items:
        model(input_ids=torch.tensor([prompt + answer]))
    handle.remove()
    found = torch.cat([x[len(p) - 1 : -1] for x, (p, _) in zip(seen, items)])
    return torch.nn.functional.pad(found, (0, model.get_submodule(name).in_features - found.shape[1]))


def drawn_anew(pairs, generator):
    return torch.randint(0, int(pairs.max()) + 1, pairs.shape, generator=generator)


def rows_only(pairs, generator):
    return pairs[torch.randperm(len(pairs), generator=generator)]


def columns_only(pairs, generator):
    return pairs[:, torch.randperm(pairs.shape[1], generator=generator)]


def without_the_generator(pairs, generator):
    return pairs.flatten()[torch.randperm(pairs.numel())].view_as(pairs)


def always_the_same(pairs, generator):
    return pairs.flatten().flip(0).view_as(pairs)


WRONG = {
    "10.bands": [
        (bands_of_mass, "not of the mass"),
        (flattest_first, "band 0 is the sharpest"),
        (edges_as_widths, "each counts from the sharpest"),
    ],
    "10.band_activity": [
        (rows_as_eigenvectors, "columns of Q_A"),
        (mean_then_abs, "cancel"),
        (squares, "mean of squares"),
        (once_a_band, "once for every *pair*"),
    ],
    "10.by_hand": [
        (halves_by_row, "rows of Pi"),
        (once_a_direction, "for every *pair*"),
        (sums_of_three, "sums over three"),
        (weighted_by_curvature, "do not weigh"),
        (flatter_first, "wrong order"),
    ],
    "10.answer_inputs": [
        (every_token, "one for each token of the texts"),
        (at_the_answer, "one place too late"),
        (prompts_end, "one row an item"),
        (last_item_first, "another order"),
        (hook_left, "a hook is still on the layer"),
        (outputs_padded, "and not the output"),
    ],
    "10.shuffled_bands": [
        (drawn_anew, "12, 18 and 30 pairs"),
        (rows_only, "whole rows or columns"),
        (columns_only, "whole rows or columns"),
        (without_the_generator, "two different results"),
        (always_the_same, "every generator gives the same"),
    ],
}
