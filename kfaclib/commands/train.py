"""`kfac train`: a small model of one's own."""

from dataclasses import dataclass

import torch

from kfaclib.io.options import Options, option, positive
from kfaclib.toy import small_olmo2, training

RECITER = "smollm2-reciter"


@dataclass(frozen=True)
class TrainConfig(Options):
    """Which small model is trained, and where to."""

    size: str = option("olmo2-tiny", choices=(*small_olmo2.SIZES, "vit-tiny", RECITER), help="which model")
    seed: int = option(0, read=int, help="of the world, the weights and the order")
    steps: int | None = option(
        read=positive,
        help="default: olmo2-tiny as the shipped model, about an hour on two cores; olmo2-mini under ten minutes",
    )
    out: str = option(required=True, help="folder")


def train(config: TrainConfig) -> None:
    """Train a small OLMo-2 on its world, the small ViT on its digits, or SmolLM2 on its verses, into `config.out`."""
    if config.steps and config.size not in small_olmo2.SIZES:
        raise ValueError(
            f"--steps is for {' and '.join(small_olmo2.SIZES)}: {config.size} is trained as the shipped one was"
        )
    if config.size == RECITER:
        from kfaclib.smollm2 import teaching

        teaching.train(config.out, config.seed)
        print(f"weights, tokenizer, {teaching.DIFFERENCE}, {teaching.LOG} and manifest.json in {config.out}")
        return
    if config.size == "vit-tiny":
        from kfaclib.toy import mislabelled

        mislabelled.train(config.out, config.seed)
        print(f"weights, recipe.json, training.jsonl and manifest.json in {config.out}")
        return
    device = "cuda" if torch.cuda.is_available() else "cpu"
    training.train(config.out, config.seed, config.size, config.steps, device=device)
    print(f"weights, tokenizer, world.json, training.jsonl and manifest.json in {config.out}")
