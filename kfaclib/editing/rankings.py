"""Other ways to say which pairs of eigenvectors matter: by one side alone, by the weight's own coefficients, or on
another domain's text.

`scores` gives numbers that `edit.edit_weights(layers, bases, mass, eigenvalues=...)` ranks by; `mixed` gives factors to
decompose.
"""

import torch

from kfaclib.curvature.eigenbasis import Eigenbasis, eigenvalue_product
from kfaclib.curvature.factors import Factors

KINDS = ("K-FAC", "G only", "A only", "K-FAC x C^2", "C^2 only")


def scores(kind: str, W: torch.Tensor, basis: Eigenbasis) -> torch.Tensor:
    """Scores by which the pairs (i of G, j of A) of a weight are ranked; `kind` is one of KINDS.

    W: [O, I]. basis: its Eigenbasis. Returns float64 [O, I], >= 0. "G only" gives all pairs of an output direction the
    same score, so that whole output directions stay or go; "A only" does it for input directions. With C = Q_G^T W Q_A,
    "K-FAC x C^2" is twice what dropping a pair should cost, in nats per token. Raises ValueError for another kind.
    """
    G, A = basis.lambda_G, basis.lambda_A
    if kind == "K-FAC":
        return eigenvalue_product(basis)
    if kind == "G only":
        return G[:, None].expand(len(G), len(A)).clone()
    if kind == "A only":
        return A[None, :].expand(len(G), len(A)).clone()
    if kind not in KINDS:
        raise ValueError(f"kind={kind!r}: pairs are ranked by one of {KINDS}")
    C2 = (basis.Q_G.double().T @ W.detach().double() @ basis.Q_A.double()).square()
    return C2 if kind == "C^2 only" else C2 * eigenvalue_product(basis)


def mixed(ordinary: dict[str, Factors], domain: dict[str, Factors], alpha: float) -> dict[str, Factors]:
    """Factors of a mixture of two texts, (1 - alpha) of the ordinary one and alpha of the domain's, so that there is
    one basis for both.

    It is the same as collecting on text of which a share alpha of the tokens is the domain's. Layers that share an A go
    on sharing it. Raises ValueError for an alpha outside [0, 1], and for factors of different layers or shapes.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha={alpha}: the domain's share of the tokens lies between 0 and 1")
    if ordinary.keys() != domain.keys():
        raise ValueError(
            f"the factors are of different layers: {sorted(ordinary.keys() ^ domain.keys())[0]!r} is in only one of "
            "the two"
        )
    shared = {}

    def mix(one, other):
        if one.shape != other.shape:
            raise ValueError(
                f"factors of shapes {tuple(one.shape)} and {tuple(other.shape)} cannot be mixed: they are of "
                "different layers"
            )
        key = one.data_ptr(), other.data_ptr()
        if key not in shared:
            shared[key] = torch.lerp(one, other, alpha)
        return shared[key]

    return {
        name: Factors(mix(f.A, domain[name].A), mix(f.G, domain[name].G), f.tokens + domain[name].tokens)
        for name, f in ordinary.items()
    }
