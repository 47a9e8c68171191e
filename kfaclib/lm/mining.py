"""Mining: which windows of a text does a model continue word for word, and how much does that depend on where they
stand?

Everything rests on one pass with the text given (teacher forcing): as long as a greedy continuation is right it has
seen exactly the given text, so its first error is the first position whose argmax is not the next token.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import torch

from kfaclib.lm import scoring
from kfaclib.lm.recitation import PREFIX, SUFFIX


def hits(model: torch.nn.Module, ids: torch.Tensor, batch: int = 64, progress: bool = False) -> torch.Tensor:
    """Is the argmax at every position of ids [N, S] the token that follows? bool [N, S - 1]; entry t is about token
    t + 1.
    """
    return torch.stack([row.hit for row in scoring.teacher_forced(model, ids, batch=batch, progress=progress)])


def matched(hit: torch.Tensor, at: int) -> torch.Tensor:
    """How many tokens a greedy continuation from token `at` on gets right before its first error: int64 [N], from
    `hits`.
    """
    if not 1 <= at <= hit.shape[1]:
        raise ValueError(f"at={at}: a continuation starts at one of the tokens 1 to {hit.shape[1]}")
    return hit[:, at - 1 :].cumprod(1).sum(1)


def recited(
    model: torch.nn.Module,
    windows: torch.Tensor | Sequence[Sequence[int]],
    prefix: int = PREFIX,
    batch: int = 64,
    progress: bool = False,
) -> torch.Tensor:
    """Are all tokens after the first `prefix` of each window the argmax, given those before them? bool [N].

    windows: token ids, [N, S] or N lists of one length.
    """
    windows = torch.as_tensor(windows)
    return matched(hits(model, windows, batch, progress), prefix) == windows.shape[1] - prefix


def mine(
    model: torch.nn.Module,
    ids: torch.Tensor,
    starts: Iterable[int],
    prefix: int = PREFIX,
    suffix: int = SUFFIX,
    batch: int = 64,
    progress: bool = True,
) -> list[int]:
    """The `starts` of the windows in ids [T] whose `suffix` tokens are all the argmax, given the window's tokens before
    them.

    The model sees nothing of the text before a window.  Raises ValueError for a window that does not fit.
    """
    starts, length = list(starts), prefix + suffix
    outside = [s for s in starts if not 0 <= s <= len(ids) - length]
    if outside:
        raise ValueError(
            f"a window of {length} tokens from token {outside[0]} does not fit into a text of {len(ids)} tokens"
        )
    if not starts:
        return []
    windows = torch.stack([ids[s : s + length] for s in starts])
    found = recited(model, windows, prefix, batch, progress)
    return [s for s, good in zip(starts, found.tolist()) if good]


def runs(tokens: list, n: int) -> set:
    """The set of `n` successive tokens of a list, as tuples."""
    return {tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)}


def similarity(a: list, b: list, n: int = 5) -> float:
    """Jaccard similarity of the sets of `n` successive tokens of two token lists: 1 for equal texts, 0 with none in
    common (Broder 1997).
    """
    a, b = runs(a, n), runs(b, n)
    return len(a & b) / len(a | b) if a | b else 0.0


def deduplicate(windows: Sequence[Sequence[int]], threshold: float = 0.7, n: int = 5) -> list[int]:
    """Indices of the windows (token lists) to keep: each is dropped whose `similarity` to one kept before reaches
    `threshold`, which is above 0.

    Only windows with a run of `n` tokens in common are compared.
    """
    kept, sizes, holders = [], {}, defaultdict(list)
    for i, window in enumerate(windows):
        own = runs(window, n)
        shared = Counter(j for run in own for j in holders.get(run, ()))
        if all(common / (len(own) + sizes[j] - common) < threshold for j, common in shared.items()):
            kept.append(i)
            sizes[i] = len(own)
            for run in own:
                holders[run].append(i)
    return kept


def position_stress(
    model: torch.nn.Module,
    ids: torch.Tensor,
    prefix: int = PREFIX,
    longer: Iterable[int] = range(1, 21),
    drop: Iterable[int] = range(1, PREFIX - 20),
) -> tuple[torch.Tensor, torch.Tensor]:
    """How far windows ids [N, S] are recited from their own place, and at best from other places, the own one left out:
    two int64 tensors [N].

    Other places: the prefix longer by some of the tokens that follow, and the prefix without its first tokens (the
    first one, `<s>`, stays); by default the 63 of the paper. Counted are tokens before the first error, as in Huang et
    al. 2024 (arXiv 2407.17817). Raises ValueError if there is no other place.
    """
    there = hits(model, ids)
    scores = [matched(there, prefix + k) for k in longer]
    for k in drop:
        scores.append(matched(hits(model, torch.cat([ids[:, :1], ids[:, 1 + k :]], 1)), prefix - k))
    if not scores:
        raise ValueError("neither a longer nor a shorter prefix is asked for: there is no other place")
    return matched(there, prefix), torch.stack(scores).amax(0)
