"""What `olmo2-tiny` is: its model card, computed from the world, the training log and the model itself."""

import json
import random
from pathlib import Path

from kfaclib.toy import small_olmo2
from kfaclib.toy import world as w
from kfaclib.toy.training import BATCH
from kfcourse.experiments.recitation import PAPER_PLACES

SIGNS = len(w.SPECIAL)  # words of the vocabulary that stand for no word


def training(folder):
    """{"rounds", "steps", "rows", "tokens"} of all rounds, from the training log in `folder`."""
    last = {}
    for line in (Path(folder) / "training.jsonl").read_text().splitlines():
        row = json.loads(line)
        last[row.get("round", 1)] = row["step"]
    steps = sum(last.values())
    return {"rounds": len(last), "steps": steps, "rows": steps * BATCH, "tokens": steps * BATCH * w.ROW}


def repeated_rows(world, rounds):
    """How many training rows hold a passage that is repeated: every round after the first shows it half as often."""
    shown = lambda n: n + (rounds - 1) * (n // 2)
    ladder = sum(shown(n) * len(passages) for n, passages in world.ladder.items())
    return len(world.quotes) * shown(world.quote_repeats) + ladder


def starts(world, rows=8):
    """The places in a training row at which its passage begins, over `rows` of them; `<s>` is place 0."""
    found = set()
    for k, passage in enumerate(world.quotes[:rows]):
        ids, own = w.row(world, "quote", random.Random(k), passage)[0], w.encode(passage)
        found |= {i for i in range(len(ids) - len(own) + 1) if ids[i : i + len(own)] == own}
    return found


def same_grammar(world):
    """Are the quotes what a new story's generator writes, word for word, with the world's own seed?"""
    rng = random.Random(f"world {world.seed}")
    return all(w.text(rng, len(quote)) == quote for quote in world.quotes)


def frequent_over_rare(world):
    """How many times as often training shows a frequent fact as a rare one, in expectation."""
    each = {"facts_rare": len(world.rare), "facts_frequent": len(world.frequent)}
    rare, frequent = (w.expected_share(kind) / count for kind, count in each.items())
    return frequent / rare


def card(folder, model):
    """[(what, value)] as text, of the model that `folder` holds."""
    world, log = small_olmo2.load_world(folder), training(folder)
    unseen, seen = len(w.sums(True)), len(w.sums(False))
    lengths = sorted({len(quote) for quote in world.quotes})
    config = model.config
    return [
        ("parameters", f"{sum(p.numel() for p in model.parameters()):,}"),
        ("shape", f"{config.num_hidden_layers} blocks, width {config.hidden_size}, MLPs {config.intermediate_size}"),
        ("vocabulary", f"{config.vocab_size} entries, {len(w.VOCABULARY) - SIGNS} of them words"),
        ("training", f"{log['steps']:,} steps of {BATCH} rows, {log['tokens'] / 1e6:.1f} million tokens"),
        ("sentence forms of a story", str(w.sentence_forms())),
        ("quotes", f"{len(world.quotes)}, of {lengths[0]} words, each {world.quote_repeats} times"),
        ("quotes are written by", "the generator of the stories" if same_grammar(world) else "another generator"),
        ("quotes begin", f"at place {', '.join(map(str, sorted(starts(world))))} of their row, always"),
        (
            "the ladder",
            f"{len(next(iter(world.ladder.values())))} passages each, {', '.join(map(str, world.ladder))} times",
        ),
        ("rows that repeat a passage", f"{repeated_rows(world, log['rounds']) / log['rows']:.0%} of the training"),
        ("rare facts", f"heads of {len(world.rare)} companies"),
        (
            "frequent facts",
            f"{len(world.frequent)} of countries, each shown {frequent_over_rare(world):.1f} times as often",
        ),
        ("sums never shown", f"{unseen:,} of {unseen + seen:,}"),
    ]


def sheet(places):
    """The protocol sheet of this chapter's run: [(line, what is chosen, here, the paper)] as text.

    places: at how many other places the stress test asks.
    """
    window = f"{w.PREFIX} + {w.SUFFIX} tokens"
    return [
        ("1 recited", "window: prefix + suffix", window, "64 + 48 tokens"),
        ("", "decoding", "greedy", "greedy"),
        ("", "strict, loose", "distance 0, similarity of 0.75 or more", "the same"),
        ("2 mined", "test", "every suffix token is the argmax, in one pass", "the same"),
        ("", "stride", "16 tokens", "not given"),
        ("", "near-duplicates", "Jaccard of runs of 5 tokens below 0.7", "0.7 in a file's name"),
        ("", "control", "new stories, and echoes", "none"),
        ("3 repetition", "known for each passage", "yes, by construction", "no"),
        ("", "control", "new text at every prefix", "none"),
        ("4 place", "asked at", f"its own place and {places} others", f"its own place and {PAPER_PLACES} others"),
        ("", "control", "new text at the same places", "none"),
        ("5 price", "perplexity", "corpus: exp of the mean", "mean of exp, by batch"),
        ("", "nDCG@10", "baseline taken before the change", "the same, if the model is the unedited one"),
        ("", "halves", "choose on one, report on the other", "the same"),
    ]
