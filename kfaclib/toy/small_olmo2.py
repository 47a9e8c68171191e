"""The small OLMo-2s: their shapes, their tokenizer, and the folder that keeps one with the world it was trained on."""

from __future__ import annotations  # naming a model's class must not load it

from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import Olmo2Config, PreTrainedTokenizerFast

from kfaclib.io import files
from kfaclib.toy import world as w

SIZES = {"olmo2-tiny": (192, 768, 6), "olmo2-mini": (128, 512, 4)}  # hidden, ffn, layers


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer in the hub's format; it puts `<s>` first, as the training rows do."""
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(w.VOCABULARY)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", w.BOS)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        padding_side="left",
        model_max_length=256,
    )


def make_model(size: str = "olmo2-tiny", seed: int = 0) -> transformers.Olmo2ForCausalLM:
    """A new `Olmo2ForCausalLM` of one of SIZES, float32."""
    hidden, ffn, layers = SIZES[size]
    return fresh(
        Olmo2Config(
            vocab_size=-(-len(w.VOCABULARY) // 8) * 8,
            hidden_size=hidden,
            intermediate_size=ffn,
            num_hidden_layers=layers,
            num_attention_heads=hidden // 32,
            num_key_value_heads=hidden // 32,
            max_position_embeddings=256,
            tie_word_embeddings=False,
            pad_token_id=w.PAD,
            bos_token_id=w.BOS,
            eos_token_id=w.EOS,
        ),
        seed,
    )


def fresh(config: Olmo2Config, seed: int) -> transformers.Olmo2ForCausalLM:
    """A new `Olmo2ForCausalLM` of this configuration, float32, with an initialization for small models.

    Embeddings start at 0.7 and the gains after each block at 0.4: with the usual 0.02 and 1 the unnormalised
    residual stream of OLMo-2 drowns the token's identity and so small a model learns several times slower.
    """
    torch.manual_seed(seed)
    model = transformers.Olmo2ForCausalLM(config)
    with torch.no_grad():
        model.model.embed_tokens.weight.normal_(0, 0.7)
        for block in model.model.layers:
            block.post_attention_layernorm.weight.fill_(0.4)
            block.post_feedforward_layernorm.weight.fill_(0.4)
    return model


def save(model: transformers.Olmo2ForCausalLM, folder: str | Path, world: w.World) -> None:
    """Write a small model: bfloat16 safetensors, configuration, tokenizer, `world.json` and the manifest of it all, so
    that `from_pretrained(folder)` and `kfaclib.lm.models.load(folder)` take it."""
    model.to(torch.bfloat16).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    files.write_json(Path(folder) / "world.json", {"settings": w.settings(world), "digest": w.digest(world)})
    files.write_manifest(folder)


def load_world(folder: str | Path) -> w.World | None:
    """The `World` that a small model was trained on, from `world.json` in its folder; None if it has none. Raises
    ValueError if the settings no longer give that world."""
    path = Path(folder) / "world.json"
    if not path.exists():
        return None
    recorded = files.read_json(path)
    try:
        world, digest = w.make_world(**recorded["settings"]), recorded["digest"]
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(
            f"{path} is not the record of a small model's world ({type(error).__name__}: {error}): move it away, or "
            "restore it"
        ) from None
    if w.digest(world) != digest:
        raise ValueError(
            f"{path}: its settings no longer give the world this model was trained on: "
            "kfaclib/toy/world.py has changed since; check out the version that trained it"
        )
    return world
