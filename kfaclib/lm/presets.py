"""Settings of published models, so that `--model NAME` repeats them: the paper's (Merullo et al. 2025, arXiv
2510.24256) for its own, a follow-up's where the paper says nothing, and ours for small models that recite by nature.

`whose` says whose choice the layers and the mass are. Ours have never been run on the real weights.
"""

from __future__ import annotations  # naming a model's class must not load it

from collections.abc import Callable
from dataclasses import dataclass

import torch
import transformers

from kfaclib.lm import models
from kfaclib.lm.lists import PublicList


@dataclass(frozen=True)
class Preset:
    """Settings for a model of the hub; `mass` is None where nobody publishes one."""

    revision: str  # the commit that these settings were checked against
    layers: str  # what is collected
    edited: str  # what is edited, patterns
    mass: float | None  # share of curvature mass that is kept
    whose: str  # choice the layers and the mass are
    corpus: str = "dolmino"
    length: int = 512
    tokens: int = 20_000_000
    sequences: PublicList | None = None  # windows that it recites, if there is a public list
    text: str | None = None  # other text, for perplexity


GATE_AND_UP = "*.mlp.gate_proj,*.mlp.up_proj"
LATE_7B = "model.layers.2[345].mlp.gate_proj,model.layers.2[345].mlp.up_proj"

PILE = "monology/pile-uncopyrighted@3be90335b66f24456a5d6659d9c8d208c0357119"
PILE_10K = "NeelNanda/pile-10k@127bfedcd5047750df5ccf3a12979a47bfa0bafa"
MEMORIZED = "EleutherAI/pythia-memorized-evals:duped.{}@65ecd53531b3266b34ccc77ffcaeb6f1ed0ec00c"
PARAGRAPHS = PublicList(
    "https://raw.githubusercontent.com/googleinterns/localizing-paragraph-memorization/"
    "79a40888088473908cce99542d132ef209877b1d/paragraphs/gpt-neo-125M/mem_strings.csv",
    "Apache-2.0",
    "36e98191a7e90c5957bc5aa043244e18ea732b9109cf805b532c4a2ad0c4fa40",
)
OURS = "our choice, the blocks after the middle as for SmolLM2, never run on the real weights"


def _small(revision, edited, listed):
    """Our settings for a small model that was trained on the Pile: the first matrix of its MLPs in some blocks, and 33
    tokens or more for each direction of the widest factor in a model of width 768."""
    return Preset(revision, edited, edited, 0.9, OURS, PILE, tokens=102_400, sequences=listed, text=PILE_10K)


def _pythia(size, revision, blocks):
    listed = PublicList(MEMORIZED.format(size), "MIT")
    return _small(revision, f"gpt_neox.layers.{blocks}.mlp.dense_h_to_4h", listed)


PRESETS = {
    "allenai/OLMo-2-1124-7B": Preset(
        "7df9a82518afdecae4e8c026b27adccc8c1f0032", LATE_7B, LATE_7B, 0.6, "the paper's choice"
    ),
    # the paper's table has this model, but neither its layers nor its mass: all are collected, so that `kfac sweep` can
    # choose; the blocks are those of a follow-up (smarter/memorization_kfac), which also deletes the flattest block
    "allenai/OLMo-2-0425-1B": Preset(
        "a1847dff35000b4271fa70afc5db10fd29fedbdf",
        GATE_AND_UP,
        "model.layers.1[123].mlp.gate_proj,model.layers.1[123].mlp.up_proj",
        None,
        "a follow-up's choice of blocks, not the paper's",
    ),
    "EleutherAI/pythia-70m": _pythia("70m", "a39f36b100fe8a5377810d56c3f4789b9c53ac42", "[34]"),
    "EleutherAI/pythia-160m": _pythia("160m", "50f5173d932e8e61f858120bcb800b97af589f46", "[678]"),
    "EleutherAI/pythia-410m": _pythia("410m", "9879c9b5f8bea9051dcb0e68dff21493d67e9d4f", "1[3456]"),
    "EleutherAI/gpt-neo-125m": _small(
        "21def0189f5705e2521767faed922f1f15e7d7db", "transformer.h.[678].mlp.c_fc", PARAGRAPHS
    ),
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
