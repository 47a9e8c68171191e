"""Fresh inputs for every exercise, and a question of one's own for every student.

`inputs(g)` draws an exercise's arguments from a torch.Generator; the course's own answer says what is right for them.
`question(g)` draws a change of the task: a sentence for the student, and how the right answer follows from the course's
own. Who knows the public solution still has to understand it to answer. Both depend on a secret of the lecturer.

A new exercise needs an entry in VARIANTS; tests/test_grading.py says so, and checks that every known wrong answer is
caught on fresh inputs or by the public check.
"""

import hashlib
import hmac
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from kfaclib.course.exercises import Verdict


@dataclass(frozen=True)
class Variant:
    inputs: Callable  # torch.Generator -> tuple of arguments
    question: Callable  # torch.Generator -> (sentence, reference -> the function that is asked for)
    same: Callable = None  # (expected, got, arguments) -> bool; None compares numbers


@dataclass(frozen=True)
class Question:
    text: str
    function: Callable  # the course's own answer -> the right answer to this question


def number(secret, *words):
    """An integer of 62 bits from a secret (bytes) and some words: a keyed hash."""
    return int.from_bytes(hmac.digest(secret, "\0".join(words).encode(), hashlib.sha256)[:8], "big") >> 2


def question(exercise_id, secret, student):
    """The Question of one student: always the same for the same secret."""
    g = torch.Generator().manual_seed(number(secret, exercise_id, student, "question"))
    return Question(*VARIANTS[exercise_id].question(g))


def compare(exercise_id, reference, function, seeds):
    """Verdict on a function, on inputs drawn from every seed. It does not say what the inputs were."""
    variant = VARIANTS[exercise_id]
    for number, seed in enumerate(seeds, 1):
        ours, yours, untouched = (variant.inputs(torch.Generator().manual_seed(seed)) for _ in range(3))
        expected = reference(*ours)
        where = f"on hidden inputs ({number} of {len(seeds)})"
        try:
            got = function(*yours)
        except Exception as error:
            if isinstance(error, NotImplementedError) and not error.args:
                return Verdict("empty")
            return Verdict("wrong", f"it raises {type(error).__name__} {where}")
        try:
            right = (variant.same or (lambda a, b, _: alike(a, b)))(expected, got, ours)
        except Exception:  # whatever was returned, it is not of the right form
            right = False
        if not right:
            return Verdict("wrong", f"its result differs from the course's own {where}")
        if not alike(untouched, yours) and alike(untouched, ours):
            return Verdict("wrong", f"it changes its arguments {where}")
    return Verdict("right")


