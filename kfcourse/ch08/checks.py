"""Exercises of chapter 08: memorized or not, near duplicates, two perplexities, nDCG, and padding on the left."""

import math

import torch

from kfcourse import Exercise
from kfcourse.learning.results import parts


def _said(words, vocabulary=20):
    """Logits [N, S, V] of a model whose argmax at place t is words[n][t], with distractors."""
    words = torch.tensor(words)
    noise = torch.rand(*words.shape, vocabulary, generator=torch.Generator().manual_seed(0))
    return noise.scatter(2, words[..., None], 2.0)


def check_memorized(function):
    ids = torch.tensor([[1, 5, 6, 7, 8, 9, 10, 11]] * 7)
    answers = {  # what the model says after each place; the prefix has 3 tokens, so tokens 3 to 7 count
        "every token right": [5, 6, 7, 8, 9, 10, 11, 0],
        "wrong only within the prefix": [0, 0, 7, 8, 9, 10, 11, 0],
        "wrong at the first token of the suffix": [5, 6, 0, 8, 9, 10, 11, 0],
        "wrong at the last token of the suffix": [5, 6, 7, 8, 9, 10, 0, 0],
        "four of five right": [5, 6, 7, 0, 9, 10, 11, 0],
        "each token repeated one place late": [1, 5, 6, 7, 8, 9, 10, 11],
        "nothing right": [0] * 8,
    }
    wanted = [True, True, False, False, False, False, False]
    found = function(_said(list(answers.values())), ids, 3)
    assert torch.is_tensor(found) and found.dtype == torch.bool, (
        f"a boolean tensor is wanted, not {getattr(found, 'dtype', type(found).__name__)}"
    )
    assert list(found.shape) == [7], f"one verdict a window, shape [7], is wanted; yours has {list(found.shape)}"
    found = dict(zip(answers, found.tolist()))
    assert not found["each token repeated one place late"], (
        "the logits at place t are about token t + 1: yours compares them with token t, and so "
        "calls a model memorized that only repeats what it has just read"
    )
    assert not found["four of five right"], (
        "four of five tokens are right and yours says memorized: *all* suffix tokens must be"
    )
    assert found["wrong only within the prefix"], (
        "only the suffix counts: a wrong guess within the prefix does not matter"
    )
    assert not found["wrong at the first token of the suffix"], (
        "the first token of the suffix is guessed at the *last* place of the prefix, "
        "place prefix - 1: yours does not look there"
    )
    assert not found["wrong at the last token of the suffix"], (
        "the last token of the suffix is guessed at the place before the last: yours does not look there"
    )
    assert list(found.values()) == wanted, (
        f"for {list(answers)} the verdicts are {wanted}, yours are {list(found.values())}"
    )


def check_deduplicate(function):
    text = list(range(100, 160))
    assert function([], 0.7, 3) == [], "without windows there is nothing to keep: return an empty list"
    kept = function([text, text, text], 0.7, 3)
    assert isinstance(kept, list), f"a list of indices is wanted, not {type(kept).__name__}"
    assert kept == [0], f"of three equal windows the first one stays: [0]; yours are {kept}"
    assert function([text[:40], text[4:44]], 0.7, 3) == [0], (
        "the second window is the first one moved by 4 of 40 tokens, similarity 34/42: a near "
        "duplicate goes, not only an exact one"
    )
    assert function([text[:40], text[20:60]], 0.7, 3) == [0, 1], (
        "these two share 18 of 58 triples, similarity 0.31: both stay below 0.7"
    )
    assert function([text[:40], text[:40][::-1]], 0.7, 3) == [0, 1], (
        "the second window has the same words in reverse order and stays: compare sets of n "
        "successive tokens, not of single tokens"
    )
    assert function([text[:40], text[:20]], 0.7, 3) == [0, 1], (
        "the short window lies within the long one, 18 shared of 38 different triples: divide by "
        "the size of the union, not by the smaller set"
    )
    far = list(range(200, 240))
    assert function([text[:40], far, text[:40]], 0.7, 3) == [0, 1], (
        "the third window equals the first: compare with *all* that were kept, not only with the last"
    )
    chain = [text[:40], text[6:46], text[12:52]]
    assert function(chain, 0.7, 3) == [0, 2], (
        "the third window is close to the second, but the second was dropped: compare with the windows that were "
        "*kept*, so [0, 2]"
    )
    equal = [[1, 2, 3, 4], [1, 2, 3, 5]]  # one of three different triples is shared
    assert function(equal, 1 / 3, 3) == [0], (
        "a similarity of exactly the threshold is too much: keep only what lies below it"
    )
    assert function(equal, 0.5, 3) == [0, 1], (
        "[1, 2, 3, 4] and [1, 2, 3, 5] share one of three different triples and both stay below 0.5: the last run of a "
        "window counts as well"
    )


