"""Exercises of chapter 04: two products without their matrix, the Fisher of one softmax, the Lanczos loop by pencil and
by program, a Gauss rule, and a control for the outliers.
"""

import torch

from kfcourse import Exercise
from kfcourse.learning.results import numbers, parts


def _close(x, y, rtol=1e-6, atol=1e-8):
    return torch.allclose(
        torch.as_tensor(x, dtype=torch.float64), torch.as_tensor(y, dtype=torch.float64), rtol=rtol, atol=atol
    )


def check_fisher_of_softmax(function):
    p = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)
    F = numbers(function(p), [3, 3], "the Fisher")
    scores = torch.eye(3, dtype=torch.float64) - p
    assert not _close(F, scores.T @ scores) and not _close(F, scores.T @ scores / 3), (
        "every label counts the same here: the expectation is over labels that the model draws, so each outer product "
        "counts with the label's probability"
    )
    top = scores[0]
    assert not _close(F, torch.outer(top, top)), (
        "only the most likely label was used: the expectation runs over all labels"
    )
    assert not _close(F, torch.diag(p)), "the gradient of log p(y) in the logits is e_y - p: the - p is missing"
    assert not _close(F, torch.zeros(3, 3)), (
        "the scores were averaged before the outer product, and their mean is zero: the square comes first"
    )
    assert not _close(F, torch.outer(p, p) - torch.diag(p)), "the sign is wrong: a mean of squares is not negative"
    assert _close(F, torch.diag(p) - torch.outer(p, p)), (
        f"the entry in row 1 and column 1 should be the mean of the squared first entry of the score, "
        f"{(p[0] * (1 - p[0])).item():.2f}; yours is {F[0, 0].item():.2f}"
    )


def _nonlinear():
    M = torch.tensor([[2.0, 0.5, 0.0], [0.5, 1.0, -0.3], [0.0, -0.3, 3.0]], dtype=torch.float64)
    return lambda w: (w @ M @ w) / 2 + torch.sin(w).sum() + (w[0] * w[1] * w[2])


def check_hessian_vector(function):
    loss, calls = _nonlinear(), []

    def counted(w):
        calls.append(1)
        return loss(w)

    w = torch.tensor([0.3, -1.2, 0.8], dtype=torch.float64)
    H = torch.func.hessian(loss)(w)
    for v in torch.eye(3, dtype=torch.float64):
        result = numbers(function(counted, w, v), [3], "H v")
        if not _close(result, H @ v):
            assert not _close(result, torch.func.grad(loss)(w) * v), (
                "this is the gradient times v, entry by entry: differentiate once more, along v"
            )
            assert not torch.allclose(result, H @ v, rtol=1e-3, atol=1e-3), (
                "nearly right, but finite differences lose half of the digits: differentiate the gradient with "
                "torch.func.jvp"
            )
            raise AssertionError(
                f"for v = {v.tolist()} your product is {[round(n, 3) for n in result.tolist()]}, but the gradient "
                f"changes by {[round(n, 3) for n in (H @ v).tolist()]} per unit of v"
            )
    calls.clear()
    wide = torch.linspace(-1, 1, 60, dtype=torch.float64)
    function(lambda w: (calls.append(1), torch.sin(w).sum() + (w.sum()) ** 3)[1], wide, wide)
    assert len(calls) <= 10, (
        f"the loss was called {len(calls)} times for one product: the matrix must not be built, column by column or "
        "otherwise"
    )
    many = torch.zeros(2_000_000, dtype=torch.float64)
    try:
        function(lambda w: (w - 1).pow(4).sum(), many, many + 1)
    except RuntimeError as error:
        raise AssertionError(
            "it fails for two million parameters: the matrix must not be built, it would have 4 * 10^12 entries"
        ) from error


