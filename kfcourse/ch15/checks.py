"""Exercises of chapter 15: the bill of the updates, the roofline, which tiles, the update in tiles, labels and gradient
in place.
"""

import math

import torch
from torch.utils.flop_counter import FlopCounterMode

from kfcourse import Exercise
from kfcourse.learning.results import Largest


def check_update_flops(function):
    one = function([(3, 2, True)])
    assert isinstance(one, (tuple, list)) and len(one) == 2, "return a pair: (full products, triangles)"
    assert one[0] != 13, (
        "half of what a full product takes: every one of its d x d entries needs a multiplication and an addition "
        "for each token, "
        "so a factor of width d costs 2 d²"
    )
    assert one[0] == 26, f"one layer [3, 2] takes 2 · 9 + 2 · 4 = 26 with full products, yours says {one[0]}"
    assert one[1] != 26, "the triangle is half of the full product: d² for a factor of width d"
    assert one[1] == 13, f"one layer [3, 2] takes 9 + 4 = 13 with triangles, yours says {one[1]}"
    layers = [(8, 2, True), (8, 2, False), (2, 8, True)]
    full, triangles = function(layers)
    assert full != 400, "the plain collector computes a shared A again for every layer: count it there"
    assert triangles != 204, (
        "an A that another layer has already paid for counts once: look at the third entry of each layer"
    )
    assert (full, triangles) == (408, 200), (
        f"for the three layers of a small MLP the pair is (408, 200), yours is ({full}, {triangles})"
    )


def check_roofline(function):
    cases = [(800, 10, 100, 10, 8, "arithmetic"), (100, 90, 100, 10, 9, "memory"), (100, 10, 100, 10, 1, "arithmetic")]
    for flops, moved, rate, bandwidth, seconds, limit in cases:
        got = function(flops, moved, rate, bandwidth)
        where = f"{flops} operations and {moved} bytes at {rate} and {bandwidth} a second"
        assert isinstance(got, (tuple, list)) and len(got) == 2, "return a pair: (seconds, what limits)"
        assert got[1] in ("arithmetic", "memory"), f"the second is 'arithmetic' or 'memory', not {got[1]!r}"
        assert flops == moved * 10 or got[0] != flops / rate + moved / bandwidth, (
            f"{where}: both go on at the same time, so take the longer one, not the sum"
        )
        assert flops == moved * 10 or got[0] != min(flops / rate, moved / bandwidth), (
            f"{where}: the work is done when the slower of the two is done"
        )
        assert math.isclose(got[0], seconds), f"{where} take {seconds} seconds at least, yours says {got[0]}"
        if flops == moved * 10:
            assert got[1] == limit, "where both take equally long, say 'arithmetic'"
        assert got[1] == limit, f"{where}: the limit is {limit}, yours says {got[1]}; what limits is what takes longer"


