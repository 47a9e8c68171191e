"""BalancedSubnet and gradient ascent: the gradient, the mask, the signs, and that quotes which are held out stay
out.
"""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from transformers import Olmo2Config

from kfaclib.curvature.layers import linear_layers
from kfaclib.editing import subnet
from kfaclib.editing.baselines import noisy
from kfaclib.editing.edit import edited
from kfaclib.toy import pipeline, small_olmo2, tasks
from kfaclib.toy import world as w
from kfcourse.experiments import baselines


def matter(model):
    """Make the MLPs' weights large enough that what they do is seen in the loss."""
    with torch.no_grad():
        for layer in [*linear_layers(model, "*.mlp.*").values(), model.lm_head]:
            layer.weight.mul_(10)


def small(seed=0):
    """(model, its two edited layers, memorized windows [6, 20], clean rows [10, 24])."""
    model = small_olmo2.fresh(
        Olmo2Config(
            vocab_size=40,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=64,
            pad_token_id=0,
            eos_token_id=2,
        ),
        seed,
    ).eval()
    matter(model)
    generator = torch.Generator().manual_seed(seed)
    memorized, clean = (torch.randint(1, 40, shape, generator=generator) for shape in ((6, 20), (10, 24)))
    return model, linear_layers(model, "model.layers.1.mlp.gate_proj,model.layers.1.mlp.up_proj"), memorized, clean


@given(st.integers(1, 9), st.integers(1, 9), st.floats(0, 0.999), st.integers(0, 99))
def test_the_mask_drops_exactly_its_share_and_the_lowest(rows, columns, ratio, seed):
    scores = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    keep = subnet.keep_top(scores, ratio)
    assert (~keep).sum() == round(ratio * rows * columns)
    if keep.any() and not keep.all():
        assert scores[keep].abs().min() >= scores[~keep].abs().max()


def test_tied_scores_still_drop_exactly_their_share():
    assert subnet.keep_top(torch.zeros(3, 4), 0.25).tolist() == [[False, False, False, True], [True] * 4, [True] * 4]


