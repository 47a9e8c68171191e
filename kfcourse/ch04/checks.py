"""Exercises of chapter 04: the Fisher of one softmax, two products without their matrix, a step of Lanczos, a Gauss
rule.
"""

import torch

from kfcourse import Exercise


def _close(x, y):
    return torch.allclose(
        torch.as_tensor(x, dtype=torch.float64), torch.as_tensor(y, dtype=torch.float64), rtol=1e-8, atol=1e-10
    )


def _vector(result, size, what):
    assert torch.is_tensor(result), f"{what} should be a tensor, not {type(result).__name__}"
    assert list(result.shape) == [size], f"{what} has shape {list(result.shape)}, it should be [{size}]"


def check_fisher_of_softmax(function):
    p = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)
    F = function(p)
    assert torch.is_tensor(F) and list(F.shape) == [3, 3], (
        f"a tensor [3, 3] is wanted, not {list(getattr(F, 'shape', [])) or type(F).__name__}"
    )
    scores = torch.eye(3, dtype=torch.float64) - p
    assert not _close(F, scores.T @ scores), (
        "every label counts the same here: weight each outer product with the label's probability p[y]"
    )
    assert not _close(F, scores.T @ scores / 3), (
        "this is the mean over labels as if all were equally likely: weight with p[y]"
    )
    top = scores[0]
    assert not _close(F, torch.outer(top, top)), (
        "only the most likely label was used: the expectation runs over all labels"
    )
    assert not _close(F, torch.diag(p)), "the gradient of log p(y) in the logits is e_y - p: the - p is missing"
    assert not _close(F, torch.zeros(3, 3)), (
        "the scores were averaged before the outer product, and their mean is zero: square first"
    )
    assert _close(F, torch.diag(p) - torch.outer(p, p)), "the numbers are not the mean of (e_y - p)(e_y - p)^T under p"


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
        result = function(counted, w, v)
        _vector(result, 3, "H v")
        if not _close(result, H @ v):
            assert not _close(result, torch.func.grad(loss)(w) * v), (
                "this is the gradient times v, entry by entry: differentiate once more, along v"
            )
            assert not torch.allclose(result, H @ v, rtol=1e-3, atol=1e-3), (
                "nearly right, but finite differences lose half of the digits: differentiate the gradient with "
                "torch.func.jvp"
            )
            raise AssertionError(
                f"for v = {v.tolist()} the product should be {(H @ v).tolist()}, yours is {result.tolist()}"
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
        result = function(outputs, output_hvp, w, v)
        _vector(result, 4, "G v")
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


def check_lanczos_step(function):
    generator = torch.Generator().manual_seed(0)
    M = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    M = M + M.T
    q = torch.randn(6, generator=generator, dtype=torch.float64)
    q = q / q.norm()
    previous, beta = torch.zeros(6, dtype=torch.float64), 0.0
    for step in range(4):
        result = function(lambda v: M @ v, previous, q, beta)
        assert isinstance(result, (tuple, list)) and len(result) == 3, "return three things: alpha, beta, the next q"
        alpha, new_beta, new = result
        w = M @ q - (q @ M @ q) * q - beta * previous
        assert _close(alpha, q @ M @ q), f"alpha is q^T M q; in step {step + 1} it should be {(q @ M @ q).item():.4f}"
        _vector(new, 6, "the next q")
        assert abs(new.norm().item() - 1) < 1e-8, (
            f"the next q has norm {new.norm().item():.3f}: divide what is left by its norm"
        )
        assert abs((new @ q).item()) < 1e-8, "the next q is not at a right angle to this q: take alpha q away"
        assert abs((new @ previous).item()) < 1e-8, (
            "the next q is not at a right angle to the one before: take beta q_previous away"
        )
        assert _close(new_beta, w.norm()), (
            f"the new beta is the norm of what is left, {w.norm().item():.4f} in step {step + 1}, before it is "
            "scaled to 1"
        )
        previous, q, beta = q, new, float(new_beta)


def check_gauss_rule(function):
    alpha = torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64)
    beta = torch.tensor([0.7, 0.4], dtype=torch.float64)
    T = torch.diag(alpha) + torch.diag(beta, 1) + torch.diag(beta, -1)
    result = function(alpha, beta)
    assert isinstance(result, (tuple, list)) and len(result) == 2, "return two tensors: nodes, weights"
    nodes, weights = result
    _vector(nodes, 3, "the nodes")
    _vector(weights, 3, "the weights")
    values, s = torch.linalg.eigh(T)
    order = nodes.argsort()
    assert _close(nodes[order], values), (
        f"the nodes are the eigenvalues of T, {[round(n, 3) for n in values.tolist()]}: has T both off-diagonals?"
    )
    weights = weights[order]
    assert not _close(weights, s[:, 0] ** 2), (
        "these are the squares of *one* eigenvector: take every eigenvector's first entry, s[0], a row"
    )
    assert not _close(weights, s[0].abs()) and not _close(weights, s[0]), "square the first entries"
    assert not _close(weights, s[-1] ** 2), (
        "these are the last entries, which give Ritz residuals: the start vector is the *first* row of Q"
    )
    assert _close(weights.sum(), 1.0), f"the weights sum to {weights.sum().item():.3f}: they are shares and sum to 1"
    assert _close(weights, s[0] ** 2), "the weights are the squared first entries of T's eigenvectors"


