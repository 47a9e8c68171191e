"""Chapter 05: fresh inputs for every exercise, and a question of one's own for every student."""

import torch
from torch import nn

from kfcourse.grading.variants import Variant, alike, one_of, orthogonal, real, tenths, whole


def _tokens(g):
    T = whole(g, 5, 9)
    return real(g, T, whole(g, 2, 4)) + 0.5, real(g, T, whole(g, 2, 4)) - 0.3


def _token_weights(g):
    c = tenths(g, 0.3, 0.9)
    weight = lambda a: c ** torch.arange(len(a), dtype=a.dtype)[:, None]
    return (
        f"Token number t (counted from 0) counts {c} to the power t in the mean; still divide by the number of tokens.",
        lambda ref: lambda a, g, *bases: ref(a * weight(a).sqrt(), g, *bases),
    )


def _damped_factors(g):
    c = tenths(g, 0.2, 3)
    eye = lambda M: torch.eye(len(M), dtype=M.dtype)
    return (
        f"Add {c} times the identity to A, and divide G by {c}.",
        lambda ref: lambda a, g: (lambda A, G: (A + c * eye(A), G / c))(*ref(a, g)),
    )


def _other_matrices(g):
    c, d = whole(g, 3, 9), whole(g, 10, 40)
    return (
        f"Answer the question for the same G and for A = [[1, 0], [0, {c}]] times {d}.",
        lambda ref: lambda: ([d, 3 * d, c * d, 3 * c * d], [[0, 1], [0, 1]]),
    )


def _same_spectrum(a, b, _):
    """The same eigenvalues in any order, and the same direction up to length and sign."""
    unit = lambda m: torch.as_tensor(m).double() / torch.as_tensor(m).double().norm()
    ordered = lambda x: torch.as_tensor(x).double().sort()[0]
    return alike(ordered(a[0]), ordered(b[0])) and (unit(a[1]) * unit(b[1])).sum().abs().item() > 1 - 1e-5


def _system(g):
    a, s = _tokens(g)
    return real(g, s.shape[1], a.shape[1]), s.T @ s / len(s), a.T @ a / len(a), tenths(g, 0.1, 0.9)


def _solved_twice(g):
    c = tenths(g, 0.2, 3)
    return (
        f"Solve for {c} times the identity as G, whatever G is given, and with the damping doubled.",
        lambda ref: lambda V, G, A, damping: ref(V, c * torch.eye(len(G), dtype=G.dtype), A, 2 * damping),
    )


def _many_tokens(g):
    N = whole(g, 30, 50)
    return real(g, N, 3) + 0.5, real(g, N, 2), torch.Generator().manual_seed(whole(g, 0, 9999))


def _scaled_control(g):
    c = tenths(g, 1.2, 4)
    return (
        f"The control's gradients are {c} times as large, and otherwise as before.",
        lambda ref: lambda a, g, generator: (lambda new_a, new_g: (new_a, c * new_g))(*ref(a, g, generator)),
    )


def _same_sets(a, b, arguments):
    """The same inputs and the same gradients as sets, and not in the pairs that came in."""
    rows = lambda x: torch.as_tensor(x).double()
    moments = all(alike(rows(x).T @ rows(x), rows(y).T @ rows(y)) for x, y in zip(a, b, strict=True))
    paired = lambda pair: rows(pair[0]).T @ rows(pair[1])
    scale = rows(b[1]).norm() / arguments[1].norm()
    return moments and not alike(paired(b), scale * paired(arguments[:2]))


def _rotated(g):
    a, s = _tokens(g)
    return a, s, orthogonal(g, a.shape[1]), orthogonal(g, s.shape[1])


def _sequences(g):
    N, S, inputs, outputs = whole(g, 3, 5), whole(g, 3, 5), whole(g, 2, 4), whole(g, 2, 4)
    return real(g, N, S, inputs), real(g, N, S, outputs), orthogonal(g, inputs), orthogonal(g, outputs)


def _alternating(g):
    c = tenths(g, 0.3, 2.5)
    return (
        f"The first token's gradient in every sequence is multiplied by {c} before it is added to the others.",
        lambda ref: lambda a, g, Q_A, Q_G: ref(a, torch.cat([c * g[:, :1], g[:, 1:]], 1), Q_A, Q_G),
    )


def _net(g):
    """A net with a linear layer in its middle, that layer's name, batches of unequal size and a loss."""
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(real(g, *parameter.shape))
    return net, "2", [real(g, n, whole(g, 2, 3), 3) for n in (2, 3, 5)], (lambda outputs: outputs.sin().sum())


def _louder(g):
    c = tenths(g, 1.2, 4)
    return (
        f"The loss is multiplied by {c}, and the first batch is left out.",
        lambda ref: lambda net, name, batches, loss: ref(net, name, batches[1:], lambda outputs: c * loss(outputs)),
    )


def _other_numbers(g):
    size, more = one_of(g, 2, 8, 16), whole(g, 1, 4)
    return (
        f"A number takes {size} bytes, and the layer has {more} further inputs that the argument I does not count.",
        lambda ref: lambda O, I: tuple(n * size // 4 for n in ref(O, I + more)),
    )


VARIANTS = {
    "05.fisher_block": Variant(_tokens, _token_weights),
    "05.kfac_factors": Variant(_tokens, _damped_factors),
    "05.kron_spectrum": Variant(lambda g: (), _other_matrices, _same_spectrum),
    "05.damped_solve": Variant(_system, _solved_twice),
    "05.unrelated_pairs": Variant(_many_tokens, _scaled_control, _same_sets),
    "05.ekfac_eigenvalues": Variant(_rotated, _token_weights),
    "05.sequence_eigenvalues": Variant(_sequences, _alternating),
    "05.collect_by_hooks": Variant(_net, _louder),
    "05.curvature_bytes": Variant(lambda g: (whole(g, 2, 4000), whole(g, 2, 4000)), _other_numbers),
}
