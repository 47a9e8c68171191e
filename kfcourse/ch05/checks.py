"""Exercises of chapter 05: the Fisher of one layer, its factors, eigenvalues by pencil, a damped solve, a control for
the pairing, EK-FAC's eigenvalues in both units, and a collector with hooks.
"""

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from kfcourse import Exercise
from kfcourse.learning.results import numbers, parts


def _sample(seed=0, tokens=7, inputs=3, outputs=2):
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)
    return draw(tokens, inputs) + 0.5, draw(tokens, outputs) - 0.3


def _bases(inputs=3, outputs=2):
    generator = torch.Generator().manual_seed(9)
    return [torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))[0] for n in (inputs, outputs)]


def _close(x, y):
    return torch.allclose(x, y, rtol=1e-5, atol=1e-7)


def _factor_between(x, y):
    """c if x = c y for one number c, otherwise None."""
    c = ((x * y).sum() / (y * y).sum()).item()
    return c if c and _close(x, c * y) else None


def check_fisher_block(function):
    a, g = _sample()
    T, I, O = 7, 3, 2
    result = numbers(function(a, g), [O * I, O * I], "the block")
    rows = torch.einsum("to,ti->toi", g, a).reshape(T, -1)
    right = rows.T @ rows / T
    other = torch.einsum("ti,to->tio", a, g).reshape(T, -1)
    assert not _close(result, right * T), "this is the sum over the tokens, and the Fisher is the mean"
    assert not _close(result, other.T @ other / T), (
        "the entries are in the wrong order: W.reshape(-1) runs along the rows of W, so the index of the output "
        "changes slowest"
    )
    assert not _close(result, torch.kron(g.T @ g / T, a.T @ a / T)), (
        "this is already a product of two means: take the outer product of each token's own gradient, and the mean "
        "of those"
    )
    mean = rows.mean(0)
    assert not _close(result, torch.outer(mean, mean)), (
        "the gradients were averaged before the outer product was taken: the square comes first, the mean afterwards"
    )
    assert _close(result, right), (
        "the shape is right, the numbers are not: compare with one token, where the block is a single outer product"
    )


def check_kfac_factors(function):
    a, g = _sample(1)
    A, G = parts(function(a, g), 2, "A, then G")
    assert not (list(A.shape) == [2, 2] and list(G.shape) == [3, 3]), (
        "the two are swapped: A belongs to the inputs, return it first"
    )
    A, G = numbers(A, [3, 3], "A"), numbers(G, [2, 2], "G")
    assert not _close(A, a.T @ a), "these are sums: divide by the number of tokens"
    centred = (a - a.mean(0)).T @ (a - a.mean(0))
    assert not any(_close(A, centred / n) for n in (6, 7)), (
        "the mean was subtracted first (torch.cov does that): K-FAC's second moments are not centered"
    )
    assert not _close(A, a.T @ a / 6), "divide by T, not by T - 1: no mean was estimated and subtracted here"
    assert _close(A, a.T @ a / 7), "A is not the mean over the tokens of the outer product of a with itself"
    assert _close(G, g.T @ g / 7), "G is not the mean over the tokens of the outer product of g with itself"


