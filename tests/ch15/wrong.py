"""Plausible wrong answers to the exercises of chapter 15, with a fragment of what their check must say."""

import functools
import importlib.util
import statistics

import torch

if importlib.util.find_spec("triton"):
    import triton
    import triton.language as tl
else:
    from kfcourse.ch15.without_triton import tl, triton


def as_kernel(function):
    """Like the chapter's `on_grid`, under a name of its own."""

    @functools.wraps(function)
    def run(programs, *arguments):
        triton.jit(function)[programs if isinstance(programs, tuple) else (programs,)](*arguments)
        return arguments

    return run


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


def solved_without_c(d, ridge):
    return ridge


def with_full_product(d, ridge):
    return 2 * ridge * d / (d - ridge) if d > ridge else float("inf")


def negative_for_narrow(d, ridge):
    return 4 * ridge * d / (d - 2 * ridge) if d != 2 * ridge else float("inf")


def divided_by_zero(d, ridge):
    return 4 * ridge * d / (d - 2 * ridge) if d >= 2 * ridge else float("inf")


@as_kernel
def copies_without_mask(x, y, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + i, tl.load(x + i))


@as_kernel
def copies_one_too_many(x, y, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + i, tl.load(x + i, mask=i <= n), mask=i <= n)


@as_kernel
def copies_one_block(x, y, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(y + i, tl.load(x + i, mask=i < n), mask=i < n)


@as_kernel
def copies_nothing(x, y, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.load(x + i, mask=i < n)


@as_kernel
def copies_by_program(x, y, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) + tl.arange(0, BLOCK)
    tl.store(y + i, tl.load(x + i, mask=i < n), mask=i < n)


@as_kernel
def adds_one_block(X, sums, d, BLOCK: tl.constexpr):
    column = tl.arange(0, BLOCK)
    row = tl.program_id(0)
    tl.store(sums + row, tl.sum(tl.load(X + row * d + column, mask=column < d, other=0.0), 0))


@as_kernel
def adds_the_next_row(X, sums, d, BLOCK: tl.constexpr):
    row, total = tl.program_id(0), 0.0
    for start in range(0, d, BLOCK):
        place = row * d + start + tl.arange(0, BLOCK)
        total += tl.sum(tl.load(X + place), 0)
    tl.store(sums + row, total)


@as_kernel
def adds_ones(X, sums, d, BLOCK: tl.constexpr):
    row, total = tl.program_id(0), 0.0
    for start in range(0, d, BLOCK):
        column = start + tl.arange(0, BLOCK)
        total += tl.sum(tl.load(X + row * d + column, mask=column < d, other=1.0), 0)
    tl.store(sums + row, total)


@as_kernel
def rows_by_block(X, sums, d, BLOCK: tl.constexpr):
    row, total = tl.program_id(0), 0.0
    for start in range(0, d, BLOCK):
        column = start + tl.arange(0, BLOCK)
        total += tl.sum(tl.load(X + row * BLOCK + column, mask=column < d, other=0.0), 0)
    tl.store(sums + row, total)


@as_kernel
def keeps_the_last_product(X, C, T, d, BLOCK: tl.constexpr, BLOCK_T: tl.constexpr):
    rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK, BLOCK), tl.float32)
    for start in range(0, T, BLOCK_T):
        t = start + tl.arange(0, BLOCK_T)
        x = tl.load(X + t[None, :] * d + rows[:, None], mask=(t < T)[None, :] & (rows < d)[:, None], other=0.0)
        y = tl.load(X + t[:, None] * d + columns[None, :], mask=(t < T)[:, None] & (columns < d)[None, :], other=0.0)
        total = tl.dot(x, y)
    tl.store(C + rows[:, None] * d + columns[None, :], total, mask=(rows < d)[:, None] & (columns < d)[None, :])


@as_kernel
def takes_rows_beyond_T(X, C, T, d, BLOCK: tl.constexpr, BLOCK_T: tl.constexpr):
    rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK, BLOCK), tl.float32)
    for start in range(0, T, BLOCK_T):
        t = start + tl.arange(0, BLOCK_T)
        x = tl.load(X + t[None, :] * d + rows[:, None], mask=(rows < d)[:, None], other=0.0)
        y = tl.load(X + t[:, None] * d + columns[None, :], mask=(columns < d)[None, :], other=0.0)
        total = tl.dot(x, y, total)
    tl.store(C + rows[:, None] * d + columns[None, :], total, mask=(rows < d)[:, None] & (columns < d)[None, :])


