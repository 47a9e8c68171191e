"""A and G: when their Kronecker product is the curvature, and everything that must not change them."""

import json
import math
import random

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from transformers import Gemma2Config, Gemma2ForCausalLM, GPT2Config, GPT2LMHeadModel

from kfaclib.curvature.eigenbasis import decompose
from kfaclib.curvature.exact import enumerated_fisher_block, exact_factors, exact_ggn_block
from kfaclib.curvature.factor_file import load_factors, save_factors
from kfaclib.curvature.factors import Factors, collect_factors
from kfaclib.curvature.layers import linear_layers
from kfaclib.curvature.passes import check_head, token_mask
from kfaclib.io import storage


def outputs_of(model, name, x):
    """weight -> outputs [T, C] of an nn.Sequential when layer `name` has that weight."""
    return lambda weight: torch.func.functional_call(model, {f"{name}.weight": weight}, (x,)).flatten(0, -2)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def collect(model, batches, patterns="*.mlp.*", labels="data", seed=0):
    return collect_factors(
        model,
        batches,
        linear_layers(model, patterns),
        labels=labels,
        generator=torch.Generator().manual_seed(seed),
        progress=False,
    )


def apart(one, other):
    """Largest relative difference between two sets of factors."""
    assert list(one) == list(other)
    return max(
        ((getattr(one[n], side) - getattr(other[n], side)).norm() / getattr(one[n], side).norm()).item()
        for n in one
        for side in "AG"
    )


def relative(x, y):
    return ((x - y).norm() / y.norm()).item()


# exactness, with the expectation over labels taken exactly


@pytest.mark.parametrize("rows", [1, 2, 17])
@pytest.mark.parametrize("depth", [1, 3])
def test_on_a_deep_linear_net_with_squared_loss_kfac_is_the_ggn_at_any_batch_size(mlp, rows, depth):
    net, x = mlp([4, 6, 5, 3][-depth - 1 :], activation=None).net, normal(rows, [4, 6, 5, 3][-depth - 1])
    for name, f in exact_factors(net, x, linear_layers(net, "*"), "squared").items():
        exact = exact_ggn_block(outputs_of(net, name, x), net.get_submodule(name).weight, "squared")
        torch.testing.assert_close(torch.kron(f.G, f.A), exact, rtol=0, atol=1e-13 * exact.abs().max().item())


def test_the_other_kronecker_order_is_wrong_when_the_layer_is_not_square(mlp):
    net, x = mlp([4, 6, 3], activation=None).net, normal(17, 4)
    for name, f in exact_factors(net, x, linear_layers(net, "*"), "squared").items():
        exact = exact_ggn_block(outputs_of(net, name, x), net.get_submodule(name).weight, "squared")
        assert relative(torch.kron(f.A, f.G), exact) > 0.1
        columns = exact.view(*[len(f.G), len(f.A)] * 2).permute(1, 0, 3, 2).reshape(exact.shape)
        assert relative(torch.kron(f.A, f.G), columns) < 1e-12  # it is the one for column-major vec


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.SiLU])
@pytest.mark.parametrize("seed", [0, 1])
def test_for_a_single_token_kfac_is_both_the_ggn_and_the_fisher_under_any_nonlinearity(mlp, activation, seed):
    net, x = mlp([4, 6, 5, 3], activation, seed).net, normal(1, 4, seed=seed)
    for name, f in exact_factors(net, x, linear_layers(net, "*")).items():
        outputs, weight = outputs_of(net, name, x), net.get_submodule(name).weight
        ggn = exact_ggn_block(outputs, weight)
        torch.testing.assert_close(torch.kron(f.G, f.A), ggn, rtol=0, atol=1e-14)
        torch.testing.assert_close(enumerated_fisher_block(outputs, weight), ggn, rtol=0, atol=1e-14)


def test_for_many_tokens_the_fisher_is_still_the_ggn_but_kfac_is_not(mlp):
    net, x = mlp([4, 6, 3]).net, normal(9, 4)
    f = exact_factors(net, x, linear_layers(net, "*"))["0"]
    outputs, weight = outputs_of(net, "0", x), net.get_submodule("0").weight
    ggn = exact_ggn_block(outputs, weight)
    torch.testing.assert_close(enumerated_fisher_block(outputs, weight), ggn, rtol=0, atol=1e-14)
    assert relative(torch.kron(f.G, f.A), ggn) > 0.1


