"""Grokking's measures as theorems: exact Fourier identities, what leaks and what does not, curvature against the dense
matrix."""

import pytest
import torch
from torch.func import jacrev, vmap

from kfaclib.curvature import eigenbasis
from kfaclib.editing import edit
from kfaclib.toy import grokking as g

PRIMES = [3, 5, 7, 13, 23]


def small(p=5, width=7, seed=0):
    return {k: x.double() for k, x in g.init(p, width, seed).items()}


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5, 0.99])
def test_split_is_a_partition(fraction):
    train, test = g.split(11, fraction, seed=3)
    assert len(train) == round(fraction * 121)
    assert sorted(torch.cat([train, test]).tolist()) == g.all_pairs(11).tolist()


@pytest.mark.parametrize("fraction", [0, 1, 1e-9])
def test_split_needs_both_sets(fraction):
    with pytest.raises(ValueError, match="at least one"):
        g.split(11, fraction, seed=0)


@pytest.mark.parametrize("p", PRIMES)
def test_the_clock_adds_without_training(p):
    pairs = g.all_pairs(p)
    target = 9 / 4 * (p * torch.nn.functional.one_hot(g.answers(pairs, p), p).double() - 1)
    torch.testing.assert_close(g.logits(g.clock(p), pairs), target, rtol=0, atol=1e-9 * p)
    assert g.accuracy(g.clock(p), pairs) == 1


@pytest.mark.parametrize("p", PRIMES)
def test_group_mean_is_the_projection_on_the_modes_k_k(p):
    pairs = g.all_pairs(p)
    outputs = torch.randn(p * p, 4, generator=torch.Generator().manual_seed(p), dtype=torch.float64)
    modes = torch.fft.fft2(outputs.view(p, p, 4), dim=(0, 1)) * torch.eye(p)[:, :, None]
    projected = torch.fft.ifft2(modes, dim=(0, 1)).real.reshape(p * p, 4)
    torch.testing.assert_close(g.group_mean(outputs, pairs, p)[g.answers(pairs, p)], projected)


def test_group_mean_leaks_training_labels_and_test_pairs_do_not():
    p = 23
    train, test = g.split(p, 0.3, seed=0)
    pairs, noise = torch.cat([train, test]), torch.Generator().manual_seed(1)
    outputs = torch.randn(p * p, p, generator=noise) * 0.1
    outputs[torch.arange(len(train)), g.answers(train, p)] += 1  # a table of the training pairs, and nothing else
    right = lambda rows: (g.group_mean(outputs[rows], pairs[rows], p).argmax(1) == torch.arange(p)).float().mean()
    assert right(slice(None)) == 1  # "restricted to the circuit", says the leaking measure
    assert right(slice(len(train), None)) < 0.3


def test_group_mean_names_an_answer_without_pairs():
    with pytest.raises(ValueError, match="answer 0"):
        g.group_mean(torch.zeros(1, 5), torch.tensor([[1, 1]]), 5)


