"""Chapter 15: fresh inputs for every exercise, and a question of one's own for every student."""

import math

import torch

from kfcourse.grading.variants import Variant, alike, one_of, real, tenths, whole


def _layer_list(g):
    return ([(whole(g, 2, 40), whole(g, 2, 40), whole(g, 0, 1) == 1) for _ in range(whole(g, 3, 7))],)


def _more_outputs(g):
    c = whole(g, 1, 9)
    return (
        f"Every layer has {c} output{'s' * (c > 1)} more.",
        lambda ref: lambda layers: ref([(O + c, I, own) for O, I, own in layers]),
    )


def _width_and_ridge(g):
    """Wide factors, narrow ones that never tip, and the width at which the formula divides by zero."""
    ridge = whole(g, 20, 300)
    return one_of(g, 64 * whole(g, 10, 128), 2 * ridge, 2 * ridge - whole(g, 1, 30)), float(ridge)


def _faster_memory(g):
    c = tenths(g, 1.2, 4)
    return f"Memory is {c} times as fast.", lambda ref: lambda d, ridge: ref(d, ridge / c)


def _written(expected, got, _):
    """A kernel gives its arguments back; the one that it wrote to is the second."""
    return alike(expected[1], got[1])


def _vectors(g):
    n, block = whole(g, 3, 60), one_of(g, 4, 8, 16)
    return -(-n // block), real(g, n + 9).float(), real(g, n + 9).float(), n, block


def _scaled(g):
    c = tenths(g, 1.5, 9)
    return (
        f"What is written is {c} times what was read.",
        lambda ref: lambda programs, x, *more: ref(programs, c * x, *more),
    )


def _rows(g):
    T, d = whole(g, 2, 9), whole(g, 3, 50)
    return T, real(g, T + 9, d).float(), real(g, T + 2).float(), d, one_of(g, 4, 8, 16)


def _tile_arguments(g):
    T, d, block = whole(g, 5, 40), whole(g, 17, 45), 16
    tiles = -(-d // block)
    return (tiles, tiles), real(g, T + 20, d).float(), real(g, d + 16, d).float(), T, d, block, 16


def _times_squared(g):
    c = one_of(g, 1.5, 2, 2.5, 3, 3.5, 4)
    return (
        f"The product is multiplied by {c * c:g}.",
        lambda ref: lambda programs, X, *more: ref(programs, c * X, *more),
    )


def _fewer_rows(g):
    c = whole(g, 1, 4)
    return (
        f"The last {c} of the T rows of X do not count.",
        lambda ref: lambda programs, X, C, T, *more: ref(programs, X, C, T - c, *more),
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


class _Steady:
    """A pretended machine that takes the same time for every run, the first of each apart."""

    def __init__(self, seconds, first):
        self.seconds, self.first, self.runs = seconds, first, 0

    def __call__(self):
        self.runs += 1
        return self.seconds * (self.first if self.runs == 1 else 1)


def _stopwatch(g):
    works = [_Steady(whole(g, 1, 9) / 10, whole(g, 2, 9)) for _ in range(2)]
    return (lambda: works[0]()), (lambda: works[1]()), whole(g, 5, 9)


def _start_up(g):
    c = whole(g, 1, 9)
    return (
        f"Every run of theirs takes {c} seconds longer than its function says.",
        lambda ref: lambda ours, theirs, rounds: ref(ours, lambda: theirs() + c, rounds),
    )


def _words(g):
    T, V = whole(g, 3, 8), whole(g, 10, 30)
    return 2 * real(g, T, V), torch.rand(T, generator=g, dtype=torch.float64), whole(g, 3, 9)


def _warmer(g):
    c = tenths(g, 1.2, 3)
    return (
        f"The label is drawn, and the gradient taken, at temperature {c}: logits are divided by it first.",
        lambda ref: lambda logits, *more: ref(logits / c, *more),
    )


def _close(a, b, _):
    return math.isclose(a, b, rel_tol=1e-6)


VARIANTS = {
    "15.update_flops": Variant(_layer_list, _more_outputs),
    "15.rows_to_tip": Variant(_width_and_ridge, _faster_memory, _close),
    "15.copy_kernel": Variant(_vectors, _scaled, _written),
    "15.row_sum_kernel": Variant(_rows, _scaled, _written),
    "15.tile_kernel": Variant(_tile_arguments, _times_squared, _written),
    "15.needed_tiles": Variant(lambda g: (whole(g, 20, 90), whole(g, 3, 9), whole(g, 3, 9)), _band, _same_tiles),
    "15.triangle_kernel": Variant(_tile_arguments, _fewer_rows, _written),
    "15.fair_ratio": Variant(_stopwatch, _start_up, lambda a, b, _: math.isclose(a, b, rel_tol=0.02)),
    "15.label_gradient": Variant(_words, _warmer),
}
