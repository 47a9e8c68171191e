"""Does a forgotten text come back? Train on one half of it and watch the other; and what is left that greedy decoding
does not show.

A text that was taken out well is new to the model: training on some of it says nothing about the rest. A text that is
only suppressed comes back as a whole when a part is shown again.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
import torch.nn.functional as F

from kfaclib.editing import matching
from kfaclib.lm import scoring
from kfaclib.lm.recitation import recitation, token_accuracy

LEARNING_RATE, BATCH = 1e-3, 8  # of AdamW without weight decay, windows a step


def true_tokens(model: torch.nn.Module, windows: list, batch: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """Rank and log-probability of the true suffix tokens when everything before them is given.

    windows: [(prefix ids, suffix ids)], all suffixes of S tokens. Returns (rank int64 [N, S], log_p float64 [N, S], in
    nats). Rank 1 is the argmax; among equal logits the true token is last. Raises ValueError for suffixes of different
    lengths.
    """
    if len({len(suffix) for _, suffix in windows}) > 1:
        raise ValueError(
            "the suffixes have different lengths: ranks come as one table, so give windows whose suffixes are "
            "equally long"
        )
    rows, starts = [p + s for p, s in windows], [len(p) for p, _ in windows]
    found = scoring.teacher_forced(model, rows, starts, batch, detail=True)
    return torch.stack([row.rank for row in found]), torch.stack([row.log_p for row in found])


def within(rank: torch.Tensor, k: int) -> tuple[float, float]:
    """Share of tokens among the model's k most likely, and share of windows with all their tokens there, from rank [N,
    S].
    """
    inside = rank <= k
    return inside.double().mean().item(), inside.all(1).double().mean().item()


def chance(log_p: torch.Tensor, samples: int) -> torch.Tensor:
    """Probability that at least one of `samples` continuations, drawn from the model itself, is the whole suffix: [N].

    One draw is right with p = exp(sum of log_p [N, S] over S), so this is 1 - (1 - p)^samples, as in Hayes et al. 2024
    (arXiv 2410.19482), without drawing anything.
    """
    p = log_p.sum(1).exp().clamp(max=1)
    return -torch.expm1(samples * torch.log1p(-p))


def split(windows: list) -> tuple[list, list]:
    """(windows to train on, windows to watch): every other one."""
    return windows[0::2], windows[1::2]


def examine(model: torch.nn.Module, windows: list, decode: bool = True) -> dict[str, float]:
    """Strict recall, token accuracy, geometric mean rank and mean log-probability of the true tokens; with `decode`
    also loose recall and the distance, for which every suffix is written out greedily.
    """
    rank, log_p = true_tokens(model, windows)
    accuracy, strict = within(rank, 1)
    found = {
        "strict": strict,
        "token_accuracy": accuracy,
        "rank": rank.double().log().mean().exp().item(),
        "log_p": log_p.mean().item(),
    }
    if decode:
        quotes = recitation(model, windows)
        found |= {"loose": quotes.loose, "levenshtein": quotes.levenshtein}
    return found


def _batches(windows, batch, seed):
    """Token ids [batch, L] for ever: all windows once in a random order, then again in another."""
    ids, generator = torch.tensor([p + s for p, s in windows]), torch.Generator().manual_seed(seed)
    while True:
        yield from ids[torch.randperm(len(ids), generator=generator)].split(batch)


def _optimizer(model, learning_rate):
    return torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.0)


def _step(model, optimizer, ids):
    logits = model(input_ids=ids.to(next(model.parameters()).device), use_cache=False).logits[:, :-1].float()
    F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten().to(logits.device)).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()


def relearn(
    model: torch.nn.Module,
    train: Sequence[tuple[list[int], list[int]]],
    steps: Iterable[int],
    measure: Callable[[torch.nn.Module], dict],
    learning_rate: float = LEARNING_RATE,
    batch: int = BATCH,
    seed: int = 0,
) -> list[dict]:
    """Train all of `model` (in place: give a copy) on the whole windows `train`; [{"tokens": trained on so far,
    **measure(model)}] after each number of `steps` (increasing; 0 is before the first)."""
    optimizer, stream, rows, tokens, done = _optimizer(model, learning_rate), _batches(train, batch, seed), [], 0, 0
    for stop in steps:
        for _ in range(stop - done):
            ids = next(stream)
            _step(model, optimizer, ids)
            tokens += ids.numel()
        done = stop
        rows.append({"tokens": tokens, **measure(model)})
    return rows


def train_to(
    model: torch.nn.Module,
    windows: list,
    target: float,
    every: int = 4,
    limit: int = 400,
    learning_rate: float = LEARNING_RATE,
    batch: int = BATCH,
    seed: int = 0,
) -> int:
    """Train all of `model`, in place, on windows until the share `target` of their suffix tokens is right; returns the
    number of tokens that it took.

    The accuracy is measured every few steps; between the last two measurements the weights are mixed so that it comes
    as near to the target as it can. Raises RuntimeError if `limit` steps are not enough.
    """
    optimizer, stream, tokens, last = _optimizer(model, learning_rate), _batches(windows, batch, seed), 0, None
    for step in range(limit + 1):
        if step % every == 0:
            now = {name: p.detach().clone() for name, p in model.named_parameters()}
            if token_accuracy(model, windows) >= target:
                if last is not None:
                    mix = _mixture(model, last, now)

                    def score(share):
                        mix(share)
                        return token_accuracy(model, windows)

                    mix(matching.nearest(score, target, 0.0, 1.0, steps=6)[0])
                return tokens
            last = now
        ids = next(stream)
        _step(model, optimizer, ids)
        tokens += ids.numel()
    raise RuntimeError(
        f"after {limit} steps fewer than {target:g} of the tokens are right: allow more steps or a larger learning rate"
    )


def _mixture(model, low, high):
    """A function that leaves the model's weights at a share of the way from the state `low` to `high`."""

    @torch.no_grad()
    def mix(share):
        for name, p in model.named_parameters():
            p.copy_(torch.lerp(low[name], high[name], share))

    return mix


def tokens_to(rows: list[dict], key: str, level: float = 0.5) -> float | None:
    """Training tokens until row[key] first reaches `level`, on the straight line between two rows; None if it never
    does.

    rows: of `relearn`, with numbers at "tokens" and `key`.
    """
    before = None
    for row in rows:
        if row[key] >= level:
            if before is None:
                return float(row["tokens"])
            share = (level - before[key]) / (row[key] - before[key])
            return before["tokens"] + share * (row["tokens"] - before["tokens"])
        before = row
    return None