def test_the_straight_through_gradient_is_the_hand_formula():
    """y = (W * m) a with m = [|s| among the kept]: dL/ds = (g a^T) * W * sign(s), at dropped weights as at kept
    ones.
    """
    generator = torch.Generator().manual_seed(0)
    W, a, g = (torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((3, 5), (7, 5), (7, 3)))
    scores = torch.randn(3, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    mask = subnet.straight_through(scores, 0.4)
    assert torch.equal(mask.detach(), subnet.keep_top(scores, 0.4).double())  # numbers are 0 and 1, exactly
    ((a @ (W * mask).T) * g).sum().backward()
    assert torch.allclose(scores.grad, (g.T @ a) * W * scores.detach().sign(), atol=1e-12)


def test_the_loss_goes_up_on_memorized_and_down_on_clean():
    clean, memorized = torch.tensor(2.0, requires_grad=True), torch.tensor(3.0, requires_grad=True)
    subnet.balance(clean, memorized, 0.7).backward()
    assert clean.grad.item() == pytest.approx(0.3) and memorized.grad.item() == pytest.approx(-0.7)


def test_losses_under_other_weights_are_those_of_the_edited_model():
    model, layers, memorized, _ = small()
    weights = {name: layer.weight.detach() * 0.5 for name, layer in layers.items()}
    ours = subnet.token_losses(model, weights, memorized)
    with edited(layers, weights), torch.no_grad():
        logits = model(input_ids=memorized).logits
    assert torch.allclose(
        ours,
        F.cross_entropy(logits[:, :-1].flatten(0, 1), memorized[:, 1:].flatten(), reduction="none").view(6, -1),
        atol=1e-6,
    )


def loss_of(model, layers, weights, ids):
    with torch.no_grad():
        return subnet.token_losses(model, weights, ids).mean().item()


@pytest.mark.parametrize("method", ["BalancedSubnet", "gradient ascent"])
def test_training_forgets_the_memorized_keeps_the_clean_and_leaves_the_model_alone(method):
    model, layers, memorized, clean = small()
    before = {name: p.clone() for name, p in model.named_parameters()}
    own = {name: layer.weight.detach() for name, layer in layers.items()}
    if method == "BalancedSubnet":
        scores = list(subnet.balanced_subnet(model, layers, memorized, clean, ratio=0.3, lr=3000, epochs=20))
        first, weights = (subnet.masked(layers, s, 0.3) for s in (scores[0], scores[-1]))
    else:
        moves = list(subnet.gradient_ascent(model, layers, memorized, clean, lr=1e-2, epochs=20))
        first, weights = moves[0], moves[-1]
    gap = lambda some: loss_of(model, layers, some, memorized) - loss_of(model, layers, some, clean)
    assert gap(weights) > gap(first) and gap(weights) > gap(own) + 0.01
    assert all(torch.equal(p, before[name]) and p.grad is None for name, p in model.named_parameters())


def test_a_wrong_sign_would_be_seen():
    """With the two texts exchanged, the same training remembers what it should forget."""
    model, layers, memorized, clean = small()
    gap = lambda a, b: (lambda some: loss_of(model, layers, some, memorized) - loss_of(model, layers, some, clean))(
        list(subnet.gradient_ascent(model, layers, a, b, lr=1e-2, epochs=10))[-1]
    )
    assert gap(memorized, clean) > 0.02 + gap(clean, memorized)


def test_ratio_zero_and_none_of_the_way_are_no_edit():
    _, layers, _, _ = small()
    scores = {name: torch.randn_like(layer.weight) for name, layer in layers.items()}
    for found in (subnet.masked(layers, scores, 0.0), subnet.part_way(layers, scores, 0.0)):
        assert all(torch.equal(found[name], layers[name].weight) for name in layers)
    assert all(torch.allclose(x, scores[name]) for name, x in subnet.part_way(layers, scores, 1.0).items())


def test_a_forgotten_token_pushes_no_further():
    """Where every token is above the bound, it does not matter which windows they are in; without a bound it does."""
    model, layers, memorized, clean = small()
    end = lambda ids, bound: list(
        subnet.gradient_ascent(model, layers, ids, clean, weight=0.9, lr=1e-2, bound=bound, epochs=3)
    )[-1]
    same = lambda x, y: all(torch.equal(x[name], y[name]) for name in layers)
    assert same(end(memorized, 0.01), end(memorized.flip(1), 0.01)) and not same(
        end(memorized, 1e9), end(memorized.flip(1), 1e9)
    )


def test_noise_has_the_size_it_says_and_none_is_none():
    _, layers, _, _ = small()
    found = noisy(layers, 0.3, seed=0)
    for name, layer in layers.items():
        assert ((found[name] - layer.weight).norm() / layer.weight.norm()).item() == pytest.approx(0.3, rel=1e-5)
    assert all(torch.equal(x, layers[name].weight) for name, x in noisy(layers, 0.0, seed=0).items())


@pytest.mark.parametrize("method", ["BalancedSubnet", "gradient ascent"])
def test_unseen_quotes_never_enter(method):
    """Other unseen quotes, the same edit, bit for bit; other seen quotes, another edit."""
    world = w.make_world(5, quotes=8)
    model = (
        small_olmo2.fresh(
            Olmo2Config(
                vocab_size=len(w.VOCABULARY),
                hidden_size=16,
                intermediate_size=24,
                num_hidden_layers=6,
                num_attention_heads=2,
                num_key_value_heads=2,
                max_position_embeddings=256,
                pad_token_id=0,
                eos_token_id=2,
            ),
            0,
        )
        .eval()
        .requires_grad_(False)
    )
    matter(model)
    layers = linear_layers(model, pipeline.LAYERS)
    settings = {"BalancedSubnet": dict(ratio=0.3, lr=1e4), "gradient ascent": dict(lr=1e-2, bound=1e9)}[method]

    def edit(quotes):
        changed = dataclasses.replace(world, quotes=quotes)
        early, late, *_ = baselines.train(
            method,
            model,
            layers,
            tasks.quote_windows(changed, "choose"),
            tasks.fresh_text("clean", 6),
            settings,
            epochs=2,
        )
        return torch.cat([x.flatten() for part in (early, late) for x in part(0.5).values()])

    mine, others = world.quotes, [q[::-1] for q in world.quotes]
    mixed = lambda seen, unseen: [x for pair in zip(seen[::2], unseen[1::2]) for x in pair]
    assert torch.equal(edit(mixed(mine, mine)), edit(mixed(mine, others)))
    assert not torch.equal(edit(mixed(mine, mine)), edit(mixed(others, mine)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(weight=1.0), "weight=1.0"),
        (dict(memorized=torch.zeros(0, 5, dtype=torch.int64)), "at least one row"),
        (dict(clean=torch.ones(5)), "clean is (5,)"),
    ],
)
def test_bad_input_is_named(change, message):
    model, layers, memorized, clean = small()
    with pytest.raises(ValueError) as raised:
        next(
            subnet.gradient_ascent(
                **{"model": model, "layers": layers, "memorized": memorized, "clean": clean, **change}
            )
        )
    assert message in str(raised.value)


def test_a_ratio_that_drops_everything_is_refused():
    with pytest.raises(ValueError, match="ratio=1"):
        next(subnet.balanced_subnet(*small(), ratio=1))
