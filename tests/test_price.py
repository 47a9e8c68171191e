"""The exact price of a change of weights: the KL divergence to second order, over all layers together."""

import pytest
import torch

from kfaclib.curvature.eigenbasis import decompose
from kfaclib.curvature.exact import exact_ggn_block
from kfaclib.curvature.factors import collect_factors
from kfaclib.curvature.layers import linear_layers
from kfaclib.curvature.price import exact_price, exact_prices
from kfaclib.editing import baselines
from kfaclib.editing.edit import edit_weights, edited
from kfaclib.lm import sweep
from kfaclib.toy import small_olmo2


@pytest.fixture(scope="module")
def model():
    return small_olmo2.make_model("olmo2-mini", seed=0).eval()


@pytest.fixture(scope="module")
def ids():
    return torch.randint(4, 400, (4, 12), generator=torch.Generator().manual_seed(0))


def kl(model, ids, layers, weights):
    """The mean KL divergence in nats a token from the model as it is to the changed one, in float64."""
    with torch.no_grad():
        before = model(input_ids=ids).logits[:, :-1].double().log_softmax(-1)
        with edited(layers, weights):
            after = model(input_ids=ids).logits[:, :-1].double().log_softmax(-1)
    return (before.exp() * (before - after)).sum(-1).mean().item()


@pytest.mark.parametrize("patterns", ["model.layers.3.mlp.up_proj", "*_proj"])
def test_at_a_small_change_it_is_the_kl_divergence(model, ids, patterns):
    """And half the size costs a quarter: the form is quadratic."""
    layers = linear_layers(model, patterns)
    small, half = (baselines.noisy(layers, size, 0) for size in (0.02, 0.01))
    predicted = exact_price(model, [ids], layers, small)
    assert predicted == pytest.approx(kl(model, ids, layers, small), rel=0.05)
    assert exact_price(model, [ids], layers, half) == pytest.approx(predicted / 4, rel=1e-3)


def test_for_one_layer_it_is_the_ggn_blocks_quadratic_form(tiny_olmo):
    model = tiny_olmo()
    layers = linear_layers(model, "model.layers.1.self_attn.v_proj")
    ((name, layer),) = layers.items()
    W = layer.weight.detach()
    new = baselines.noisy({name: layer}, 0.1, 1)[name]
    row = torch.randint(4, 37, (1, 5), generator=torch.Generator().manual_seed(0))

    def outputs(weight):
        given = {"input_ids": row, "use_cache": False}
        return torch.func.functional_call(model, {f"{name}.weight": weight}, kwargs=given).logits[0, :-1]

    d, G = (new - W).flatten(), exact_ggn_block(outputs, W)
    assert exact_price(model, [row], layers, {name: new}) == pytest.approx((d @ G @ d / 2).item(), rel=1e-6)


def test_batches_and_padding_do_not_matter(model, ids):
    layers = linear_layers(model, "*.up_proj")
    weights = baselines.noisy(layers, 0.1, 0)
    whole = exact_price(model, [ids], layers, weights)
    assert exact_price(model, ids.split(1), layers, weights) == pytest.approx(whole, rel=1e-4)
    padded = {"input_ids": torch.cat([ids, torch.zeros(4, 3, dtype=torch.int64)], 1)}
    padded["attention_mask"] = torch.cat([torch.ones_like(ids), torch.zeros(4, 3, dtype=torch.int64)], 1)
    assert exact_price(model, [padded], layers, weights) == pytest.approx(whole, rel=1e-4)


def test_the_model_is_as_it_was_and_k_facs_product_is_no_exact_price(model, ids):
    """K-FAC's prediction leaves out what layers do to each other and how a and g go together."""
    layers = linear_layers(model, "*.up_proj,*.gate_proj")
    before = {name: layer.weight.detach().clone() for name, layer in layers.items()}
    bases = decompose(collect_factors(model, [ids], layers, generator=torch.Generator().manual_seed(0), progress=False))
    exact = exact_price(model, [ids], layers, edit_weights(layers, bases, 0.9))
    product = sum(sweep.prediction(layers[n].weight, b, 0.9)[0] for n, b in bases.items())
    assert exact > 0 and product > 0 and abs(exact / product - 1) > 0.05
    assert all(torch.equal(layer.weight, before[name]) for name, layer in layers.items())
    assert not any(p.grad is not None for p in model.parameters())


def test_the_prices_of_many_groups_are_the_prices_of_each(model, ids):
    layers = linear_layers(model, "model.layers.[23].mlp.*")
    weights, names = baselines.noisy(layers, 0.1, 0), list(layers)
    groups = [names, names[:1], names[1:3]]
    found = exact_prices(model, ids.split(2), layers, weights, groups)
    each = [exact_price(model, [ids], layers, {name: weights[name] for name in group}) for group in groups]
    assert found == pytest.approx(each, rel=1e-4) and found[0] > found[2]