def test_for_a_single_token_kfac_on_the_data_is_the_empirical_fisher(mlp):
    model, x, y = mlp([4, 6, 5, 3]), normal(1, 4), torch.tensor([2])
    for name, f in collect(model, [{"x": x, "labels": y}], "*").items():
        weight = model.get_submodule(name).weight
        s = torch.autograd.grad(F.cross_entropy(model(x).logits, y), weight)[0].reshape(-1)
        torch.testing.assert_close(torch.kron(f.G, f.A), torch.outer(s, s), rtol=0, atol=1e-14)


def test_several_tokens_a_row_are_exact_on_a_linear_net_and_not_on_a_relu_net(mlp):
    x = normal(3, 5, 4)
    for activation, exact in ((None, True), (nn.ReLU, False)):
        net = mlp([4, 6, 3], activation).net
        f = exact_factors(net, x, linear_layers(net, "*"), "squared")["0"]
        gap = relative(
            torch.kron(f.G, f.A), exact_ggn_block(outputs_of(net, "0", x), net.get_submodule("0").weight, "squared")
        )
        assert gap < 1e-13 if exact else gap > 0.1


def test_a_loss_that_mixes_tokens_is_not_exact_even_on_a_linear_net(mlp):
    class Pooled(nn.Sequential):
        def forward(self, x):
            return super().forward(x).mean(1)

    net, x = Pooled(*mlp([4, 6, 3], activation=None).net), normal(3, 5, 4)
    f = exact_factors(net, x, linear_layers(net, "*"), "squared")["0"]
    kfac, exact = (
        torch.kron(f.G, f.A),
        exact_ggn_block(outputs_of(net, "0", x), net.get_submodule("0").weight, "squared"),
    )
    best = kfac * (kfac * exact).sum() / kfac.square().sum()  # not even up to a factor
    assert relative(best, exact) > 0.1


# sampled labels


def test_the_error_of_sampled_labels_falls_like_one_over_the_square_root_of_the_draws(mlp):
    model, x = mlp([4, 6, 5], seed=1), normal(3, 4)
    exact = exact_factors(model.net, x, linear_layers(model, "*"))
    draws, seeds = [4, 16, 64, 256, 1024], 16
    errors = []
    for k in draws:
        squares = [
            relative(collect(model, [{"x": x.repeat(k, 1)}], "*", "sampled", seed)["net.0"].G, exact["net.0"].G) ** 2
            for seed in range(seeds)
        ]
        errors.append(math.sqrt(sum(squares) / seeds))
    log_k, log_e = torch.tensor(draws).double().log(), torch.tensor(errors).double().log()
    slope = ((log_k - log_k.mean()) * (log_e - log_e.mean())).sum() / (log_k - log_k.mean()).square().sum()
    assert -0.6 < slope < -0.4, errors


def test_sampled_labels_are_unbiased(mlp):
    model, x, seeds = mlp([4, 6, 5], nn.Tanh, seed=1), normal(3, 4), 300
    exact = exact_factors(model.net, x, linear_layers(model, "*"))["net.0"].G
    found = torch.stack([collect(model, [{"x": x}], "*", "sampled", seed)["net.0"].G for seed in range(seeds)])
    standard_error = found.std(0) / math.sqrt(seeds)
    assert standard_error.norm() < 0.1 * exact.norm()  # a bias of that size would show
    assert ((found.mean(0) - exact).abs() < 4 * standard_error).all()


def test_sampled_labels_come_from_the_generator_alone(tiny_olmo):
    model, ids = tiny_olmo(), torch.arange(3, 33).view(3, 10)
    one, again, other = (collect(model, [ids], labels="sampled", seed=s) for s in (0, 0, 1))
    assert apart(one, again) == 0 and apart(one, other) > 1e-3


# what the factors are, and what must not change them


@pytest.fixture
def ids():
    return torch.randint(3, 37, (6, 9), generator=torch.Generator().manual_seed(0))


