"""Addition modulo p on a network small enough to take apart: training, Fourier measures, curvature, the edit.

The network of Gromov (2023): h = (U[a] + V[b])^2, logits = W h.  Its parameters are a dict {"U": [p, width], "V": [p,
width], "W": [p, width]}; a batch is a tensor of pairs [n, 2]; the answer to (a, b) is (a + b) mod p.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from tqdm.auto import tqdm

from kfaclib.curvature.products import cross_entropy_hvp, flatten, ggnvp, unflatten
from kfaclib.curvature.spectrum import random_signs

P, WIDTH, FRACTION = 97, 256, 0.2  # the train fraction sets the length of the plateau: .4 has none, .17 has no end
LEARNING_RATE, WEIGHT_DECAY, BETAS = 2e-3, 1.0, (0.9, 0.98)


def all_pairs(p):
    """[p * p, 2]: every pair (a, b)."""
    return torch.cartesian_prod(torch.arange(p), torch.arange(p))


def answers(pairs, p):
    """(a + b) mod p for pairs [n, 2]: [n]."""
    return pairs.sum(1) % p


def split(p, fraction, seed):
    """(train, test): all pairs [., 2] in a random order, the first `fraction` of them for training."""
    pairs = all_pairs(p)
    count = round(fraction * len(pairs))
    if not 0 < count < len(pairs):
        raise ValueError(
            f"fraction={fraction}: of {len(pairs)} pairs, both the training and the test set need at least one"
        )
    order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(seed))
    return pairs[order[:count]], pairs[order[count:]]


def init(p, width, seed):
    """Fresh parameters: rows of U and V of variance 1 / 2p, of W of variance 1 / width."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda std: torch.randn(p, width, generator=generator) * std
    return {"U": draw((2 * p) ** -0.5), "V": draw((2 * p) ** -0.5), "W": draw(width**-0.5)}


def hidden(params, pairs):
    """h [n, width] for pairs [n, 2]."""
    return (F.embedding(pairs[:, 0], params["U"]) + F.embedding(pairs[:, 1], params["V"])) ** 2


def logits(params, pairs):
    """Logits [n, p] for pairs [n, 2]."""
    return hidden(params, pairs) @ params["W"].T


def loss(params, pairs):
    """Mean squared error to the one-hot answers, over pairs and outputs."""
    out = logits(params, pairs)
    return F.mse_loss(out, F.one_hot(answers(pairs, out.shape[1]), out.shape[1]).to(out.dtype))


@torch.no_grad()
def accuracy(params, pairs, forward=logits):
    """Share of pairs whose largest output is the right one."""
    out = forward(params, pairs)
    return (out.argmax(1) == answers(pairs, out.shape[1])).double().mean().item()


def train(
    params,
    pairs,
    steps,
    *,
    loss=loss,
    keep=(),
    each=None,
    learning_rate=LEARNING_RATE,
    weight_decay=WEIGHT_DECAY,
    progress=True,
):
    """AdamW on the whole of `pairs`: {step: parameters} for the steps in `keep`, step 0 being before the first update.

    each(step, params) is called before every update and after the last; it may change the parameters in place.
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


def power(weight):
    """Power of each column of weight [p, width] at the frequencies 1 ... (p - 1) / 2, as shares: [(p - 1) / 2,
    width]."""
    spectrum = torch.fft.rfft(weight.double(), dim=0)[1:].abs() ** 2
    return spectrum / spectrum.sum(0)


def purity(params):
    """Mean over the neurons of the share of U's power that sits in the neuron's own best frequency."""
    return power(params["U"]).max(0).values.mean().item()


def clock(p):
    """Weights that nobody trained, float64, of width 9 (p - 1) / 2: nine waves of each frequency, with phases in three
    by three steps of a third of a turn.  Squaring turns cos x cos y into a wave in a + b, and everything else cancels
    exactly: the logits are 9/4 (p - 1) at the answer and -9/4 elsewhere."""
    frequency = 2 * torch.pi / p * torch.arange(1, (p - 1) // 2 + 1, dtype=torch.float64).repeat_interleave(9)
    phase_a, phase_b = (all_pairs(3).T.double() * (2 * torch.pi / 3)).repeat(1, (p - 1) // 2)
    angle = torch.arange(p)[:, None] * frequency
    return {"U": torch.cos(angle + phase_a), "V": torch.cos(angle + phase_b), "W": torch.cos(angle + phase_a + phase_b)}


def group_mean(outputs, pairs, p):
    """Mean output of all pairs with the same answer: [p, outputs.shape[1]] for outputs [n, .] at pairs [n, 2].

    What is left of a function of (a, b) when only its dependence on a + b may stay: on all p * p pairs this is the
    projection on the Fourier modes (k, k).  Give it TEST pairs: a training pair brings its memorized label along.
    """
    which = answers(pairs, p)
    count = torch.bincount(which, minlength=p)
    if (count == 0).any():
        raise ValueError(
            f"no pair has the answer {int((count == 0).nonzero()[0])}: the mean over such pairs does not exist"
        )
    return torch.zeros(p, outputs.shape[1], dtype=outputs.dtype).index_add_(0, which, outputs) / count[:, None]


@torch.no_grad()
def restricted_accuracy(params, pairs):
    """Share of the p answers that the group mean over these pairs gets right."""
    p = len(params["W"])
    return (group_mean(logits(params, pairs), pairs, p).argmax(1) == torch.arange(p)).double().mean().item()


@torch.no_grad()
def excluded_accuracy(params, pairs, test):
    """Accuracy on `pairs` when the group mean over `test` is taken out of the logits: what is answered without the
    circuit."""
    p = len(params["W"])
    remainder = logits(params, pairs) - group_mean(logits(params, test), test, p)[answers(pairs, p)]
    return (remainder.argmax(1) == answers(pairs, p)).double().mean().item()


# curvature


@dataclass(frozen=True)
class Curvature:
    """Of the mean over examples of J^T B J: its largest eigenvalue, its trace and effective rank trace^2 / ||.||_F^2;
    the mean over examples of the largest eigenvalue of each one's own matrix; and how many times sharper that is."""

    top: float
    trace: float
    effective_rank: float
    example_top: float

    @property
    def ratio(self):
        return self.example_top / self.top