def check_ggn_vector(function):
    x = torch.tensor([[1.0, 2.0], [0.5, -1.0]], dtype=torch.float64)
    outputs = lambda w: torch.tanh(x @ w.view(2, 2).T) * 2
    weights = torch.tensor([[1.0, 3.0], [2.0, 0.5]], dtype=torch.float64)
    output_hvp = lambda z, u: weights * u
    w = torch.tensor([0.2, -0.4, 0.7, 0.1], dtype=torch.float64)
    J = torch.autograd.functional.jacobian(outputs, w).reshape(4, 4)
    G = J.T @ torch.diag(weights.flatten()) @ J
    for v in torch.eye(4, dtype=torch.float64):
        result = numbers(function(outputs, output_hvp, w, v), [4], "G v")
        assert not _close(result, J.T @ J @ v) or _close(G @ v, J.T @ J @ v), (
            "this is J^T J v: the loss's curvature at the outputs, output_hvp, is missing in between"
        )
        assert not _close(result, torch.diag(weights.flatten()) @ J @ v), (
            "this has the outputs' numbers: bring it back to the weights with J^T"
        )
        right, yours = ([round(n, 4) for n in x.tolist()] for x in (G @ v, result))
        assert _close(result, G @ v), f"for v = {v.tolist()} the product should be {right}, yours is {yours}"
    bent = lambda z, u: z * u  # depends on where we stand
    expected = J.T @ (outputs(w).flatten() * (J @ w))
    assert _close(function(outputs, bent, w, w), expected), "output_hvp needs the outputs at w as its first argument"


def check_two_steps(function):
    alpha, beta, values = parts(function(), 3, "the two alphas, beta, and the two eigenvalues of T")
    alpha, values = numbers(alpha, [2], "alpha"), numbers(values, [2], "the eigenvalues").sort()[0]
    beta = float(torch.as_tensor(beta).double().reshape(-1)[0])
    rounded = lambda x, y: _close(x, y, rtol=0, atol=6e-3)
    assert not rounded(alpha[0], 6.0), (
        "the start vector has to have length 1: (1, 1, 1) must be divided by the root of 3 before alpha is taken"
    )
    assert rounded(alpha[0], 2.0), "the first alpha is q . M q for the first q: the mean of the three diagonal entries"
    assert not rounded(beta, 2 / 3), "beta is the length of what is left, and this is the square of the length"
    assert rounded(beta, (2 / 3) ** 0.5), (
        "beta is the length of M q - alpha q: write the three entries of this vector, and take the root of the sum of "
        "their squares"
    )
    assert rounded(alpha[1], 2.0), "the second alpha is q . M q for the second q, which points along (-1, 0, 1)"
    assert not rounded(values, torch.tensor([1.0, 3.0])), (
        "these are eigenvalues of M: after two steps T does not know them yet, take the eigenvalues of T"
    )
    assert rounded(values, 2 + torch.tensor([-1.0, 1.0]) * (2 / 3) ** 0.5), (
        "alpha and beta are right. T has alpha on its diagonal and beta beside it, and for two equal alphas its "
        "eigenvalues lie symmetrically around alpha"
    )


def _lanczos_result(result, steps, n):
    alpha, beta, Q = parts(result, 3, "alpha, beta, Q")
    alpha = numbers([float(x) for x in alpha], [len(alpha)], "alpha")
    beta = numbers([float(x) for x in beta], [len(beta)], "beta")
    assert len(alpha) == steps, f"alpha has {len(alpha)} entries after {steps} steps: there is one for each step"
    assert len(beta) == steps - 1, (
        f"beta has {len(beta)} entries, but T has {steps - 1} places beside the diagonal: the last one, which leads "
        "out of T, is not part of it"
    )
    if isinstance(Q, (list, tuple)):
        Q = torch.stack([torch.as_tensor(row).double() for row in Q])
    assert not (list(Q.shape) == [n, steps] and n != steps), (
        f"Q has shape {list(Q.shape)}: return one direction a row, [{steps}, {n}]"
    )
    return alpha, beta, numbers(Q, [steps, n], "Q")