def test_factors_of_a_language_model_are_means_over_all_positions_but_the_last(tiny_olmo, ids):
    model = tiny_olmo()
    layers, seen = linear_layers(model), {}
    found = collect(model, [ids])
    hooks = [
        layer.register_forward_hook(lambda m, i, o, n=n: (o.retain_grad(), seen.__setitem__(n, (i[0], o)))[0])
        for n, layer in layers.items()
    ]
    F.cross_entropy(model(input_ids=ids).logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="sum").backward()
    for hook in hooks:
        hook.remove()
    for name, (a, out) in seen.items():
        a, g = a.detach()[:, :-1].flatten(0, 1), out.grad[:, :-1].flatten(0, 1)
        torch.testing.assert_close(found[name].A, a.T @ a / 48, rtol=1e-10, atol=1e-13)
        torch.testing.assert_close(found[name].G, g.T @ g / 48, rtol=1e-10, atol=1e-13)
        assert (out.grad[:, -1] == 0).all()  # the last position contributes nothing, in every layer
        assert found[name].A.trace() == pytest.approx(a.square().sum(1).mean().item(), rel=1e-12)
        assert found[name].G.trace() == pytest.approx(g.square().sum(1).mean().item(), rel=1e-12)


@pytest.mark.parametrize("labels", ["data", "sampled"])
def test_how_the_corpus_is_cut_into_batches_does_not_matter(tiny_olmo, ids, labels):
    model = tiny_olmo()
    whole = collect(model, [ids], labels=labels)
    for sizes in ([1] * 6, [2, 4], [5, 1]):
        split = collect(model, ids.split(sizes), labels=labels)
        assert apart(whole, split) < 1e-12
        assert {f.tokens for f in split.values()} == {48}


def test_the_order_of_the_batches_does_not_matter(tiny_olmo, ids):
    model = tiny_olmo()
    assert apart(collect(model, ids.split(2)), collect(model, ids.split(2)[::-1])) < 1e-12


@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_on_either_side_changes_neither_the_factors_nor_the_count(tiny_olmo, ids, side):
    model, pad = tiny_olmo(), torch.zeros(6, 4, dtype=torch.int64)
    join = (lambda x, y: [x, y]) if side == "right" else (lambda x, y: [y, x])
    padded = {
        "input_ids": torch.cat(join(ids, pad), 1),
        "attention_mask": torch.cat(join(torch.ones_like(ids), pad), 1),
    }
    plain, found = collect(model, [ids]), collect(model, [padded])
    assert {f.tokens for f in found.values()} == {48}
    # rotary angles are float32 in transformers, so a shift of positions is exact only to that
    assert apart(plain, found) < (1e-12 if side == "right" else 1e-5)


def test_documents_of_different_lengths_padded_together_equal_documents_one_by_one(tiny_olmo, ids):
    model, lengths = tiny_olmo(), [9, 2, 5, 7, 3, 9]
    mask = torch.arange(9) < torch.tensor(lengths)[:, None]
    together = collect(model, [{"input_ids": ids * mask, "attention_mask": mask.long()}])
    one_by_one = collect(model, [row[None, :n] for row, n in zip(ids, lengths)])
    assert apart(one_by_one, together) < 1e-12
    assert {f.tokens for f in together.values()} == {sum(lengths) - 6}


def test_which_other_layers_are_collected_does_not_matter(tiny_olmo, ids):
    model = tiny_olmo()
    everything = collect(model, [ids], "*_proj")
    for pattern in ("*.1.mlp.up_proj", "*.0.self_attn.v_proj,*.1.mlp.down_proj"):
        some = collect(model, [ids], pattern)
        assert apart({name: everything[name] for name in some}, some) < 1e-12


def test_layers_that_are_handed_the_same_tensor_share_one_A(tiny_olmo, ids):
    found = collect(tiny_olmo(), [ids], "*_proj")
    owners = {}
    for name, f in found.items():
        owners.setdefault(f.A.data_ptr(), []).append(name.split(".", 2)[2])
    assert sorted(owners.values()) == sorted(
        [
            [f"{i}.{n}" for n in group]
            for i in range(2)
            for group in (
                ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
                ["self_attn.o_proj"],
                ["mlp.gate_proj", "mlp.up_proj"],
                ["mlp.down_proj"],
            )
        ]
    )
    alone = collect(tiny_olmo(), [ids], "*.0.mlp.up_proj")["model.layers.0.mlp.up_proj"]
    assert relative(found["model.layers.0.mlp.up_proj"].A, alone.A) < 1e-12


