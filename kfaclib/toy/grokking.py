"""Addition modulo p on a small network: training, Fourier measures, curvature, the edit.

The network is that of Gromov (2023, arXiv 2301.02679): h = (U[a] + V[b])^2, logits = W h. Its parameters are a dict
{"U": [p, width], "V": [p, width], "W": [p, width]}; a batch is a tensor of pairs [n, 2]; the answer to (a, b) is
(a + b) mod p.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from tqdm.auto import tqdm

from kfaclib.curvature.products import Params, cross_entropy_hvp, flatten, ggnvp, unflatten
from kfaclib.curvature.spectrum import random_signs

P, WIDTH, FRACTION = (
    97,
    256,
    0.2,
)  # the train fraction sets the length of the plateau: at .4 there is none, at .17 it does not end
LEARNING_RATE, WEIGHT_DECAY, BETAS = 2e-3, 1.0, (0.9, 0.98)


def all_pairs(p: int) -> torch.Tensor:
    """Every pair (a, b): int64 [p * p, 2]."""
    return torch.cartesian_prod(torch.arange(p), torch.arange(p))


def answers(pairs: torch.Tensor, p: int) -> torch.Tensor:
    """The answers (a + b) mod p to pairs [n, 2]: int64 [n]."""
    return pairs.sum(1) % p


def split(p: int, fraction: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Split all pairs in a random order into (train, test) [., 2], the first `fraction` of them for training. Raises
    ValueError if either would be empty."""
    pairs = all_pairs(p)
    count = round(fraction * len(pairs))
    if not 0 < count < len(pairs):
        raise ValueError(
            f"fraction={fraction}: of {len(pairs)} pairs, both the training and the test set need at least one"
        )
    order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(seed))
    return pairs[order[:count]], pairs[order[count:]]


def init(p: int, width: int, seed: int) -> Params:
    """New random parameters: rows of U and V of variance 1 / 2p, of W of variance 1 / width."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda std: torch.randn(p, width, generator=generator) * std
    return {"U": draw((2 * p) ** -0.5), "V": draw((2 * p) ** -0.5), "W": draw(width**-0.5)}


def hidden(params: Params, pairs: torch.Tensor) -> torch.Tensor:
    """Hidden units h = (U[a] + V[b])^2 for pairs [n, 2]: [n, width]."""
    return (F.embedding(pairs[:, 0], params["U"]) + F.embedding(pairs[:, 1], params["V"])) ** 2


def logits(params: Params, pairs: torch.Tensor) -> torch.Tensor:
    """Logits W h for pairs [n, 2]: [n, p]."""
    return hidden(params, pairs) @ params["W"].T


def loss(params: Params, pairs: torch.Tensor) -> torch.Tensor:
    """Mean squared error to the one-hot answers, over pairs and outputs."""
    out = logits(params, pairs)
    return F.mse_loss(out, F.one_hot(answers(pairs, out.shape[1]), out.shape[1]).to(out.dtype))


@torch.no_grad()
def accuracy(params: Params, pairs: torch.Tensor, forward: Callable = logits) -> float:
    """Share of pairs whose largest output is the right one, for outputs forward(params, pairs) [n, p]."""
    out = forward(params, pairs)
    return (out.argmax(1) == answers(pairs, out.shape[1])).double().mean().item()


def train(
    params: Params,
    pairs: torch.Tensor,
    steps: int,
    *,
    loss: Callable[[Params, torch.Tensor], torch.Tensor] = loss,
    keep: Collection[int] = (),
    each: Callable[[int, Params], object] | None = None,
    learning_rate: float = LEARNING_RATE,
    weight_decay: float = WEIGHT_DECAY,
    progress: bool = True,
) -> dict[int, Params]:
    """Train with AdamW on all `pairs` at once and return {step: parameters} for the steps in `keep`.

    Step 0 is before the first update. each(step, params) is called before every update and after the last; it may
    change the parameters in place. `params` itself is not changed.
    """
    live = {name: value.clone().requires_grad_() for name, value in params.items()}
    optimizer = torch.optim.AdamW(live.values(), lr=learning_rate, weight_decay=weight_decay, betas=BETAS)
    kept = {}
    for step in tqdm(range(steps + 1), desc="training") if progress else range(steps + 1):
        now = {name: value.detach() for name, value in live.items()}
        if each:
            each(step, now)
        if step in keep:
            kept[step] = {name: value.clone() for name, value in now.items()}
        if step < steps:
            loss(live, pairs).backward()
            optimizer.step()
            optimizer.zero_grad()
    return kept


# Fourier measures


def power(weight: torch.Tensor) -> torch.Tensor:
    """Share of each column's power at the frequencies 1 ... (p - 1) / 2, for weight [p, width]: [(p - 1) / 2,
    width]."""
    spectrum = torch.fft.rfft(weight.double(), dim=0)[1:].abs() ** 2
    return spectrum / spectrum.sum(0)


def purity(params: Params) -> float:
    """Mean over the neurons of the largest share that one frequency has in the neuron's column of U."""
    return power(params["U"]).max(0).values.mean().item()