def squared_error_hvp(out, u):
    """The Hessian of half the summed squared error in the outputs, times u: u itself, whatever the answers are."""
    return u


def tempered_hvp(temperature):
    """The output_hvp of cross-entropy with the softmax of outputs / temperature: it does not vanish with confidence."""
    return lambda out, u: cross_entropy_hvp(out / temperature, u)


def _largest(product, v, iterations):
    """Largest eigenvalue of a positive semi-definite product by power iteration from v."""
    for _ in range(iterations):
        size = flatten(v).norm()
        v = product({k: x / size for k, x in v.items()})
    return flatten(v).norm().item()


def curvature(forward, params, pairs, output_hvp=squared_error_hvp, *, probes=8, iterations=20, examples=32, seed=0):
    """`Curvature` of the GGN of forward(params, pairs) [n, p], averaged over `pairs`, without forming it.

    Rademacher probes for the trace and the Frobenius norm, power iteration for the largest eigenvalues; the first
    `examples` pairs stand for the single ones.
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
def principal_directions(params, pairs, mass):
    """[width, rank]: the fewest top eigenvectors of A = mean h h^T over `pairs` that hold `mass` of its trace.

    For the squared error the output factor G of W is the identity, so this is all there is to K-FAC's edit of W.
    """
    h = hidden(params, pairs).double()
    values, vectors = torch.linalg.eigh(h.T @ h / len(h))
    share = (values.flip(0).cumsum(0) / values.sum()).clamp(max=1)
    return vectors.flip(1)[:, : int((share < mass - 1e-12).sum()) + 1]


def random_directions(width, rank, seed):
    """[width, rank]: an orthonormal basis of a random subspace, the control of the edit."""
    draw = torch.randn(width, rank, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.linalg.qr(draw)[0]


def project_hidden(params, directions):
    """Parameters with W projected on directions [width, rank], which are orthonormal."""
    return params | {"W": (params["W"].double() @ directions @ directions.T).to(params["W"].dtype)}


# the counter-example: embeddings, a ReLU layer and cross-entropy


def relu_init(p, width, seed, d=64):
    """{"E": [p, d], "W1": [width, d], "b1": [width], "W2": [p, width], "b2": [p]} of the cross-entropy network."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape, fan: torch.randn(shape, generator=generator) * fan**-0.5
    return {
        "E": draw(p, d, fan=d),
        "W1": draw(width, d, fan=d),
        "b1": torch.zeros(width),
        "W2": draw(p, width, fan=width),
        "b2": torch.zeros(p),
    }


def relu_logits(params, pairs):
    """Logits [n, p] of the cross-entropy network: W2 relu(W1 (E[a] + E[b]) + b1) + b2."""
    e = F.embedding(pairs, params["E"]).sum(1)
    return F.linear(F.relu(F.linear(e, params["W1"], params["b1"])), params["W2"], params["b2"])


def relu_loss(params, pairs):
    """Mean cross-entropy of `relu_logits`."""
    out = relu_logits(params, pairs)
    return F.cross_entropy(out, answers(pairs, out.shape[1]))
