"""The step uphill: its gradient, what it does to first order, and what it leaves alone."""

import pytest
import torch

from kfaclib.curvature.eigenbasis import decompose
from kfaclib.curvature.factors import collect_factors
from kfaclib.curvature.layers import linear_layers
from kfaclib.editing import uphill
from kfaclib.editing.edit import edited
from kfaclib.lm.recitation import nll, split_windows
from kfaclib.toy import small_olmo2


@pytest.fixture(scope="module")
def small():
    model = small_olmo2.make_model("olmo2-mini", seed=0).eval()
    ids = torch.randint(4, 400, (6, 24), generator=torch.Generator().manual_seed(0))
    layers = linear_layers(model, "model.layers.[23].mlp.up_proj")
    bases = decompose(collect_factors(model, [ids], layers, generator=torch.Generator().manual_seed(0), progress=False))
    return model, layers, bases, ids


def suffix_loss(model, ids, prefix=16):
    return nll(model, ids)[:, prefix - 1 :].double().mean().item()


def test_the_gradient_is_the_suffixes_alone_and_batches_do_not_matter(small):
    model, layers, _, ids = small
    flags = [p.requires_grad for p in model.parameters()]
    found = uphill.gradient(model, layers, split_windows(ids, 16), batch=6)
    again = uphill.gradient(model, layers, split_windows(ids, 16), batch=1)
    assert [p.requires_grad for p in model.parameters()] == flags
    for name, layer in layers.items():
        torch.testing.assert_close(found[name], again[name], rtol=1e-3, atol=1e-8)
        step = 0.2 / found[name].norm() * found[name]
        ends = []
        for sign in (1, -1):
            with edited(layers, {name: layer.weight.detach() + sign * step}):
                ends.append(suffix_loss(model, ids))
        assert (ends[0] - ends[1]) / 2 == pytest.approx((found[name] * step).sum().item(), rel=0.05)


def test_a_step_goes_uphill_and_no_step_changes_nothing(small):
    model, layers, bases, ids = small
    gradients = uphill.gradient(model, layers, split_windows(ids, 16))
    unit = uphill.uphill_step(layers, bases, gradients, 1.0)
    for name, layer in layers.items():
        assert ((unit[name] - layer.weight) * gradients[name]).sum() > 0
        assert torch.equal(uphill.uphill_step(layers, bases, gradients, 0.0)[name], layer.weight)


def test_with_much_damping_it_is_plain_gradient_ascent(small):
    _, layers, bases, _ = small
    gradients = {name: torch.randn_like(layer.weight) for name, layer in layers.items()}
    far = uphill.uphill_step(layers, bases, gradients, 1.0, damping=1e6)
    for name, layer in layers.items():
        cosine = torch.nn.functional.cosine_similarity(
            (far[name] - layer.weight).flatten(), gradients[name].flatten(), 0
        )
        assert cosine > 0.99
