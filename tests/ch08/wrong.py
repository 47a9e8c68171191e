"""Plausible wrong answers to the exercises of chapter 08, with a fragment of what their check must say."""

import torch


def not_shifted(logits, ids, prefix):
    return (logits.argmax(-1)[:, prefix:] == ids[:, prefix:]).all(1)


def most_of_it(logits, ids, prefix):
    return (logits.argmax(-1)[:, prefix - 1 : -1] == ids[:, prefix:]).float().mean(1) >= 0.75


def with_prefix(logits, ids, prefix):
    return (logits.argmax(-1)[:, :-1] == ids[:, 1:]).all(1)


def one_too_late(logits, ids, prefix):
    return (logits.argmax(-1)[:, prefix:-1] == ids[:, prefix + 1 :]).all(1)


def not_reduced(logits, ids, prefix):
    return logits.argmax(-1)[:, prefix - 1 : -1] == ids[:, prefix:]


def _grams(x, n):
    return {tuple(x[i : i + n]) for i in range(len(x) - n + 1)}


def _walk(windows, alike):
    kept = []
    for i, window in enumerate(windows):
        if not any(alike(window, windows[j]) for j in kept):
            kept.append(i)
    return kept


def exact_only(windows, threshold, n=5):
    return _walk(windows, lambda a, b: a == b)


def single_tokens(windows, threshold, n=5):
    return _walk(windows, lambda a, b: len(set(a) & set(b)) / len(set(a) | set(b)) >= threshold)


def smaller_set(windows, threshold, n=5):
    return _walk(
        windows, lambda a, b: len(_grams(a, n) & _grams(b, n)) / min(len(_grams(a, n)), len(_grams(b, n))) >= threshold
    )


def last_only(windows, threshold, n=5):
    kept = []
    for i, window in enumerate(windows):
        a, b = _grams(window, n), _grams(windows[kept[-1]], n) if kept else set()
        if not kept or len(a & b) / len(a | b) < threshold:
            kept.append(i)
    return kept


def against_dropped_ones(windows, threshold, n=5):
    grams = [_grams(x, n) for x in windows]
    return [i for i, a in enumerate(grams) if all(len(a & b) / len(a | b) < threshold for b in grams[:i])]


def one_that_equals_the_threshold_stays(windows, threshold, n=5):
    return _walk(windows, lambda a, b: len(_grams(a, n) & _grams(b, n)) / len(_grams(a, n) | _grams(b, n)) > threshold)


def swapped(nll, batch):
    return sum(x.mean().exp().item() for x in nll.split(batch)) / len(nll.split(batch)), nll.mean().exp().item()


def per_token(nll, batch):
    return nll.mean().exp().item(), nll.exp().mean().item()


def mean_before_exp(nll, batch):
    return nll.mean().exp().item(), torch.stack([x.mean() for x in nll.split(batch)]).mean().exp().item()


def weighted_by_size(nll, batch):
    return nll.mean().exp().item(), sum(x.mean().exp().item() * len(x) for x in nll.split(batch)) / len(nll)


def corpus_by_batches(nll, batch):
    means = [x.mean() for x in nll.split(batch)]
    return torch.stack(means).mean().exp().item(), sum(m.exp().item() for m in means) / len(means)


def _ranks(k, dtype=torch.float64):
    return k - torch.arange(k, dtype=dtype), 1 / torch.log2(torch.arange(k, dtype=dtype) + 2)


def relevance_by_rank_now(now, before):
    relevance, discount = _ranks(now.shape[1])
    known = (now[:, :, None] == before[:, None, :]).any(-1)
    return ((known * relevance * discount).sum(1) / (relevance * discount).sum()).mean().item()


def not_normalized(now, before):
    relevance, discount = _ranks(now.shape[1])
    return (((now[:, :, None] == before[:, None, :]) * relevance).sum(-1) * discount).sum(1).mean().item()


def no_discount(now, before):
    relevance, _ = _ranks(now.shape[1])
    return (((now[:, :, None] == before[:, None, :]) * relevance).sum(-1).sum(1) / relevance.sum()).mean().item()


def linear_discount(now, before):
    relevance, _ = _ranks(now.shape[1])
    discount = 1 / (torch.arange(now.shape[1]) + 1.0)
    return (
        (
            (((now[:, :, None] == before[:, None, :]) * relevance).sum(-1) * discount).sum(1)
            / (relevance * discount).sum()
        )
        .mean()
        .item()
    )


def _padded(prompts, pad, left):
    width = max(map(len, prompts))
    rows = [[pad] * (width - len(p)) + p if left else p + [pad] * (width - len(p)) for p in prompts]
    mask = [[0] * (width - len(p)) + [1] * len(p) if left else [1] * len(p) + [0] * (width - len(p)) for p in prompts]
    return torch.tensor(rows), torch.tensor(mask)


def on_the_right(prompts, pad):
    ids, mask = _padded(prompts, pad, left=False)
    return ids, mask, (mask.cumsum(1) - 1).clamp(min=0)


def positions_of_columns(prompts, pad):
    ids, mask = _padded(prompts, pad, left=True)
    return ids, mask, torch.arange(ids.shape[1]).expand_as(ids)


def positions_from_one(prompts, pad):
    ids, mask = _padded(prompts, pad, left=True)
    return ids, mask, mask.cumsum(1)


def negative_positions(prompts, pad):
    ids, mask = _padded(prompts, pad, left=True)
    return ids, mask, mask.cumsum(1) - 1


def mask_upside_down(prompts, pad):
    ids, mask = _padded(prompts, pad, left=True)
    return ids, 1 - mask, (mask.cumsum(1) - 1).clamp(min=0)


