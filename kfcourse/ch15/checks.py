"""Exercises of chapter 15: the bill of the updates, when an update tips, four kernels in Triton, which tiles, an honest
stopwatch, labels and gradient in place.
"""

import contextlib
import math
import sys

import torch

from kfcourse import Exercise
from kfcourse.learning.results import Largest, parts


def check_update_flops(function):
    one = parts(function([(3, 2, True)]), 2, "full products and triangles")
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


def check_rows_to_tip(function):
    for d, ridge in [(8192, 206.0), (2048, 206.0), (1000, 10.0)]:
        got = float(function(d, ridge))
        where = f"d = {d}, ridge {ridge:g}"
        intensity = lambda T: T * d * d / (2 * T * d + 4 * d * d)
        assert not math.isclose(got, ridge, rel_tol=1e-6), (
            f"{where}: you took the intensity for T, or forgot what X moves besides C: solve (15.3) for T"
        )
        assert math.isfinite(got) and got > 0, f"{where}: yours says {got}, and a positive number of rows is wanted"
        assert not math.isclose(intensity(got), ridge / 2, rel_tol=1e-3), (
            f"{where}: at {got:.0f} rows the intensity is half of the ridge: a triangle takes T d² operations"
        )
        assert math.isclose(intensity(got), ridge, rel_tol=1e-3), (
            f"{where}: at {got:.1f} rows, (15.3) gives {intensity(got):.1f} operations a byte, and the ridge is "
            f"{ridge:g}"
        )
    for d, ridge in [(400, 206.0), (412, 206.0)]:
        try:
            got = float(function(d, ridge))
        except ZeroDivisionError:
            raise AssertionError(
                f"d = {d}, ridge {ridge:g}: you divide by zero: think of what no number of rows does"
            ) from None
        assert got == math.inf, (
            f"d = {d}, ridge {ridge:g}: however many rows there are, the intensity stays below d / 2 = {d / 2:g}, so "
            f"nothing tips: return math.inf, not {got:g}"
        )


# the kernels: called as kernel(programs, *arguments)


