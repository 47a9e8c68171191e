"""Exercises of chapter 05: the Fisher of one layer, its two factors, EK-FAC's eigenvalues in both units, and memory."""

import torch

from kfcourse import Exercise


def _sample(seed=0, tokens=7, inputs=3, outputs=2):
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)
    return draw(tokens, inputs) + 0.5, draw(tokens, outputs) - 0.3


def _bases(inputs=3, outputs=2):
    generator = torch.Generator().manual_seed(9)
    return [torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))[0] for n in (inputs, outputs)]


def _shape(result, wanted, what):
    assert torch.is_tensor(result), f"{what} should be a tensor, not {type(result).__name__}"
    assert list(result.shape) == wanted, f"{what} has shape {list(result.shape)}, it should be {wanted}"


def check_fisher_block(function):
    a, g = _sample()
    T, I, O = 7, 3, 2
    result = function(a, g)
    _shape(result, [O * I, O * I], "the block")
    rows = torch.einsum("to,ti->toi", g, a).reshape(T, -1)
    right = rows.T @ rows / T
    other = torch.einsum("ti,to->tio", a, g).reshape(T, -1)
    assert not torch.allclose(result, right * T), "this is the sum over the tokens: the Fisher is the mean, divide by T"
    assert not torch.allclose(result, other.T @ other / T), (
        "the entries are in the wrong order: W.reshape(-1) runs along the rows of W, so vec(g a^T) = kron(g, a), "
        "output first"
    )
    assert not torch.allclose(result, torch.kron(g.T @ g / T, a.T @ a / T)), (
        "this is already a product of means: take the outer product of each token's gradient first, and the mean "
        "afterwards"
    )
    mean = rows.mean(0)
    assert not torch.allclose(result, torch.outer(mean, mean)), (
        "the gradients were averaged before the outer product: square first, average then"
    )
    assert torch.allclose(result, right), "the numbers are not the mean of vec(g a^T) vec(g a^T)^T over the tokens"


def check_kfac_factors(function):
    a, g = _sample(1)
    pair = function(a, g)
    assert isinstance(pair, (tuple, list)) and len(pair) == 2, "return two tensors: A, G"
    A, G = pair
    assert not (list(A.shape) == [2, 2] and list(G.shape) == [3, 3]), (
        "the two are swapped: A belongs to the inputs, return it first"
    )
    _shape(A, [3, 3], "A")
    _shape(G, [2, 2], "G")
    assert not torch.allclose(A, a.T @ a), "these are sums: divide by the number of tokens"
    centred = (a - a.mean(0)).T @ (a - a.mean(0))
    assert not any(torch.allclose(A, centred / n) for n in (6, 7)), (
        "the mean was taken out (torch.cov does that): K-FAC's second moments are not centred"
    )
    assert not torch.allclose(A, a.T @ a / 6), "divide by T, not by T - 1: nothing was estimated and subtracted here"
    assert torch.allclose(A, a.T @ a / 7), "A is not the mean of a a^T over the tokens"
    assert torch.allclose(G, g.T @ g / 7), "G is not the mean of g g^T over the tokens"


def check_ekfac_eigenvalues(function):
    a, g = _sample(2)
    Q_A, Q_G = _bases()
    result = function(a, g, Q_A, Q_G)
    _shape(result, [2, 3], "the table of eigenvalues")
    right = ((g @ Q_G).square().T @ (a @ Q_A).square()) / 7
    swapped = ((g @ Q_G.T).square().T @ (a @ Q_A.T).square()) / 7
    product = torch.outer((g @ Q_G).square().mean(0), (a @ Q_A).square().mean(0))
    squared_mean = (((g @ Q_G).T @ (a @ Q_A)) / 7).square()
    assert not torch.allclose(result, right * 7), "this is the sum over the tokens: divide by T"
    assert not torch.allclose(result, product), (
        "this is K-FAC's product of two means: multiply the squares of each token first, and take the mean of the "
        "products"
    )
    assert not torch.allclose(result, squared_mean) and not torch.allclose(result, squared_mean * 7), (
        "positive and negative tokens cancel here: square each token's coordinates before summing over tokens"
    )
    assert not torch.allclose(result, swapped), (
        "the rotation goes the wrong way: eigenvectors are columns, so coordinates of rows are g @ Q_G"
    )
    assert torch.allclose(result, right), "the numbers are not the mean of (Q_G^T g)_i^2 (Q_A^T a)_j^2 over the tokens"


