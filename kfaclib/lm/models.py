"""Loading a causal language model from a local folder or by its name on the hub."""

from __future__ import annotations  # naming a model's class must not load it

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import transformers
from huggingface_hub import try_to_load_from_cache
from safetensors import SafetensorError
from transformers.utils import logging

from kfaclib.curvature.passes import check_causal
from kfaclib.io import files

logging.disable_progress_bar()  # a bar for a file of seven megabytes says nothing

BUFFERS = (".inv_freq", ".masked_bias", ".attn.bias", ".attention.bias")  # in old checkpoints: computed, not learned
JSON = ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors.index.json")  # all are objects
POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len", "n_ctx")  # what configurations call their number


def load(
    name: str | Path,
    revision: str | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> tuple[transformers.PreTrainedModel, transformers.PreTrainedTokenizerBase]:
    """Load (model in evaluation mode, tokenizer) from a local folder or by a hub name.

    revision: the hub's commit, branch or tag; a result is reproducible only with one. device: by default a GPU if there
    is one. dtype: by default float32 on a CPU and the checkpoint's own on a GPU. Only safetensors are read and no
    remote code is executed.

    Raises ValueError for a folder whose files differ from its `manifest.json`, that is not in the hub's format or is
    damaged, and for a model that is not a causal one of transformers, that is stored quantized, or whose checkpoint
    lacks weights or has values that are not finite.
    """
    folder = Path(name)
    if files.manifest_of(folder):
        files.check_manifest(folder)
    elif folder.exists() and not (folder / "config.json").exists():
        raise ValueError(f"{folder} has no config.json: it is not a model folder in the hub's format")
    for path in (folder / part for part in JSON):
        if path.exists() and not isinstance(files.read_json(path), dict):
            raise ValueError(f"{path} is not a JSON object ({{...}}): restore the file that belongs to the model")
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    options = dict(trust_remote_code=False, **(dict(revision=revision) if revision else {}))
    with _loading(name, "its configuration"):
        config = transformers.AutoConfig.from_pretrained(name, **options)
    _check_not_quantized(name, config)
    with _loading(name, "the model"):
        model, found = transformers.AutoModelForCausalLM.from_pretrained(
            name,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # _check_weights names them
            dtype=dtype or (torch.float32 if device == "cpu" else "auto"),
            use_safetensors=True,
            **options,
        )
    with _loading(name, "its tokenizer"):
        tokenizer = transformers.AutoTokenizer.from_pretrained(name, **options)
    _check_weights(name, found)
    _check_finite(name, model)
    model = model.to(device).eval()
    check_causal(model)
    return model, tokenizer


@contextmanager
def _loading(name: str | Path, part: str) -> Iterator[None]:
    """What transformers raises inside the block as a ValueError that says which part of the model `name` it is."""
    try:
        yield
    except SafetensorError as error:
        raise ValueError(
            f"the weights in {name} cannot be read ({error}): the file is cut short or damaged; restore it"
        ) from None
    except OSError as error:
        if Path(name).exists():
            raise ValueError(
                f"{part} in {name} cannot be read ({error}): restore what is missing. Only safetensors are read; save "
                "weights of another format again with `save_pretrained`"
            ) from None
        raise ValueError(
            f"{name!r} is neither a model folder here nor a model that the hub could give: {error}"
        ) from None
    except (MemoryError, RuntimeError, ImportError):
        raise
    except Exception as error:  # a strange configuration is noticed in many places, by an error of any kind
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise ValueError(
            f"{name!r} is not a causal language model that transformers brings itself (code from the hub is never "
            f"executed), or not as it was saved; {part} cannot be loaded: {kind}{str(error)[:300]}"
        ) from None


def _check_not_quantized(name, config):
    """Raise ValueError for a checkpoint that is stored quantized."""
    said = next((x for c in (config, config.get_text_config()) if (x := getattr(c, "quantization_config", None))), None)
    if said:
        kind = said.get("quant_method") if isinstance(said, dict) else getattr(said, "quant_method", None)
        raise ValueError(
            f"the checkpoint {name} is quantized ({kind}, says its config.json): a layer's weight, which an edit "
            "changes, is not in it; take the model's unquantized checkpoint"
        )


def _check_finite(name, model):
    """Raise FloatingPointError naming the first weight that has a value which is not finite."""
    for weight, values in model.named_parameters():
        if values.numel() and not torch.stack(values.detach().aminmax()).isfinite().all():
            raise FloatingPointError(
                f"the weight {weight!r} in {name} has values that are not finite (NaN or infinity): the checkpoint is "
                "damaged, or was saved in a dtype that cannot hold it; restore it, or save it again in bfloat16 or "
                "float32"
            )


def _check_weights(name, found):
    """Raise ValueError if a checkpoint lacks weights of the model, which would then be random, or has others."""
    if found["mismatched_keys"]:
        weight, there, here = min(found["mismatched_keys"])
        raise ValueError(
            f"the checkpoint {name} has {weight!r} as {tuple(there)} and its configuration makes it {tuple(here)}: "
            "restore the config.json that belongs to the weights"
        )
    for kind, said in (("missing_keys", "lacks"), ("unexpected_keys", "has the unknown weight")):
        names = sorted(key for key in found[kind] if kind == "missing_keys" or not key.endswith(BUFFERS))
        if names:
            first = sorted(found["unexpected_keys"])[:1]
            raise ValueError(
                f"the checkpoint {name} {said} {names[0]!r}"
                f"{f' and {len(names) - 1} more' if len(names) > 1 else ''}"
                f"{f' and has {first[0]!r} instead' if kind == 'missing_keys' and first else ''}: it was saved from "
                "another architecture, with a prefix before its names (_orig_mod. of torch.compile, module.), "
                "or without its head; save it again from the model that it belongs to"
            )


def positions(model: transformers.PreTrainedModel) -> int | None:
    """The number of positions that a model was made for; None if its architecture sets no bound (BLOOM, Mamba)."""
    config = model.config.get_text_config()
    return next((n for key in POSITIONS if (n := getattr(config, key, None))), None)


def commit(name: str | Path, revision: str | None = None) -> str | None:
    """The hub's commit of a model that was loaded by its name; None for a folder or a model that is not in the
    cache."""
    if Path(name).exists():
        return None
    config = try_to_load_from_cache(str(name), "config.json", revision=revision)
    return Path(config).parent.name if isinstance(config, str) else None