def check_two_perplexities(function):
    nll = torch.tensor([[1.0, 1.0], [1.0, 1.0], [3.0, 3.0], [3.0, 5.0]])
    result = function(nll, 2)
    assert isinstance(result, tuple) and len(result) == 2, "two numbers are wanted: return corpus, paper"
    corpus, paper = map(float, result)
    mean, batches = math.exp(nll.mean()), (math.exp(1) + math.exp(3.5)) / 2
    tokens = nll.double().exp().mean().item()
    assert not (math.isclose(corpus, batches, rel_tol=1e-5) and math.isclose(paper, mean, rel_tol=1e-5)), (
        "the two are swapped: corpus first"
    )
    assert not math.isclose(corpus, tokens, rel_tol=1e-5), (
        "the corpus's perplexity is the exponential of the mean, not the mean of exponentials"
    )
    assert math.isclose(corpus, mean, rel_tol=1e-5), (
        f"the corpus's perplexity is exp of the mean over all tokens, {mean:.3f} here; yours is {corpus:.3f}"
    )
    assert not math.isclose(paper, tokens, rel_tol=1e-5), (
        "the paper's exponential is taken of a *batch's* mean, not of every token"
    )
    assert not math.isclose(paper, mean, rel_tol=1e-5), (
        "yours averages the batches before the exponential; the paper's mean is taken *after* it, over exp(batch mean)"
    )
    assert math.isclose(paper, batches, rel_tol=1e-5), (
        f"the paper's perplexity is {batches:.3f} here (mean of e^1 and e^3.5); yours is {paper:.3f}"
    )
    corpus, paper = map(float, function(nll, 3))
    ragged = (math.exp(10 / 6) + math.exp(4)) / 2
    assert math.isclose(corpus, mean, rel_tol=1e-5), (
        "the corpus's perplexity changed with the batch: it must not, take the mean over all tokens at once"
    )
    assert math.isclose(paper, ragged, rel_tol=1e-5), (
        f"with batches of 3 the last one has a single row and counts as much as the first: {ragged:.3f}; "
        f"yours is {paper:.3f}"
    )


def check_ndcg(function):
    before = torch.arange(10).expand(3, -1)
    value = float(function(before, before))
    assert math.isclose(value, 1.0, rel_tol=1e-6), (
        f"the same ranking must give 1, yours gives {value:.3f}: divide by the best possible sum"
    )
    assert abs(float(function(before + 20, before))) < 1e-9, (
        "no token in common must give 0: a token that is not in the baseline has relevance 0"
    )
    best = sum((10 - r) / math.log2(r + 2) for r in range(10))
    half, low = (
        torch.cat(parts, 1) for parts in ((before[:, :5], before[:, :5] + 30), (before[:, :5] + 30, before[:, :5]))
    )
    assert not math.isclose(float(function(half, before)), float(function(low, before)), rel_tol=1e-6), (
        "the five best tokens count as much at ranks 6 to 10 as at ranks 1 to 5: discount each gain by the rank now"
    )
    swapped = torch.tensor([[1, 0, 2, 3, 4, 5, 6, 7, 8, 9]] * 3)
    value = float(function(swapped, before))
    assert not math.isclose(value, 1.0, rel_tol=1e-6), (
        "swapping the two best tokens still gives 1: the relevance must come from the rank *before*, not from "
        "the rank now (the formula printed in the paper has this slip)"
    )
    right = (9 + 10 / math.log2(3) + sum((10 - r) / math.log2(r + 2) for r in range(2, 10))) / best
    assert math.isclose(value, right, rel_tol=1e-6), (
        f"swapping the two best gives {right:.4f}, yours {value:.4f}: relevance 10, 9 ... 1 by the rank before, "
        "divided by log2(1 + rank now), ranks from 1"
    )
    right = sum((10 - r) / math.log2(r + 2) for r in range(5)) / best
    assert math.isclose(float(function(half, before)), right, rel_tol=1e-6), (
        "with the five best kept and five strangers: strangers count 0, but keep their ranks"
    )
    mixed = float(function(torch.cat([before, before + 20]), torch.cat([before, before])))
    assert math.isclose(mixed, 0.5, rel_tol=1e-6), (
        "half of the positions unchanged and half with nothing in common must give 0.5: take the mean over positions"
    )


