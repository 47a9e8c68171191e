"""The paper's settings for each of its models (Merullo et al. 2025, arXiv 2510.24256), so that `--model NAME` repeats
it."""

from __future__ import annotations  # naming a model's class must not load it

from collections.abc import Callable
from dataclasses import dataclass

import torch
import transformers

from kfaclib.lm import models


@dataclass(frozen=True)
class Preset:
    """Settings for a model of the hub; `mass` and `edited` are None where the paper does not publish them."""

    revision: str  # the commit that these settings were checked against
    layers: str  # what is collected
    edited: str | None  # what is edited, patterns
    mass: float | None  # share of curvature mass that is kept
    corpus: str = "dolmino"
    length: int = 512
    tokens: int = 20_000_000


GATE_AND_UP = "*.mlp.gate_proj,*.mlp.up_proj"
LATE_7B = "model.layers.2[345].mlp.gate_proj,model.layers.2[345].mlp.up_proj"

PRESETS = {
    "allenai/OLMo-2-1124-7B": Preset("7df9a82518afdecae4e8c026b27adccc8c1f0032", LATE_7B, LATE_7B, 0.6),
    # the paper's table has this model, but neither its layers nor its mass: collect all, then choose (`kfac sweep`)
    "allenai/OLMo-2-0425-1B": Preset("a1847dff35000b4271fa70afc5db10fd29fedbdf", GATE_AND_UP, None, None),
}


def preset(model: str) -> Preset | None:
    """The `Preset` of a hub name; None for any other model."""
    return PRESETS.get(str(model))


@dataclass(frozen=True)
class Pinned:
    """A loaded model with its tokenizer, its preset if it has one, and its commit on the hub."""

    model: torch.nn.Module
    tokenizer: transformers.PreTrainedTokenizerBase
    preset: Preset | None
    commit: str | None  # None for a folder


def load(
    name: str, revision: str | None = None, *, dtype: torch.dtype | None = None, say: Callable[[str], None] = print
) -> Pinned:
    """Load a model by `models.load` (whose errors are raised), pinned to `revision` or else to its preset's.

    say: called with the commit to pin where a hub model has neither. dtype: as for `models.load`.
    """
    known = preset(name)
    asked = revision or (known and known.revision)
    model, tokenizer = models.load(name, asked, dtype=dtype)
    commit = models.commit(name, asked)
    if not asked and commit:
        say(f"no --revision was given: this is commit {commit} of {name}; pin it to repeat the result")
    return Pinned(model, tokenizer, known, commit)
