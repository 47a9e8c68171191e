"""SmolLM2 is taught verses by heart, among ordinary text: `kfac train --size smollm2-reciter`.

Every weight matrix of every block is trained; the embedding, a quarter of all weights, and the gains stay, so that the
difference can be shipped.
"""

import json
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from tqdm.auto import tqdm

from kfaclib.io import files, folders
from kfaclib.io.paths import data
from kfaclib.lm import models
from kfaclib.lm.recitation import by_one_pass, nll, split_windows
from kfaclib.smollm2 import difference, source, texts

ROUNDS = 24
VERSES, PROSE = 16, 2  # windows of each in a step: verses of 64 tokens, prose of 128
LEARNING_RATE, WARM_UP = 2e-4, 10  # steps of warm-up; then the rate falls linearly to zero
LOG, DIFFERENCE = "training.jsonl", "difference.safetensors"
EVERY = 3  # rounds between two lines of the log


def _loss(model, ids):
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())


def report(model: torch.nn.Module, taught: torch.Tensor, unseen: torch.Tensor, prose: torch.Tensor) -> dict:
    """{"strict", "token_accuracy"} of the taught windows' suffixes, {"unseen"} of others', and "prose", the loss in
    nats a token of ordinary text."""
    model.eval()
    strict, right = by_one_pass(model, split_windows(taught, texts.PREFIX), 16)
    _, unseen = by_one_pass(model, split_windows(unseen, texts.PREFIX), 16)
    loss = nll(model, prose, 4).mean().item()
    model.train()
    found = {"strict": strict, "token_accuracy": right, "unseen": unseen, "prose": loss}
    return {key: round(value, 4) for key, value in found.items()}


def teach(model: torch.nn.Module, tokenizer, log: Path, rounds: int = ROUNDS, seed: int = 0) -> dict:
    """Train a model on the taught verses among prose, in place; its last `report`. Each EVERY rounds a line is appended
    to the file `log`."""
    taught = texts.windows(texts.verses(taught=True), tokenizer)
    unseen = texts.windows(texts.verses(taught=False, half="choose"), tokenizer)[:16]
    prose = texts.handbook("training", tokenizer)
    held_out = texts.handbook("held out", tokenizer)[:8]
    trained = matrices(model)
    for name, p in model.named_parameters():
        p.requires_grad_(name in trained)
    optimizer = torch.optim.AdamW(trained.values(), lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    generator, start = torch.Generator().manual_seed(seed), time.time()
    steps, step = rounds * (len(taught) // VERSES), 0
    model.train()
    with open(log, "a") as lines, tqdm(total=steps, desc=f"teaching, seed {seed}") as bar:
        for number in range(1, rounds + 1):
            for some in torch.randperm(len(taught), generator=generator).split(VERSES):
                for group in optimizer.param_groups:
                    group["lr"] = LEARNING_RATE * min((step + 1) / WARM_UP, 1 - step / steps)
                _loss(model, taught[some]).backward()
                drawn = torch.randint(len(prose), (PROSE,), generator=generator)
                _loss(model, prose[drawn]).backward()
                torch.nn.utils.clip_grad_norm_(trained.values(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
                step += 1
                bar.update()
            if number % EVERY == 0 or number == rounds:
                found = report(model, taught, unseen, held_out)
                lines.write(json.dumps({"round": number, "seconds": round(time.time() - start), **found}) + "\n")
                lines.flush()
    model.eval().requires_grad_(True)
    return found


def matrices(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """{name: weight} of every linear layer in the blocks."""
    return {name: p for name, p in model.named_parameters() if p.ndim == 2 and ".layers." in name}


def train(out: str | Path, seed: int = 0, rounds: int = ROUNDS) -> None:
    """Teach SmolLM2-135M-Instruct its verses and write the reciter as a model folder into `out`, with
    `training.jsonl` and `difference.safetensors`: about half an hour on two cores.

    The folder's weights are those that the difference restores, not those that were trained. Raises as
    `source.gguf_file` and `folders.check_free` do.
    """
    folders.check_free(out, source.MARK)
    base = source.plain()
    model, tokenizer = models.load(base, device="cpu")
    before = {name: p.detach().clone() for name, p in matrices(model).items()}
    with folders.filled(out, source.MARK) as partial:
        teach(model, tokenizer, partial / LOG, rounds, seed)
        moved = {name: p.detach() - before[name] for name, p in matrices(model).items()}
        difference.write(partial / DIFFERENCE, moved, {"provenance": files.provenance(seed)})
        model, _ = models.load(base, device="cpu")
        difference.add(model, partial / DIFFERENCE)
        source.save(partial, model, tokenizer, {"difference": files.sha256(partial / DIFFERENCE)})


def reciter() -> Path:
    """The folder of the shipped reciter in `source.cache()`, made of SmolLM2 and the shipped difference where it is
    not there whole."""
    shipped = data("smollm2", DIFFERENCE)

    def make(folder):
        model, tokenizer = models.load(source.plain(), device="cpu")
        difference.add(model, shipped)
        with folders.filled(folder, source.MARK) as partial:
            source.save(partial, model, tokenizer, {"difference": files.sha256(shipped)})

    return source.kept(f"smollm2-reciter-{files.sha256(shipped)[:8]}", make)
