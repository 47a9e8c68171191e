"""Secrets planted in the training text of a very small language model, and their extraction (chapter 2).

A secret is a person's three-digit code: "the code of ashby is 4 7 1 .". Each secret occurs an exact number of times in
one pass over a stream of other sentences, half of which give other people new random codes.
"""

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from tqdm.auto import tqdm
from transformers import Olmo2Config

from kfaclib.toy import small_olmo2
from kfaclib.toy.world import W

KINDS = ("first", "last", "verb", "adjective", "object", "city", "adverb", "digit")
WORDS = ["<s>", ".", "the", "code", "of", "is", "in", *dict.fromkeys(word for kind in KINDS for word in W[kind])]
CODES = list(itertools.product(W["digit"], repeat=3))
REPEATS, EACH = (0, 1, 2, 4, 8, 16, 32, 64, 128), 4
WIDTH, ROWS, BATCH, LEARNING_RATE, WARM_UP = 128, 16_000, 32, 3e-3, 50

_ID = {word: i for i, word in enumerate(WORDS)}


@dataclass(frozen=True)
class Secret:
    """A person's code, and how often it occurs in the training text."""

    person: str
    code: tuple[str, str, str]
    repeats: int


def encode(words: str | Sequence[str]) -> list[int]:
    """Token ids of a sentence or a list of words. Raises KeyError for a word that this world does not have."""
    return [_ID[word] for word in (words.split() if isinstance(words, str) else words)]


def decode(ids: Sequence[int]) -> str:
    """The words of token ids, as one string."""
    return " ".join(WORDS[i] for i in ids)


def prompt(person: str) -> list[int]:
    """Token ids of "<s> the code of ashby is"."""
    return encode(["<s>", "the", "code", "of", person, "is"])


def plant(seed: int, repeats: Sequence[int] = REPEATS, each: int = EACH) -> list[Secret]:
    """Draw `each` secrets for every number of repeats, with no person and no code twice."""
    rng = random.Random(f"secrets {seed}")
    people, codes = (rng.sample(pool, len(repeats) * each) for pool in (W["first"] + W["last"], CODES))
    return [Secret(*pair, repeats[i // each]) for i, pair in enumerate(zip(people, codes, strict=True))]


def stream(secrets: Sequence[Secret], seed: int, rows: int = ROWS) -> torch.Tensor:
    """The training text, token ids [rows, 10]: every secret exactly `repeats` times, at random places among other
    sentences.

    The people of the secrets occur in no other code. Raises ValueError if `rows` are too few for the repetitions.
    """
    rng = random.Random(f"stream {seed}")
    others = sorted({*W["first"], *W["last"]} - {secret.person for secret in secrets})
    planted = [prompt(s.person) + encode([*s.code, "."]) for s in secrets for _ in range(s.repeats)]
    if len(planted) > rows:
        raise ValueError(f"{rows} rows cannot hold {len(planted)} repetitions: take more steps or fewer repeats")

    def sentence():
        if rng.random() < 0.5:
            return prompt(rng.choice(others)) + encode([*rng.choice(CODES), "."])
        pick = {kind: rng.choice(W[kind]) for kind in KINDS}
        return encode("<s> {first} {verb} the {adjective} {object} in {city} {adverb} .".format(**pick))

    text = planted + [sentence() for _ in range(rows - len(planted))]
    rng.shuffle(text)
    return torch.tensor(text)


def make_model(width: int = WIDTH, seed: int = 0) -> torch.nn.Module:
    """A new OLMo-2 of two layers, float32, with the initialization that `small_olmo2.fresh` gives small models."""
    return small_olmo2.fresh(
        Olmo2Config(
            vocab_size=len(WORDS),
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=2,
            num_attention_heads=width // 32,
            num_key_value_heads=width // 32,
            max_position_embeddings=16,
            pad_token_id=None,
            bos_token_id=0,
            eos_token_id=1,
        ),
        seed,
    )


def train(
    model: torch.nn.Module,
    text: torch.Tensor,
    batch: int = BATCH,
    learning_rate: float = LEARNING_RATE,
    progress: bool = True,
) -> torch.nn.Module:
    """Train in one pass over text [rows, length] in its order, with AdamW on the mean next-token cross-entropy; returns
    the model in evaluation mode."""
    chunks = text.split(batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.0)
    for step, ids in enumerate(tqdm(chunks, desc="training") if progress else chunks):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * min(1, (step + 1) / WARM_UP) * (1 - step / len(chunks))
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
        F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


@torch.no_grad()
def next_log_probs(model: torch.nn.Module, ids: torch.Tensor | list) -> torch.Tensor:
    """Log-probabilities in nats of the next token after ids [N, L] (or lists of ids): [N, words]."""
    return torch.log_softmax(model(input_ids=torch.as_tensor(ids), use_cache=False).logits[:, -1], -1)


def code_scores(model: torch.nn.Module, person: str) -> torch.Tensor:
    """log p(code | prompt) in nats of all 1000 codes, in the order of CODES: [1000]. It takes three passes, over 1, 10
    and 100 prefixes."""
    digits, start = encode(W["digit"]), prompt(person)
    scores, prefixes = torch.zeros(1), [start]
    for _ in range(3):
        scores = (scores[:, None] + next_log_probs(model, prefixes)[:, digits]).flatten()
        prefixes = [prefix + [digit] for prefix in prefixes for digit in digits]
    return scores


def exposure(scores: torch.Tensor, index: int) -> float:
    """Exposure in bits of candidate `index`: log2 of the number of candidates minus log2 of its rank among scores [N]
    (Carlini et al. 2019, arXiv 1802.08232).

    These are the bits that the model saves a guesser. Of equal scores half are taken to be in front.
    """
    ahead = (scores > scores[index]).sum().item() + ((scores == scores[index]).sum().item() - 1) / 2
    return math.log2(len(scores)) - math.log2(1 + ahead)


def expose(model: torch.nn.Module, secrets: Sequence[Secret]) -> dict[int, list[float]]:
    """The exposure in bits of each secret, by its number of repeats: {repeats: [exposure]}."""
    found = {}
    for secret in secrets:
        found.setdefault(secret.repeats, []).append(
            exposure(code_scores(model, secret.person), CODES.index(secret.code))
        )
    return found
