"""Curvature of single examples: the roots against exact matrices, batched power iteration against one weight at a
time.
"""

import pytest
import torch
from torch import nn
from torch.func import functional_call
from transformers import Olmo2Config, Olmo2ForCausalLM

from kfaclib.curvature.exact import exact_ggn_block
from kfaclib.curvature.per_example import (
    average_top,
    curvature_along,
    fisher_roots,
    gradients,
    layer_curvature_along,
    layer_top_eigenpairs,
    squared_jacobians,
    top_eigenpairs,
)
from kfaclib.curvature.products import cross_entropy_hvp, flatten, ggnvp, unflatten


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double(), torch.randn(6, 5, dtype=torch.float64)


def ggn(net, x, temperature=1.0):
    params = {n: p.detach() for n, p in net.named_parameters()}
    size = len(flatten(params))
    outputs = lambda p: functional_call(net, p, (x,)) / temperature
    return torch.stack(
        [
            flatten(ggnvp(outputs, cross_entropy_hvp, params, unflatten(e, params)))
            for e in torch.eye(size, dtype=torch.float64)
        ],
        1,
    )


@pytest.mark.parametrize("temperature", [1.0, 5.0])
def test_roots_multiply_to_the_ggn_of_each_example(small, temperature):
    net, x = small
    B = fisher_roots(net, x, temperature, chunk=4)
    for n in range(len(x)):
        assert torch.allclose(B[n].T @ B[n], ggn(net, x[n : n + 1], temperature), atol=1e-12)


def test_gradients_are_those_of_the_loop(small):
    net, x = small
    y = torch.tensor([0, 1, 2, 0, 1, 2])
    for n, g in enumerate(gradients(net, x, y)):
        loss = nn.functional.cross_entropy(net(x[n : n + 1]), y[n : n + 1])
        assert torch.allclose(
            g, torch.cat([p.flatten() for p in torch.autograd.grad(loss, list(net.parameters()))]), atol=1e-12
        )


def test_top_eigenpairs_and_the_average(small):
    net, x = small
    B = fisher_roots(net, x)
    values, directions = top_eigenpairs(B)
    for n in range(len(x)):
        M = B[n].T @ B[n]
        assert values[n].item() == pytest.approx(torch.linalg.eigvalsh(M)[-1].item())
        assert torch.allclose(M @ directions[n], values[n] * directions[n], atol=1e-9)
    assert average_top(B) == pytest.approx(torch.linalg.eigvalsh(ggn(net, x) / len(x))[-1].item())
    assert average_top(B[:1]) == pytest.approx(values[0].item())


@pytest.mark.parametrize("temperature", [1.0, 5.0])
def test_curvature_along_directions_needs_no_roots(small, temperature):
    net, x = small
    B = fisher_roots(net, x, temperature)
    directions = torch.randn(7, B.shape[-1], generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    expected = torch.einsum("ncp,kp->nck", B, directions).square().sum(1)
    assert torch.allclose(curvature_along(net, x, directions, temperature), expected, atol=1e-12)


def test_squared_jacobians(small):
    net, x = small
    params = {n: p.detach() for n, p in net.named_parameters()}
    for n, value in enumerate(squared_jacobians(net, x, chunk=4)):
        J = torch.func.jacrev(lambda p: functional_call(net, p, (x[n : n + 1],)))(params)
        assert value.item() == pytest.approx(sum(j.square().sum().item() for j in J.values()))


@pytest.fixture(scope="module")
def language_model():
    torch.manual_seed(0)
    config = Olmo2Config(
        vocab_size=13,
        hidden_size=8,
        intermediate_size=6,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=32,
        pad_token_id=0,
        attn_implementation="eager",
        initializer_range=0.5,
    )
    return Olmo2ForCausalLM(config).double().eval(), torch.randint(
        1, 13, (3, 9), generator=torch.Generator().manual_seed(0)
    )


def exact_sequence_ggn(model, name, ids, first):
    outputs = lambda W: (
        functional_call(model, {f"{name}.weight": W}, (), {"input_ids": ids, "use_cache": False})
        .logits[:, first - 1 : -1]
        .flatten(0, 1)
    )
    return exact_ggn_block(outputs, model.get_submodule(name).weight)


def test_batched_power_iteration_finds_each_sequences_own_top(language_model):
    model, ids = language_model
    torch.set_default_dtype(torch.float64)
    try:
        name = "model.layers.0.mlp.up_proj"
        values, directions = layer_top_eigenpairs(model, name, ids, first=4, steps=30)
        for n in range(2):
            M = exact_sequence_ggn(model, name, ids[n : n + 1], 4)
            assert values[n].item() == pytest.approx(torch.linalg.eigvalsh(M)[-1].item(), rel=1e-4)
            v = directions[n].reshape(-1)
            assert (v @ M @ v).item() == pytest.approx(values[n].item(), rel=1e-3)
    finally:
        torch.set_default_dtype(torch.float32)
    assert not model.get_submodule(name)._forward_hooks


def test_tokens_that_do_not_count_and_the_average_of_all(language_model):
    model, ids = language_model
    name, counts = "model.layers.1.mlp.up_proj", torch.tensor([[True, False, True, True, False]] * 3)
    torch.set_default_dtype(torch.float64)
    try:
        single, _ = layer_top_eigenpairs(model, name, ids, first=4, steps=60, counts=counts)
        whole, direction = layer_top_eigenpairs(model, name, ids, first=4, steps=60, counts=counts, together=True)
    finally:
        torch.set_default_dtype(torch.float32)

    def exact(n):  # the mean over the tokens that count: their logits alone
        outputs = lambda W: functional_call(
            model, {f"{name}.weight": W}, (), {"input_ids": ids[n : n + 1], "use_cache": False}
        ).logits[0, 3:-1][counts[n]]
        return exact_ggn_block(outputs, model.get_submodule(name).weight)

    blocks = [exact(n) for n in range(3)]
    assert single.tolist() == pytest.approx([torch.linalg.eigvalsh(M)[-1].item() for M in blocks], rel=1e-4)
    mean = sum(blocks) / 3
    v = direction.reshape(-1)
    assert whole.shape == (1,) and whole.item() == pytest.approx(torch.linalg.eigvalsh(mean)[-1].item(), rel=1e-4)
    assert (v @ mean @ v).item() == pytest.approx(whole.item(), rel=1e-3)


def test_a_sequence_without_a_token_that_counts_is_named(language_model):
    model, ids = language_model
    counts = torch.tensor([[True], [False], [True]]).expand(3, 5)
    with pytest.raises(ValueError, match="sequence 1"):
        layer_top_eigenpairs(model, "model.layers.0.mlp.up_proj", ids, first=4, counts=counts)


def test_sampled_curvature_along_directions_agrees_with_the_exact_one(language_model):
    model, ids = language_model
    name = "model.layers.1.mlp.up_proj"
    V = torch.randn(4, 6, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    V = V / V.flatten(1).norm(dim=1)[:, None, None]
    M = exact_sequence_ggn(model, name, ids, 1)
    exact = torch.einsum("kp,pq,kq->k", V.flatten(1), M, V.flatten(1))
    generator = torch.Generator().manual_seed(2)
    sampled = layer_curvature_along(model, name, ids.repeat(400, 1), V, generator, batch=600)
    assert torch.allclose(sampled, exact, rtol=0.2)
