"""Chapter 15: fresh inputs for every exercise, and a question of one's own for every student."""

import math

import torch

from kfcourse.grading.variants import Variant, one_of, real, tenths, whole


def _layer_list(g):
    return ([(whole(g, 2, 40), whole(g, 2, 40), whole(g, 0, 1) == 1) for _ in range(whole(g, 3, 7))],)


def _more_outputs(g):
    c = whole(g, 1, 9)
    return (
        f"Every layer has {c} output{'s' * (c > 1)} more.",
        lambda ref: lambda layers: ref([(O + c, I, own) for O, I, own in layers]),
    )


def _start_up(g):
    c = whole(g, 1, 9)
    return (
        f"Nothing takes less than {c} seconds; what limits stays what it was.",
        lambda ref: lambda *args: (max(ref(*args)[0], c), ref(*args)[1]),
    )


def _band(g):
    c = whole(g, 1, 12)

    def function(ref):
        def needed_tiles(d, block_i, block_j):
            rows, columns = range(-(-d // block_i)), range(-(-d // block_j))
            return [(i, j) for i in rows for j in columns if j * block_j < min((i + 1) * block_i, d) + c]

        return needed_tiles

    return f"Entries with column <= row + {c} are wanted, too.", function


def _same_tiles(a, b, _):
    return set(a) == set(map(tuple, b)) and len(a) == len(b)


def _masked_update(g):
    T, d = whole(g, 4, 30), whole(g, 5, 20)
    X, mask = real(g, T, d), torch.rand(T, generator=g) < 0.6
    mask[:2] = torch.tensor([True, False])
    X[~mask] = math.nan
    return real(g, d, d).float(), X.to(one_of(g, torch.float32, torch.bfloat16)), mask, whole(g, 2, 6)


def _faded(g):
    c = tenths(g, 0.1, 0.9)

    def function(ref):
        def syrk_tiles(C, X, mask, block):
            new = ref(torch.zeros_like(C), X, mask, block)
            tile = torch.arange(len(C)) // block
            return torch.where(tile[None, :] > tile[:, None], C, c * C + new)

        return syrk_tiles

    return f"What the computed tiles of C held before is multiplied by {c} first.", function


def _words(g):
    T, V = whole(g, 3, 8), whole(g, 10, 30)
    return 2 * real(g, T, V), torch.rand(T, generator=g, dtype=torch.float64), whole(g, 3, 9)


def _warmer(g):
    c = tenths(g, 1.2, 3)
    return (
        f"The label is drawn, and the gradient taken, at temperature {c}: logits are divided by it first.",
        lambda ref: lambda logits, *more: ref(logits / c, *more),
    )


VARIANTS = {
    "15.update_flops": Variant(_layer_list, _more_outputs),
    "15.roofline": Variant(
        lambda g: tuple(whole(g, 1, 99) for _ in range(4)),
        _start_up,
        lambda a, b, _: math.isclose(a[0], b[0], rel_tol=1e-9) and a[1] == b[1],
    ),
    "15.needed_tiles": Variant(lambda g: (whole(g, 20, 90), whole(g, 3, 9), whole(g, 3, 9)), _band, _same_tiles),
    "15.syrk_tiles": Variant(_masked_update, _faded),
    "15.label_gradient": Variant(_words, _warmer),
}