def check_left_pad(function):
    prompts = [[1, 5, 6], [1, 7], [1, 2, 3, 4, 9]]
    result = function(prompts, 0)
    assert isinstance(result, tuple) and len(result) == 3, "three tensors are wanted: return ids, mask, positions"
    ids, mask, positions = result
    for name, x in (("ids", ids), ("mask", mask), ("positions", positions)):
        assert torch.is_tensor(x) and list(x.shape) == [3, 5], (
            f"{name} has shape {list(getattr(x, 'shape', []))}; [3, 5] is wanted"
        )
    assert ids[:, -1].tolist() == [6, 7, 9], (
        f"the last column is {ids[:, -1].tolist()}: every prompt must end there, because the next token is read from "
        "the last column; pad on the left"
    )
    assert ids.tolist() == [[0, 0, 1, 5, 6], [0, 0, 0, 1, 7], [1, 2, 3, 4, 9]], f"the ids are {ids.tolist()}"
    wanted = [[0, 0, 1, 1, 1], [0, 0, 0, 1, 1], [1] * 5]
    assert mask.long().tolist() != [[1 - x for x in row] for row in wanted], (
        "the mask is the wrong way round: 1 for a real token, 0 for padding"
    )
    assert mask.long().tolist() == wanted, (
        f"the mask is {mask.long().tolist()}; it is 1 for a real token and 0 for padding"
    )
    assert positions[0].tolist() != [0, 1, 2, 3, 4], (
        "positions count the prompt's own tokens: the first real token is at 0, wherever its column is"
    )
    assert positions[1, 3:].tolist() != [1, 2], "positions start at 0, not at 1, on the first real token"
    assert [p[m.bool()].tolist() for p, m in zip(positions, mask)] == [[0, 1, 2], [0, 1], [0, 1, 2, 3, 4]], (
        f"the positions are {positions.tolist()}"
    )
    assert (positions >= 0).all(), "padding needs some position as well, and no negative one: clamp at 0"
    pads = function([[0, 4], [3]], 0)[1].long().tolist()
    assert pads == [[1, 1], [0, 1]], (
        "a prompt may hold the padding token itself: build the mask from the lengths, not from ids != pad"
    )


def _distances(a, b):
    table = [[i + j if not i * j else 0 for j in range(len(b) + 1)] for i in range(len(a) + 1)]
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            steps = (table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + (a[i - 1] != b[j - 1]))
            table[i][j] = min(steps)
    return table


