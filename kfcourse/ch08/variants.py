"""Chapter 08: fresh inputs for every exercise, and a question of one's own for every student."""

import torch

from kfcourse.grading.variants import Variant, alike, one_of, real, share, shuffled, whole


def _logits(g):
    ids = torch.randint(0, 20, (8, 9), generator=g)
    said = torch.where(
        torch.rand(8, 9, generator=g) < torch.tensor([0.0, 0.0, 0.0, 0.05, 0.05, 0.1, 0.1, 0.5])[:, None],
        0,
        ids.roll(-1, 1),
    )
    return torch.rand(8, 9, 20, generator=g).scatter(2, said[..., None], 2.0), ids, whole(g, 2, 5)


def _some_wrong(g):
    c = one_of(g, 1, 2, 3)
    return (
        f"A window still counts as memorized when up to {c} of its suffix tokens are wrong.",
        lambda ref: lambda logits, ids, prefix: (logits.argmax(-1)[:, prefix - 1 : -1] != ids[:, prefix:]).sum(1) <= c,
    )


def _windows(g):
    text = torch.randint(0, 40, (60,), generator=g).tolist()
    starts = [whole(g, 0, 20) for _ in range(8)]
    return [text[s : s + 30] for s in starts], share(g, 0.3, 0.8), whole(g, 2, 5)


def _last_come(g):
    n = one_of(g, 1, 2, 3)
    return (
        f"Go through the windows from the last to the first, and take runs of n + {n} tokens; return the indices in "
        "ascending order.",
        lambda ref: (
            lambda windows, threshold, n_=5: sorted(len(windows) - 1 - i for i in ref(windows[::-1], threshold, n_ + n))
        ),
    )


def _without_first(g):
    c = whole(g, 1, 3)
    return (
        f"Leave the first {c} token{'s' * (c > 1)} of every row out, in both.",
        lambda ref: lambda nll, batch: ref(nll[:, c:], batch),
    )


def _rankings(g):
    P, K = whole(g, 3, 6), whole(g, 4, 10)
    return tuple(torch.stack([shuffled(g, K + 4)[:K] for _ in range(P)]) for _ in range(2))


def _best_only(g):
    c = whole(g, 2, 4)
    return f"Look only at the best {c} of each ranking.", lambda ref: lambda now, before: ref(now[:, :c], before[:, :c])


def _prompts(g):
    return [torch.randint(0, 9, (whole(g, 1, 6),), generator=g).tolist() for _ in range(whole(g, 2, 5))], whole(g, 0, 3)


def _wider(g):
    c = whole(g, 1, 5)

    def function(ref):
        return lambda prompts, pad: tuple(x[:-1] for x in ref([*prompts, [0] * (max(map(len, prompts)) + c)], pad))

    return (
        f"The tensors are {c} column{'s' * (c > 1)} wider than the longest prompt; everything is padded to that.",
        function,
    )


def _two_texts(g):
    draw = lambda: torch.randint(0, 4, (whole(g, 1, 7),), generator=g).tolist()
    return draw(), draw()


def _dear_replacements(g):
    c = one_of(g, 2, 3, 4, 5)

    def function(ref):
        def edit_table(a, b):
            table = [list(range(0, c * (len(b) + 1), c))]
            for i, x in enumerate(a, 1):
                row = [c * i]
                for j, y in enumerate(b, 1):
                    row.append(min(table[-1][j] + c, row[-1] + c, table[-1][j - 1] + (x != y)))
                table.append(row)
            return table

        return edit_table

    return f"Insertions and deletions cost {c} each, replacements still 1.", function


def _another_length(g):
    c = whole(g, 12, 48)
    return f"Answer for the same changes in a suffix of {c} words.", lambda ref: lambda: (3, False, 1 - 3 / c >= 0.75)


def _new_texts(g):
    text = lambda n: torch.randint(0, 30, (n,), generator=g).tolist()
    lengths = [whole(g, 6, 7) for _ in range(3)]
    return [text(n) for n in lengths], [text(n) for n in [*lengths, 6, 7, 6, 7, 6, 7, 6, 7]], 3


def _partners(a, b, arguments):
    """Any valid choice of partners; for the question, the number that it asks for."""
    if isinstance(a, int):
        return float(b) == a
    quotes, pool, n = arguments
    runs = lambda text: {tuple(text[i : i + n]) for i in range(len(text) - n + 1)}
    taken = set().union(*map(runs, quotes))
    chosen = [int(i) for i in b]
    fits = [len(pool[i]) == len(q) and not runs(pool[i]) & taken for i, q in zip(chosen, quotes, strict=True)]
    return all(fits) and len(set(chosen)) == len(chosen)


def _how_many_words(g):
    c = whole(g, 2, 9)
    return (
        f"Return the number of words in all partners together, times {c}, in the place of the indices.",
        lambda ref: lambda quotes, pool, n: c * sum(len(pool[i]) for i in ref(quotes, pool, n)),
    )


VARIANTS = {
    "08.edit_table": Variant(_two_texts, _dear_replacements),
    "08.verdicts": Variant(lambda g: (), _another_length),
    "08.never_read": Variant(_new_texts, _how_many_words, _partners),
    "08.memorized": Variant(_logits, _some_wrong),
    "08.deduplicate": Variant(_windows, _last_come),
    "08.two_perplexities": Variant(
        lambda g: (real(g, whole(g, 5, 9), whole(g, 4, 6)).abs() * 2, whole(g, 2, 4)), _without_first
    ),
    "08.ndcg": Variant(_rankings, _best_only),
    "08.left_pad": Variant(
        _prompts,
        _wider,
        lambda a, b, _: (
            all(alike(x, y.long()) for x, y in zip(a[:2], b[:2], strict=True))
            and bool((a[2] == b[2])[a[1].bool()].all())
            and a[2].shape == b[2].shape
        ),
    ),
}