def alike(a, b):
    """Whether two results agree: shapes and structure exactly, numbers to the precision of the coarser one."""
    if callable(a) and callable(b) or isinstance(a, torch.Generator):
        return True
    if isinstance(a, dict):
        return isinstance(b, dict) and set(a) == set(b) and all(alike(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return isinstance(b, (list, tuple)) and len(a) == len(b) and all(map(alike, a, b))
    if a is None or isinstance(a, (str, bool, bytes)):
        return type(a) is type(b) and a == b
    x, y = torch.as_tensor(a), torch.as_tensor(b)
    if x.shape != y.shape:
        return False
    if torch.bool in (x.dtype, y.dtype) or not (x.is_floating_point() or y.is_floating_point()):
        return x.dtype.is_floating_point == y.dtype.is_floating_point and bool((x == y).all())
    # a Python float holds what a float32 computation left in it
    fine = all(t.dtype == torch.float64 and t.ndim for t in (x, y))
    return torch.allclose(x.double(), y.double(), rtol=1e-6 if fine else 2e-4, atol=1e-8 if fine else 1e-5, equal_nan=True)


# --- drawing


def real(g, *shape):
    return torch.randn(*shape, generator=g, dtype=torch.float64)


def whole(g, low, high):
    """An int from low to high, both included."""
    return int(torch.randint(low, high + 1, (), generator=g))


def share(g, low=0.1, high=0.9):
    return low + (high - low) * torch.rand((), generator=g, dtype=torch.float64).item()


def one_of(g, *choices):
    return choices[whole(g, 0, len(choices) - 1)]


def tenths(g, low, high):
    """A number with two digits, easy to write down."""
    return round(whole(g, round(low * 20), round(high * 20)) / 20, 2)


def orthogonal(g, n):
    return torch.linalg.qr(real(g, n, n))[0]


def shuffled(g, n):
    return torch.randperm(n, generator=g)


# --- 01


def _loss(g):
    c = real(g, 4).tolist()
    return lambda p: sum((c[i % 4] + 2) * (v - c[i % 3]).square().sum() + c[i % 2] * v.sum() ** 3 for i, v in enumerate(p.values()))


def _two_dicts(g):
    shapes = {name: [whole(g, 1, 4) for _ in range(whole(g, 1, 2))] for name in ("u", "v", "w")}
    return [{name: real(g, *shape) for name, shape in shapes.items()} for _ in range(2)]


def _quadratic_walk(g):
    c = tenths(g, 0.5, 3)
    return (f"At step t the parameters are params + {c} t² direction, instead of params + t direction.",
            lambda ref: lambda loss, params, direction, steps: ref(loss, params, direction, [c * t * t for t in steps]))


def _per_length(g):
    c = tenths(g, 0.5, 3)
    return (f"Divide the result by {c} plus the squared length of the direction (all its tensors together).",
            lambda ref: lambda loss, params, direction, h: ref(loss, params, direction, h) / (c + sum(float(v.square().sum()) for v in direction.values())))


def _norm_to_a_power(g):
    c = one_of(g, 0.5, 0.75, 1.25, 1.5, 2.0, 3.0)
    return (f"Each row of the result is as long as the weight's row *to the power {c}*.",
            lambda ref: lambda direction, weight: ref(direction, weight) * weight.norm(dim=1, keepdim=True) ** (c - 1))


def _some_neurons(g):
    k, r = one_of(g, (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))

    def function(ref):
        def rescale(params, alpha):
            a = torch.ones_like(params["0.bias"])
            a[r::k] = alpha
            return params | {"0.weight": a[:, None] * params["0.weight"], "0.bias": a * params["0.bias"], "2.weight": params["2.weight"] / a}

        return rescale

    return (f"Rescale only the hidden neurons number {r}, {r + k}, {r + 2 * k} and so on (counted from 0); the others stay. "
            "The function stays the same.", function)


def _net(g):
    width, inputs, outputs = whole(g, 4, 7), whole(g, 2, 4), whole(g, 1, 3)
    shapes = {"0.weight": (width, inputs), "0.bias": (width,), "2.weight": (outputs, width), "2.bias": (outputs,)}
    return {name: real(g, *shape) for name, shape in shapes.items()}, 0.3 + 4 * share(g)


def _plane(g):
    size = whole(g, 4, 9)
    return real(g, whole(g, 3, 8), size), real(g, size), orthogonal(g, size)[:2].clone()


def _turned(g):
    degrees = one_of(g, *range(20, 80, 5), *range(100, 170, 5))
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return (f"Turn the picture by {degrees} degrees counter-clockwise around the origin: (x, y) becomes (c x - s y, s x + c y), "
            f"where c and s are the cosine and sine of {degrees} degrees.",
            lambda ref: lambda *args: ref(*args) @ torch.tensor([[c, s], [-s, c]], dtype=torch.float64))


CHAPTER_01 = {
    "01.loss_along": Variant(lambda g: (_loss(g), *_two_dicts(g), real(g, whole(g, 2, 6)).tolist()), _quadratic_walk),
    "01.curvature_along": Variant(lambda g: (_loss(g), *_two_dicts(g), 0.01), _per_length, lambda a, b, _: math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-4)),
    "01.match_rows": Variant(lambda g: tuple(2 * x for x in real(g, 2, whole(g, 2, 5), whole(g, 2, 7))), _norm_to_a_power),
    "01.rescale": Variant(_net, _some_neurons),
    "01.in_plane": Variant(_plane, _turned),
}

# --- 02


def _labels(g):
    n = whole(g, 30, 60)
    true, wrong = torch.randint(0, 6, (2, n), generator=g)
    given = torch.where(torch.rand(n, generator=g) < 0.5, true, wrong)
    third = torch.rand(n, generator=g)
    said = torch.where(third < 0.4, given, torch.where(third < 0.7, true, torch.randint(0, 6, (n,), generator=g)))
    return said, given, true


def _without_class(g):
    c = whole(g, 0, 5)
    return (f"Leave out every image whose true label is {c}.",
            lambda ref: lambda said, given, true: ref(said[true != c], given[true != c], true[true != c]))


def _curve(g):
    rises = real(g, whole(g, 12, 25)) + 0.25
    return [round(x, 3) for x in (rises.cumsum(0) / 10).tolist()], whole(g, 1, 4)


def _clearly_better(g):
    c = tenths(g, 0.05, 0.3)

    def function(ref):
        def stop_at(curve, patience):
            best = 0
            for epoch, value in enumerate(curve):
                if value > curve[best] + c:
                    best = epoch
                elif epoch - best >= patience:
                    break
            return best

        return stop_at

    return f"A value is a new best only if it is larger than the best so far by *more than {c}*.", function


def _next_word(g):
    table, words = real(g, 7, 7), [whole(g, 0, 6) for _ in range(3)]
    return (lambda ids: table[ids[-1]] + 0.5 * table[ids[0]].flip(0)), words, whole(g, 3, 8)


def _never(g):
    c = whole(g, 0, 6)

    def without(next_scores):
        return lambda ids: torch.where(torch.arange(7) == c, -math.inf, torch.as_tensor(next_scores(ids), dtype=torch.float64))

    return (f"Never say word {c}: take the likeliest of the others.",
            lambda ref: lambda next_scores, ids, count: ref(without(next_scores), ids, count))


def _other_base(g):
    c = whole(g, 3, 20)
    return f"Use logarithms of base {c} instead of base 2.", lambda ref: lambda scores, index: ref(scores, index) / math.log2(c)


CHAPTER_02 = {
    "02.memorized_and_true": Variant(_labels, _without_class),
    "02.stop_at": Variant(_curve, _clearly_better),
    "02.continue_greedily": Variant(_next_word, _never),
    "02.exposure_bits": Variant(lambda g: (real(g, n := whole(g, 5, 40)), whole(g, 0, n - 1)), _other_base),
}

# --- 03


def _wave(g):
    p = one_of(g, 7, 11, 13, 17)
    return p, whole(g, 1, p // 2), share(g, 0, 3), share(g, 0, 3)


def _louder(g):
    c = tenths(g, 1.2, 4)
    return f"u is {c} times as large, and w is {c} times smaller; v stays.", lambda ref: lambda *a: (lambda u, v, w: (c * u, v, w / c))(*ref(*a))


def _purest(g):
    m = one_of(g, 2, 3)
    c = tenths(g, 0, 1)

    def purity(weight):
        power = torch.fft.rfft(weight, dim=0)[1:].abs() ** 2
        return power.topk(m, dim=0).values.sum(0) / (power.sum(0) + c)

    return (f"Give the share of the {m} strongest frequencies together, and add {c} to the total that you divide by.", lambda ref: purity)


def _pairs(g):
    p = one_of(g, 5, 7, 11)
    pairs = torch.cartesian_prod(torch.arange(p), torch.arange(p))[shuffled(g, p * p)[: p * p - p + 1]]
    return real(g, len(pairs), whole(g, 2, 4)), pairs, p


def _other_sum(g):
    c = whole(g, 2, 4)
    shift = whole(g, 0, 4)
    return (f"Row c is the mean over the pairs with (a + {c} b + {shift}) mod p = c.",
            lambda ref: lambda outputs, pairs, p: ref(outputs, torch.stack([pairs[:, 0], (c * pairs[:, 1] + shift) % p], 1), p))


def _damped(name):
    def draw(g):
        c = tenths(g, 0.2, 3)
        return f"Use {name} + {c} I instead of {name}.", lambda ref: lambda M: ref(M + c * torch.eye(len(M), dtype=M.dtype))

    return draw


def _square(g):
    x = real(g, whole(g, 3, 8), n := whole(g, 3, 6))
    return (x.T @ x + 0.1 * torch.eye(n, dtype=x.dtype),)


def _hidden_states(g):
    n = whole(g, 4, 7)
    return real(g, 30, n) * torch.linspace(3, 0.1, n, dtype=torch.float64) + share(g), share(g, 0.5, 0.97)


def _more_even(g):
    c = tenths(g, 0.2, 2)

    def keep_directions(h, mass):
        values, vectors = (x.flip(-1) for x in torch.linalg.eigh(h.T @ h / len(h)))
        values = values + c
        return vectors[:, : int((values.cumsum(0) < mass * values.sum()).sum()) + 1]

    return f"Use A + {c} I instead of A.", lambda ref: keep_directions


def _same_space(a, b, _):
    return a.shape == b.shape and alike(a @ a.T, b @ b.T) and alike(b.T @ b, torch.eye(b.shape[1], dtype=b.dtype))


CHAPTER_03 = {
    "03.wave_neuron": Variant(_wave, _louder, lambda a, b, _: all(alike(x.float(), y.float()) for x, y in zip(a, b, strict=True))),
    "03.purity": Variant(lambda g: (real(g, whole(g, 8, 13), whole(g, 2, 5)) + 1,), _purest),
    "03.mean_by_answer": Variant(_pairs, _other_sum),
    "03.effective_rank": Variant(_square, _damped("G"), lambda a, b, _: math.isclose(float(a), float(b), rel_tol=1e-5)),
    "03.keep_directions": Variant(_hidden_states, _more_even, _same_space),
}

# --- 04


def _bent(g):
    n = whole(g, 3, 5)
    M = real(g, n, n)
    return (lambda w: w @ M @ w + torch.sin(w).sum() + w.prod()), *real(g, 2, n)


def _plus(g):
    c = tenths(g, 0.2, 3)
    return f"Add {c} times v to the result (damping).", lambda ref: lambda *args: ref(*args) + c * args[-1]


def _probabilities(g):
    return (torch.softmax(real(g, whole(g, 3, 6)), 0),)


def _weighted_labels(g):
    label, c = whole(g, 0, 2), tenths(g, 1.2, 4)

    def fisher(p):
        weight = p.clone()
        weight[label] *= c
        scores = torch.eye(len(p), dtype=p.dtype) - p
        return scores.T @ (weight[:, None] * scores)

    return f"The label {label} counts {c} times as much in the sum over labels as before. The scores e_y - p stay as they are.", lambda ref: fisher


def _two_layers(g):
    x, weights = real(g, 3, 2), real(g, 3, 2).abs() + 0.5
    return (lambda w: torch.tanh(x @ w.view(2, 2).T) * 2), (lambda z, u: weights * u * (1 + z)), *real(g, 2, 4)


def _step(g):
    n = whole(g, 4, 7)
    M, Q = real(g, n, n), orthogonal(g, n)
    return (lambda v: (M + M.T) @ v), Q[0].clone(), Q[1].clone(), 0.2 + share(g)


def _shifted(g):
    c = tenths(g, 0.2, 3)
    return (f"Do the step for the matrix 2 M + {c} I, where matvec still multiplies with M.",
            lambda ref: lambda matvec, before, q, beta: ref(lambda v: 2 * matvec(v) + c * v, before, q, beta))


def _tridiagonal(g):
    m = whole(g, 3, 6)
    return real(g, m), real(g, m - 1).abs() + 0.2


def _scaled(g):
    c = tenths(g, 0.2, 0.9)
    return f"Multiply beta by {c} before anything else; alpha stays.", lambda ref: lambda alpha, beta: ref(alpha, c * beta)


def _same_nodes(a, b, _):
    return all(alike(x[a[0].argsort()], y[b[0].argsort()]) for x, y in zip(a, b, strict=True))


CHAPTER_04 = {
    "04.fisher_of_softmax": Variant(_probabilities, _weighted_labels),
    "04.hessian_vector": Variant(_bent, _plus),
    "04.ggn_vector": Variant(_two_layers, _plus),
    "04.lanczos_step": Variant(_step, _shifted, lambda a, b, _: all(alike(torch.as_tensor(x), torch.as_tensor(y).double()) for x, y in zip(a, b, strict=True))),
    "04.gauss_rule": Variant(_tridiagonal, _scaled, _same_nodes),
}

# --- 05


def _tokens(g):
    T = whole(g, 5, 9)
    return real(g, T, whole(g, 2, 4)) + 0.5, real(g, T, whole(g, 2, 4)) - 0.3


def _token_weights(g):
    c = tenths(g, 0.3, 0.9)
    weight = lambda a: c ** torch.arange(len(a), dtype=a.dtype)[:, None]
    return (f"Token number t (counted from 0) counts {c} to the power t in the mean; still divide by the number of tokens.",
            lambda ref: lambda a, g, *bases: ref(a * weight(a).sqrt(), g, *bases))


def _damped_factors(g):
    c = tenths(g, 0.2, 3)
    eye = lambda M: torch.eye(len(M), dtype=M.dtype)
    return (f"Add {c} times the identity to A, and subtract nothing; divide G by {c}.",
            lambda ref: lambda a, g: (lambda A, G: (A + c * eye(A), G / c))(*ref(a, g)))


def _rotated(g):
    a, s = _tokens(g)
    return a, s, orthogonal(g, a.shape[1]), orthogonal(g, s.shape[1])


def _sequences(g):
    N, S, inputs, outputs = whole(g, 3, 5), whole(g, 3, 5), whole(g, 2, 4), whole(g, 2, 4)
    return real(g, N, S, inputs), real(g, N, S, outputs), orthogonal(g, inputs), orthogonal(g, outputs)


def _alternating(g):
    c = tenths(g, 0.3, 2.5)
    return (f"The first token's gradient in every sequence is multiplied by {c} before it is added to the others.",
            lambda ref: lambda a, g, Q_A, Q_G: ref(a, torch.cat([c * g[:, :1], g[:, 1:]], 1), Q_A, Q_G))


def _other_numbers(g):
    size, more = one_of(g, 2, 8, 16), whole(g, 1, 4)
    return (f"A number takes {size} bytes, and the layer has {more} further inputs that the argument I does not count.",
            lambda ref: lambda O, I: tuple(n * size // 4 for n in ref(O, I + more)))


CHAPTER_05 = {
    "05.fisher_block": Variant(_tokens, _token_weights),
    "05.kfac_factors": Variant(_tokens, _damped_factors),
    "05.ekfac_eigenvalues": Variant(_rotated, _token_weights),
    "05.sequence_eigenvalues": Variant(_sequences, _alternating),
    "05.curvature_bytes": Variant(lambda g: (whole(g, 2, 4000), whole(g, 2, 4000)), _other_numbers),
}

# --- 06


def _weighted_rows(g):
    c = tenths(g, 0.3, 0.9)
    return (f"Multiply row number k of B (counted from 0) by {c} to the power k first.",
            lambda ref: lambda B: ref(B * c ** torch.arange(len(B), dtype=B.dtype)[:, None]))


def _weighted_examples(g):
    c = tenths(g, 0.3, 0.9)
    return (f"Multiply the root of example number n (counted from 0) by {c} to the power n first.",
            lambda ref: lambda roots, *more: ref(roots * c ** torch.arange(len(roots), dtype=roots.dtype)[:, None, None], *more))


def _not_the_first(g):
    c = whole(g, 1, 3)

    def function(ref):
        def as_certain(unsure, wanted):
            picked = torch.zeros_like(unsure, dtype=torch.bool)
            picked[:, c:] = ref(unsure[:, c:], wanted)
            return picked

        return as_certain

    return f"The first {c} token{'s' * (c > 1)} of every row are never picked, and do not count.", function


def _same_direction(a, b, _):
    return math.isclose(float(a[0]), float(b[0]), rel_tol=1e-6) and math.isclose(abs(float(a[1] @ b[1])), 1, rel_tol=1e-6) and alike(b[1].norm(), a[1].norm())


CHAPTER_06 = {
    "06.sharpest_direction": Variant(lambda g: (real(g, whole(g, 2, 4), whole(g, 6, 9)),), _weighted_rows, _same_direction),
    "06.curvature_in_company": Variant(lambda g: (real(g, 5, 3, n := whole(g, 5, 9)), torch.nn.functional.normalize(real(g, n), dim=0)), _weighted_examples,
                                       lambda a, b, _: math.isclose(float(a), float(b), rel_tol=1e-6)),
    "06.shared_share": Variant(lambda g: (real(g, whole(g, 4, 6), 3, 7) * (1 + 2 * real(g, 1, 1, 1).abs()),), _weighted_examples,
                               lambda a, b, _: math.isclose(float(a), float(b), rel_tol=1e-6)),
    "06.as_certain": Variant(lambda g: (real(g, whole(g, 2, 5), whole(g, 4, 8)).abs() ** 3, 0.2), _not_the_first),
}

# --- 07


def _healed(g):
    before, *rest = _labels(g)
    return before, torch.where(torch.rand(len(before), generator=g) < 0.5, rest[1], before), *rest


def _heal_without(g):
    c = whole(g, 0, 5)
    return (f"Leave out every image whose true label is {c}.",
            lambda ref: lambda before, after, given, true: ref(*(x[true != c] for x in (before, after, given, true))))


def _softer(g):
    c = tenths(g, 1.2, 4)
    return f"Use softmax(logits / {c}) wherever there was softmax(logits).", lambda ref: lambda logits: ref(logits / c)


def _trials(g):
    half = lambda: {"clean": share(g, 0.9, 1), "recovered": share(g)}
    return [{"name": str(n), "choose": half(), "report": half()} for n in range(whole(g, 8, 14))], 0.93


def _price_of_damage(g):
    c = whole(g, 8, 30)

    def choose_edit(trials, floor):
        good = [t for t in trials if t["choose"]["clean"] >= floor]
        return max(good, key=lambda t: t["choose"]["recovered"] + c * t["choose"]["clean"])

    return f"Among those that are clean enough take the largest recovered + {c} clean.", lambda ref: choose_edit


def _further(g):
    c = tenths(g, 1.5, 4)
    return (f"The result is {c} times as far from W as W_edited is.",
            lambda ref: lambda W, W_edited, generator: W + c * (ref(W, W_edited, generator) - W))


def _as_far(a, b, args):
    W, W_edited, _ = args
    ours, yours, edit = a - W, b - W, W_edited - W
    angle = (yours * edit).sum() / yours.norm() / edit.norm()
    return a.shape == b.shape and alike(ours.norm(), yours.norm()) and bool(angle.abs() < 0.99)


def _first_class(g):
    c = tenths(g, 1, 3)
    return (f"Add {c} to the first class's logit before anything else.",
            lambda ref: lambda logits, temperature=1.0: ref(logits + c * (torch.arange(logits.shape[1]) == 0), temperature))


CHAPTER_07 = {
    "07.healing": Variant(_healed, _heal_without),
    "07.exact_g": Variant(lambda g: (2 * real(g, whole(g, 4, 9), whole(g, 3, 5)),), _softer),
    "07.choose_edit": Variant(_trials, _price_of_damage),
    "07.equal_norm": Variant(lambda g: (*real(g, 2, whole(g, 4, 6), 5), torch.Generator().manual_seed(whole(g, 0, 999))), _further, _as_far),
    "07.expected_surprises": Variant(lambda g: (2 * real(g, whole(g, 3, 7), whole(g, 3, 5)), 0.5 + 3 * share(g)), _first_class,
                                     lambda a, b, _: math.isclose(float(a), float(b), rel_tol=1e-6)),
}

# --- 08


def _logits(g):
    ids = torch.randint(0, 20, (8, 9), generator=g)
    said = torch.where(torch.rand(8, 9, generator=g) < torch.tensor([0.0, 0.0, 0.0, 0.05, 0.05, 0.1, 0.1, 0.5])[:, None], 0, ids.roll(-1, 1))
    return torch.rand(8, 9, 20, generator=g).scatter(2, said[..., None], 2.0), ids, whole(g, 2, 5)


def _some_wrong(g):
    c = one_of(g, 1, 2, 3)
    return (f"A window still counts as memorized when up to {c} of its suffix tokens are wrong.",
            lambda ref: lambda logits, ids, prefix: (logits.argmax(-1)[:, prefix - 1 : -1] != ids[:, prefix:]).sum(1) <= c)


def _windows(g):
    text = torch.randint(0, 40, (60,), generator=g).tolist()
    starts = [whole(g, 0, 20) for _ in range(8)]
    return [text[s : s + 30] for s in starts], share(g, 0.3, 0.8), whole(g, 2, 5)


def _last_come(g):
    n = one_of(g, 1, 2, 3)
    return (f"Go through the windows from the last to the first, and take runs of n + {n} tokens; return the indices in ascending order.",
            lambda ref: lambda windows, threshold, n_=5: sorted(len(windows) - 1 - i for i in ref(windows[::-1], threshold, n_ + n)))


def _without_first(g):
    c = whole(g, 1, 3)
    return (f"Leave the first {c} token{'s' * (c > 1)} of every row out, in both.",
            lambda ref: lambda nll, batch: ref(nll[:, c:], batch))


def _rankings(g):
    P, K = whole(g, 3, 6), whole(g, 4, 10)
    return tuple(torch.stack([shuffled(g, K + 4)[:K] for _ in range(P)]) for _ in range(2))


def _best_only(g):
    c = whole(g, 2, 4)
    return f"Look only at the best {c} of each ranking.", lambda ref: lambda now, before: ref(now[:, :c], before[:, :c])


def _prompts(g):
    return [torch.randint(0, 9, (whole(g, 1, 6),), generator=g).tolist() for _ in range(whole(g, 2, 5))], whole(g, 0, 3)


def _wider(g):
    c = whole(g, 1, 5)

    def function(ref):
        return lambda prompts, pad: tuple(x[:-1] for x in ref([*prompts, [0] * (max(map(len, prompts)) + c)], pad))

    return f"The tensors are {c} column{'s' * (c > 1)} wider than the longest prompt; everything is padded to that.", function


CHAPTER_08 = {
    "08.memorized": Variant(_logits, _some_wrong),
    "08.deduplicate": Variant(_windows, _last_come),
    "08.two_perplexities": Variant(lambda g: (real(g, whole(g, 5, 9), whole(g, 4, 6)).abs() * 2, whole(g, 2, 4)), _without_first),
    "08.ndcg": Variant(_rankings, _best_only),
    "08.left_pad": Variant(_prompts, _wider, lambda a, b, _: all(alike(x, y.long()) for x, y in zip(a[:2], b[:2], strict=True))
                           and bool((a[2] == b[2])[a[1].bool()].all()) and a[2].shape == b[2].shape),
}

# --- 09


def _spectrum(g):
    draw = lambda n: (-3 * torch.rand(n, generator=g, dtype=torch.float64)).exp().sort(descending=True)[0]
    return torch.outer(draw(whole(g, 4, 8)), draw(whole(g, 4, 8)))


def _layer(g):
    rows, columns = whole(g, 3, 6), whole(g, 3, 6)
    return real(g, rows, columns), orthogonal(g, rows), orthogonal(g, columns), torch.rand(rows, columns, generator=g) < 0.5


def _power(g):
    c = one_of(g, 0.25, 0.5, 0.75, 1.5, 2.0, 3.0)
    return f"The mass is that of Pi to the power {c}, entry by entry.", lambda ref: lambda Pi, mass: ref(Pi**c, mass)


def _softly(g):
    c = tenths(g, 0.1, 0.9)
    return (f"A dropped coefficient is multiplied by {c} instead of being set to zero.",
            lambda ref: lambda W, *more: (1 - c) * ref(W, *more) + c * W)


def _cost_of_both(g):
    c = tenths(g, 0.1, 0.9)
    return (f"Add {c} times what it would cost to drop the kept pairs instead.",
            lambda ref: lambda C, Pi, keep: ref(C, Pi, keep) + c * ref(C, Pi, ~keep))


def _coefficients(g):
    Pi = _spectrum(g)
    return real(g, *Pi.shape), Pi, torch.rand(Pi.shape, generator=g) < 0.6


def _score(g):
    power, goal = share(g, 0.5, 3), share(g, 0.1, 0.99)
    return (lambda strength: strength**power), goal, whole(g, 3, 10)


def _other_range(g):
    low, high = tenths(g, 0.1, 1), one_of(g, 7, 8, 9, 10, 14, 15, 16)

    def function(ref):
        def find_strength(score, target, steps=8):
            a, b = low, float(high)
            for _ in range(steps):
                x = (a + b) / 2
                s = 1 - math.exp(-x)
                a, b = (x, b) if score(s) < target else (a, x)
            return s

        return find_strength

    return f"Begin with x between {low} and {high}.", function


CHAPTER_09 = {
    "09.kept_pairs": Variant(lambda g: (_spectrum(g), share(g, 0.2, 0.98)), _power),
    "09.projected": Variant(_layer, _softly),
    "09.predicted_cost": Variant(_coefficients, _cost_of_both, lambda a, b, _: math.isclose(float(a), float(b), rel_tol=1e-6)),
    "09.find_strength": Variant(_score, _other_range, lambda a, b, _: math.isclose(a, b, rel_tol=1e-9)),
}

# --- 10


def _weighted_columns(g):
    c = tenths(g, 0.2, 1)
    return (f"Sort by Pi after column number j (counted from 0) was multiplied by 1 + {c} j.",
            lambda ref: lambda Pi, edges: ref(Pi * (1 + c * torch.arange(Pi.shape[1], dtype=Pi.dtype)), edges))


def _bands(g):
    Pi = _spectrum(g)
    Q_A = orthogonal(g, Pi.shape[1])
    pairs = torch.randint(0, 3, Pi.shape, generator=g)
    pairs[0, :3] = torch.arange(3)
    return real(g, whole(g, 5, 9), Pi.shape[1]), Q_A, pairs


def _mean_of_powers(g):
    c = tenths(g, 1.5, 3)

    def band_activity(x, Q_A, pairs):
        a = (x @ Q_A).abs().pow(c).mean(0).expand(pairs.shape)
        return torch.stack([a[pairs == band].mean() for band in range(int(pairs.max()) + 1)])

    return f"Take the mean of the absolute values to the power {c}.", lambda ref: band_activity


def _other_z(g):
    z = tenths(g, 1, 1.8)

    def wilson(k, n):
        p, scale = k / n, 1 + z * z / n
        centre, half = (p + z * z / (2 * n)) / scale, z / scale * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return centre - half, centre + half

    return f"Use {z} instead of 1.96.", lambda ref: wilson


def _rows(g):
    tasks = [f"task {n}" for n in range(10)]
    rows = {t: {"baseline": share(g, 0.3, 1), **{m: share(g, 0.1, 1) for m in ("one", "two", "three")}} for t in tasks}
    return {t: share(g, 0.2, 1.2) for t in tasks}, rows


def _raised(g):
    c = tenths(g, 0.3, 1.5)
    return (f"Add {c} to every accuracy, the baseline's too, before you divide.",
            lambda ref: lambda bars, rows: ref(bars, {t: {m: v + c for m, v in row.items()} for t, row in rows.items()}))


def _longer(g):
    c = whole(g, 1, 6)
    return f"By length: divide by the length plus {c}.", lambda ref: lambda scores, lengths: (ref(scores, lengths)[0], ref(scores, lengths + c)[1])


def _choices(g):
    lengths = torch.randint(1, 9, (whole(g, 5, 12),), generator=g)
    return -lengths * (2 + real(g, len(lengths)).abs()) - 3, lengths


CHAPTER_10 = {
    "10.bands": Variant(lambda g: (_spectrum(g), one_of(g, (0.1, 0.3, 0.6), (0.2, 0.5), (0.15, 0.4, 0.8))), _weighted_columns),
    "10.band_activity": Variant(_bands, _mean_of_powers),
    "10.wilson": Variant(lambda g: (whole(g, 0, 40), whole(g, 40, 300)), _other_z),
    "10.whose_bars": Variant(_rows, _raised),
    "10.choose": Variant(_choices, _longer),
}

# --- 13


def _shapes(g):
    projections = one_of(g, ("gate",), ("up",), ("down",), ("gate", "up"), ("up", "down"), ("gate", "up", "down"))
    return whole(g, 2, 200), whole(g, 201, 900), whole(g, 2, 40), projections


def _other_number(g):
    c = one_of(g, 2, 3, 6, 8, 10, 16)
    return f"Every number takes {c} bytes instead of four.", lambda ref: lambda *shape: ref(*shape) // 4 * c


def _jobs(g):
    return [whole(g, 1, 9) for _ in range(whole(g, 8, 16))], whole(g, 20, 30)


def _reserved(g):
    c = whole(g, 3, 11)
    return f"Of the room, {c} bytes are taken by something else in every pass.", lambda ref: lambda sizes, room: ref(sizes, room - c)


def _download(g):
    content = lambda: bytes(whole(g, 0, 255) for _ in range(whole(g, 1, 60)))
    good = {f"part-{i}": content() for i in range(12)}
    manifest = {name: {"bytes": len(x), "sha256": hashlib.sha256(x).hexdigest()} for name, x in good.items()}
    found = {"notes": b"mine"}
    for name, x in good.items():
        kind = whole(g, 0, 3)
        if kind:  # 0: it is missing
            found[name] = {1: x, 2: x[:-1], 3: bytes([x[0] ^ 1]) + x[1:]}[kind]
    return found, manifest


def _only_large(g):
    c = whole(g, 12, 45)
    return (f"Name only those that have at least {c} bytes by the manifest.",
            lambda ref: lambda found, manifest: [name for name in ref(found, manifest) if manifest[name]["bytes"] >= c])


def _candidates(g):
    score = lambda: {"strict": round(share(g, 0, 0.2), 3), "perplexity": round(share(g, 5, 6), 3)}
    spans = [None, *([i, i + whole(g, 0, 3)] for i in range(15))]
    return [{"blocks": span, "mass": 0.8, "choose": score(), "report": score()} for span in spans], 0.15


def _charged(g):
    c = one_of(g, 0.2, 0.3, 0.4, 0.5, 0.6)

    def function(ref):
        def choose(rows, bar):
            dearer = [row | {"choose": row["choose"] | {"perplexity": row["choose"]["perplexity"] + c * (row["blocks"][1] - row["blocks"][0] + 1)}}
                      if row["blocks"] else row for row in rows]
            picked = ref(dearer, bar)
            return rows[next(i for i, row in enumerate(dearer) if row is picked)]

        return choose

    return f"For every block that is edited, first and last included, {c} is added to the perplexity before it is compared; return the row as it was.", function


CHAPTER_13 = {
    "13.factor_bytes": Variant(_shapes, _other_number),
    "13.passes": Variant(_jobs, _reserved),
    "13.damaged": Variant(_download, _only_large),
    "13.choose": Variant(_candidates, _charged),
}

# --- 11


def _ramp(g):
    c = tenths(g, 0.2, 1)
    return (f"A score in column number j (counted from 0) counts 1 + {c} j times.",
            lambda ref: lambda scores, ratio: ref(scores * (1 + c * torch.arange(scores.shape[1], dtype=scores.dtype)), ratio))


def _scored(g):
    O, I, T = whole(g, 3, 6), whole(g, 3, 6), whole(g, 4, 9)
    return real(g, O, I), real(g, O, I), real(g, T, I), real(g, T, O)


def _decayed(g):
    c = tenths(g, 0.1, 2)
    return (f"The loss also holds {c} / 2 times the sum of the squared scores.",
            lambda ref: lambda W, scores, a, g_: ref(W, scores, a, g_) + c * scores)


def _token_losses(g):
    return real(g, whole(g, 5, 12)).abs() * 2, real(g, whole(g, 5, 12)).abs() * 2, share(g, 0.1, 0.9), share(g, 0.5, 1.5)


def _clean_twice(g):
    c = tenths(g, 0.2, 2)
    return (f"Add {c} times the mean square of the clean losses.",
            lambda ref: lambda clean, *more: ref(clean, *more) + c * (clean**2).mean())


def _coordinates(g):
    n = whole(g, 6, 12)
    return real(g, whole(g, 4, 9), n) * torch.linspace(0.5, 2, n, dtype=torch.float64), orthogonal(g, n), one_of(g, 0.2, 0.35, 0.6, 0.8)


def _energy_power(g):
    c = tenths(g, 1.2, 3.6)

    def energy_in_flat_directions(x, Q_A, share):
        energy = (x @ Q_A).abs() ** c
        return energy[:, -round(share * len(Q_A)) :].sum(1) / energy.sum(1)

    return f"An input's energy along an eigenvector is |coordinate| to the power {c}, instead of its square.", lambda ref: energy_in_flat_directions


CHAPTER_11 = {
    "11.subnet_mask": Variant(lambda g: (real(g, whole(g, 3, 8), whole(g, 3, 8)), one_of(g, 0.1, 0.25, 0.4, 0.6)), _ramp),
    "11.score_gradient": Variant(_scored, _decayed),
    "11.balanced_loss": Variant(_token_losses, _clean_twice, lambda a, b, _: math.isclose(float(a), float(b), rel_tol=1e-9, abs_tol=1e-12)),
    "11.energy_in_flat_directions": Variant(_coordinates, _energy_power),
}

# --- 12


def _layer_list(g):
    return ([(whole(g, 2, 40), whole(g, 2, 40), whole(g, 0, 1) == 1) for _ in range(whole(g, 3, 7))],)


def _more_outputs(g):
    c = whole(g, 1, 9)
    return f"Every layer has {c} output{'s' * (c > 1)} more.", lambda ref: lambda layers: ref([(O + c, I, own) for O, I, own in layers])


def _start_up(g):
    c = whole(g, 1, 9)
    return (f"Nothing takes less than {c} seconds; what limits stays what it was.",
            lambda ref: lambda *args: (max(ref(*args)[0], c), ref(*args)[1]))


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


def _masked_update(g):
    T, d = whole(g, 4, 30), whole(g, 5, 20)
    X, mask = real(g, T, d), torch.rand(T, generator=g) < 0.6
    mask[:2] = torch.tensor([True, False])
    X[~mask] = math.nan
    return real(g, d, d).float(), X.to(one_of(g, torch.float32, torch.bfloat16)), mask, whole(g, 2, 6)


def _faded(g):
    c = tenths(g, 0.1, 0.9)

    def function(ref):
        def syrk_tiles(C, X, mask, block):
            new = ref(torch.zeros_like(C), X, mask, block)
            tile = torch.arange(len(C)) // block
            return torch.where(tile[None, :] > tile[:, None], C, c * C + new)

        return syrk_tiles

    return f"What the computed tiles of C held before is multiplied by {c} first.", function


def _words(g):
    T, V = whole(g, 3, 8), whole(g, 10, 30)
    return 2 * real(g, T, V), torch.rand(T, generator=g, dtype=torch.float64), whole(g, 3, 9)


def _warmer(g):
    c = tenths(g, 1.2, 3)
    return (f"The label is drawn, and the gradient taken, at temperature {c}: logits are divided by it first.",
            lambda ref: lambda logits, *more: ref(logits / c, *more))


CHAPTER_12 = {
    "12.update_flops": Variant(_layer_list, _more_outputs),
    "12.roofline": Variant(lambda g: tuple(whole(g, 1, 99) for _ in range(4)), _start_up,
                           lambda a, b, _: math.isclose(a[0], b[0], rel_tol=1e-9) and a[1] == b[1]),
    "12.needed_tiles": Variant(lambda g: (whole(g, 20, 90), whole(g, 3, 9), whole(g, 3, 9)), _band, _same_tiles),
    "12.syrk_tiles": Variant(_masked_update, _faded),
    "12.label_gradient": Variant(_words, _warmer),
}

# --- 14


def _shards(g):
    d, counts = whole(g, 2, 5), [whole(g, 1, 9) for _ in range(whole(g, 2, 4))] + [whole(g, 10, 20)]
    rows = [real(g, n, d) for n in counts]
    return [x.T @ x / len(x) for x in rows], counts


def _diagonal_up(g):
    c = tenths(g, 0.2, 3)
    return (f"Add {c} to every entry of the diagonal of the merged factor.",
            lambda ref: lambda means, counts: ref(means, counts) + c * torch.eye(len(means[0]), dtype=means[0].dtype))


def _triangle(g):
    return (real(g, (d := whole(g, 3, 8)) * (d + 1) // 2),)


def _below_times(g):
    c = tenths(g, 1.5, 4)

    def function(ref):
        def from_triangle(packed):
            M = ref(packed)
            return M.tril() + c * M.triu(1)

        return from_triangle

    return f"Every entry above the diagonal is {c} times the one below it.", function


def _busy_first(g):
    c = whole(g, 6, 40)

    def function(ref):
        def share_out(costs, processes):
            load, ranks = [c] + [0] * (processes - 1), [0] * len(costs)
            for job in sorted(range(len(costs)), key=lambda job: -costs[job]):
                ranks[job] = load.index(min(load))
                load[ranks[job]] += costs[job]
            return ranks

        return share_out

    return f"Process 0 is busy: it begins with a load of {c}.", function


def _costs(g):
    return [whole(g, 1, 30) for _ in range(whole(g, 5, 12))], whole(g, 2, 4)


def _with_reduction(g):
    c = tenths(g, 0.5, 4)

    def function(ref):
        def efficiency(collect, jobs, processes):
            alone = collect + sum(jobs)
            together = alone / (processes * ref(collect, jobs, processes)) + c * (processes > 1)
            return alone / (processes * together)

        return efficiency

    return f"With more than one process, {c} seconds go by for adding up the factors.", function


def _times(g):
    return 5 + 50 * share(g), [1 + 20 * share(g) for _ in range(whole(g, 3, 9))], whole(g, 2, 5)


def _prices(g):
    n = whole(g, 5, 9)
    prices = [1 + 1.5 / 2**i * (0.4 + 1.2 * share(g, 0, 1)) for i in range(n)]
    order = shuffled(g, n).tolist()
    return [100 * 2**i for i in order], [prices[i] for i in order], sorted(prices)[whole(g, 1, n - 2)]


def _in_hundreds(g):
    c = whole(g, 2, 9)
    return (f"To be safe, ask for {c} times as many tokens as that (None stays None).",
            lambda ref: lambda *args: None if (n := ref(*args)) is None else c * n)


CHAPTER_14 = {
    "14.merged": Variant(_shards, _diagonal_up),
    "14.from_triangle": Variant(_triangle, _below_times),
    "14.share_out": Variant(_costs, _busy_first),
    "14.efficiency": Variant(_times, _with_reduction, lambda a, b, _: math.isclose(float(a), float(b), rel_tol=1e-6)),
    "14.tokens_needed": Variant(_prices, _in_hundreds),
}

VARIANTS = (CHAPTER_01 | CHAPTER_02 | CHAPTER_03 | CHAPTER_04 | CHAPTER_05 | CHAPTER_06 | CHAPTER_07 | CHAPTER_08 | CHAPTER_09 | CHAPTER_10
            | CHAPTER_11 | CHAPTER_12 | CHAPTER_13 | CHAPTER_14)