@pytest.mark.parametrize("p", PRIMES[1:])
def test_purity_of_waves_and_of_impulses(p):
    assert g.purity(g.clock(p)) == pytest.approx(1)
    impulses = torch.eye(p, dtype=torch.float64)
    torch.testing.assert_close(g.power(impulses), torch.full(((p - 1) // 2, p), 2 / (p - 1), dtype=torch.float64))


def test_without_its_circuit_the_clock_knows_nothing_and_a_table_everything():
    p = 13
    train, test = g.split(p, 0.5, seed=0)
    assert g.restricted_accuracy(g.clock(p), test) == 1
    # the remainder is rounding: its argmax is an arbitrary answer
    assert g.excluded_accuracy(g.clock(p), train, test) < 0.4
    remembered = g.train(g.init(p, 256, 0), train, 300, keep=(300,), weight_decay=0.0, progress=False)[300]
    assert g.accuracy(remembered, train) == 1 and g.excluded_accuracy(remembered, train, test) > 0.9


def test_shifting_both_numbers_moves_the_phases_and_not_the_power():
    params = small(13, 9)
    rolled = {k: x.roll(4, 0) for k, x in params.items()}
    torch.testing.assert_close(g.power(rolled["U"]), g.power(params["U"]))


def dense(params, pairs, hessian):
    """The GGN as a matrix: the mean over pairs of J^T B J, from full Jacobians; and the single examples' matrices."""
    J = jacrev(g.logits)(params, pairs)
    J = torch.cat([J[k].flatten(2) for k in params], 2)
    single = vmap(lambda j, b: j.T @ b @ j)(J, hessian(g.logits(params, pairs)))
    return single.mean(0), single


def identity_hessian(out):
    return torch.eye(out.shape[1], dtype=out.dtype).expand(len(out), -1, -1)


def softmax_hessian(out):
    q = torch.softmax(out / 3.0, 1)
    return torch.diag_embed(q) - q[:, :, None] * q[:, None, :]


@pytest.mark.parametrize(
    "product, hessian", [(g.squared_error_hvp, identity_hessian), (g.tempered_hvp(3.0), softmax_hessian)]
)
def test_curvature_equals_the_dense_matrix(product, hessian):
    params, pairs = small(), g.split(5, 0.6, seed=1)[0]
    G, single = dense(params, pairs, hessian)
    found = g.curvature(g.logits, params, pairs, product, probes=300, iterations=80, examples=3)
    assert found.top == pytest.approx(torch.linalg.eigvalsh(G)[-1].item(), rel=5e-3)
    assert found.example_top == pytest.approx(torch.linalg.eigvalsh(single[:3])[:, -1].mean().item(), rel=5e-3)
    assert found.ratio == found.example_top / found.top
    assert found.trace == pytest.approx(G.trace().item(), rel=0.1)
    assert found.effective_rank == pytest.approx((G.trace() ** 2 / G.square().sum()).item(), rel=0.2)


def test_squared_error_curvature_of_W_is_A_times_identity():
    """Why the edit of W needs no labels: its block of the GGN is exactly I (x) A."""
    params, pairs = small(), g.split(5, 0.6, seed=1)[0]
    J = jacrev(lambda W: g.logits(params | {"W": W}, pairs))(params["W"]).flatten(2)
    block = torch.einsum("nop,noq->pq", J, J) / len(pairs)
    h = g.hidden(params, pairs)
    torch.testing.assert_close(block, torch.kron(torch.eye(5, dtype=torch.float64), h.T @ h / len(h)))


@pytest.mark.parametrize("mass", [0.3, 0.9, 0.97, 1.0])
def test_principal_directions_hold_the_mass_and_no_more(mass):
    params, pairs = small(7, 12), g.split(7, 0.6, seed=1)[0]
    Q = g.principal_directions(params, pairs, mass)
    h = g.hidden(params, pairs)
    torch.testing.assert_close(Q.T @ Q, torch.eye(Q.shape[1], dtype=torch.float64))
    held = lambda q: ((h @ q).square().sum() / h.square().sum()).item()
    assert held(Q) >= mass - 1e-9
    assert Q.shape[1] == 1 or held(Q[:, :-1]) < mass


def test_the_edit_is_the_librarys_projection():
    params, pairs = small(7, 12), g.split(7, 0.6, seed=1)[0]
    Q = g.principal_directions(params, pairs, 0.9)
    h = g.hidden(params, pairs)
    values, vectors = torch.linalg.eigh(h.T @ h / len(h))
    basis = eigenbasis.Eigenbasis(
        vectors.flip(1), torch.eye(7, dtype=torch.float64), values.flip(0), torch.ones(7).double()
    )
    keep = edit.prefix_mask(torch.full((7,), Q.shape[1]), 12)
    torch.testing.assert_close(g.project_hidden(params, Q)["W"], edit.project(params["W"], basis, keep))


def test_keeping_everything_changes_no_training_answer():
    params, pairs = small(5, 40), g.split(5, 0.5, seed=1)[0]  # more neurons than pairs: much of W is never read
    kept = g.project_hidden(params, g.principal_directions(params, pairs, 1.0))
    torch.testing.assert_close(g.logits(kept, pairs), g.logits(params, pairs), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(kept["W"], params["W"])


def test_random_directions_are_orthonormal_and_seeded():
    Q = g.random_directions(12, 5, seed=0)
    torch.testing.assert_close(Q.T @ Q, torch.eye(5, dtype=torch.float64))
    assert not torch.allclose(Q, g.random_directions(12, 5, seed=1))


def test_training_keeps_what_was_asked_for_and_repeats_itself():
    train = g.split(7, 0.5, seed=0)[0]
    run = lambda: g.train(g.init(7, 16, 0), train, 20, keep=(0, 5, 20), progress=False)
    first, again = run(), run()
    assert list(first) == [0, 5, 20]
    assert all(torch.equal(first[s][k], again[s][k]) for s in first for k in "UVW")
    assert all(torch.equal(first[0][k], g.init(7, 16, 0)[k]) for k in "UVW")
    assert g.loss(first[20], train) < g.loss(first[5], train) < g.loss(first[0], train)


def test_each_may_change_the_parameters():
    train = g.split(7, 0.5, seed=0)[0]
    zero = lambda step, now: now["W"].zero_() if step == 3 else None
    assert not g.train(g.init(7, 16, 0), train, 3, keep=(3,), each=zero, progress=False)[3]["W"].any()


def test_the_relu_network_cannot_tell_a_pair_from_its_mirror():
    params = g.relu_init(11, 32, 0)
    pairs = g.all_pairs(11)
    torch.testing.assert_close(g.relu_logits(params, pairs), g.relu_logits(params, pairs.flip(1)))