def check_copy_kernel(function):
    for n, block in [(10, 4), (8, 8), (5, 8), (33, 16)]:
        x, y = torch.arange(1.0, n + 21), torch.full((n + 20,), -1.0)
        function(-(-n // block), x, y, n, block)
        where = f"n = {n}, BLOCK = {block}"
        assert not (y == -1).all(), f"{where}: nothing was written to y"
        assert (y[n:] == -1).all(), (
            f"{where}: the last program wrote past the first n numbers of y, over somebody else's memory: "
            "mask the store"
        )
        wrong = (y[:n] != x[:n]).nonzero()
        if n > block and len(wrong) and wrong[0] == block and (y[block:n] == -1).all():
            raise AssertionError(f"{where}: only the first {block} numbers were copied: which numbers are a program's?")
        assert not len(wrong), (
            f"{where}: y[{int(wrong[0])}] is {y[wrong[0]].item():g} and should be {x[wrong[0]].item():g}"
        )


def check_row_sum_kernel(function):
    g = torch.Generator().manual_seed(0)
    for T, d, block in [(3, 8, 8), (5, 11, 4), (4, 3, 8), (6, 40, 16)]:
        X, sums = torch.randn(T + 9, d, generator=g), torch.full((T + 3,), 99.0)
        function(T, X, sums, d, block)
        where, wanted = f"T = {T}, d = {d}, BLOCK = {block}", X[:T].sum(1)
        assert (sums[T:] == 99).all(), f"{where}: something was written past the last row's sum"
        assert not (sums[:T] == 99).any(), f"{where}: the sum of row {int((sums == 99).nonzero()[0])} was not written"
        first = X[:T, :block].sum(1)
        assert d <= block or not torch.allclose(sums[:T], first, atol=1e-5), (
            f"{where}: only the first block of each row was added: a row may be longer than a block"
        )
        long = torch.stack([X.flatten()[r * d : r * d + -(-d // block) * block].sum() for r in range(T)])
        assert d % block == 0 or not torch.allclose(sums[:T], long, atol=1e-5), (
            f"{where}: the sums run on into the next row: mask what lies beyond column d"
        )
        extra = wanted + (-d) % block
        assert d % block == 0 or not torch.allclose(sums[:T], extra, atol=1e-5), (
            f"{where}: each sum is too large by the number of masked columns: what stands in their place must add "
            f"nothing"
        )
        assert torch.allclose(sums[:T], wanted, atol=1e-5), (
            f"{where}: the sums are off by up to {(sums[:T] - wanted).abs().max():.3g}"
        )


def _tiles(seed, T, d):
    """X [T, d] with rows of other numbers behind it, and C [d, d] with a guard behind it."""
    g = torch.Generator().manual_seed(seed)
    return torch.randn(T + 40, d, generator=g), torch.full((d + 20, d), 99.0)


def check_tile_kernel(function):
    for T, d, block, step in [(16, 16, 16, 16), (32, 16, 16, 16), (16, 32, 16, 16), (21, 37, 16, 16), (40, 20, 16, 32)]:
        X, C = _tiles(T + d, T, d)
        tiles, wanted = -(-d // block), X[:T].T @ X[:T]
        function((tiles, tiles), X, C, T, d, block, step)
        where = f"T = {T}, d = {d}, BLOCK = {block}, BLOCK_T = {step}"
        got = C[:d]
        assert (C[d:] == 99).all(), f"{where}: something was written past the last row of C: mask the store's rows"
        assert not (got == 99).all(), f"{where}: nothing was written to C"
        assert not (got == 99).any(), f"{where}: C{(got == 99).nonzero()[0].tolist()} was never written"
        close = lambda x: torch.allclose(got, x, atol=1e-3)
        last = (T - 1) // step * step
        assert T <= step or not close(X[last:T].T @ X[last:T]), (
            f"{where}: only the last BLOCK_T rows of X are in the product: add to the sum in every step of the loop"
        )
        assert T <= step or not close(X[:step].T @ X[:step]), (
            f"{where}: only the first BLOCK_T rows of X are in the product: loop over all T"
        )
        more = X[: last + step]
        assert T % step == 0 or not close(more.T @ more), (
            f"{where}: rows of X beyond T are in the product: mask them, with zeros in their place"
        )
        wrapped = (got - wanted).abs().amax(1) < 1e-3
        assert d % block == 0 or wrapped.all() or not wrapped.any() or close(wanted), (
            f"{where}: some rows of C are right and others are not: does a store run over the end of a row into the "
            "next one, or a load bring columns beyond d?"
        )
        assert close(wanted), f"{where}: C is off from X^T X by up to {(got - wanted).abs().max():.3g}"


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


@contextlib.contextmanager
def _dots():
    """A list that grows by one with every product of tiles in the block; it stays empty where kernels run elsewhere."""
    made = []
    interpreter = sys.modules.get("triton.runtime.interpreter")
    if interpreter is not None:
        place, name = interpreter.interpreter_builder, "create_dot"
    else:
        from kfcourse.ch15 import without_triton

        place, name = without_triton.tl, "dot"
    plain = getattr(place, name)
    setattr(place, name, lambda *args, **kwargs: (made.append(1), plain(*args, **kwargs))[1])
    try:
        yield made
    finally:
        setattr(place, name, plain)


def check_triangle_kernel(function):
    for T, d, block, step in [(16, 32, 16, 16), (21, 37, 16, 16), (40, 64, 16, 16)]:
        X, C = _tiles(T + d, T, d)
        C[:d] = torch.randn(d, d, generator=torch.Generator().manual_seed(d))
        before, product = C.clone(), X[:T].T @ X[:T]
        n, steps = -(-d // block), -(-T // step)
        with _dots() as dots:
            function((n, n), X, C, T, d, block, step)
        where = f"T = {T}, d = {d}, BLOCK = {block}"
        tile = torch.arange(d) // block
        above, on = tile[None, :] > tile[:, None], tile[None, :] == tile[:, None]
        got, old = C[:d], before[:d]
        lower = ~above
        assert torch.equal(C[d:], before[d:]), f"{where}: something was written past the last row of C"
        assert not torch.equal(got, old), f"{where}: C is as it was before"
        close = lambda x, part: torch.allclose(got[part], x[part], atol=1e-3)
        assert close(old, above), f"{where}: tiles above the diagonal changed: their programs are to end at once"
        assert not close(product, lower), f"{where}: what C held before is lost: add to it"
        assert not close(old, lower & ~on) or not close(old + product, on), (
            f"{where}: only the tiles on the diagonal changed: which side of it is to be left out?"
        )
        assert not close(old, on), f"{where}: the tiles on the diagonal are as they were, and they are needed, whole"
        assert close(old + product, lower), (
            f"{where}: the lower tiles are off by up to {(got - old - product)[lower].abs().max():.3g}"
        )
        assert len(dots) < n * n * steps, (
            f"{where}: {len(dots)} products of tiles were computed, as many as for the whole matrix: the programs "
            "above the diagonal must end before they multiply"
        )


class Machine:
    """A pretended machine, so that a stopwatch can be tested: ours() and theirs() give the seconds of one run."""

    def __init__(self, seconds, drift=0.0, warm_up=0.0, disturbed=0.0, seed=0):
        self.seconds, self.drift, self.warm_up, self.disturbed = seconds, drift, warm_up, disturbed
        self.runs, self.started = 0, set()
        self.draw = torch.Generator().manual_seed(seed)

    def run(self, which):
        taken = self.seconds[which] * max(0.2, 1 + self.drift * self.runs)
        taken += 0 if which in self.started else self.warm_up
        if torch.rand((), generator=self.draw) < self.disturbed:
            taken *= 40
        self.runs += 1
        self.started.add(which)
        return taken


def check_fair_ratio(function):
    rounds = 15
    stories = {
        "a quiet machine": ({}, "divide their time by ours"),
        "the first run of each takes twenty seconds longer, for it compiles and fills caches": (
            {"warm_up": 20.0},
            "do not count the first run of each",
        ),
        "the machine grows slower during the measurement": ({"drift": 0.05}, "a change must hit both: take turns"),
        "the machine grows faster during the measurement": ({"drift": -0.02}, "a change must hit both: take turns"),
        "now and then another job makes a run forty times as long": (
            {"disturbed": 0.1},
            "a few disturbed runs must not decide: what is less moved by them than a mean?",
        ),
    }
    for seconds in ({"ours": 2.0, "theirs": 3.0}, {"ours": 1.2, "theirs": 1.0}):
        true = seconds["theirs"] / seconds["ours"]
        for story, (changes, advice) in stories.items():
            machine = Machine(seconds, **changes)
            got = float(function(lambda: machine.run("ours"), lambda: machine.run("theirs"), rounds))
            assert machine.started == set(seconds), (
                "run both, ours() and theirs(): each call gives the seconds of one run"
            )
            assert not math.isclose(got, 1 / true, rel_tol=0.08) or math.isclose(got, true, rel_tol=0.08), (
                f"{story}: yours says {got:.2f}, which is ours over theirs; the other way round is asked for"
            )
            assert math.isclose(got, true, rel_tol=0.08), (
                f"{story}: theirs takes {true:.2f} times as long as ours, and yours says {got:.2f}; {advice}"
            )
            assert machine.runs <= 3 * rounds, (
                f"{machine.runs} runs for {rounds} rounds: one of each in a round will do"
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
            "Sum over the layers what its two factors cost, O² and I² each times what one entry takes; in the second "
            "sum leave out the I² of a layer that does not own its A.",
        ),
        check_update_flops,
        "Two savings: half of a symmetric matrix is known from the other half, and layers that read one input have one "
        "A.",
    ),
    "15.rows_to_tip": Exercise(
        "When does an update tip?",
        2,
        10,
        (
            "Put the intensity (15.3) equal to the ridge, and multiply by the denominator.",
            "Only one of the terms has no T in it. Bring all others to one side and take T out of them.",
            "The factor that stands beside T then is d minus something. What does it mean if that is zero or less?",
        ),
        check_rows_to_tip,
        "For wide factors it is about four times the ridge, whatever the width: a few hundred rows are too few, and "
        "many thousands are enough. A narrow factor never tips, since every number of X takes part in too few "
        "products.",
    ),
    "15.copy_kernel": Exercise(
        "Copy with a mask",
        1,
        8,
        (
            "Which numbers are a program's? Those of program 0 begin at 0, those of program 1 at BLOCK.",
            "`tl.program_id(0)` says which program this is, and `tl.arange(0, BLOCK)` gives BLOCK consecutive numbers. "
            "Together they make the places; a pointer plus places is a block of pointers.",
            "`tl.load(pointers, mask=...)` brings a block, `tl.store(pointers, values, mask=...)` takes it away. The "
            "mask compares the places with n, and both need it.",
        ),
        check_copy_kernel,
        "A GPU does not stop a program at the end of a tensor. Without the mask it reads and writes what lies behind.",
    ),
    "15.row_sum_kernel": Exercise(
        "The sum of a row",
        2,
        10,
        (
            "One program is one row. Where in memory does row r of a matrix with d columns begin?",
            "A Python loop `for start in range(0, d, BLOCK)` runs in every program. In each step load a block, and add "
            "its sum to a number that was zero before the loop.",
            "Masked places get the value `other`. Choose it so that `tl.sum(block, 0)` is not changed by them; store "
            "one number after the loop.",
        ),
        check_row_sum_kernel,
        "The sum stays in a register until the row is done, and memory is read once: 4 bytes for one addition, as far "
        "down the slope of the roofline as a kernel can be.",
    ),
    "15.tile_kernel": Exercise(
        "One tile of X^T X",
        4,
        25,
        (
            "Begin with the program's rows and columns of C, two blocks of BLOCK numbers from `tl.program_id(0)` and "
            "`tl.program_id(1)`, and a sum `tl.zeros((BLOCK, BLOCK), tl.float32)`.",
            "In each step of a loop over t, load two tiles: columns `rows` of X as [BLOCK, BLOCK_T], and columns "
            "`columns` of X as [BLOCK_T, BLOCK]. X[t, c] lies at `X + t * d + c`; `t[None, :]` and `rows[:, None]` "
            "make a table of places out of two blocks.",
            "`total = tl.dot(x, y, total)` adds a product. Each load has two conditions, t < T and column < d, joined "
            "by `&`, and `other=0.0`; the store has two as well, for the edges of C.",
        ),
        check_tile_kernel,
        "The transposition costs nothing: the left tile is loaded through places that run the other way. Every number "
        "of a tile takes part in BLOCK products, which is why tiles are as large as the registers allow.",
    ),
    "15.needed_tiles": Exercise(
        "Which tiles",
        2,
        8,
        (
            "A tile is needed if one of its entries has column <= row. Which of its entries is the likeliest to?",
            "The one in its last row and first column. Tiles need not be square, so compare entries, not numbers of "
            "tiles.",
            "Write down the first column of tile (i, j) and its last row. The last row may lie beyond d, and the "
            "number of tiles in a direction has to be rounded up.",
        ),
        check_needed_tiles,
        "The same comparison will stand in a kernel, as the condition of a `return`.",
    ),
    "15.triangle_kernel": Exercise(
        "The upper triangle returns at once",
        2,
        10,
        (
            "Begin with your tile kernel. Two things change: what happens first, and what happens last.",
            "A kernel may `return` early, like any function. With square tiles, when does tile (i, j) lie above the "
            "diagonal?",
            "At the end, load what C holds at the same places, under the same mask, and store the sum of both.",
        ),
        check_triangle_kernel,
        "Nearly half of the programs do nothing. Whether that saves time depends on whether the others leave the GPU "
        "full: see the figure of rounds.",
    ),
    "15.fair_ratio": Exercise(
        "An honest stopwatch",
        3,
        12,
        (
            "Three things spoil a comparison: a first run that is not like the others, a machine that changes while "
            "you measure, and other jobs. Which of them hits both works alike, if you arrange it well?",
            "Run both once and forget it. Then let them take turns, so that what changes slowly changes for both.",
            "From the pairs of one round make one number that a few bad rounds cannot move, such as a median.",
        ),
        check_fair_ratio,
        "`measure.compare` in the library takes turns, too, and keeps the least of several rounds: other jobs can only "
        "make a run slower.",
    ),
    "15.label_gradient": Exercise(
        "Labels and gradient in place",
        4,
        20,
        (
            "Three sweeps over blocks of columns: the largest logit; the sum of exponentials; then label and gradient.",
            "The label is the first word whose cumulative sum passes `u * total`. Count the words that have not "
            "passed it: that count *is* the label.",
            "Carry the sum of all earlier blocks along, so that a block's own cumulative sum can be continued. The "
            "probabilities go over the logits block by block; the one at the label is subtracted at the very end.",
        ),
        check_label_gradient,
        "Nothing larger than a block was made. Divide only at the end, and compare with `u * total` instead: one "
        "division a row.",
    ),
}