def check_kron_spectrum(function):
    values, direction = parts(function(), 2, "the four eigenvalues, and the direction as a matrix [2, 2]")
    values = numbers(values, [4], "the list of eigenvalues").sort()[0]
    direction = numbers(direction, [2, 2], "the direction")
    wanted = torch.tensor([1.0, 3.0, 4.0, 12.0]).double()
    assert not _close(values, torch.tensor([2.0, 4.0, 5.0, 7.0]).double()), (
        "these are sums of an eigenvalue of G and one of A: what does equation (05.7) do with the two?"
    )
    assert not _close(values, torch.tensor([1.0, 1.0, 3.0, 4.0]).double()), (
        "these are the eigenvalues of G and of A: each pair of them gives one eigenvalue of the product"
    )
    assert not _close(values, torch.tensor([2.0, 2.0, 8.0, 8.0]).double()), (
        "the diagonal of G does not hold its eigenvalues, because G has entries off the diagonal: which two vectors "
        "does G only stretch?"
    )
    assert _close(values.sum(), wanted.sum()), (
        f"the eigenvalues add up to {values.sum().item():g}, and they should add up to the trace of the product, "
        "which is the trace of G times the trace of A"
    )
    assert _close(values, wanted), "the sum is right, but the eigenvalues are not the four products"
    unit = direction / direction.norm().clamp(min=1e-12)
    top, mirrored = (torch.tensor(m).double() / 2**0.5 for m in ([[1.0, 0], [1, 0]], [[1.0, 1], [0, 0]]))
    assert (unit * mirrored).sum().abs() < 1 - 1e-6, (
        "this matrix has the two vectors in exchanged roles: u belongs to the rows of W (outputs), v to its columns"
    )
    assert (unit * top).sum().abs() > 1 - 1e-4, (
        "the eigenvalues are right, but this is not the direction of the largest: take the outer product of the "
        "eigenvectors that belong to the largest eigenvalue of G and to the largest of A"
    )


class _Largest(TorchFunctionMode):
    """The number of entries of the largest tensor that any torch function has returned."""

    entries = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for value in result if isinstance(result, (tuple, list)) else (result,):
            if torch.is_tensor(value):
                self.entries = max(self.entries, value.numel())
        return result


def check_damped_solve(function):
    generator = torch.Generator().manual_seed(4)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)
    a, g, V, damping = draw(9, 4) + 0.5, draw(9, 3), draw(3, 4), 0.3
    A, G = a.T @ a / 9, g.T @ g / 9
    with _Largest() as largest:
        result = numbers(function(V, G, A, damping), [3, 4], "the solution")
    big, eye = torch.kron(G, A), torch.eye(12, dtype=torch.float64)
    solve = lambda M: torch.linalg.solve(M, V.reshape(-1)).reshape(3, 4)
    inverse = torch.linalg.inv
    rooted = inverse(G + damping**0.5 * torch.eye(3).double()) @ V @ inverse(A + damping**0.5 * torch.eye(4).double())
    each = inverse(G + damping * torch.eye(3).double()) @ V @ inverse(A + damping * torch.eye(4).double())
    assert not _close(result, solve(big)), "this is the solution without damping"
    assert not _close(result, rooted) and not _close(result, each), (
        "here each factor is damped on its own. Their product then has other eigenvalues than the damped Fisher: "
        "the cross terms are too many. The damping is added to the products of eigenvalues"
    )
    assert not _close(result, (big + damping * eye).matmul(V.reshape(-1)).reshape(3, 4)), (
        "this multiplies with the damped matrix: solve the equation instead"
    )
    basis = [torch.linalg.eigh(M) for M in (G, A)]
    (lam, U), (mu, Q) = basis
    stuck = (U.T @ V @ Q) / (lam[:, None] * mu + damping)
    assert not _close(result.abs(), stuck.abs()), (
        "the numbers are still coordinates in the eigenvectors: the way back to the entries of W is missing"
    )
    assert _close(result, solve(big + damping * eye)), (
        "the result does not solve the equation: multiply it by the damped matrix of a small example, and V should "
        "come out"
    )
    assert largest.entries < 12 * 12, (
        "the numbers are right, but a matrix with O I rows was built on the way: for a real layer it fits nowhere"
    )