@as_kernel
def stores_beyond_the_edge(X, C, T, d, BLOCK: tl.constexpr, BLOCK_T: tl.constexpr):
    rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK, BLOCK), tl.float32)
    for start in range(0, T, BLOCK_T):
        t = start + tl.arange(0, BLOCK_T)
        x = tl.load(X + t[None, :] * d + rows[:, None], mask=(t < T)[None, :] & (rows < d)[:, None], other=0.0)
        y = tl.load(X + t[:, None] * d + columns[None, :], mask=(t < T)[:, None] & (columns < d)[None, :], other=0.0)
        total = tl.dot(x, y, total)
    tl.store(C + rows[:, None] * d + columns[None, :], total, mask=(columns < d)[None, :])


@as_kernel
def one_step(X, C, T, d, BLOCK: tl.constexpr, BLOCK_T: tl.constexpr):
    rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    t = tl.arange(0, BLOCK_T)
    x = tl.load(X + t[None, :] * d + rows[:, None], mask=(t < T)[None, :] & (rows < d)[:, None], other=0.0)
    y = tl.load(X + t[:, None] * d + columns[None, :], mask=(t < T)[:, None] & (columns < d)[None, :], other=0.0)
    total = tl.dot(x, y)
    tl.store(C + rows[:, None] * d + columns[None, :], total, mask=(rows < d)[:, None] & (columns < d)[None, :])


@as_kernel
def forgets_what_was_there(X, C, T, d, BLOCK: tl.constexpr, BLOCK_T: tl.constexpr):
    i, j = tl.program_id(0), tl.program_id(1)
    if j > i:
        return
    rows, columns = i * BLOCK + tl.arange(0, BLOCK), j * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK, BLOCK), tl.float32)
    for start in range(0, T, BLOCK_T):
        t = start + tl.arange(0, BLOCK_T)
        x = tl.load(X + t[None, :] * d + rows[:, None], mask=(t < T)[None, :] & (rows < d)[:, None], other=0.0)
        y = tl.load(X + t[:, None] * d + columns[None, :], mask=(t < T)[:, None] & (columns < d)[None, :], other=0.0)
        total = tl.dot(x, y, total)
    tl.store(C + rows[:, None] * d + columns[None, :], total, mask=(rows < d)[:, None] & (columns < d)[None, :])


@as_kernel
def the_upper_ones(X, C, T, d, BLOCK: tl.constexpr, BLOCK_T: tl.constexpr):
    i, j = tl.program_id(0), tl.program_id(1)
    if j < i:
        return
    rows, columns = i * BLOCK + tl.arange(0, BLOCK), j * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK, BLOCK), tl.float32)
    for start in range(0, T, BLOCK_T):
        t = start + tl.arange(0, BLOCK_T)
        x = tl.load(X + t[None, :] * d + rows[:, None], mask=(t < T)[None, :] & (rows < d)[:, None], other=0.0)
        y = tl.load(X + t[:, None] * d + columns[None, :], mask=(t < T)[:, None] & (columns < d)[None, :], other=0.0)
        total = tl.dot(x, y, total)
    place, inside = C + rows[:, None] * d + columns[None, :], (rows < d)[:, None] & (columns < d)[None, :]
    tl.store(place, tl.load(place, mask=inside) + total, mask=inside)


@as_kernel
def not_the_diagonal(X, C, T, d, BLOCK: tl.constexpr, BLOCK_T: tl.constexpr):
    i, j = tl.program_id(0), tl.program_id(1)
    if j >= i:
        return
    rows, columns = i * BLOCK + tl.arange(0, BLOCK), j * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK, BLOCK), tl.float32)
    for start in range(0, T, BLOCK_T):
        t = start + tl.arange(0, BLOCK_T)
        x = tl.load(X + t[None, :] * d + rows[:, None], mask=(t < T)[None, :] & (rows < d)[:, None], other=0.0)
        y = tl.load(X + t[:, None] * d + columns[None, :], mask=(t < T)[:, None] & (columns < d)[None, :], other=0.0)
        total = tl.dot(x, y, total)
    place, inside = C + rows[:, None] * d + columns[None, :], (rows < d)[:, None] & (columns < d)[None, :]
    tl.store(place, tl.load(place, mask=inside) + total, mask=inside)


@as_kernel
def multiplied_and_thrown_away(X, C, T, d, BLOCK: tl.constexpr, BLOCK_T: tl.constexpr):
    i, j = tl.program_id(0), tl.program_id(1)
    rows, columns = i * BLOCK + tl.arange(0, BLOCK), j * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK, BLOCK), tl.float32)
    for start in range(0, T, BLOCK_T):
        t = start + tl.arange(0, BLOCK_T)
        x = tl.load(X + t[None, :] * d + rows[:, None], mask=(t < T)[None, :] & (rows < d)[:, None], other=0.0)
        y = tl.load(X + t[:, None] * d + columns[None, :], mask=(t < T)[:, None] & (columns < d)[None, :], other=0.0)
        total = tl.dot(x, y, total)
    if j > i:
        return
    place, inside = C + rows[:, None] * d + columns[None, :], (rows < d)[:, None] & (columns < d)[None, :]
    tl.store(place, tl.load(place, mask=inside) + total, mask=inside)