def check_lanczos_loop(function):
    generator = torch.Generator().manual_seed(0)
    M = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    M, v0 = M + M.T, 3 * torch.randn(6, generator=generator, dtype=torch.float64)
    before = v0.clone()
    _, _, Q = _lanczos_result(function(lambda v: M @ v, v0, 2), 2, 6)
    assert torch.equal(v0, before), "the start vector was changed in place: work on a copy"
    assert _close(Q.norm(dim=1), torch.ones(2)), (
        "the rows of Q do not have length 1: divide the start vector, and what is left in each step, by its length"
    )
    assert _close(Q[0], v0 / v0.norm()), "the first direction is the start vector, scaled to length 1"
    alpha, beta, Q = _lanczos_result(function(lambda v: M @ v, v0, 4), 4, 6)
    T = Q @ M @ Q.T
    overlap = (Q @ Q.T - torch.eye(4).double()).abs().max()
    assert overlap < 1e-6, (
        "the rows of Q are not at right angles to each other: from M q, take away what points along this direction and "
        "along the one before"
    )
    assert _close(alpha, T.diagonal()), "alpha is not q . M q of each direction in turn"
    assert not _close(beta, -T.diagonal(1)) or _close(beta, T.diagonal(1)), "beta is a length, so it is not negative"
    assert _close(beta, T.diagonal(1)), "beta is not the length of what was left in each step"
    spiky = torch.cat([torch.linspace(0, 1, 99), torch.tensor([100.0])])
    start = torch.randint(0, 2, (100,), generator=generator).float() * 2 - 1
    alpha, beta, Q = _lanczos_result(function(lambda v: spiky * v, start, 40), 40, 100)
    T = torch.diag(alpha) + torch.diag(beta, 1) + torch.diag(beta, -1)
    ghosts = (torch.linalg.eigvalsh(T) > 99).sum().item()
    assert ghosts == 1 and (Q @ Q.T - torch.eye(40).double()).abs().max() < 1e-3, (
        f"in single precision, on a matrix with a single eigenvalue of 100, your T has {ghosts} eigenvalues near 100, "
        "because rounding has spoiled the right angles. In every step, take away what points along *all* earlier "
        "directions, and do it twice"
    )
    two = torch.tensor([1.0, 1, 5, 5, 5], dtype=torch.float64)
    try:
        result = function(lambda v: two * v, torch.ones(5, dtype=torch.float64), 5)
        alpha, beta, Q = parts(result, 3, "alpha, beta, Q")
        sizes, finite = (len(alpha), len(beta)), all(abs(float(x)) < 1e6 for x in [*alpha, *beta])
    except (ZeroDivisionError, RuntimeError, ValueError):
        sizes, finite = None, False
    assert finite and sizes == (2, 1), (
        "a matrix with only two different eigenvalues is exhausted after two steps: what is left is nothing but "
        "rounding, and dividing by its length makes noise. Stop when the length is tiny beside the alphas and betas"
    )


def check_without_shared_mean(function):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(60, 4, generator=generator, dtype=torch.float64) * torch.tensor([1.0, 2, 3, 4]).double() + 5
    x[:, 1] -= 3
    before, mean = x.clone(), x.mean(0)
    result = numbers(function(x), [60, 4], "the new images")
    assert torch.equal(x, before), "the images were changed in place, so the originals are lost: return new ones"
    assert not _close(result, x), "nothing has changed"
    assert not _close(result, x - x.mean()), (
        "one number was subtracted from all pixels. The images still share a mean that differs from pixel to pixel"
    )
    assert not _close(result, x - x.mean(1, keepdim=True)), (
        "the mean of each image was subtracted: the control removes what all images share, pixel by pixel"
    )
    scaled = result * x.std(0)
    assert not (_close(scaled, x - mean, rtol=0.02, atol=0.02)), (
        "the pixels were also scaled to the same spread, so the control changes two things: leave the spread as it is"
    )
    assert result.mean(0).abs().max() < 1e-8, "the pixels' means over all images are not zero"
    assert _close(result, x - mean), (
        "the means are gone, but the images differ in another way too: the difference of two images must stay as it was"
    )


def check_gauss_rule(function):
    alpha = torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64)
    beta = torch.tensor([0.7, 0.4], dtype=torch.float64)
    T = torch.diag(alpha) + torch.diag(beta, 1) + torch.diag(beta, -1)
    nodes, weights = parts(function(alpha, beta), 2, "nodes, weights")
    nodes, weights = numbers(nodes, [3], "the nodes"), numbers(weights, [3], "the weights")
    values, s = torch.linalg.eigh(T)
    order = nodes.argsort()
    assert _close(nodes[order], values), (
        "the nodes are not the eigenvalues of T: does T have beta on both sides of its diagonal?"
    )
    weights = weights[order]
    assert not _close(weights, s[:, 0] ** 2), (
        "these are the squares of the entries of *one* eigenvector: take one entry of every eigenvector"
    )
    assert not _close(weights, s[0].abs()) and not _close(weights, s[0]), "square the first entries"
    assert not _close(weights, s[-1] ** 2), (
        "these are the last entries, which give Ritz residuals: the start vector is the *first* row of Q"
    )
    assert _close(weights.sum(), 1.0), f"the weights sum to {weights.sum().item():.3f}: they are shares and sum to 1"
    assert _close(weights, s[0] ** 2), (
        "the weights are shares, but not the right ones: each says how much of the start vector, the first direction, "
        "lies along the node's eigenvector"
    )