def check_unrelated_pairs(function):
    a, g = _sample(5, tokens=400)
    g = g * a[:, :1].abs() ** 2  # gradients that are large where the inputs are
    first_a, first_g = a.clone(), g.clone()
    result = function(a, g, torch.Generator().manual_seed(0))
    new_a, new_g = parts(result, 2, "inputs, and gradients")
    assert torch.equal(a, first_a) and torch.equal(g, first_g), (
        "the function changes its arguments in place, so the original data are lost: work on copies"
    )
    new_a, new_g = numbers(new_a, [400, 3], "the inputs"), numbers(new_g, [400, 2], "the gradients")
    kept = lambda new, old: _close(new.T @ new / 400, old.T @ old / 400)
    assert not (_close(new_a, a) and _close(new_g, g)), "nothing has changed: every input still meets its own gradient"
    assert kept(new_a, a), (
        "A is no longer what it was, so the control differs in two ways: the inputs as a set must stay the same"
    )
    assert kept(new_g, g), (
        "G is no longer what it was, so the control differs in two ways: the gradients as a set must stay the same"
    )
    related = lambda a, g: torch.corrcoef(torch.stack([a.norm(dim=1), g.norm(dim=1)]))[0, 1].abs().item()
    assert related(new_a, new_g) < 0.2 < related(a, g), (
        "inputs and gradients are still related: rows with large inputs still have large gradients. Were both "
        "rearranged in the same way?"
    )
    again = function(a, g, torch.Generator().manual_seed(1))
    assert not (
        _close(torch.as_tensor(again[0]).double(), new_a) and _close(torch.as_tensor(again[1]).double(), new_g)
    ), (
        "two generators with different seeds give the same arrangement: take the randomness from `generator`, so that "
        "many controls can be drawn"
    )
    blocks = torch.randn(400, 4, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    _, moved = function(a, blocks, torch.Generator().manual_seed(0))
    moved = numbers(moved, [400, 4, 2], "gradients with one row for each of four labels")
    assert _close(moved.flatten(1).sum(1).sort()[0], blocks.flatten(1).sum(1).sort()[0]), (
        "where g holds several rows for each example [N, C, O], these belong together: rearrange only the first axis"
    )


def check_ekfac_eigenvalues(function):
    a, g = _sample(2)
    Q_A, Q_G = _bases()
    result = numbers(function(a, g, Q_A, Q_G), [2, 3], "the table of eigenvalues")
    right = ((g @ Q_G).square().T @ (a @ Q_A).square()) / 7
    swapped = ((g @ Q_G.T).square().T @ (a @ Q_A.T).square()) / 7
    product = torch.outer((g @ Q_G).square().mean(0), (a @ Q_A).square().mean(0))
    squared_mean = (((g @ Q_G).T @ (a @ Q_A)) / 7).square()
    assert not _close(result, right * 7), "this is the sum over the tokens: divide by T"
    assert not _close(result, product), (
        "this is K-FAC's product of two means: multiply the squares of each token first, and take the mean of the "
        "products"
    )
    assert not _close(result, squared_mean) and not _close(result, squared_mean * 7), (
        "positive and negative tokens cancel here: square each token's coordinates before summing over tokens"
    )
    assert not _close(result, swapped), "the rotation goes the wrong way: the eigenvectors are the columns of Q"
    assert not _close(result, (g.square().T @ a.square()) / 7), (
        "these are the squared entries of the gradient itself: take its coordinates along the eigenvectors"
    )
    assert _close(result, right), (
        "the shape is right, the numbers are not: with a single token each entry is the square of one coordinate of "
        "that token's gradient"
    )


def _stack():
    """A small net with a linear layer in the middle, in double precision, and two batches of unequal size."""
    torch.manual_seed(5)
    net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3), nn.Tanh(), nn.Linear(3, 2)).double()
    return net, [torch.randn(2, 3, 4).double(), torch.randn(7, 3, 4).double()]


def _seen(net, x, loss):
    """(a, g) of the middle layer as rows, by running the two halves of the net one after the other."""
    a = net[:2](x).detach()
    z = net[2](a).detach().requires_grad_(True)
    g = torch.autograd.grad(loss(net[3:](z)), z)[0]
    return a.reshape(-1, 5), g.reshape(-1, 3)


def _hooks(net):
    return sum(
        len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) + len(m._backward_pre_hooks)
        for m in net.modules()
    )


