"""Families of language models, tiny and random: each collects, is edited and measured, or is refused for its reason."""

import pytest
import torch
import torch.nn.functional as F
import transformers

from kfaclib.collecting import costs, resumable
from kfaclib.curvature.eigenbasis import decompose
from kfaclib.curvature.factors import collect_factors
from kfaclib.curvature.layers import linear_layers
from kfaclib.curvature.passes import check_model, shared_inputs
from kfaclib.editing.edit import edit_weights, edited
from kfaclib.lm.recitation import perplexity, recitation

V = 29
SIZES = dict(
    vocab_size=V,
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=2,
    max_position_embeddings=32,
    bos_token_id=1,
    eos_token_id=2,
    pad_token_id=0,
)
KV, HEADS = dict(num_key_value_heads=1), dict(head_dim=8)
GPT2 = dict(vocab_size=V, n_embd=16, n_head=2, n_layer=2, n_positions=32, bos_token_id=1, eos_token_id=2)
MULTIMODAL = dict(
    text_config=SIZES | KV | HEADS,
    vision_config=dict(
        hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
    ),
    mm_tokens_per_image=4,
    image_token_index=26,
    boi_token_index=27,
    eoi_token_index=28,
)
EXPERTS = dict(num_experts_per_tok=2)
# family: (model, its configuration, patterns of the layers, None or why it is refused)
FAMILIES = {
    "Llama": ("Llama", SIZES | KV, "*.mlp.*", None),
    "Llama, tied (SmolLM)": ("Llama", SIZES | KV | dict(tie_word_embeddings=True), "*.mlp.*,*.o_proj", None),
    "SmolLM3": ("SmolLM3", SIZES | KV, "*.mlp.*", None),
    "Mistral": ("Mistral", SIZES | KV, "*.mlp.*,*.q_proj", None),
    "Mixtral, attention": ("Mixtral", SIZES | KV | EXPERTS | dict(num_local_experts=4), "*.self_attn.*", None),
    "OLMoE, attention": ("Olmoe", SIZES | KV | EXPERTS | dict(num_experts=4), "*.v_proj,*.o_proj", None),
    "Mixtral, experts": (
        "Mixtral",
        SIZES | KV | EXPERTS | dict(num_local_experts=4),
        "*.experts.*",
        "no linear layer matches",
    ),
    "Qwen2": ("Qwen2", SIZES | KV, "*.mlp.*,*.k_proj", None),
    "Qwen3": ("Qwen3", SIZES | KV | HEADS, "*.mlp.*", None),
    "Gemma": ("Gemma", SIZES | KV | HEADS, "*.mlp.*", None),
    "Gemma 2": ("Gemma2", SIZES | KV | HEADS, "*.mlp.*", "a soft cap"),
    "Gemma 3, text": ("Gemma3", SIZES | KV | HEADS, "*.mlp.*", None),
    "Gemma 3, with images": ("Gemma3ForConditionalGeneration", MULTIMODAL, "*.language_model.*.mlp.*", None),
    "Gemma 3, layers of images": ("Gemma3ForConditionalGeneration", MULTIMODAL, "*.vision_tower.*", "model's decoder"),
    "Phi": ("Phi", SIZES, "*.mlp.*", "a bias"),
    "Phi-3": ("Phi3", SIZES | KV, "*.mlp.*", None),
    "StableLM": ("StableLm", SIZES | KV, "*.mlp.*", None),
    "StarCoder2": ("Starcoder2", SIZES | KV, "*.mlp.*", None),
    "OLMo": ("Olmo", SIZES | KV, "*.mlp.*", None),
    "OLMo-2": ("Olmo2", SIZES | KV, "*.mlp.*", None),
    "Granite": ("Granite", SIZES | KV | dict(logits_scaling=4.0), "*.mlp.*", "a scale"),
    "Cohere": ("Cohere", SIZES | KV, "*.mlp.*", "a scale"),
    "GPT-2": ("GPT2LMHead", GPT2, "*.mlp.*", "a transformers Conv1D"),
    "GPT-J": ("GPTJ", GPT2 | dict(rotary_dim=4), "*.mlp.*", "a bias"),
    "GPT-Neo": (
        "GPTNeo",
        dict(
            vocab_size=V,
            hidden_size=16,
            num_layers=2,
            num_heads=2,
            attention_types=[[["global", "local"], 1]],
            max_position_embeddings=32,
        ),
        "*.mlp.*",
        None,
    ),
    "Pythia (GPT-NeoX)": ("GPTNeoX", SIZES, "*.mlp.*,*.query_key_value", None),
    "OPT": ("OPT", SIZES | dict(ffn_dim=24, word_embed_proj_dim=16), "*.fc1,*.fc2", None),
    "OPT-350m": (
        "OPT",
        SIZES | dict(ffn_dim=24, word_embed_proj_dim=8, do_layer_norm_before=False),
        "*.fc1,*.fc2",
        None,
    ),
    "BLOOM": ("Bloom", dict(vocab_size=V, hidden_size=16, n_layer=2, n_head=2), "*.mlp.*", None),
    "Falcon": (
        "Falcon",
        dict(vocab_size=V, hidden_size=16, num_hidden_layers=2, num_attention_heads=2),
        "*.mlp.*",
        None,
    ),
    "MPT": ("Mpt", dict(vocab_size=V, d_model=16, n_layers=2, n_heads=2, max_seq_len=32), "*.ffn.*", None),
    "Mamba": (
        "Mamba",
        dict(vocab_size=V, hidden_size=16, num_hidden_layers=2, state_size=4, bos_token_id=1, eos_token_id=2),
        "*.in_proj,*.out_proj",
        None,
    ),
    "BERT": ("BertLMHead", SIZES, "*.intermediate.*", "lets a token see those that follow it"),
}


