"""The hooks see what autograd computes, and leave no trace."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from kfaclib.curvature.capture import capture, evaluating
from kfaclib.curvature.eigenbasis import collect_eigenvalues, decompose
from kfaclib.curvature.factors import collect_factors
from kfaclib.curvature.layers import linear_layers
from kfaclib.curvature.passes import backward
from kfaclib.lm.mining import hits
from kfaclib.lm.recitation import perplexity, recitation, split_windows

LAST_BLOCK = "model.layers.1.mlp.*"


def snapshot(model):
    """Everything that capture must put back: requires_grad flags and hooks."""
    return (
        [p.requires_grad for p in model.parameters()],
        [(len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in model.modules()],
    )


def captured(model, patterns, ids):
    """{name: input}, {name: output gradient} of one pass with the data's labels."""
    inputs, gradients = {}, {}
    with capture(
        model, linear_layers(model, patterns), on_input=inputs.__setitem__, on_output_gradient=gradients.__setitem__
    ):
        backward(model, {"input_ids": ids}, labels="data", generator=None)
    return inputs, gradients


@pytest.fixture
def ids():
    return torch.randint(3, 37, (3, 9), generator=torch.Generator().manual_seed(0))


def test_every_layers_weight_gradient_is_the_sum_over_tokens_of_g_times_a(tiny_olmo, ids):
    model = tiny_olmo()
    layers = linear_layers(model, "*_proj")
    assert len(layers) == 14
    inputs, gradients = captured(model, "*_proj", ids)
    F.cross_entropy(model(input_ids=ids).logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="sum").backward()
    for name, layer in layers.items():
        outer = gradients[name].flatten(0, 1).T @ inputs[name].flatten(0, 1)
        torch.testing.assert_close(outer, layer.weight.grad, rtol=1e-10, atol=1e-12, msg=name)


def test_a_backward_pass_cut_below_the_first_target_gives_the_same_gradients(tiny_olmo, ids):
    model = tiny_olmo()
    full_inputs, full = captured(model, "*_proj", ids)
    cut_inputs, cut = captured(model, LAST_BLOCK, ids)
    assert set(cut) == set(linear_layers(model, LAST_BLOCK))
    for name in cut:
        assert torch.equal(cut_inputs[name], full_inputs[name])
        torch.testing.assert_close(cut[name], full[name], rtol=1e-12, atol=1e-15)


def test_no_graph_below_the_first_target_and_one_above(tiny_olmo, ids):
    model, recorded = tiny_olmo(), {}
    watched = {
        "below": model.model.layers[0],
        "attention of the same block": model.model.layers[1].self_attn.o_proj,
        "above": model.model.norm,
    }
    for where, module in watched.items():
        module.register_forward_hook(
            lambda m, i, o, where=where: recorded.__setitem__(
                where, (o[0] if isinstance(o, tuple) else o).requires_grad
            )
        )
    captured(model, LAST_BLOCK, ids)
    assert recorded == {"below": False, "attention of the same block": False, "above": True}


def test_no_parameter_gets_a_gradient(tiny_olmo, ids):
    model = tiny_olmo()
    captured(model, "*_proj", ids)
    assert all(p.grad is None for p in model.parameters())


def test_the_model_computes_the_same_bits_while_it_is_watched(tiny_olmo, ids):
    model = tiny_olmo()
    with torch.no_grad():
        before = model(input_ids=ids).logits
    nothing = lambda *_: None
    with capture(model, linear_layers(model), on_input=nothing, on_output_gradient=nothing):
        assert torch.equal(model(input_ids=ids).logits.detach(), before)


def test_flags_and_hooks_are_put_back_even_if_they_were_mixed(tiny_olmo, ids):
    model = tiny_olmo()
    model.model.embed_tokens.weight.requires_grad_(False)
    before = snapshot(model)
    captured(model, "*_proj", ids)
    assert snapshot(model) == before


@pytest.mark.parametrize("where", ["block", "on_input", "on_output_gradient"])
def test_flags_and_hooks_are_put_back_after_an_exception(tiny_olmo, ids, where):
    model = tiny_olmo()
    before = snapshot(model)

    def fail(*_):
        raise ZeroDivisionError

    callbacks = {name: fail if name == where else lambda *_: None for name in ("on_input", "on_output_gradient")}
    with pytest.raises(ZeroDivisionError):
        with capture(model, linear_layers(model), **callbacks):
            backward(model, {"input_ids": ids}, labels="data", generator=None)
            fail()
    assert snapshot(model) == before


def test_capture_works_inside_no_grad(tiny_olmo, ids):
    with torch.no_grad():
        _, gradients = captured(tiny_olmo(), LAST_BLOCK, ids)
        assert not torch.is_grad_enabled()
    assert len(gradients) == 3


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.shared = nn.Linear(3, 3)

    def forward(self, x):
        return self.shared(torch.tanh(self.shared(x)))


