"""Does the model recite? The paper's protocol: 64 tokens of prefix, 48 greedy tokens, compared with the 48 that follow.

strict recall: share of windows recited without an error.  loose recall: share with a normalized Levenshtein
similarity of at least 0.75.  levenshtein: mean normalized distance (0 is verbatim).  token accuracy: share of
suffix tokens that are the argmax under teacher forcing; it moves long before strict recall does.
"""

import inspect
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from rapidfuzz.distance import Levenshtein

from kfaclib.curvature.capture import measured
from kfaclib.curvature.passes import check_causal
from kfaclib.lm import intervals, scoring
from kfaclib.lm.models import positions
from kfaclib.lm.sequences import load_sequences as load_sequences  # part of this module's protocol

PREFIX, SUFFIX = 64, 48  # the paper's window; the prefix counts <s>
BLOCK, GROUP = 112, 128  # tokens and blocks of the paper's perplexity
LOOSE = 0.75  # the similarity from which on a continuation counts as recited loosely


@dataclass(frozen=True)
class Recitation:
    """Metrics over `windows` windows; all are shares or means in [0, 1]."""

    strict: float
    loose: float
    levenshtein: float
    token_accuracy: float
    windows: int

    as_dict = asdict


def split_windows(ids: torch.Tensor, prefix: int = 64) -> list[tuple[list[int], list[int]]]:
    """[N, L] token ids as [(prefix ids, suffix ids)]."""
    return [(row[:prefix].tolist(), row[prefix:].tolist()) for row in ids]


def _together(model, prefixes, batch):
    """Lists of the numbers of at most `batch` prefixes that are continued together: any of them where the model can be
    given each one's positions, otherwise (BLOOM, MPT, Mamba) those of one length, which need no padding."""
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else model
    if "position_ids" in inspect.signature(decoder.forward).parameters:
        groups = [range(len(prefixes))]
    else:
        lengths = [len(p) for p in prefixes]
        groups = [[i for i, n in enumerate(lengths) if n == length] for length in sorted(set(lengths))]
    return [group[start : start + batch] for group in groups for start in range(0, len(group), batch)]