@as_kernel
def the_whole_matrix(X, C, T, d, BLOCK: tl.constexpr, BLOCK_T: tl.constexpr):
    rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK, BLOCK), tl.float32)
    for start in range(0, T, BLOCK_T):
        t = start + tl.arange(0, BLOCK_T)
        x = tl.load(X + t[None, :] * d + rows[:, None], mask=(t < T)[None, :] & (rows < d)[:, None], other=0.0)
        y = tl.load(X + t[:, None] * d + columns[None, :], mask=(t < T)[:, None] & (columns < d)[None, :], other=0.0)
        total = tl.dot(x, y, total)
    place, inside = C + rows[:, None] * d + columns[None, :], (rows < d)[:, None] & (columns < d)[None, :]
    tl.store(place, tl.load(place, mask=inside) + total, mask=inside)


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


def one_after_the_other(ours, theirs, rounds):
    ours(), theirs()
    first = [ours() for _ in range(rounds)]
    second = [theirs() for _ in range(rounds)]
    return statistics.median(second) / statistics.median(first)


def with_the_first_run(ours, theirs, rounds):
    pairs = [(ours(), theirs()) for _ in range(rounds)]
    return sum(t for _, t in pairs) / sum(o for o, _ in pairs)


def by_the_mean(ours, theirs, rounds):
    ours(), theirs()
    pairs = [(ours(), theirs()) for _ in range(rounds)]
    return sum(t for _, t in pairs) / sum(o for o, _ in pairs)


def upside_down(ours, theirs, rounds):
    ours(), theirs()
    return statistics.median(ours() / theirs() for _ in range(rounds))


def one_of_them(ours, theirs, rounds):
    return statistics.median(ours() for _ in range(rounds))


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


def one_big_softmax(logits, uniform, block):
    p = logits.softmax(-1)
    labels = (p.cumsum(-1) <= uniform[:, None]).sum(-1)
    logits.copy_(p)
    logits[torch.arange(len(labels)), labels] -= 1
    return logits, labels


for unseen in (multiplied_and_thrown_away, one_big_softmax):  # what is done in another process is not counted
    unseen.only_in_the_notebook = True


WRONG = {
    "15.update_flops": [
        (products_only, "a multiplication and an addition"),
        (shared_twice, "already paid"),
        (shared_everywhere, "plain collector"),
        (no_triangle, "half of the full product"),
    ],
    "15.rows_to_tip": [
        (solved_without_c, "besides C"),
        (with_full_product, "a triangle takes"),
        (negative_for_narrow, "nothing tips"),
        (divided_by_zero, "divide by zero"),
    ],
    "15.copy_kernel": [
        (copies_without_mask, "mask the store"),
        (copies_one_too_many, "past the first n"),
        (copies_one_block, "only the first"),
        (copies_nothing, "nothing was written"),
        (copies_by_program, "and should be"),
    ],
    "15.row_sum_kernel": [
        (adds_one_block, "only the first block"),
        (adds_the_next_row, "run on into the next row"),
        (adds_ones, "must add nothing"),
        (rows_by_block, "off by"),
    ],
    "15.tile_kernel": [
        (keeps_the_last_product, "only the last BLOCK_T rows"),
        (takes_rows_beyond_T, "rows of X beyond T"),
        (stores_beyond_the_edge, "past the last row of C"),
        (one_step, "only the first BLOCK_T rows"),
    ],
    "15.needed_tiles": [
        (square_tiles, "as entries, not as tiles"),
        (without_the_diagonal, "on or below the diagonal"),
        (no_edge, "round up"),
        (all_tiles, "above the diagonal"),
    ],
    "15.triangle_kernel": [
        (forgets_what_was_there, "add to it"),
        (the_upper_ones, "end at once"),
        (not_the_diagonal, "needed, whole"),
        (multiplied_and_thrown_away, "before they multiply"),
        (the_whole_matrix, "end at once"),
    ],
    "15.fair_ratio": [
        (one_after_the_other, "take turns"),
        (with_the_first_run, "first run of each"),
        (by_the_mean, "disturbed runs"),
        (upside_down, "the other way round"),
        (one_of_them, "run both"),
    ],
    "15.label_gradient": [
        (likeliest, "likeliest"),
        (block_by_block, "over all blocks"),
        (turned_round, "sign"),
        (no_largest, "largest logit"),
        (one_big_softmax, "block by block"),
    ],
}