def check_collect_by_hooks(function):
    net, batches = _stack()
    loss = lambda outputs: (outputs.sin() * torch.arange(1.0, 3.0).double()).sum()
    a, g = (torch.cat(rows) for rows in zip(*(_seen(net, x, loss) for x in batches)))
    A, G = parts(function(net, "2", batches, loss), 2, "A, then G")
    assert _hooks(net) == 0, (
        "your hooks are still registered after the function has returned: every later pass would call them; keep the "
        "handles and remove them"
    )
    assert not (list(A.shape) == [3, 3] and list(G.shape) == [5, 5]), "the two are swapped: A belongs to the inputs"
    A, G = numbers(A, [5, 5], "A"), numbers(G, [3, 3], "G")
    T = len(a)
    assert not _close(A, a.T @ a), "these are sums over the tokens: divide by their number at the end"
    each = [_seen(net, x, loss) for x in batches]
    assert not _close(A, sum(p.T @ p / len(p) for p, _ in each) / 2), (
        "this is a mean of the batches' means. The batches have different sizes, so their tokens do not count the "
        "same: add up sums and counts, and divide once at the end"
    )
    assert not _close(A, each[-1][0].T @ each[-1][0] / len(each[-1][0])), (
        "only the last batch is in the result: add every batch to what is already there"
    )
    per_sequence = sum(len(x) for x in batches)
    assert not _close(A, a.T @ a / per_sequence), (
        "divide by the number of tokens, not of sequences: here [N, S, I] holds N S tokens"
    )
    outputs = net[2](a)
    assert not _close(G, outputs.T @ outputs / T), (
        "G was made of the layer's outputs: it is made of the gradient of the loss at these outputs"
    )
    assert _close(A, a.T @ a / T), "A is not the mean of a a^T over all tokens of all batches"
    ratio = _factor_between(G, g.T @ g / T)
    assert ratio is None or abs(ratio - 1) < 1e-4, (
        f"G is {ratio:.3g} times what it should be: is the loss, or are the gradients, multiplied by a number?"
    )
    assert ratio, "A is right. G is not the mean of g g^T over all tokens of all batches"
    flat = [x[0] for x in batches]
    A, _ = function(net, "2", flat, loss)
    a = torch.cat([net[:2](x) for x in flat]).detach()
    assert _close(numbers(A, [5, 5], "A"), a.T @ a / len(a)), (
        "with inputs [T, I] instead of [N, S, I] the result is wrong: flatten all axes but the last"
    )


def check_sequence_eigenvalues(function):
    generator = torch.Generator().manual_seed(3)
    a = torch.randn(5, 4, 3, generator=generator, dtype=torch.float64)
    g = torch.randn(5, 4, 2, generator=generator, dtype=torch.float64)
    Q_A, Q_G = _bases()
    result = numbers(function(a, g, Q_A, Q_G), [2, 3], "the table of eigenvalues")
    rotated_a, rotated_g = a @ Q_A, g @ Q_G
    whole = torch.einsum("nso,nsi->noi", rotated_g, rotated_a)
    right = whole.square().sum(0) / 20
    token = torch.einsum("nso,nsi->oi", rotated_g.square(), rotated_a.square()) / 20
    reduced = rotated_g.sum(1).square().T @ rotated_a.sum(1).square()
    product = torch.outer(rotated_g.sum(1).square().sum(0), rotated_a.sum(1).square().sum(0))
    assert _factor_between(result, reduced) is None, (
        "this is the reading *reduce*: it sums the gradients, averages the inputs, and multiplies afterwards. That is "
        "only the gradient of the weight if all tokens have the same g. Here every token's g meets its own a, and the "
        "products are added up"
    )
    assert _factor_between(result, product) is None, (
        "this multiplies two means, one of inputs and one of gradients, as K-FAC does: EK-FAC measures the pair"
    )
    assert _factor_between(result, token) is None, (
        "this is the token unit, in which every token's gradient is squared by itself: which sum comes before the "
        "square here?"
    )
    assert _factor_between(result, whole.sum(0).square()) is None, (
        "the gradients of different sequences were added before the square: every sequence is an example of its own"
    )
    ratio = _factor_between(result, right)
    assert ratio is None or abs(ratio - 4) > 1e-4, (
        "the entries are too large by the length of a sequence: the two units can be compared only if both are means "
        "over the same number, that of the tokens"
    )
    assert ratio is None or abs(ratio - 20) > 1e-4, "this is a sum over sequences: divide by the number of tokens"
    assert ratio is None or abs(ratio - 1) < 1e-4, f"all entries are too large by the same factor, {ratio:.3g}"
    single = numbers(function(a[:, :1], g[:, :1], Q_A, Q_G), [2, 3], "the table for sequences of one token")
    assert _close(single, (rotated_g[:, 0].square().T @ rotated_a[:, 0].square()) / 5), (
        "try sequences of one token: there both units must agree, and yours does not agree with the token unit"
    )
    assert ratio, (
        "for sequences of one token the result is right, for longer ones it is not: what is the gradient of the "
        "weight for a whole sequence?"
    )