def test_a_layer_called_twice_in_one_pass_is_refused_by_name():
    model = Twice()
    before = snapshot(model)
    with pytest.raises(RuntimeError, match="'shared' was called twice.*leave it out"):
        with capture(
            model, linear_layers(model, "shared"), on_input=lambda *_: None, on_output_gradient=lambda *_: None
        ):
            model(torch.randn(2, 3))
    assert snapshot(model) == before


def test_a_layer_may_be_called_again_once_its_gradient_has_come():
    model, seen = nn.Sequential(nn.Linear(3, 2)), []
    with capture(
        model, linear_layers(model, "*"), on_input=lambda *_: None, on_output_gradient=lambda name, g: seen.append(name)
    ):
        for _ in range(3):
            model(torch.randn(2, 3)).sum().backward()
    assert seen == ["0"] * 3


def test_an_in_place_activation_after_a_layer_changes_nothing(mlp):
    calm, hasty = (
        mlp([4, 6, 5, 3], activation=lambda inplace=inplace: nn.ReLU(inplace=inplace)) for inplace in (False, True)
    )
    x = torch.randn(7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    seen = []
    for model in (calm, hasty):
        inputs, gradients = {}, {}
        with capture(
            model, linear_layers(model, "*"), on_input=inputs.__setitem__, on_output_gradient=gradients.__setitem__
        ):
            backward(model, {"x": x, "labels": torch.arange(7) % 3}, labels="data", generator=None)
        seen.append((inputs, gradients))
    for one, other in zip(*seen):
        assert list(one) == list(other) and len(one) == 3
        assert all(torch.equal(one[name], other[name]) for name in one)


class Overwrites(nn.Module):
    """Reads x, then overwrites it: no weight gradient is wanted, so autograd itself does not mind."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x):
        y = self.layer(x)
        return y + x.mul_(2)


def test_a_layer_whose_input_is_overwritten_afterwards_is_refused_by_name():
    model = Overwrites()
    with pytest.raises(RuntimeError, match="input of layer 'layer' was changed in place.*out-of-place"):
        with capture(model, linear_layers(model, "*"), on_input=lambda *_: None, on_output_gradient=lambda *_: None):
            model(torch.randn(2, 3)).sum().backward()


def test_the_gradients_do_not_depend_on_which_weights_were_frozen(tiny_olmo, ids):
    model = tiny_olmo()
    frozen = copy.deepcopy(model).requires_grad_(False)
    for a, b in zip(captured(model, LAST_BLOCK, ids), captured(frozen, LAST_BLOCK, ids)):
        assert all(torch.equal(a[name], b[name]) for name in a)
    assert not any(p.requires_grad for p in frozen.parameters())


def with_dropout(modes=(True, False)):
    """A GPT-NeoX that drops half of what it computes, whose two blocks are in these modes."""
    torch.manual_seed(0)
    model = GPTNeoXForCausalLM(
        GPTNeoXConfig(
            vocab_size=37,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=32,
            hidden_dropout=0.5,
            attention_dropout=0.5,
        )
    ).double()
    for block, mode in zip(model.gpt_neox.layers, modes):
        block.train(mode)
    return model


def test_what_is_measured_is_the_same_in_training_mode_and_every_submodule_keeps_its_own_mode(ids):
    model = with_dropout()
    layers, modes = linear_layers(model, "*.mlp.*"), [m.training for m in model.modules()]
    assert True in modes and False in modes

    def everything():
        factors = collect_factors(model, [ids], layers, generator=torch.Generator().manual_seed(0), progress=False)
        bases = decompose(factors)
        eigenvalues = collect_eigenvalues(
            model, [ids], layers, bases, unit="token", generator=torch.Generator().manual_seed(0), progress=False
        )
        scores = recitation(model, split_windows(ids, 5)).as_dict(), perplexity(model, ids), hits(model, ids)
        return [f.G for f in factors.values()] + list(eigenvalues.values()), scores

    found, scores = everything()
    assert [m.training for m in model.modules()] == modes
    model.eval()
    expected, expected_scores = everything()
    assert all(torch.equal(x, y) for x, y in zip(found, expected))
    assert scores[:2] == expected_scores[:2] and torch.equal(scores[2], expected_scores[2])
    assert not any(m.training for m in model.modules())


def test_modes_come_back_after_an_exception_too():
    model = with_dropout()
    modes = [m.training for m in model.modules()]
    with pytest.raises(KeyError), evaluating(model):
        assert not any(m.training for m in model.modules())
        raise KeyError
    assert [m.training for m in model.modules()] == modes
