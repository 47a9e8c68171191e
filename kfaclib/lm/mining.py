"""Mining: which windows of a text does a model continue word for word, and how much does that depend on where they
stand?

Everything rests on one pass with the text given (teacher forcing): as long as a greedy continuation is right it has
seen exactly the given text, so its first error is the first position whose argmax is not the next token.
"""

import torch

from kfaclib.lm import scoring
from kfaclib.lm.recitation import PREFIX, SUFFIX


def hits(model, ids, batch=64, progress=False):
    """Is the argmax at every position of ids [N, S] the token that follows? bool [N, S - 1]; entry t is about token
    t + 1.
    """
    return torch.stack([row.hit for row in scoring.teacher_forced(model, ids, batch=batch, progress=progress)])


def matched(hit, at):
    """How many tokens a greedy continuation from token `at` on gets right before its first error: int64 [N], from
    `hits`.
    """
    if not 1 <= at <= hit.shape[1]:
        raise ValueError(f"at={at}: a continuation starts at one of the tokens 1 to {hit.shape[1]}")
    return hit[:, at - 1 :].cumprod(1).sum(1)


def mine(model, ids, starts, prefix=PREFIX, suffix=SUFFIX, batch=64, progress=True):
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
    found = matched(hits(model, windows, batch, progress), prefix) == suffix
    return [s for s, good in zip(starts, found.tolist()) if good]


def similarity(a: list, b: list, n: int = 5) -> float:
    """Jaccard similarity of the sets of `n` successive tokens of two token lists: 1 for equal texts, 0 with none in
    common (Broder 1997).
    """
    a, b = ({tuple(x[i : i + n]) for i in range(len(x) - n + 1)} for x in (a, b))
    return len(a & b) / len(a | b) if a | b else 0.0


def deduplicate(windows, threshold=0.7, n=5):
    """Indices of the windows (token lists) to keep: each is dropped whose `similarity` to one kept before reaches
    `threshold`.

    Every pair may be compared, which is fine for some thousand windows.
    """
    kept = []
    for i, window in enumerate(windows):
        if all(similarity(window, windows[j], n) < threshold for j in kept):
            kept.append(i)
    return kept


def position_stress(model, ids, prefix=PREFIX, longer=range(1, 21), drop=range(1, PREFIX - 20)):
    """How far windows ids [N, S] are recited from their own place, and at best from other places: two int64 tensors
    [N].

    Other places: the prefix longer by some of the tokens that follow, and the prefix without its first tokens (the
    first one, `<s>`, stays). Counted are tokens before the first error, as in Huang et al. 2024 (arXiv 2407.17817).
    """
    there = hits(model, ids)
    scores = [matched(there, prefix)] + [matched(there, prefix + k) for k in longer]
    for k in drop:
        scores.append(matched(hits(model, torch.cat([ids[:, :1], ids[:, 1 + k :]], 1)), prefix - k))
    return scores[0], torch.stack(scores).amax(0)