def check_curvature_bytes(function):
    whole, factors = parts(function(5, 3), 2, "the bytes of the whole block, then those of the two factors")
    assert whole is not None and factors is not None, "one of the two numbers is None"
    assert whole != 4 * 5 * 3, "this is the weight itself: its block has a row and a column for each of its entries"
    assert (whole, factors) != (4 * (5**2 + 3**2), 4 * (5 * 3) ** 2), "the two are swapped: the whole block comes first"
    assert whole not in ((5 * 3) ** 2, 8 * (5 * 3) ** 2), "a float32 number takes 4 bytes"
    assert whole == 4 * (5 * 3) ** 2, (
        f"the whole block of a weight [5, 3] does not take {whole} bytes: how many entries has the weight, and how "
        "many rows and columns has a matrix with one for each of them?"
    )
    assert factors != 4 * 5 * 3, "A is [I, I] and G is [O, O]: add the squares of the sides, not their product"
    assert factors != 4 * (5 + 3), "A is [I, I] and G is [O, O]: whole matrices, not only their diagonals"
    assert factors not in (5**2 + 3**2, 8 * (5**2 + 3**2)), "a float32 number takes 4 bytes, in the factors too"
    assert factors != 4 * (5 * 3) ** 2, (
        "this is the product of the two sizes, which is what the whole block has: A and G are stored side by side"
    )
    assert factors == 4 * (5**2 + 3**2), (
        f"A and G of a weight [5, 3] do not take {factors} bytes together: write down the shape of each"
    )
    whole, factors = parts(function(11008, 4096), 2, "the bytes of the whole block, then those of the two factors")
    assert whole == 4 * (11008 * 4096) ** 2 and factors == 4 * (11008**2 + 4096**2), (
        "for a weight [5, 3] both numbers are right, for [11008, 4096] they are not: are the numbers written in, or "
        "do they overflow an integer type of fixed size?"
    )