def check_edit_table(function):
    for a, b in (("abc", "abc"), ("abc", "xbyc"), ("abcd", "abd"), ("kitten", "sitting"), ("aab", "baa"), ("", "ab")):
        right = _distances(list(a), list(b))
        first, second = list(a), list(b)
        result = function(first, second)
        assert (first, second) == (list(a), list(b)), "the texts themselves were changed: build a new table"
        try:
            table = [[int(x) for x in row] for row in result]
        except TypeError:
            raise AssertionError(f"a table is wanted, a list of rows of ints, not {type(result).__name__}") from None
        shape = [len(a) + 1, len(b) + 1]
        assert [len(table), len(table[0]) if table else 0] == shape, (
            f"the table of {a!r} and {b!r} has {len(table)} rows; {shape[0]} rows of {shape[1]} are wanted: row 0 and "
            "column 0 belong to the empty beginnings"
        )
        edge = [row[0] for row in table] == list(range(shape[0])) and table[0] == list(range(shape[1]))
        assert edge, (
            "the first row or column is wrong: from nothing to the first j words it takes j insertions, and from the "
            "first i words to nothing i deletions"
        )
        if a == b:
            assert table[-1][-1] == 0, "two equal texts have a distance: where the words are the same, nothing is paid"
        if (a, b) == ("abcd", "abd"):
            assert table[-1][-1] != 2, (
                "a word that is left out costs one step, a deletion, and not a replacement of all after it"
            )
        if (a, b) == ("abc", "xbyc"):
            assert table[-1][-1] != 3, (
                "a replacement costs too much: one word for another is a single step, not a deletion and an insertion"
            )
        assert table == right, (
            f"between {a!r} and {b!r} the table ends in {table[-1][-1]}, and the distance is {right[-1][-1]}: each "
            "cell is the least of three steps, from above, from the left, and along the diagonal"
        )


def check_verdicts(function):
    distance, strict, loose = parts(function(), 3, "the distance, then the two verdicts")
    assert distance != 5, "this compares place by place: words that are moved on by an insertion are not all wrong"
    assert distance != 4, "there is a shorter way: one replacement, one insertion and one deletion"
    assert distance == 3, "the distance is not right: which words were replaced, put in, or left out?"
    assert not strict, "strict recall wants a distance of 0"
    assert not loose, "loose recall wants a similarity of at least 0.75: on eight words, a distance of 2 or less"


def check_never_read(function):
    words = "abcdefghijklmnop"
    quotes = [list("abcdefgh"), list("hgfedcba"), list("aabbccdde")]
    pool = [
        list("xxabcdxx"),  # shares a run of four with the first quote
        list("acegikmop"),
        list("mlkjhgfe"),  # shares a run of four with the second
        list("pomnlkji"),
        list("acegikmo"),
        list("nnmmllkk"),
        list("ponm"),
    ]
    result = function([list(q) for q in quotes], [list(p) for p in pool], 4)
    try:
        chosen = [int(i) for i in result]
    except TypeError:
        raise AssertionError(f"a list of indices is wanted, not {type(result).__name__}") from None
    assert len(chosen) == len(quotes), f"{len(quotes)} partners are wanted, one for each quote, and {len(chosen)} came"
    assert all(0 <= i < len(pool) for i in chosen), "an index points outside the pool"
    assert len(set(chosen)) == len(chosen), "a new text is used twice, so the control has fewer texts than it seems"
    runs = lambda text: {tuple(text[i : i + 4]) for i in range(len(text) - 3)}
    for quote, i in zip(quotes, chosen, strict=True):
        assert len(pool[i]) == len(quote), (
            f"a quote of {len(quote)} words has a partner of {len(pool[i])}: a longer text has more chances to fail"
        )
        assert not runs(pool[i]) & runs(quote), "a partner shares a run with its quote: part of it was read in training"
        assert not any(runs(pool[i]) & runs(q) for q in quotes), (
            "a partner shares a run with another quote than its own: that is a near-duplicate of something read, too"
        )
    two = function([list("abcdefgh")], [list("xxabcxxy")], 4)
    assert [int(i) for i in two] == [0], "a shared run shorter than n words does no harm"
    for what, few in (("of the same length", [list("acegikm")] * 3), ("that was not read", [list("xxabcdxx")])):
        try:
            function([list(words[:8])], few, 4)
        except ValueError:
            continue
        except Exception as error:
            kind = type(error).__name__
            raise AssertionError(f"where no text {what} is left, a ValueError is wanted, not {kind}") from None
        raise AssertionError(f"where no text {what} is left, a ValueError is wanted, and something was returned")


