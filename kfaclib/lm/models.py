"""The small OLMo-2: its shape, its tokenizer, and how a local folder or a hub name becomes a model."""

from pathlib import Path

import torch
import transformers
from huggingface_hub import try_to_load_from_cache
from safetensors import SafetensorError
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, Olmo2Config, PreTrainedTokenizerFast
from transformers.utils import logging

from kfaclib.io import files
from kfaclib.toy import world as w

logging.disable_progress_bar()  # a bar for a file of seven megabytes says nothing

SIZES = {"olmo2-tiny": (192, 768, 6), "olmo2-mini": (128, 512, 4)}  # hidden, ffn, layers
POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len", "n_ctx")  # what configurations call their number


def make_tokenizer():
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


def make_model(size="olmo2-tiny", seed=0):
    """A fresh `Olmo2ForCausalLM` of one of SIZES, float32."""
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


def fresh(config, seed):
    """A fresh `Olmo2ForCausalLM` of this configuration, float32, with a start for small models.

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


def save(model, folder, world):
    """Write a small model: bfloat16 safetensors, configuration, tokenizer, `world.json` and the manifest of it all, so
    that `from_pretrained(folder)` and `load(folder)` take it."""
    model.to(torch.bfloat16).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    files.write_json(Path(folder) / "world.json", {"settings": w.settings(world), "digest": w.digest(world)})
    files.write_manifest(folder)


def load(name, revision=None, device=None, dtype=None):
    """(model, tokenizer) from a local folder or a hub name; evaluation mode.

    A folder with a `manifest.json` is compared with its checksums first.  A hub name wants a `revision` to be
    reproducible; only safetensors are read and nothing remote is executed.  dtype: default is float32 on a CPU and the
    checkpoint's own on a GPU.
    """
    folder = Path(name)
    if (folder / "manifest.json").exists():
        files.check_manifest(folder)
    elif folder.exists() and not (folder / "config.json").exists():
        raise ValueError(f"{folder} has no config.json: it is not a model folder in the hub's format")
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    options = dict(revision=revision) if revision else {}
    try:
        model = AutoModelForCausalLM.from_pretrained(
            name,
            dtype=dtype or (torch.float32 if device == "cpu" else "auto"),
            use_safetensors=True,
            trust_remote_code=False,
            **options,
        )
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False, **options)
    except SafetensorError as error:
        raise ValueError(
            f"the weights in {name} cannot be read ({error}): the file is cut short or damaged; restore it"
        ) from None
    except OSError as error:
        raise ValueError(
            f"{name!r} is neither a model folder here nor a model that the hub could give: {error}"
        ) from None
    except ValueError as error:
        raise ValueError(
            f"{name!r} is not a causal language model that transformers brings itself (code from the hub is never "
            "executed): "
            f"{str(error)[:300]}"
        ) from None
    return model.to(device).eval(), tokenizer


def positions(model):
    """The number of positions a model was made for; None if its architecture sets no bound (BLOOM, Mamba)."""
    config = model.config.get_text_config()
    return next((n for key in POSITIONS if (n := getattr(config, key, None))), None)


def commit(name, revision=None):
    """The commit on the hub of a model that was loaded by its name; None for a folder."""
    if Path(name).exists():
        return None
    config = try_to_load_from_cache(str(name), "config.json", revision=revision)
    return Path(config).parent.name if isinstance(config, str) else None


def load_world(folder):
    """The `World` a small model was trained on, from `world.json` in its folder; None if it has none."""
    path = Path(folder) / "world.json"
    if not path.exists():
        return None
    recorded = files.read_json(path)
    world = w.make_world(**recorded["settings"])
    if w.digest(world) != recorded["digest"]:
        raise ValueError(
            f"{path}: its settings no longer give the world this model was trained on: "
            "kfaclib/toy/world.py has changed since; check out the version that trained it"
        )
    return world


def checkpoint_dtype(name, revision=None):
    """The dtype a checkpoint is stored in, from its configuration (a CPU loads it as float32 to compute with)."""
    options = dict(revision=revision) if revision else {}
    return AutoConfig.from_pretrained(name, trust_remote_code=False, **options).dtype or torch.float32