def check_needed_tiles(function):
    for d, block_i, block_j in [(8, 4, 4), (16, 8, 4), (16, 4, 8), (10, 4, 4), (50, 16, 32), (7, 16, 16), (33, 8, 16)]:
        wanted = {(r // block_i, c // block_j) for r in range(d) for c in range(r + 1)}
        got = function(d, block_i, block_j)
        assert isinstance(got, (list, tuple)), f"a list of pairs is wanted, not {type(got).__name__}"
        got_set, where = {tuple(pair) for pair in got}, f"d = {d}, tiles of {block_i} x {block_j}"
        missing, surplus = sorted(wanted - got_set), sorted(got_set - wanted)
        edge = d % block_i or d % block_j
        if missing and edge and all((i + 1) * block_i > d or (j + 1) * block_j > d for i, j in missing):
            raise AssertionError(
                f"{where}: the tiles at the edge are missing, {missing[0]} for one; d need not be a multiple: round up"
            )
        assert not missing, (
            f"{where}: tile {missing[0]} is missing, though it holds entries on or below the diagonal; "
            "compare its last row with its first column, as entries, not as tiles"
        )
        assert not surplus, f"{where}: tile {surplus[0]} lies wholly above the diagonal or outside of C"
        assert len(got) == len(got_set), f"{where}: a tile is listed twice, so it would be added twice"


def _update(seed, T, d, dtype=torch.float32):
    g = torch.Generator().manual_seed(seed)
    X, C, mask = (
        torch.randn(T, d, generator=g).to(dtype),
        torch.randn(d, d, generator=g),
        torch.rand(T, generator=g) < 0.7,
    )
    mask[0] = True
    X[~mask] = torch.nan
    return C, X, mask


def check_syrk_tiles(function):
    for T, d, block, dtype in [
        (9, 8, 4, torch.float32),
        (9, 10, 4, torch.float32),
        (5, 3, 4, torch.float32),
        (2000, 12, 4, torch.bfloat16),
    ]:
        C, X, mask = _update(T + d, T, d, dtype)
        exact = C.double() + X[mask].double().T @ X[mask].double()
        with FlopCounterMode(display=False) as counted:
            got = function(C.clone(), X.clone(), mask.clone(), block)
        where = f"T = {T}, d = {d}, block {block}, X in {str(dtype).removeprefix('torch.')}"
        assert torch.is_tensor(got) and got.shape == C.shape, f"{where}: C [{d}, {d}] is wanted back"
        assert got.dtype == torch.float32, f"{where}: the sum is {str(got.dtype).removeprefix('torch.')}, not float32"
        assert torch.isfinite(got.tril()).all(), (
            f"{where}: rows that do not count hold NaN, and 0 · NaN is NaN: leave them out instead of multiplying by "
            "zero"
        )
        scale = exact.norm()
        assert (got.double() - (exact - C.double())).tril().norm() > 1e-3 * C.norm(), (
            f"{where}: what C held before is lost: add to it"
        )
        error = ((got.double() - exact).tril().norm() / scale).item()
        assert not 1e-4 < error < 3e-2 or dtype == torch.float32, (
            f"{where}: relative error {error:.0e}. The product was rounded to bfloat16 before it "
            "was added: make the block float32 first"
        )
        assert error < 1e-5, f"{where}: the lower triangle is off by {error:.0e} of C"
        tile = torch.arange(d) // block
        above = tile[None, :] > tile[:, None]
        assert torch.equal(got[above], C[above]), (
            f"{where}: tiles above the diagonal changed: they are not to be computed"
        )
        needed = 2 * T * int((~above).sum())
        assert counted.get_total_flops() <= needed, (
            f"{where}: {counted.get_total_flops():,} operations, and the tiles on and below the diagonal need at most "
            f"{needed:,}: multiply tile by tile, and leave out those above instead of throwing them away"
        )


def check_label_gradient(function):
    g, sizes = torch.Generator().manual_seed(0), []
    for T, V, block in [(4, 7, 7), (6, 10, 4), (50, 33, 8)]:
        logits, uniform = (
            2 * torch.randn(T, V, generator=g, dtype=torch.float64),
            torch.rand(T, generator=g, dtype=torch.float64),
        )
        p = torch.softmax(logits, -1)
        wanted = (p.cumsum(-1) <= uniform[:, None]).sum(-1)
        mine = logits.clone()
        with Largest(mine) as new:
            got = function(mine, uniform.clone(), block)
        where = f"{T} rows, {V} words, blocks of {block}"
        assert isinstance(got, (tuple, list)) and len(got) == 2, "return a pair: (gradient [T, V], labels [T])"
        gradient, labels = got
        shapes = [list(gradient.shape), list(labels.shape)]
        assert shapes == [[T, V], [T]], f"{where}: gradient and labels have shapes {shapes}"
        likeliest = logits.argmax(-1)
        assert not torch.equal(labels, likeliest) or torch.equal(wanted, likeliest), (
            f"{where}: these are the likeliest words; draw them with `uniform`"
        )
        wrong = labels != wanted
        assert not wrong.any(), (
            f"{where}: {int(wrong.sum())} labels differ. The label is the first word at which the sum of "
            "probabilities, "
            "over all blocks so far, exceeds u"
        )
        onehot = torch.nn.functional.one_hot(wanted, V).to(p)
        assert not torch.allclose(gradient, onehot - p), (
            f"{where}: the sign is turned round: the loss is -log p(label), so it is softmax - onehot"
        )
        assert not torch.allclose(gradient, p), f"{where}: the one at the label is not subtracted"
        assert torch.allclose(gradient, p - onehot), (
            f"{where}: the gradient is not softmax - onehot(label); its rows must sum to zero"
        )
        if block < V:
            sizes.append((new.entries, T * V, where))
    huge = torch.tensor([[1000.0, 1000.0, -1000.0]], dtype=torch.float64)
    gradient, labels = function(huge, torch.tensor([0.75], dtype=torch.float64), 2)
    assert torch.isfinite(gradient).all(), "logits of 1000 give NaN: subtract the row's largest logit before exp"
    assert labels.item() == 1, "two equal logits and u = 0.75: the label is the second"
    for largest, all_logits, where in sizes:
        assert largest < all_logits, (
            f"{where}: a new tensor of {largest:,} entries was made, as many as the logits have or more: with a "
            "hundred thousand words that is the memory this exercise is about. Go block by block, and write into the "
            "logits"
        )


EXERCISES = {
    "15.update_flops": Exercise(
        "The bill of the updates",
        1,
        6,
        (
            "One factor of width d, one token: how many entries has the outer product, and what does adding it cost "
            "for each?",
            "A multiplication and an addition for each of d² entries. A triangle has half as many entries.",
            "Full: `sum(2 * (O**2 + I**2) for ...)`. Triangles: `sum(O**2 + (I**2 if own_A else 0) for ...)`.",
        ),
        check_update_flops,
        "Two savings in one line: half of a symmetric matrix is known from the other half, and layers that read one "
        "input have one A.",
    ),
    "15.roofline": Exercise(
        "The roof",
        1,
        5,
        (
            "How long would the arithmetic take alone? How long the traffic?",
            "Good kernels do both at once, so the longer of the two is the bound.",
            "`arithmetic, memory = flops / rate, moved / bandwidth`; then `max` of them, and which it was.",
        ),
        check_roofline,
        "It is a bound from below. No work beats it; bad kernels miss it by far.",
    ),
    "15.needed_tiles": Exercise(
        "Which tiles",
        2,
        10,
        (
            "A tile is needed if one of its entries has column <= row. Which of its entries is the likeliest to?",
            "The one in its last row and first column. Tiles need not be square, so compare entries.",
            "Rows of tiles: `-(-d // block_i)`. Keep (i, j) where `j * block_j < min((i + 1) * block_i, d)`.",
        ),
        check_needed_tiles,
        "It is the line with `return` in the Triton kernel below: programs above the diagonal end at once.",
    ),
    "15.syrk_tiles": Exercise(
        "The update in tiles",
        4,
        15,
        (
            "Take the rows that count first. Then two loops over tiles.",
            "`C[i : i + block, j : j + block] += ...` for j up to i. Python cuts slices at the edge by itself.",
            "`rows = X[mask].to(C.dtype)`; in the loops `rows[:, i : i + block].T @ rows[:, j : j + block]`.",
        ),
        check_syrk_tiles,
        "bfloat16 times bfloat16 is exact in float32, so nothing is lost by multiplying first and summing in "
        "float32; only the order of additions differs.",
    ),
    "15.label_gradient": Exercise(
        "Labels and gradient in place",
        4,
        20,
        (
            "Three sweeps over blocks of columns: the largest logit; the sum of exponentials; then label and gradient.",
            "The label is the first word whose cumulative sum passes `u * total`. Count the words that have not "
            "passed it: that count *is* the label.",
            "Keep `before`, the sum over earlier blocks. In each block, `labels += (before[:, None] + e.cumsum(-1) "
            "<= target[:, None]).sum(-1)`; "
            "write `e / total[:, None]` over the block; at the end subtract one at the labels.",
        ),
        check_label_gradient,
        "Nothing larger than a block was made. Divide only at the end, and compare with `u * total` instead: one "
        "division a row.",
    ),
}