def clock(p: int) -> Params:
    """Weights in closed form that solve the task without training: float64, of width 9 (p - 1) / 2.

    There are nine waves of each frequency, with phases in three by three steps of a third of a turn. Squaring turns
    cos x cos y into a wave in a + b, and everything else cancels exactly: for an odd p the logits are 9/4 (p - 1) at
    the answer and -9/4 elsewhere.
    """
    frequency = 2 * torch.pi / p * torch.arange(1, (p - 1) // 2 + 1, dtype=torch.float64).repeat_interleave(9)
    phase_a, phase_b = (all_pairs(3).T.double() * (2 * torch.pi / 3)).repeat(1, (p - 1) // 2)
    angle = torch.arange(p)[:, None] * frequency
    return {"U": torch.cos(angle + phase_a), "V": torch.cos(angle + phase_b), "W": torch.cos(angle + phase_a + phase_b)}


def group_mean(outputs: torch.Tensor, pairs: torch.Tensor, p: int) -> torch.Tensor:
    """Mean output over all pairs with the same answer: [p, C] for outputs [n, C] at pairs [n, 2].

    This keeps only the dependence on a + b of a function of (a, b): on all p * p pairs it is the projection on the
    Fourier modes (k, k). Use test pairs, because a training pair brings its memorized label along. Raises ValueError
    for an answer that no pair has.
    """
    which = answers(pairs, p)
    count = torch.bincount(which, minlength=p)
    if (count == 0).any():
        raise ValueError(
            f"no pair has the answer {int((count == 0).nonzero()[0])}: the mean over such pairs does not exist"
        )
    return torch.zeros(p, outputs.shape[1], dtype=outputs.dtype).index_add_(0, which, outputs) / count[:, None]


@torch.no_grad()
def restricted_accuracy(params: Params, pairs: torch.Tensor) -> float:
    """Share of the p answers that the group mean over these pairs gets right."""
    p = len(params["W"])
    return (group_mean(logits(params, pairs), pairs, p).argmax(1) == torch.arange(p)).double().mean().item()


@torch.no_grad()
def excluded_accuracy(params: Params, pairs: torch.Tensor, test: torch.Tensor) -> float:
    """Accuracy on `pairs` after subtracting the group mean over `test` from the logits, that is, without the circuit
    for a + b."""
    p = len(params["W"])
    remainder = logits(params, pairs) - group_mean(logits(params, test), test, p)[answers(pairs, p)]
    return (remainder.argmax(1) == answers(pairs, p)).double().mean().item()


# curvature


@dataclass(frozen=True)
class Curvature:
    """Sharpness of the mean over examples of J^T B J, and of single examples.

    top: the mean's largest eigenvalue. trace. effective_rank: trace^2 / squared Frobenius norm. example_top: the mean
    over examples of the largest eigenvalue of each one's own J^T B J. ratio: example_top / top.
    """

    top: float
    trace: float
    effective_rank: float
    example_top: float

    @property
    def ratio(self) -> float:
        return self.example_top / self.top


def squared_error_hvp(out: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    """The Hessian of half the summed squared error with respect to the outputs, times u: u itself, for any answers."""
    return u


def tempered_hvp(temperature: float) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """The `output_hvp` of cross-entropy with softmax(outputs / temperature), which does not vanish for a confident
    model."""
    return lambda out, u: cross_entropy_hvp(out / temperature, u)


def _largest(product, v, iterations):
    """Largest eigenvalue of a positive semi-definite product by power iteration from v."""
    for _ in range(iterations):
        size = flatten(v).norm()
        v = product({k: x / size for k, x in v.items()})
    return flatten(v).norm().item()


def curvature(
    forward: Callable[[Params, torch.Tensor], torch.Tensor],
    params: Params,
    pairs: torch.Tensor,
    output_hvp: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = squared_error_hvp,
    *,
    probes: int = 8,
    iterations: int = 20,
    examples: int = 32,
    seed: int = 0,
) -> Curvature:
    """`Curvature` of the GGN of forward(params, pairs) [n, p], averaged over `pairs`, without forming the matrix.

    output_hvp: as for `ggnvp`. The trace and the Frobenius norm are estimated by Rademacher probes, the largest
    eigenvalues by power iteration, and the single examples are the first `examples` pairs.
    """
    generator = torch.Generator().manual_seed(seed)

    def product(rows):
        return lambda v: {k: x / len(rows) for k, x in ggnvp(lambda q: forward(q, rows), output_hvp, params, v).items()}

    trace = norm = 0.0
    for _ in range(probes):
        v = unflatten(random_signs(flatten(params).numel(), generator, flatten(params).dtype), params)
        Gv = flatten(product(pairs)(v))
        trace, norm = trace + (flatten(v) @ Gv).item() / probes, norm + (Gv @ Gv).item() / probes
    single = [_largest(product(pair[None]), v, iterations) for pair in pairs[:examples]]
    return Curvature(_largest(product(pairs), v, iterations), trace, trace**2 / norm, sum(single) / len(single))


# the edit


@torch.no_grad()
def principal_directions(params: Params, pairs: torch.Tensor, mass: float) -> torch.Tensor:
    """The fewest top eigenvectors of A = mean h h^T over `pairs` that hold `mass` of its trace: float64 [width, rank].

    For the squared error the output factor G of W is the identity, so this is all there is to K-FAC's edit of W.
    """
    h = hidden(params, pairs).double()
    values, vectors = torch.linalg.eigh(h.T @ h / len(h))
    share = (values.flip(0).cumsum(0) / values.sum()).clamp(max=1)
    return vectors.flip(1)[:, : int((share < mass - 1e-12).sum()) + 1]


def random_directions(width: int, rank: int, seed: int) -> torch.Tensor:
    """An orthonormal basis of a random subspace, as a control for the edit: float64 [width, rank]."""
    draw = torch.randn(width, rank, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.linalg.qr(draw)[0]


def project_hidden(params: Params, directions: torch.Tensor) -> Params:
    """Parameters with W projected onto directions [width, rank], which are orthonormal."""
    return params | {"W": (params["W"].double() @ directions @ directions.T).to(params["W"].dtype)}


# the counter-example: embeddings, a ReLU layer and cross-entropy


def relu_init(p: int, width: int, seed: int, d: int = 64) -> Params:
    """New random parameters of the cross-entropy network: {"E": [p, d], "W1": [width, d], "b1": [width], "W2": [p,
    width], "b2": [p]}."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape, fan: torch.randn(shape, generator=generator) * fan**-0.5
    return {
        "E": draw(p, d, fan=d),
        "W1": draw(width, d, fan=d),
        "b1": torch.zeros(width),
        "W2": draw(p, width, fan=width),
        "b2": torch.zeros(p),
    }


def relu_logits(params: Params, pairs: torch.Tensor) -> torch.Tensor:
    """Logits of the cross-entropy network, W2 relu(W1 (E[a] + E[b]) + b1) + b2: [n, p]."""
    e = F.embedding(pairs, params["E"]).sum(1)
    return F.linear(F.relu(F.linear(e, params["W1"], params["b1"])), params["W2"], params["b2"])


def relu_loss(params: Params, pairs: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of `relu_logits`."""
    out = relu_logits(params, pairs)
    return F.cross_entropy(out, answers(pairs, out.shape[1]))