EXERCISES = {
    "08.memorized": Exercise(
        "Memorized, by one pass",
        2,
        8,
        (
            "One pass gives a guess at every place. Line up the guesses with the tokens that follow.",
            "The logits at place t are a guess of token t + 1. So the guess of token `prefix` stands at place "
            "`prefix - 1`.",
            "The guesses of the suffix stand one place before it: from `prefix - 1` to the last but one. All of them "
            "must be right.",
        ),
        check_memorized,
        "The guess of the first suffix token stands at the last place of the prefix. One wrong guess is enough for a "
        "no.",
    ),
    "08.deduplicate": Exercise(
        "Near-duplicates",
        3,
        12,
        (
            "Walk through the windows once and keep a list of what you have kept so far.",
            "Turn a window into the set of its n successive tokens: `{tuple(x[i : i + n]) for i in range(len(x) - n "
            "+ 1)}`.",
            "Two sets of runs share `a & b` and have `a | b` between them. Compare each new window with all kept ones, "
            "and with no others.",
        ),
        check_deduplicate,
        "Jaccard similarity of n-gram sets, against everything kept so far. The result depends on the order, and on "
        "the threshold: say both when you report.",
    ),
    "08.two_perplexities": Exercise(
        "Two perplexities",
        2,
        8,
        (
            "Both start from the same losses. The order of mean and exponential is all that differs.",
            "Corpus: mean over everything, then exp. Paper: mean within each batch, exp, then the mean over batches.",
            "`nll.split(batch)` gives the batches; a shorter last one counts as much as the others.",
        ),
        check_two_perplexities,
        "The exponential is convex, so with batches of one size the paper's number is never the smaller one. "
        "How much larger it is depends on how the texts are batched.",
    ),
    "08.ndcg": Exercise(
        "nDCG against the baseline",
        3,
        12,
        (
            "For every token the model prefers now: which rank did it have before?",
            "`now[:, :, None] == before[:, None, :]` is [P, K, K]: which token now is which token before. Relevance "
            "K - rank before, discount by the rank now.",
            "Each token now gains the relevance of its match, or nothing. Weight the gains by the discounts 1 / "
            "log2(2 + index), add up, and divide by the sum that an unchanged ranking would have.",
        ),
        check_ndcg,
        "The relevance belongs to the ranking before, the discount to the ranking now. "
        "Taking both from the ranking now would call every shuffling of the same ten perfect.",
    ),
    "08.left_pad": Exercise(
        "Padding on the left",
        2,
        8,
        (
            "All prompts must end in the last column. Everything else follows from their lengths.",
            "For a prompt of n tokens in a width of L: `[pad] * (L - n) + prompt`, mask `[0] * (L - n) + [1] * n`.",
            "Positions count real tokens only: a cumulative sum of the mask does, up to where it starts.",
        ),
        check_left_pad,
        "Now the last column is the last word of every prompt, the mask hides the padding, and the positions are "
        "those of the prompt alone.",
    ),
    "08.edit_table": Exercise(
        "The table of distances",
        3,
        20,
        (
            "Row 0 and column 0 are the distances from and to nothing. Fill the rest row by row.",
            "Cell (i, j) looks at three cells that are already there: above, left, and on the diagonal.",
            "From above and from the left a step costs 1. Along the diagonal it costs 1 if the two words differ, and "
            "nothing if they are the same; mind that word i of a text stands at index i - 1.",
        ),
        check_edit_table,
        "The whole table takes as many steps as it has cells. A library does the same, in C.",
    ),
    "08.verdicts": Exercise(
        "Strict, loose, or neither",
        2,
        8,
        (
            "Write the two texts one under the other, and move the second so that as many words as possible match.",
            "One word is another one, one is put in, and one is left out.",
            "Similarity is one minus the distance divided by the length of the suffix. Compare it with 0.75.",
        ),
        check_verdicts,
        "On 48 words the same three steps would count for loose recall: the limit is a share, not a number.",
    ),
    "08.never_read": Exercise(
        "The same, but never read",
        3,
        15,
        (
            "Collect the runs of all quotes into one set first.",
            "A text of the pool may serve if none of its runs is in that set. It is the right one for a quote if the "
            "two are equally long, and it can serve only once.",
            "Walk through the quotes; take the first text that is left, allowed and of the right length, and cross it "
            "out. Where there is none, raise ValueError.",
        ),
        check_never_read,
        "Equal length, no near-duplicates, none twice: what quotes are recited beyond this control, they owe to having "
        "been read.",
    ),
}