def check_sequence_eigenvalues(function):
    generator = torch.Generator().manual_seed(3)
    a = torch.randn(5, 4, 3, generator=generator, dtype=torch.float64)
    g = torch.randn(5, 4, 2, generator=generator, dtype=torch.float64)
    Q_A, Q_G = _bases()
    result = function(a, g, Q_A, Q_G)
    _shape(result, [2, 3], "the table of eigenvalues")
    rotated_a, rotated_g = a @ Q_A, g @ Q_G
    whole = torch.einsum("nso,nsi->noi", rotated_g, rotated_a)
    right = whole.square().sum(0) / 20
    token = torch.einsum("nso,nsi->oi", rotated_g.square(), rotated_a.square()) / 20
    assert not torch.allclose(result, token), (
        "this is the token unit: here a sequence's gradient is summed over its tokens *first* and squared then"
    )
    assert not torch.allclose(result, whole.sum(0).square() / 20), (
        "the sequences were added before squaring: every sequence is squared on its own"
    )
    assert not torch.allclose(result, right * 4), (
        "divide by the number of tokens, N S, not by the number of sequences: only then do the units compare"
    )
    assert not torch.allclose(result, right * 20), "this is a sum: divide by the number of tokens, N S"
    assert torch.allclose(result, right), "the numbers are not sum_n (sum_t (Q_G^T g)_i (Q_A^T a)_j)^2 / (N S)"
    single = function(a[:, :1], g[:, :1], Q_A, Q_G)
    assert torch.allclose(single, (rotated_g[:, 0].square().T @ rotated_a[:, 0].square()) / 5), (
        "for sequences of one token both units must agree"
    )


def check_curvature_bytes(function):
    pair = function(5, 3)
    assert isinstance(pair, (tuple, list)) and len(pair) == 2, (
        "return two numbers: bytes of the whole block, bytes of the two factors"
    )
    whole, factors = pair
    assert whole != 4 * 5 * 3, (
        "this is the weight itself; its curvature has a row and a column for every one of its entries"
    )
    assert whole not in (15**2, 8 * 15**2), "a float32 number takes 4 bytes"
    assert whole == 4 * 15**2, (
        f"a weight [5, 3] has 15 entries, so its block has 15 x 15: {4 * 15**2} bytes, not {whole}"
    )
    assert factors != 4 * 5 * 3, "A is [I, I] and G is [O, O]: squares of the sides, not their product"
    assert factors != 4 * (5 + 3), "A is [I, I] and G is [O, O]: whole matrices, not only their diagonals"
    assert factors == 4 * (5**2 + 3**2), (
        f"for O = 5, I = 3 the factors have 25 + 9 numbers: {4 * 34} bytes, not {factors}"
    )


EXERCISES = {
    "05.fisher_block": Exercise(
        "The whole block of one layer",
        1,
        6,
        (
            "Every token contributes one gradient matrix. Write each as one long row; what is the mean outer product "
            "of the rows?",
            "All gradients at once: `g[:, :, None] * a[:, None, :]` is [T, O, I]. Flatten the last two axes.",
            "With `rows` of shape [T, O*I] the block is `rows.T @ rows / len(rows)`.",
        ),
        check_fisher_block,
        "Row-major order, W.reshape(-1), puts the output first. Other books stack columns and write the product the "
        "other way round.",
    ),
    "05.kfac_factors": Exercise(
        "Two small covariances",
        1,
        5,
        (
            "The mean over tokens of a a^T is one matrix product.",
            "`a.T @ a` sums the outer products of all rows of `a`. What is missing for a mean?",
            "`a.T @ a / len(a)` and the same for `g`; return A first.",
        ),
        check_kfac_factors,
        "They are called covariances, but nothing is centred: a direction that is always on carries curvature too.",
    ),
    "05.ekfac_eigenvalues": Exercise(
        "Measure instead of multiply",
        3,
        10,
        (
            "Turn both sides into the eigenbasis; then a token's gradient has the entries (Q_G^T g)_i (Q_A^T a)_j.",
            "Square the turned `g` and the turned `a` elementwise. One matrix product sums the products of squares "
            "over tokens.",
            "`(g @ Q_G).square().T @ (a @ Q_A).square() / len(a)`.",
        ),
        check_ekfac_eigenvalues,
        "One matrix product of squares: no gradient [O, I] of a single token ever exists.",
    ),
    "05.sequence_eigenvalues": Exercise(
        "When a sequence is one example",
        4,
        15,
        (
            "The gradient of a whole sequence is the sum over its tokens. Only then comes the square.",
            "For sequence n: `g[n].T @ a[n]` in the eigenbasis is its gradient [O, I]. `torch.einsum` does all n at "
            "once.",
            '`whole = torch.einsum("nso,nsi->noi", g @ Q_G, a @ Q_A)`; square, sum over n, divide by N S.',
        ),
        check_sequence_eigenvalues,
        "This needs a matrix [O, I] per sequence; the token unit does not. Public libraries pick one of the two "
        "silently, so ask which.",
    ),
    "05.curvature_bytes": Exercise(
        "The bill",
        1,
        4,
        (
            "How many entries has the weight? How many pairs of entries?",
            "The block is (O I) x (O I); the factors are I x I and O x O. Four bytes each.",
            "`4 * (O * I) ** 2, 4 * (I**2 + O**2)`.",
        ),
        check_curvature_bytes,
        "The exponent is the whole story: four powers of the width shrink to two.",
    ),
}