def test_layers_that_see_different_numbers_of_rows_are_each_divided_by_their_own():
    class Pooled(nn.Module):
        """Like an image classifier: the body sees every patch, the head one vector an image."""

        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(4, 5), nn.Linear(5, 3)

        def forward(self, x):
            return type("Output", (), {"logits": self.head(torch.tanh(self.body(x)).mean(1))})

    torch.manual_seed(0)
    model, x = Pooled().double(), normal(3, 7, 4)
    found = collect(model, [{"x": x, "labels": torch.tensor([0, 1, 2])}], "*")
    assert {name: f.tokens for name, f in found.items()} == {"body": 21, "head": 3}
    rows = x.flatten(0, 1)
    torch.testing.assert_close(found["body"].A, rows.T @ rows / 21)


def test_half_precision_models_are_summed_in_float32(tiny_olmo, ids):
    model = tiny_olmo().bfloat16()
    found = collect(model, ids.split(3))
    assert {f.A.dtype for f in found.values()} | {f.G.dtype for f in found.values()} == {torch.float32}
    many = collect(model, ids.split(3) * 20)
    assert apart(found, many) < 1e-5  # a bfloat16 sum would be off by percents
    assert all(torch.linalg.eigvalsh(f.A.double()).min() > -1e-6 * f.A.trace() for f in found.values())


