"""Secrets planted in the training text of a very small language model, and how to get them out again (chapter 2).

A secret is a person's three-digit code: "the code of ashby is 4 7 1 .".  Each secret is said an exact number of
times in one pass over a stream of other sentences, half of which give other people fresh random codes.
"""

import itertools
import math
import random
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
    """A person's code, and how often the training text says it."""

    person: str
    code: tuple
    repeats: int


def encode(words):
    """Token ids of a sentence or a list of words; a word this world does not have raises KeyError."""
    return [_ID[word] for word in (words.split() if isinstance(words, str) else words)]


def decode(ids):
    """The words of token ids, as one string."""
    return " ".join(WORDS[i] for i in ids)


def prompt(person):
    """Token ids of "<s> the code of ashby is"."""
    return encode(["<s>", "the", "code", "of", person, "is"])


def plant(seed, repeats=REPEATS, each=EACH):
    """`Secret`s: `each` people for every number of repeats, no person and no code twice."""
    rng = random.Random(f"secrets {seed}")
    people, codes = (rng.sample(pool, len(repeats) * each) for pool in (W["first"] + W["last"], CODES))
    return [Secret(*pair, repeats[i // each]) for i, pair in enumerate(zip(people, codes, strict=True))]


def stream(secrets, seed, rows=ROWS):
    """[rows, 10] token ids: every secret exactly `repeats` times, at random places among sentences that never repeat
    one on purpose.  The people of the secrets occur in no other code."""
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


def make_model(width=WIDTH, seed=0):
    """A fresh OLMo-2 of two layers, float32, with the start that `small_olmo2.fresh` gives small models."""
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


def train(model, text, batch=BATCH, learning_rate=LEARNING_RATE, progress=True):
    """One pass over text [rows, length] in its order, AdamW, mean next-token cross-entropy; returns the model."""
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
def next_log_probs(model, ids):
    """Log-probabilities of the next token after ids [N, L] (or a list of ids): [N, words]."""
    return torch.log_softmax(model(input_ids=torch.as_tensor(ids), use_cache=False).logits[:, -1], -1)


def code_scores(model, person):
    """log p(code | prompt) of all 1000 codes, in the order of CODES: [1000].  Three passes: 1, 10 and 100 prefixes."""
    digits, start = encode(W["digit"]), prompt(person)
    scores, prefixes = torch.zeros(1), [start]
    for _ in range(3):
        scores = (scores[:, None] + next_log_probs(model, prefixes)[:, digits]).flatten()
        prefixes = [prefix + [digit] for prefix in prefixes for digit in digits]
    return scores


def exposure(scores, index):
    """log2 of the number of candidates minus log2 of the rank of candidate `index` among scores [N] (Carlini et al.,
    2019): bits that the model saves a guesser.  Of equal scores half are taken to be in front."""
    ahead = (scores > scores[index]).sum().item() + ((scores == scores[index]).sum().item() - 1) / 2
    return math.log2(len(scores)) - math.log2(1 + ahead)


def expose(model, secrets):
    """{repeats: [exposure of each secret]}, in bits."""
    found = {}
    for secret in secrets:
        found.setdefault(secret.repeats, []).append(
            exposure(code_scores(model, secret.person), CODES.index(secret.code))
        )
    return found
