"""Teacher forcing: which tokens a model gets right when everything before them is given, and how likely they are.

As long as a greedy continuation is right, it has seen exactly the given text. So it is right to the end exactly when
every token here is, and its first error is the first token here that is wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tqdm.auto import tqdm

from kfaclib.curvature.capture import measured
from kfaclib.curvature.passes import check_causal


@dataclass(frozen=True)
class Scores:
    """Scores of one row's tokens from its start on, each [S].

    hit: bool, whether the token is the argmax. With `detail` also rank: int64, its rank among all tokens (1 is the most
    likely; among equal logits it is last); log_p: float64, its log-probability in nats.
    """

    hit: torch.Tensor
    rank: torch.Tensor | None = None
    log_p: torch.Tensor | None = None


def check_numbers(values: torch.Tensor) -> None:
    """Raise FloatingPointError if there is a NaN in what a model has said; one in a row of logits is its argmax."""
    if values.isnan().any():
        raise FloatingPointError(
            "the model's logits are not numbers (NaN): one of its weights is not finite, or its activations overflow "
            "(load it in bfloat16 or float32 instead of float16)"
        )


@measured
def teacher_forced(
    model: torch.nn.Module,
    rows: Sequence,
    starts: Sequence[int] | None = None,
    batch: int = 64,
    detail: bool = False,
    progress: bool = False,
) -> list[Scores]:
    """`Scores` of the tokens starts[i], starts[i] + 1, ... of every row, on the CPU and in the order of `rows`.

    rows: token ids, [N, S] or lists of any lengths. starts: the first token of each row to score (default: 1). batch:
    rows at a time; rows of similar length share a batch. Padding is on the right, where a causal model never looks, and
    masked; positions count from the first token. Raises ValueError for a start with no token before it or none from it
    on, and for a model that is not causal; FloatingPointError for logits that are no numbers.
    """
    check_causal(model)
    rows = [torch.as_tensor(row) for row in rows]
    starts = [1] * len(rows) if starts is None else list(starts)
    for i, (row, start) in enumerate(zip(rows, starts, strict=True)):
        if not 1 <= start < len(row):
            raise ValueError(
                f"row {i} has {len(row)} tokens and is asked about from token {start} on: a token that is predicted "
                "needs one before it"
            )
    device, found = next(model.parameters()).device, [None] * len(rows)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    batches = [order[start : start + batch] for start in range(0, len(order), batch)]
    for some in tqdm(batches, desc="windows") if progress else batches:
        ids = torch.nn.utils.rnn.pad_sequence([rows[i] for i in some], batch_first=True)
        lengths = torch.tensor([len(rows[i]) for i in some])
        given = {"input_ids": ids.to(device)}
        if lengths.min() < ids.shape[1]:
            places = torch.arange(ids.shape[1])
            given["attention_mask"] = (places < lengths[:, None]).long().to(device)
            given["position_ids"] = places.expand_as(ids).to(device)
        logits = model(**given, use_cache=False).logits
        guess = logits.argmax(-1)
        best, guess = logits.gather(-1, guess[..., None])[..., 0].cpu(), guess.cpu()
        for line, i in enumerate(some):
            asked, before = rows[i][starts[i] :], slice(starts[i] - 1, len(rows[i]) - 1)
            check_numbers(best[line, before])
            hit = guess[line, before] == asked
            found[i] = Scores(hit, *_detail(logits[line, before], asked)) if detail else Scores(hit)
    return found


def _detail(logits, tokens):
    at = logits.double()
    true = at.gather(1, tokens.to(at.device)[:, None])
    return (at >= true).sum(1).cpu(), (true[:, 0] - at.logsumexp(1)).cpu()