def test_token_mask_marks_the_positions_whose_next_token_is_real():
    ids = torch.ones(3, 4, dtype=torch.int64)
    mask = token_mask({"input_ids": ids, "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 1, 1]])})
    assert mask.int().tolist() == [[1, 1, 1, 0], [1, 0, 0, 0], [0, 0, 1, 0]]


# what is refused


def test_an_empty_corpus_is_an_error(tiny_olmo):
    with pytest.raises(ValueError, match="corpus is empty"):
        collect(tiny_olmo(), [])


def test_a_batch_without_a_target_is_an_error_that_gives_its_shape(tiny_olmo):
    for batch in (
        torch.ones(4, 1, dtype=torch.int64),
        {"input_ids": torch.ones(2, 3, dtype=torch.int64), "attention_mask": torch.tensor([[1, 0, 0], [0, 0, 1]])},
    ):
        with pytest.raises(ValueError, match=r"shape \(\d, \d\) has no position with a next token.*two tokens"):
            collect(tiny_olmo(), [batch])


def test_unknown_labels_are_an_error(tiny_olmo, ids, mlp):
    with pytest.raises(ValueError, match="labels='gold'"):
        collect(tiny_olmo(), [ids], labels="gold")
    with pytest.raises(ValueError, match=r"needs batch\['labels'\]"):
        collect(mlp([2, 2]), [{"x": normal(1, 2)}], "*")


@pytest.mark.parametrize("what", ["activations", "output gradients"])
def test_values_that_are_not_finite_name_the_first_layer_and_leave_the_model_as_it_was(tiny_olmo, ids, what):
    model = tiny_olmo().train()
    for parameter in model.model.layers[0].parameters():
        parameter.requires_grad_(False)
    flags = [p.requires_grad for p in model.parameters()]
    healthy = collect(model, [ids])
    block = model.model.layers[1].mlp

    def overflow(module, inputs, output):
        if what == "activations":  # what down_proj is handed is broken, and with it every gradient
            return output.masked_fill(torch.arange(24) == 3, math.inf)
        if output.requires_grad:  # only the way back is broken
            output.register_hook(lambda g: g * math.nan)

    hook = block.act_fn.register_forward_hook(overflow)
    name = "model.layers.1.mlp." + ("down_proj" if what == "activations" else "gate_proj")
    with pytest.raises(FloatingPointError, match=f"'{name}': its {what} are not finite"):
        collect(model, [ids])
    hook.remove()
    assert model.training and [p.requires_grad for p in model.parameters()] == flags
    assert not any(m._forward_hooks for m in model.modules())
    assert apart(healthy, collect(model, [ids])) == 0


def test_a_layer_that_the_loss_does_not_reach_is_refused_by_name():
    class Unused(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = nn.Linear(3, 2), nn.Linear(3, 2)

        def forward(self, x):
            self.idle(x)
            return type("Output", (), {"logits": self.used(x)})

    with pytest.raises(RuntimeError, match="'idle' took no part in the loss"):
        collect(Unused(), [{"x": torch.randn(2, 3), "labels": torch.tensor([0, 1])}], "*")


def test_layers_of_another_model_are_refused(tiny_olmo, ids, mlp):
    options = dict(labels="data", generator=None, progress=False)
    with pytest.raises(RuntimeError, match="none of the chosen layers took part.*this very model"):
        collect_factors(tiny_olmo(), [ids], linear_layers(tiny_olmo()), **options)
    with pytest.raises(RuntimeError, match="none of the chosen layers took part"):
        collect_factors(
            mlp([2, 2]), [{"x": normal(1, 2), "labels": torch.tensor([0])}], linear_layers(mlp([2, 2]), "*"), **options
        )


def gemma_with_a_soft_cap():
    return Gemma2ForCausalLM(
        Gemma2Config(
            vocab_size=37,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=2,
            head_dim=8,
            max_position_embeddings=32,
            initializer_range=0.3,
        )
    )


def test_a_head_with_a_soft_cap_is_refused():
    torch.manual_seed(0)
    model = gemma_with_a_soft_cap()
    assert model.config.final_logit_softcapping == 30
    ids = torch.arange(3, 11)[None]
    with pytest.raises(ValueError, match="Gemma2ForCausalLM does something to its logits.*refused"):
        check_head(model, ids)
    with pytest.raises(ValueError, match="refused"):
        collect(model, [ids])


def test_a_head_with_a_bias_is_refused_even_if_the_bias_is_zero_now(tiny_olmo):
    model = tiny_olmo()
    model.lm_head = nn.Linear(16, 37).double()
    model.lm_head.bias.data.zero_()
    with pytest.raises(ValueError, match="refused"):
        check_head(model, torch.arange(3, 11)[None])


def test_a_head_that_scales_its_logits_a_little_is_refused(tiny_olmo):
    model = tiny_olmo()
    model.lm_head.register_forward_hook(lambda m, i, o: 1.001 * o)
    with pytest.raises(ValueError, match="refused"):
        collect(model, [torch.arange(3, 11)[None]])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_plain_heads_pass_in_every_precision(tiny_olmo, dtype):
    check_head(tiny_olmo().to(dtype), torch.arange(3, 11)[None])
    check_head(
        GPT2LMHeadModel(GPT2Config(vocab_size=37, n_positions=16, n_embd=8, n_layer=1, n_head=2)).eval().to(dtype),
        torch.arange(3, 11)[None],
    )


# files


@pytest.fixture
def stored(tiny_olmo, ids, tmp_path):
    """A model, its layers, their factors and the file they are in."""
    model = tiny_olmo()
    layers = linear_layers(model, "*.0.mlp.*")
    found = collect(model, [ids], "*.0.mlp.*")
    path = tmp_path / "factors.safetensors"
    save_factors(path, found, layers, corpus="a test", seed=0)
    return layers, found, path


def test_factors_come_back_from_their_file_bit_for_bit(stored):
    layers, found, path = stored
    loaded = load_factors(path, layers)
    assert list(loaded) == list(found)
    for name in found:
        assert torch.equal(loaded[name].A, found[name].A) and torch.equal(loaded[name].G, found[name].G)
        assert loaded[name].tokens == found[name].tokens == 48
    assert json.loads(safe_open(path, "pt").metadata()["kfaclib"])["notes"] == {"corpus": "a test", "seed": 0}


def test_a_shared_A_is_stored_once_and_comes_back_shared(stored):
    _, _, path = stored
    with safe_open(path, "pt") as file:
        assert sorted(file.keys()) == [
            f"model.layers.0.mlp.{x}" for x in ("down_proj.A", "down_proj.G", "gate_proj.A", "gate_proj.G", "up_proj.G")
        ]
    loaded = load_factors(path)
    assert loaded["model.layers.0.mlp.up_proj"].A is loaded["model.layers.0.mlp.gate_proj"].A
    bases = decompose(loaded)
    assert bases["model.layers.0.mlp.up_proj"].Q_A is bases["model.layers.0.mlp.gate_proj"].Q_A


def test_each_layer_keeps_its_own_token_count(tmp_path, mlp):
    model = mlp([2, 2, 2])
    eye = torch.eye(2)
    save_factors(
        tmp_path / "f",
        {"net.0": Factors(eye, 2 * eye, 21), "net.2": Factors(3 * eye, 4 * eye, 3)},
        linear_layers(model, "*"),
    )
    assert {n: f.tokens for n, f in load_factors(tmp_path / "f").items()} == {"net.0": 21, "net.2": 3}


def test_a_missing_file_is_named_with_the_command_that_makes_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.safetensors is missing.*kfac collect"):
        load_factors(tmp_path / "none.safetensors")


def test_a_file_cut_short_anywhere_is_named(stored, tmp_path):
    data = stored[2].read_bytes()
    for length in (0, 4, 8, 100, len(data) // 2, len(data) - 1):
        cut = tmp_path / "cut.safetensors"
        cut.write_bytes(data[:length])
        with pytest.raises(ValueError, match=r"cut\.safetensors cannot be read.*collect it again"):
            load_factors(cut)


def test_a_single_flipped_bit_anywhere_is_noticed(stored, tmp_path):
    data = stored[2].read_bytes()
    header = 8 + int.from_bytes(data[:8], "little")
    rng, path = random.Random(0), tmp_path / "flipped.safetensors"
    places = [*rng.sample(range(header), 400), *(rng.randrange(header, len(data)) for _ in range(100)), len(data) - 1]
    for place in places:
        flipped = bytearray(data)
        flipped[place] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        with pytest.raises(ValueError, match=r"flipped\.safetensors"):
            load_factors(path)


def test_a_foreign_safetensors_file_is_not_taken_for_factors(tmp_path):
    path = tmp_path / "foreign.safetensors"
    for metadata in (None, {"format": "pt"}, {"kfaclib": '{"format": "something else"}'}):
        save_file({"weight": torch.ones(2, 2)}, path, metadata=metadata)
        with pytest.raises(ValueError, match=r"foreign\.safetensors is a safetensors file, but not one of factors"):
            load_factors(path)


def test_factors_of_another_model_or_of_other_layers_are_refused_by_layer(stored, tiny_olmo):
    layers, _, path = stored
    with pytest.raises(
        ValueError,
        match=r"factors\.safetensors was collected on another model: layer 'model\.layers\.0\.mlp\.gate_proj'",
    ):
        load_factors(path, linear_layers(tiny_olmo(seed=1), "*.0.mlp.*"))
    with pytest.raises(ValueError, match=r"factors\.safetensors has no factors of layer 'model\.layers\.1"):
        load_factors(path, linear_layers(tiny_olmo(), "*.mlp.*"))
    with torch.no_grad():
        layers["model.layers.0.mlp.up_proj"].weight[3, 5] += 1e-9  # one bit of one weight
    with pytest.raises(ValueError, match="another model: layer 'model.layers.0.mlp.up_proj'"):
        load_factors(path, layers)


def test_a_crash_while_writing_leaves_the_old_file_and_no_litter(stored, monkeypatch):
    layers, found, path = stored
    before, listing = path.read_bytes(), sorted(path.parent.iterdir())

    def crash(tensors, filename, metadata):
        with open(filename, "wb") as file:
            file.write(before[:99])
        raise KeyboardInterrupt

    monkeypatch.setattr(storage, "save_file", crash)
    with pytest.raises(KeyboardInterrupt):
        save_factors(path, {n: Factors(2 * f.A, f.G, f.tokens) for n, f in found.items()}, layers)
    assert path.read_bytes() == before and sorted(path.parent.iterdir()) == listing


def test_a_plain_module_and_pairs_of_inputs_and_labels_give_the_same_factors_as_a_dict(mlp):
    model = mlp([4, 6, 3])
    x, y = torch.randn(9, 4, dtype=torch.float64), torch.randint(3, (9,))
    by_dict = collect_factors(
        model,
        [{"x": x, "labels": y}],
        linear_layers(model, "net.*"),
        labels="data",
        generator=torch.Generator(),
        progress=False,
    )
    by_pair = collect_factors(
        model.net, [(x, y)], linear_layers(model.net, "*"), labels="data", generator=torch.Generator(), progress=False
    )
    for name, f in by_pair.items():
        assert torch.equal(f.A, by_dict[f"net.{name}"].A) and torch.equal(f.G, by_dict[f"net.{name}"].G)
    collect_factors(
        model.net, [x], linear_layers(model.net, "*"), generator=torch.Generator().manual_seed(0), progress=False
    )