EXERCISES = {
    "04.hessian_vector": Exercise(
        "A column without the matrix",
        2,
        8,
        (
            "H v is how fast the gradient changes when you walk along v.",
            "`torch.func.grad(loss)` is the gradient as a function. You want its directional derivative.",
            "`torch.func.jvp(torch.func.grad(loss), (w,), (v,))` returns a pair; the derivative is the second.",
        ),
        check_hessian_vector,
        "Forward mode over reverse mode: about the cost of two gradients, and no memory beyond them.",
    ),
    "04.fisher_of_softmax": Exercise(
        "The Fisher of one softmax",
        2,
        8,
        (
            "For label y the gradient of log p(y) in the logits is e_y - p: one at y, minus all probabilities.",
            "All scores at once: `torch.eye(len(p)) - p` has one of them in every row (mind the dtype).",
            "With `scores` of shape [C, C]: `scores.T @ (p[:, None] * scores)`.",
        ),
        check_fisher_of_softmax,
        "Multiplied out it is diag(p) - p p^T: the Hessian of the cross-entropy in the logits, in which no label "
        "occurs. That is why GGN and Fisher agree.",
    ),
    "04.ggn_vector": Exercise(
        "Forward, bend, back",
        3,
        12,
        (
            "Three steps: how do the outputs move along v? What does the loss make of that? Bring it back to the "
            "weights.",
            "`torch.func.jvp(outputs, (w,), (v,))` gives the outputs and their change; `torch.func.vjp(outputs, w)` "
            "gives a function for the way back.",
            "`z, u = jvp(...)`; `_, back = vjp(...)`; `back(output_hvp(z, u))[0]`.",
        ),
        check_ggn_vector,
        "J has as many rows as there are outputs and as many columns as weights, and it never exists.",
    ),
    "04.lanczos_step": Exercise(
        "One step of Lanczos",
        3,
        12,
        (
            "Multiply, then take away what points along the two last directions.",
            "`w = matvec(q)`; alpha is `w @ q`; what is left is `w - alpha * q - beta * q_previous`.",
            "The new beta is the norm of what is left, the next q is what is left divided by it.",
        ),
        check_lanczos_step,
        "In exact arithmetic the new direction is at a right angle to *all* earlier ones, although only two were "
        "taken away. In floating point it is not, "
        "as you are about to see.",
    ),
    "04.gauss_rule": Exercise(
        "From three numbers to a density",
        3,
        10,
        (
            "Build T from its diagonal and its two off-diagonals; then it is one eigendecomposition.",
            "The start vector is the first row of Q, so its share in an eigenvector of T is that eigenvector's first "
            "entry.",
            "`values, s = torch.linalg.eigh(T)`; the eigenvectors are the columns of s, so their first entries are "
            "`s[0]`. Square them.",
        ),
        check_gauss_rule,
        "This is Gauss quadrature: m nodes get the moments of the spectrum right up to order 2m - 1.",
    ),
}