@measured
def greedy(model: torch.nn.Module, prefixes: Sequence[Sequence[int]], length: int, batch: int = 64) -> torch.Tensor:
    """Greedy continuations, [N, length] token ids, of prefixes (lists of ids, of any lengths; padded on the left).

    An end-of-text token is a token like any other here, so that every continuation has its full length.
    """
    check_causal(model)
    device, out = next(model.parameters()).device, torch.empty(len(prefixes), length, dtype=torch.int64)
    for which in _together(model, prefixes, batch):
        rows = [torch.tensor(prefixes[i]) for i in which]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_side="left").to(device)
        mask = torch.nn.utils.rnn.pad_sequence(
            [torch.ones_like(r) for r in rows], batch_first=True, padding_side="left"
        ).to(device)
        cache = None
        for _ in range(length):
            fed = slice(None) if cache is None else slice(-1, None)  # all, for a model that keeps no cache (Mamba)
            step = model(
                input_ids=ids[:, fed],
                attention_mask=mask,
                position_ids=(mask.cumsum(1) - 1).clamp(min=0)[:, fed],
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            cache, said = getattr(step, "past_key_values", None), step.logits[:, -1:].argmax(-1)
            scoring.check_numbers(step.logits[:, -1].gather(-1, said))
            ids, mask = torch.cat([ids, said], 1), torch.cat([mask, torch.ones_like(said)], 1)
        out[list(which)] = ids[:, -length:].cpu()
    return out


def by_one_pass(
    model: torch.nn.Module, windows: Sequence[tuple[list[int], list[int]]], batch: int = 64
) -> tuple[float, float]:
    """(strict recall, token accuracy) of [(prefix ids, suffix ids)] with everything before a token given.

    Strict recall is the same as by generating, at a small part of the price: as long as the words are right, both read
    the same text.
    """
    found = scoring.teacher_forced(model, [p + s for p, s in windows], [len(p) for p, _ in windows], batch)
    hits = torch.cat([row.hit for row in found])
    return sum(row.hit.all().item() for row in found) / len(found), hits.sum().item() / len(hits)


def token_accuracy(model: torch.nn.Module, windows: list, batch: int = 64) -> float:
    """Share of suffix tokens that are the argmax when everything before them is given."""
    return by_one_pass(model, windows, batch)[1]


def distances(model: torch.nn.Module, windows: list, batch: int = 64) -> list[float]:
    """The normalized Levenshtein distance of each window's greedy continuation from its suffix, in [0, 1]; 0 is word
    for word.

    windows: [(prefix ids, suffix ids)].
    """
    lengths = [len(s) for _, s in windows]
    said = {}
    for length in sorted(set(lengths)):  # so that no row is continued beyond its window, where the positions may end
        which = [i for i, n in enumerate(lengths) if n == length]
        said |= zip(which, greedy(model, [windows[i][0] for i in which], length, batch).tolist())
    return [Levenshtein.normalized_distance(said[i], suffix) for i, (_, suffix) in enumerate(windows)]


def recitation(model: torch.nn.Module, windows: list, batch: int = 64) -> Recitation:
    """Measure how much of each suffix a model recites, by greedy decoding of its length (Carlini et al. 2023, arXiv
    2202.07646; the metrics are those of Merullo et al. 2025).

    windows: [(prefix ids, suffix ids)]. Strict recall is the share of windows recited word for word, loose recall of
    those with a normalized Levenshtein similarity of at least 0.75.
    """
    distance, count = distances(model, windows, batch), len(windows)
    return Recitation(
        strict=sum(d == 0 for d in distance) / count,
        loose=sum(1 - d >= LOOSE for d in distance) / count,
        levenshtein=sum(distance) / count,
        token_accuracy=token_accuracy(model, windows, batch),
        windows=count,
    )


def hits(model: torch.nn.Module, items: Sequence[tuple[list[int], list[int]]], batch: int = 128) -> list[torch.Tensor]:
    """Whether each token of each answer is the model's first choice when all before it is given: [bool [tokens]].

    items: (prompt ids, answer ids).
    """
    found = scoring.teacher_forced(model, [p + a for p, a in items], [len(p) for p, _ in items], batch)
    return [row.hit for row in found]


def right_in_a_row(found: Sequence[torch.Tensor], lengths: Sequence[int] = (1, 2, 3)) -> dict[str, float]:
    """{k: how often k tokens in a row are right}, from `hits`, for every k that an answer has tokens for.

    Answers of different length are no fair comparison: 48 tokens of a quote have 48 chances to fail. A place counts
    wherever k tokens of the answer stand in a row, and every item counts the same.
    """
    shares = {}
    for k in lengths:
        rows = [row.unfold(0, k, 1).all(1).double().mean() for row in found if len(row) >= k]
        if rows:
            shares[str(k)] = torch.stack(rows).mean().item()
    return shares


def examined(model: torch.nn.Module, windows: list, batch: int = 64) -> dict:
    """What `recitation` measures, with how far chance could carry it: "strict", "loose", "levenshtein",
    "token_accuracy", "right_in_a_row" {k: share}, and "interval" {metric: [low, high]}, of 95 % over the windows.

    windows: [(prefix ids, suffix ids)]. Token accuracy is the mean over windows here, each counting the same.
    """
    distance, found, n = distances(model, windows, batch), hits(model, windows, 2 * batch), len(windows)
    strict, loose = sum(d == 0 for d in distance), sum(1 - d >= LOOSE for d in distance)
    by_window = torch.tensor([row.double().mean() for row in found])
    return {
        "strict": strict / n,
        "loose": loose / n,
        "levenshtein": sum(distance) / n,
        "token_accuracy": by_window.mean().item(),
        "right_in_a_row": right_in_a_row(found),
        "interval": {
            "strict": intervals.share(strict, n),
            "loose": intervals.share(loose, n),
            "levenshtein": intervals.mean(distance),
            "token_accuracy": intervals.mean(by_window),
        },
    }


@measured
def nll(model: torch.nn.Module, ids: torch.Tensor, batch: int = 32) -> torch.Tensor:
    """Negative log-likelihood in nats of every predicted token of ids [N, S]: float32 [N, S - 1], on the CPU."""
    check_causal(model)
    device, found = next(model.parameters()).device, []
    for rows in ids.split(batch):
        logits = model(input_ids=rows.to(device), use_cache=False).logits[:, :-1].float()
        loss = F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten().to(device), reduction="none")
        scoring.check_numbers(loss)
        found.append(loss.view(len(rows), -1).cpu())
    return torch.cat(found)