EXERCISES = {
    "04.hessian_vector": Exercise(
        "A column without the matrix",
        2,
        8,
        (
            "H v says how the gradient changes per unit of a walk along v.",
            "`torch.func.grad(loss)` is the gradient as a function of w. You want its derivative along v.",
            "`torch.func.jvp(function, (w,), (v,))` returns the function's value and its derivative along v. Which "
            "function is it here?",
        ),
        check_hessian_vector,
        "This is forward mode over reverse mode. It costs about as much as two gradients, and no more memory.",
    ),
    "04.fisher_of_softmax": Exercise(
        "The Fisher of one softmax",
        2,
        8,
        (
            "For label y the gradient of log p(y) in the logits is e_y - p: a one at y, minus all probabilities.",
            "`torch.eye(len(p)) - p` has the score of each label in its row (mind the dtype).",
            "Multiply every row by its probability before you multiply the two matrices of scores.",
        ),
        check_fisher_of_softmax,
        "Multiplied out it is diag(p) - p p^T, equation (04.2): the Hessian of the cross-entropy in the logits.",
    ),
    "04.ggn_vector": Exercise(
        "Forward, through the loss, and back",
        3,
        12,
        (
            "There are three steps: how do the outputs move along v, what does the loss's Hessian make of that, and "
            "how does it come back to the weights?",
            "`torch.func.jvp(outputs, (w,), (v,))` gives the outputs and their change. `torch.func.vjp(outputs, w)` "
            "gives the outputs and a function that multiplies by the transposed Jacobian.",
            "Between the two stands `output_hvp`, which needs the outputs and their change. The function from `vjp` "
            "returns a tuple.",
        ),
        check_ggn_vector,
        "J has a row for each output and a column for each weight, and it is never formed.",
    ),
    "04.two_steps": Exercise(
        "Two steps of Lanczos",
        2,
        12,
        (
            "A diagonal matrix multiplies each entry of a vector by its own number.",
            "With q = (1, 1, 1) divided by the root of 3, write M q and subtract alpha q; the length of what is left "
            "is beta.",
            "A matrix [[c, b], [b, c]] has the eigenvectors (1, 1) and (1, -1). What are its eigenvalues?",
        ),
        check_two_steps,
        "The largest and the smallest eigenvalue are already approached, from the inside. That is typical: the ends "
        "come first.",
    ),
    "04.lanczos_loop": Exercise(
        "The Lanczos loop",
        4,
        30,
        (
            "Keep a list of directions, one of alphas and one of betas. A step is (04.8): a product, an alpha, two "
            "subtractions, a length, a division.",
            "Against rounding: with the directions so far as the rows of Q, `Q.T @ (Q @ w)` is the part of w along all "
            "of them. Subtract it, and once more.",
            "Decide at the end of a step, from the new length, whether to go on: not if it is below about ten times "
            "the precision (`torch.finfo(dtype).eps`) times the largest alpha or beta. The last length belongs to no "
            "entry of T.",
        ),
        check_lanczos_loop,
        "The loop never sees the matrix, only products with it, so the same lines work for sixteen thousand weights. "
        "The library's `lanczos` is this loop.",
    ),
    "04.gauss_rule": Exercise(
        "From a tridiagonal matrix to a density",
        3,
        10,
        (
            "Build T from its diagonal and its two off-diagonals; the rest is one eigendecomposition.",
            "In the basis of Lanczos, the start vector is (1, 0, 0, ...). How much of it lies along one eigenvector?",
            "`torch.linalg.eigh` returns the eigenvectors as columns, so their first entries form a row.",
        ),
        check_gauss_rule,
        "This is Gauss quadrature: m nodes give the mean of every polynomial of degree up to 2m - 1 exactly.",
    ),
    "04.without_shared_mean": Exercise(
        "Take the shared mean away",
        2,
        8,
        (
            "What all images share is one image: the mean over all of them.",
            "The mean over the first axis has one number for each pixel.",
            "Subtract it from every image, and do nothing else: no scaling, no clipping.",
        ),
        check_without_shared_mean,
        "Differences between images stay as they were, so a net can learn the same classes. Only the part that all "
        "images have in common is gone.",
    ),
}