def build(family):
    """A random model of a family, whose weights are large enough that every part of it matters; float64, but for
    experts, whose product knows no such numbers."""
    name, settings, patterns, reason = FAMILIES[family]
    cls = next(
        getattr(transformers, n) for n in (name, f"{name}ForCausalLM", f"{name}Model") if hasattr(transformers, n)
    )
    torch.manual_seed(0)
    model = cls(cls.config_class(**settings)).to(torch.float32 if "num_experts_per_tok" in settings else torch.float64)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.3)
    return model.eval(), patterns, reason


def by_autograd(model, layers, ids):
    """{name: (A, G)} by autograd alone: from the summed loss of the next tokens of ids [B, S], the gradient of every
    layer's output."""
    seen, handles = {}, []
    for name, layer in layers.items():
        keep = lambda _, inputs, output, name=name: seen.__setitem__(name, (inputs[0], output))
        handles.append(layer.register_forward_hook(keep))
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    for handle in handles:
        handle.remove()
    loss = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="sum")
    gradients = torch.autograd.grad(loss, [seen[name][1] for name in layers])
    rows = {}
    for name, g in zip(layers, gradients):
        a, g = (x.reshape(*ids.shape, -1)[:, :-1].reshape(-1, x.shape[-1]).detach() for x in (seen[name][0], g))
        rows[name] = a.T @ a / len(a), g.T @ g / len(g)
    return rows


IDS = torch.randint(3, 26, (3, 9), generator=torch.Generator().manual_seed(0))


def close(x, y):
    """Equal up to rounding: parts of GPT-Neo, Mamba and of the experts compute in float32."""
    return (x - y).abs().max() <= 1e-5 * y.abs().max()


def collect(model, batch, layers):
    return collect_factors(
        model, [batch], layers, labels="data", generator=torch.Generator().manual_seed(0), progress=False
    )


@pytest.mark.parametrize("family", [name for name, (*_, reason) in FAMILIES.items() if reason is None])
def test_a_family_that_is_supported_collects_what_autograd_says_is_edited_and_is_measured(family):
    model, patterns, _ = build(family)
    layers = linear_layers(model, patterns)
    factors = collect(model, IDS, layers)
    for name, (A, G) in by_autograd(model, layers, IDS).items():
        assert close(factors[name].A, A) and close(factors[name].G, G), name
    # the same tokens with padding on the left are the same curvature, whatever the positions are made of
    padded = F.pad(IDS, (4, 0), value=5)
    mask = torch.ones_like(padded).index_fill(1, torch.arange(4), 0)
    for name, f in collect(model, {"input_ids": padded, "attention_mask": mask}, layers).items():
        assert close(f.A, factors[name].A) and close(f.G, factors[name].G), name
    # a plan needs sizes only
    owner = shared_inputs(model, layers)
    assert resumable.batch_bytes(model, layers, owner, 100) > 100 * 8 * 16
    assert all(count > 0 for count in costs.flops_per_token(model, layers).values())
    # greedy words, of prefixes of different lengths together and up to the last position, are those of the naive loop
    said = []
    with torch.no_grad():
        for prefix, length in ((IDS[0, :3], 5), (IDS[1, :7], 5), (IDS[2].repeat(4)[:31], 1)):
            ids = prefix[None]
            for _ in range(length):
                ids = torch.cat([ids, model(input_ids=ids, use_cache=False).logits[:, -1:].argmax(-1)], 1)
            said.append((prefix.tolist(), ids[0, len(prefix) :].tolist()))
    assert recitation(model, said).strict == 1
    before = perplexity(model, IDS)
    with edited(layers, edit_weights(layers, decompose(factors), 0.5)):
        assert perplexity(model, IDS) != before
    assert perplexity(model, IDS) == before


@pytest.mark.parametrize("family", [name for name, (*_, reason) in FAMILIES.items() if reason is not None])
def test_a_family_that_is_not_supported_is_refused_with_its_reason(family):
    model, patterns, reason = build(family)
    with pytest.raises(ValueError, match=reason):
        check_model(model)
        shared_inputs(model, linear_layers(model, patterns))