EXERCISES = {
    "05.fisher_block": Exercise(
        "The whole Fisher block of one layer",
        1,
        6,
        (
            "Every token contributes one gradient matrix. Write each of them as one long row.",
            "All gradients at once are a tensor [T, O, I], which broadcasting makes out of `g[:, :, None]` and "
            "`a[:, None, :]`. Flatten its last two axes.",
            "You have rows [T, O I], one for each token. The mean of the outer products of rows is one matrix product "
            "and one division.",
        ),
        check_fisher_block,
        "PyTorch stores W row by row, so the index of the output changes slowest, and G stands to the left of A. "
        "Books that stack the columns of W write the product the other way round.",
    ),
    "05.kfac_factors": Exercise(
        "Two second moments",
        1,
        5,
        (
            "Each of the two is a mean of outer products, of a with itself and of g with itself.",
            "`a.T @ a` adds up the outer products of all rows of `a`. What is missing for a mean?",
            "Do the same with `g`, divide both by the number of tokens, and return A first.",
        ),
        check_kfac_factors,
        "They are often called covariances, but no mean is subtracted: a direction in which every input has the same "
        "large component has a large eigenvalue in A.",
    ),
    "05.kron_spectrum": Exercise(
        "Four eigenvalues and a direction",
        2,
        10,
        (
            "A is diagonal, so its eigenvalues and eigenvectors can be read off. For G, try the vectors (1, 1) and "
            "(1, -1).",
            "Equation (05.7) says what each pair of eigenvalues gives. There are two times two pairs.",
            "The direction of a pair is the matrix u v^T: the eigenvector of G says how its rows are weighted, the "
            "eigenvector of A how its columns are.",
        ),
        check_kron_spectrum,
        "The trace is a quick test: the eigenvalues of the product add up to the trace of G times the trace of A.",
    ),
    "05.damped_solve": Exercise(
        "A damped solve without the large matrix",
        3,
        12,
        (
            "In the eigenvectors of G and A the damped matrix is diagonal. What are its diagonal entries?",
            "Write U and Q for the eigenvectors of G and A (`torch.linalg.eigh`). The coordinates of V are the entries "
            "of U.T @ V @ Q, by (05.8).",
            "Divide each coordinate by its own damped eigenvalue, a table [O, I] made by broadcasting. Then undo the "
            "change of basis.",
        ),
        check_damped_solve,
        "Two eigendecompositions of sizes O and I replace the solution of a system with O I unknowns. Exact damping "
        "costs nothing more, because it leaves the eigenvectors as they are.",
    ),
    "05.unrelated_pairs": Exercise(
        "Destroy the pairing and nothing else",
        2,
        12,
        (
            "A depends on the set of inputs, and G on the set of gradients. Neither depends on who meets whom.",
            "Rearrange the rows of one of the two at random, and leave the other alone.",
            "`torch.randperm` takes a `generator` and gives a random order of N rows.",
        ),
        check_unrelated_pairs,
        "A control changes one thing. Fresh noise in place of the gradients would have changed G as well, and then a "
        "smaller error would have had two possible reasons.",
    ),
    "05.ekfac_eigenvalues": Exercise(
        "Measure instead of multiply",
        3,
        10,
        (
            "Write both sides in the eigenvectors. A token's gradient then has the entry (u_i . g)(v_j . a) at (i, j).",
            "The square of a product is the product of the squares, so square the two sets of coordinates first.",
            "You have squares [T, O] and squares [T, I]. One matrix product multiplies them for each token and adds "
            "over the tokens.",
        ),
        check_ekfac_eigenvalues,
        "It is one matrix product of squares: the gradient [O, I] of a single token is never formed.",
    ),
    "05.sequence_eigenvalues": Exercise(
        "When a sequence is one example",
        4,
        15,
        (
            "Two sums occur, over tokens within a sequence and over sequences. Decide for each whether it comes before "
            "or after the square.",
            "For one sequence with inputs [S, I] and gradients [S, O], written in the eigenvectors, the gradient of "
            "the weight is one matrix product.",
            "`torch.einsum` makes the gradients [N, O, I] of all sequences at once. What remains is a square, a sum "
            "and a division by the number of tokens.",
        ),
        check_sequence_eigenvalues,
        "This needs a matrix [O, I] for each sequence, which the token unit does not. Libraries choose one of the two "
        "without saying so, and it is worth asking which.",
    ),
    "05.collect_by_hooks": Exercise(
        "Collect A and G with hooks",
        4,
        25,
        (
            "`model.get_submodule(name)` is the layer. Its `register_forward_hook(f)` calls f(layer, inputs, output) "
            "in every forward pass and returns a handle with `.remove()`; `inputs` is a tuple.",
            "In that function the output is a tensor, and `output.register_hook(h)` calls h(gradient) in the backward "
            "pass. Add to running sums there and in the forward hook.",
            "Keep three sums: of the outer products of a, of those of g, and of the number of tokens. After each "
            "batch's backward pass nothing else is needed; divide at the very end, and remove the hook in any case.",
        ),
        check_collect_by_hooks,
        "The sums need the memory of A and G, however long the text is. `try ... finally` removes the hook even if a "
        "pass fails.",
    ),
    "05.curvature_bytes": Exercise(
        "The bill",
        1,
        4,
        (
            "How many entries has the weight? The block has a row and a column for each of them.",
            "A is [I, I] and G is [O, O]. Both are stored, so their sizes are added.",
            "Count the numbers in each first: the fourth power of a width in the block, the second in the factors. "
            "What turns a count of numbers into bytes?",
        ),
        check_curvature_bytes,
        "The fourth power of the width has become the second: at twice the width the block takes sixteen times the "
        "memory, and the factors take four times.",
    ),
}
