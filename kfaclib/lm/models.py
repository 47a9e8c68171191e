"""Loading a causal language model from a local folder or by its name on the hub."""

from __future__ import annotations  # naming a model's class must not load it

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
    damaged, and for a model that is not a causal one of transformers or whose checkpoint lacks weights.
    """
    folder = Path(name)
    if files.manifest_of(folder):
        files.check_manifest(folder)
    elif folder.exists() and not (folder / "config.json").exists():
        raise ValueError(f"{folder} has no config.json: it is not a model folder in the hub's format")
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    options = dict(revision=revision) if revision else {}
    try:
        model, found = transformers.AutoModelForCausalLM.from_pretrained(
            name,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # _check_weights names them
            dtype=dtype or (torch.float32 if device == "cpu" else "auto"),
            use_safetensors=True,
            trust_remote_code=False,
            **options,
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(name, trust_remote_code=False, **options)
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
    _check_weights(name, found)
    model = model.to(device).eval()
    check_causal(model)
    return model, tokenizer


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