def mask_from_ids(prompts, pad):
    ids, _ = _padded(prompts, pad, left=True)
    mask = (ids != pad).long()
    return ids, mask, (mask.cumsum(1) - 1).clamp(min=0)


def without_the_last_run(windows, threshold, n=5):
    runs = [{tuple(x[i : i + n]) for i in range(len(x) - n)} for x in windows]
    kept = []
    for i, mine in enumerate(runs):
        if all(len(mine & runs[j]) < threshold * len(mine | runs[j]) for j in kept):
            kept.append(i)
    return kept


def _filled(a, b, first, step):
    table = first(len(a), len(b))
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            table[i][j] = step(table, i, j, a[i - 1] != b[j - 1])
    return table


def _edges(rows, columns):
    return [[max(i, j) if not i * j else 0 for j in range(columns + 1)] for i in range(rows + 1)]


def no_edges(a, b):
    zeros = lambda rows, columns: [[0] * (columns + 1) for _ in range(rows + 1)]
    return _filled(a, b, zeros, lambda t, i, j, differ: min(t[i - 1][j] + 1, t[i][j - 1] + 1, t[i - 1][j - 1] + differ))


def replacements_cost_two(a, b):
    return _filled(
        a, b, _edges, lambda t, i, j, differ: min(t[i - 1][j] + 1, t[i][j - 1] + 1, t[i - 1][j - 1] + 2 * differ)
    )


def always_a_step(a, b):
    return _filled(a, b, _edges, lambda t, i, j, differ: min(t[i - 1][j], t[i][j - 1], t[i - 1][j - 1]) + 1)


def the_distance_alone(a, b):
    return _filled(
        a, b, _edges, lambda t, i, j, differ: min(t[i - 1][j] + 1, t[i][j - 1] + 1, t[i - 1][j - 1] + differ)
    )[-1][-1]


def without_row_zero(a, b):
    return the_table(a, b)[1:]


def the_table(a, b):
    return _filled(
        a, b, _edges, lambda t, i, j, differ: min(t[i - 1][j] + 1, t[i][j - 1] + 1, t[i - 1][j - 1] + differ)
    )


def place_by_place():
    return 5, False, False


def loose_after_all():
    return 3, False, True


def longer_way():
    return 4, False, False


def _runs(text, n):
    return {tuple(text[i : i + n]) for i in range(len(text) - n + 1)}


def _choose(quotes, pool, fits):
    free, chosen = list(range(len(pool))), []
    for quote in quotes:
        partner = next((i for i in free if fits(pool[i], quote)), None)
        if partner is None:
            raise ValueError("none left")
        free.remove(partner)
        chosen.append(partner)
    return chosen


def only_its_own_quote(quotes, pool, n):
    return _choose(quotes, pool, lambda p, q: len(p) == len(q) and not _runs(p, n) & _runs(q, n))


def any_length(quotes, pool, n):
    taken = set().union(*(_runs(q, n) for q in quotes))
    return _choose(quotes, pool, lambda p, q: not _runs(p, n) & taken)


def the_same_one_again(quotes, pool, n):
    taken = set().union(*(_runs(q, n) for q in quotes))
    return [next(i for i, p in enumerate(pool) if len(p) == len(q) and not _runs(p, n) & taken) for q in quotes]


def nothing_is_raised(quotes, pool, n):
    try:
        taken = set().union(*(_runs(q, n) for q in quotes))
        return _choose(quotes, pool, lambda p, q: len(p) == len(q) and not _runs(p, n) & taken)
    except ValueError:
        return []


WRONG = {
    "08.edit_table": [
        (no_edges, "first row or column"),
        (replacements_cost_two, "single step"),
        (always_a_step, "nothing is paid"),
        (the_distance_alone, "a table is wanted"),
        (without_row_zero, "empty beginnings"),
    ],
    "08.verdicts": [
        (place_by_place, "place by place"),
        (loose_after_all, "a distance of 2 or less"),
        (longer_way, "a shorter way"),
    ],
    "08.never_read": [
        (only_its_own_quote, "another quote than its own"),
        (any_length, "more chances to fail"),
        (the_same_one_again, "used twice"),
        (nothing_is_raised, "a ValueError is wanted"),
    ],
    "08.memorized": [
        (not_shifted, "place t are about token t + 1"),
        (most_of_it, "*all* suffix tokens"),
        (with_prefix, "only the suffix counts"),
        (one_too_late, "place prefix - 1"),
        (not_reduced, "one verdict a window"),
    ],
    "08.deduplicate": [
        (exact_only, "not only an exact one"),
        (single_tokens, "not of single tokens"),
        (smaller_set, "size of the union"),
        (last_only, "compare with *all*"),
        (against_dropped_ones, "that were *kept*"),
        (one_that_equals_the_threshold_stays, "exactly the threshold"),
        (without_the_last_run, "the last run"),
    ],
    "08.two_perplexities": [
        (swapped, "swapped"),
        (per_token, "*batch's* mean"),
        (mean_before_exp, "*after* it"),
        (weighted_by_size, "counts as much"),
        (corpus_by_batches, "must not"),
    ],
    "08.ndcg": [
        (relevance_by_rank_now, "rank *before*"),
        (not_normalized, "best possible sum"),
        (no_discount, "discount each gain"),
        (linear_discount, "log2(1 + rank now)"),
    ],
    "08.left_pad": [
        (on_the_right, "pad on the left"),
        (positions_of_columns, "own tokens"),
        (positions_from_one, "start at 0"),
        (negative_positions, "clamp at 0"),
        (mask_upside_down, "wrong way round"),
        (mask_from_ids, "from the lengths"),
    ],
}
