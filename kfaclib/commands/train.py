"""`kfac train`: a small model of one's own."""

from dataclasses import dataclass

import torch

from kfaclib.io.options import Options, option, positive
from kfaclib.toy import small_olmo2, training


@dataclass(frozen=True)
class TrainConfig(Options):
    """Which small model is trained, and where to."""

    size: str = option("olmo2-tiny", choices=(*small_olmo2.SIZES, "vit-tiny"), help="which model")
    seed: int = option(0, read=int, help="of the world, the weights and the order")
    steps: int | None = option(
        read=positive,
        help="default: olmo2-tiny as the shipped model, about an hour on two cores; olmo2-mini under ten minutes",
    )
    out: str = option(required=True, help="folder")


def train(config: TrainConfig) -> None:
    """Train a small OLMo-2 on its world, or the small ViT on its digits, into `config.out`."""
    if config.size == "vit-tiny":
        if config.steps:
            raise ValueError(
                "--steps is for the language models: vit-tiny is trained as the shipped checkpoint was, in about two "
                "minutes"
            )
        from kfaclib.toy import mislabelled

        mislabelled.train(config.out, config.seed)
        print(f"weights, recipe.json, training.jsonl and manifest.json in {config.out}")
        return
    device = "cuda" if torch.cuda.is_available() else "cpu"
    training.train(config.out, config.seed, config.size, config.steps, device=device)
    print(f"weights, tokenizer, world.json, training.jsonl and manifest.json in {config.out}")