def perplexity(
    model: torch.nn.Module, ids: torch.Tensor, batch: int = 32, kind: str = "corpus", group: int | None = None
) -> float:
    """Perplexity of ids [N, S].

    kind="corpus": exp of the mean negative log-likelihood of all N (S - 1) predicted tokens.  kind="paper": the
    mean over groups of rows of exp(group mean), as the authors' code computes it; it depends on `group` (default:
    `batch`, the rows that are computed at a time), and with groups of equal size it is never smaller.
    """
    if kind not in ("corpus", "paper"):
        raise ValueError(f"kind={kind!r}: it is 'corpus' or 'paper'")
    found = nll(model, ids, batch)
    if kind == "paper":
        groups = found.split(group or batch)
        return sum(_exp(x.mean()) for x in groups) / len(groups)
    return _exp(found.flatten().double().mean())


def _exp(x):
    """exp(x); infinity where a float cannot hold it."""
    return math.exp(x) if x < 709 else math.inf


def papers_perplexity(model: torch.nn.Module, ids: torch.Tensor, batch: int = 32) -> float:
    """Perplexity of the text ids [N, S] as Merullo et al. (2025) take it: cut anew into blocks of 112 tokens (or of the
    model's positions, if it has fewer), the mean over groups of 128 blocks of exp(group mean)."""
    block = min(BLOCK, ids.numel(), positions(model) or BLOCK)
    blocks = ids.flatten()[: ids.numel() // block * block].view(-1, block)
    return perplexity(model, blocks, batch, kind="paper", group=GROUP)


@measured
def top_tokens(model: torch.nn.Module, ids: torch.Tensor, k: int = 10, batch: int = 32) -> torch.Tensor:
    """The k most likely next tokens at every position of ids [N, S], best first: int64 [N * S, k].

    Taken from the model before an edit, this is the baseline of `ndcg`; it cannot be taken after the edit.
    """
    check_causal(model)
    device, found = next(model.parameters()).device, []
    for rows in ids.split(batch):
        best = model(input_ids=rows.to(device), use_cache=False).logits.topk(k)
        scoring.check_numbers(best.values[..., 0])
        found.append(best.indices.cpu().flatten(0, 1))
    return torch.cat(found)


def ndcg(model: torch.nn.Module, ids: torch.Tensor, baseline: torch.Tensor, batch: int = 32) -> float:
    """nDCG@k of a model's top-k next tokens against `baseline` from `top_tokens`, mean over positions (Järvelin and
    Kekäläinen 2002); 1 is the same ranking.

    Every position counts, also the last of a row: a ranking needs no token that follows. A token's relevance is k minus
    its rank in the baseline (0 if it is not there), discounted by log2 of its rank now.
    """
    k = baseline.shape[1]
    now = top_tokens(model, ids, k, batch)
    relevance = k - torch.arange(k, dtype=torch.float64)
    discount = 1 / torch.log2(torch.arange(k, dtype=torch.float64) + 2)
    gain = ((now[:, :, None] == baseline[:, None, :]) * relevance).sum(-1)
    return ((gain * discount).sum(1) / (relevance * discount).sum()).mean().item()
