"""Plausible wrong answers to the exercises of chapter 15, with a fragment of what their check must say."""

import torch


def products_only(layers):
    return sum(O**2 + I**2 for O, I, _ in layers), sum((O**2 + (I**2 if own else 0)) // 2 for O, I, own in layers)


def shared_twice(layers):
    return sum(2 * (O**2 + I**2) for O, I, _ in layers), sum(O**2 + I**2 for O, I, _ in layers)


def shared_everywhere(layers):
    full = sum(2 * (O**2 + (I**2 if own else 0)) for O, I, own in layers)
    return full, full // 2


def no_triangle(layers):
    full = sum(2 * (O**2 + I**2) for O, I, _ in layers)
    return full, full


def one_after_the_other(flops, moved, rate, bandwidth):
    return flops / rate + moved / bandwidth, "arithmetic" if flops / rate >= moved / bandwidth else "memory"


def the_faster(flops, moved, rate, bandwidth):
    return min(flops / rate, moved / bandwidth), "arithmetic" if flops / rate >= moved / bandwidth else "memory"


def by_intensity_turned_round(flops, moved, rate, bandwidth):
    return max(flops / rate, moved / bandwidth), "memory" if flops / moved > rate / bandwidth else "arithmetic"


def square_tiles(d, block_i, block_j):
    return [(i, j) for i in range(-(-d // block_i)) for j in range(-(-d // block_j)) if j <= i]


def without_the_diagonal(d, block_i, block_j):
    return [
        (i, j) for i in range(-(-d // block_i)) for j in range(-(-d // block_j)) if (j + 1) * block_j <= i * block_i
    ]


def no_edge(d, block_i, block_j):
    return [(i, j) for i in range(d // block_i) for j in range(d // block_j) if j * block_j < (i + 1) * block_i]


def all_tiles(d, block_i, block_j):
    return [(i, j) for i in range(-(-d // block_i)) for j in range(-(-d // block_j))]


def multiplied_by_zero(C, X, mask, block):
    rows = X.to(C.dtype) * mask[:, None]
    for i in range(0, len(C), block):
        for j in range(0, i + 1, block):
            C[i : i + block, j : j + block] += rows[:, i : i + block].T @ rows[:, j : j + block]
    return C


def the_full_product(C, X, mask, block):
    rows = X[mask].to(C.dtype)
    return C + rows.T @ rows


def rounded_products(C, X, mask, block):
    rows = X[mask]
    for i in range(0, len(C), block):
        for j in range(0, i + 1, block):
            C[i : i + block, j : j + block] += rows[:, i : i + block].T @ rows[:, j : j + block]
    return C


def nothing_kept(C, X, mask, block):
    rows = X[mask].to(C.dtype)
    for i in range(0, len(C), block):
        for j in range(0, i + 1, block):
            C[i : i + block, j : j + block] = rows[:, i : i + block].T @ rows[:, j : j + block]
    return C


def likeliest(logits, uniform, block):
    p = torch.softmax(logits, -1)
    labels = logits.argmax(-1)
    p[torch.arange(len(p)), labels] -= 1
    return p, labels


def block_by_block(logits, uniform, block):
    p = torch.softmax(logits, -1)
    labels = torch.zeros(len(p), dtype=torch.int64)
    for part in p.split(block, 1):
        labels += (part.cumsum(-1) <= uniform[:, None]).sum(-1)
    labels.clamp_(max=p.shape[1] - 1)
    p[torch.arange(len(p)), labels] -= 1
    return p, labels


def turned_round(logits, uniform, block):
    p = torch.softmax(logits, -1)
    labels = (p.cumsum(-1) <= uniform[:, None]).sum(-1).clamp(max=p.shape[1] - 1)
    p[torch.arange(len(p)), labels] -= 1
    return -p, labels


def no_largest(logits, uniform, block):
    e = logits.exp()
    p = e / e.sum(-1, keepdim=True)
    labels = (p.cumsum(-1) <= uniform[:, None]).sum(-1).clamp(max=p.shape[1] - 1)
    p[torch.arange(len(p)), labels] -= 1
    return p, labels


def computed_and_thrown_away(C, X, mask, block):
    rows = X[mask].float()
    tile = torch.arange(len(C)) // block
    return torch.where(tile[None, :] > tile[:, None], C, C + rows.T @ rows)


def one_big_softmax(logits, uniform, block):
    p = logits.softmax(-1)
    labels = (p.cumsum(-1) <= uniform[:, None]).sum(-1)
    logits.copy_(p)
    logits[torch.arange(len(labels)), labels] -= 1
    return logits, labels


for unseen in (computed_and_thrown_away, one_big_softmax):  # operations in another process are not counted
    unseen.only_in_the_notebook = True


WRONG = {
    "15.update_flops": [
        (products_only, "a multiplication and an addition"),
        (shared_twice, "already paid"),
        (shared_everywhere, "plain collector"),
        (no_triangle, "half of the full product"),
    ],
    "15.roofline": [
        (one_after_the_other, "not the sum"),
        (the_faster, "slower of the two"),
        (by_intensity_turned_round, "what takes longer"),
    ],
    "15.needed_tiles": [
        (square_tiles, "as entries, not as tiles"),
        (without_the_diagonal, "on or below the diagonal"),
        (no_edge, "round up"),
        (all_tiles, "above the diagonal"),
    ],
    "15.syrk_tiles": [
        (multiplied_by_zero, "0 · NaN"),
        (the_full_product, "above the diagonal changed"),
        (rounded_products, "rounded to bfloat16"),
        (nothing_kept, "add to it"),
        (computed_and_thrown_away, "instead of throwing them away"),
    ],
    "15.label_gradient": [
        (likeliest, "likeliest"),
        (block_by_block, "over all blocks"),
        (turned_round, "sign"),
        (no_largest, "largest logit"),
        (one_big_softmax, "block by block"),
    ],
}
