"""The small world that `olmo2-tiny` is trained on: its words, its facts, its training stream.

Everything is drawn from one seed, so that the ground truth is exact: which passages are repeated and how often, which
facts are common and which are rare, which sums are never shown.

A *row* is a list of `ROW` token ids that starts with `<s>`; an *item* is a pair (prompt words, answer words). Sums are
written least significant digit first, digits are words of their own, and a word is one token.
"""

import hashlib
import itertools
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from kfaclib.lm.recitation import PREFIX, SUFFIX

ROW = 128  # tokens in a training row
Item = tuple[list[str], list[str]]  # prompt words, answer words
PAD, BOS, EOS, UNK = 0, 1, 2, 3
SPECIAL = ["<pad>", "<s>", "</s>", "<unk>"]

_WORDS = {
    "first": "ada ben cleo dirk edda finn gwen hugo iris jack kaia liam maud ned olga paul rhea seth "
    "tess ulf vera wade xara yann zita amos bree colm dina emil fern gino hope ivor joan karl luca mina "
    "noel orla",
    "last": "ashby boone crewe dalby eames fitch goode hobbs irwin joyce keats lloyd mabey nixon oakes "
    "price quigg rowan sykes tully usher vance weald yates adler brock cline dyson ewell foley gable "
    "hines jewel knapp leary moyer nolan ogden pratt rusk",
    "country": "avaria belgor cestia dunmar elvia forland gorava hestia imbria jorland karvia lomar "
    "marovia norvia ostria pelmar quessia rundia sarovia tolmar ursia valdia wesmar xandia yoria zemland "
    "ardovia brennia calmar dorland",
    "city": "ambry brill corve delph esker fenby girth holme inver jarrow kirby lorne merle norby olney "
    "perth quorn rigby salve thorp ulver velde wolds xeres yarm zoar alder birch cedar downs ebony",
    "currency": "dalar florin guild heller kreuz lira mark noble obol penni rand stiver taler unit zloty",
    "language": "avaric belish cestic dunish elvan forish gorvic hestic imbric jorish karvic lomaric "
    "marish norvic ostric",
    "company1": "apex bolt core delta echo flux grid halo ion jade kite luma mono nova onyx pico quad rune sigma terra",
    "company2": "bank foods labs media mills motors tools works",
    "object": "anchor basket candle dagger easel fiddle goblet hammer inkpot jug kettle ladder mirror needle "
    "oar pencil quilt ribbon saddle teapot umbrella violin wheel parcel zither apron blanket cradle drum "
    "engine fork glove helmet lantern mallet napkin ring pillow scarf trumpet",
    "container": "bag barrel bin bowl box cabinet carton case chest crate cupboard drawer hamper "
    "locker pouch sack trunk tub",
    "place": "abbey bakery castle dock farm garden harbor inn library market mill museum orchard palace quarry "
    "school stable tavern tower valley",
    "color": "amber black blue brown green grey orange pink red white",
    "adjective": "ancient bright broken cheap clean cold crooked dusty empty famous gentle heavy hidden large "
    "little loose plain quiet rare round rusty sharp strange warm",
    "verb": "bought broke carried cleaned drew dropped found hid kept lent lost mended moved painted polished sold "
    "stole traded washed wrapped",
    "act": "cried danced dreamed jumped laughed listened prayed rested sang slept waited walked",
    "adverb": "again alone calmly gladly hardly loudly often quickly rarely sadly slowly softly",
    "day": "monday tuesday wednesday thursday friday saturday sunday noon dawn dusk midnight today",
    "animal": "badger cat dog eagle fox goat heron lynx mole otter raven wolf",
    "weather": "fog frost hail mist rain snow storm wind",
    "plain": "the a of is in and to with on at near from was that by because when who into under behind "
    "beside said gave asked about his her had came went saw met loved feared hated while before after",
    "task": "question answer context logic calc : ? . , + - = ( ) what capital currency language ceo "
    "spoken used not or true false if so above below than lives owner order repeat company country now put",
    "digit": "0 1 2 3 4 5 6 7 8 9",
}
W = {kind: words.split() for kind, words in _WORDS.items()}
VOCABULARY = SPECIAL + list(dict.fromkeys(itertools.chain.from_iterable(W.values())))
_ID = {word: i for i, word in enumerate(VOCABULARY)}

TASKS = ("facts_rare", "facts_frequent", "arithmetic", "open_book", "boolean", "deduction", "comparison", "tracking")
LOOKUPS = ("open_book", "deduction", "tracking")  # several questions may share one context
_SHARE = dict(
    facts_rare=0.35,
    facts_frequent=0.5,
    arithmetic=1.8,
    open_book=2.4,
    boolean=0.8,
    deduction=1.6,
    comparison=0.8,
    tracking=1.2,
)  # of the task tokens
_LENGTH = dict(
    facts_rare=13, facts_frequent=11, arithmetic=12, open_book=31, boolean=11, deduction=23, comparison=10, tracking=25
)  # mean tokens of an item, to turn shares of tokens into shares of items
ANSWER_WEIGHT = 3.0  # an answer's token counts this much in the training loss
GAP = {"owner of {} {}": 0, "{} is {}": 1, "{} lives in {}": 2, "{} was in the {}": 3}  # words between key and value


def encode(words: str | Sequence[str]) -> list[int]:
    """Token ids of a sentence or a list of words. Raises KeyError for a word that the world does not have."""
    return [_ID[w] for w in (words.split() if isinstance(words, str) else words)]


def _zipf(rng, kind, exponent=0.7):
    words = W[kind]
    if kind not in _zipf.table:
        _zipf.table[kind] = list(itertools.accumulate((i + 1) ** -exponent for i in range(len(words))))
    return rng.choices(words, cum_weights=_zipf.table[kind])[0]


_zipf.table = {}


class _Story:
    """Sentences about a few recurring people, things and places, so that there is something to predict."""

    def __init__(self, rng):
        self.rng = rng
        self.cast = [self._draw("first") for _ in range(3)]
        self.props = [self._draw("object") for _ in range(3)]
        self.scenes = [self._draw("place") for _ in range(2)]
        self.beast = self._draw("animal")

    def _draw(self, kind):
        return _zipf(self.rng, kind)

    def _again(self, words, kind, chance):
        return self.rng.choice(words) if self.rng.random() < chance else self._draw(kind)

    def _who(self):
        return self._again(self.cast, "first", 0.8)

    def _what(self):
        thing, dice = self._again(self.props, "object", 0.5), self.rng.random()
        if dice < 0.3:
            return f"the {thing}"
        return f"the {self._draw('adjective')} {thing}" if dice < 0.7 else f"a {self._draw('color')} {thing}"

    def _where(self):
        dice, pick = self.rng.random(), self.rng.choice
        if dice < 0.4:
            return f"{pick(['in', 'at', 'near'])} the {self._again(self.scenes, 'place', 0.6)}"
        if dice < 0.6:
            return f"in {self._draw('city')}"
        if dice < 0.8:
            return f"{pick(['into', 'under', 'behind', 'beside'])} the {self._draw('container')}"
        return f"on {self._draw('day')}"

    def sentence(self):
        z = self._draw
        forms = (
            (16, lambda: f"{self._who()} {z('verb')} {self._what()} {self._where()} ."),
            (12, lambda: f"{self._who()} gave {self._what()} to {self._who()} ."),
            (10, lambda: f"on {z('day')} , {self._who()} {z('verb')} {self._what()} ."),
            (8, lambda: f"{self._who()} {z('act')} {z('adverb')} {self._where()} ."),
            (8, lambda: f"the {self._again([self.beast], 'animal', 0.6)} was {z('adjective')} and {z('adjective')} ."),
            (
                8,
                lambda: (
                    f"{self._who()} {self.rng.choice(['saw', 'met', 'loved', 'feared', 'hated'])} {self._who()} "
                    f"at the {self._again(self.scenes, 'place', 0.6)} ."
                ),
            ),
            (
                8,
                lambda: (
                    f"{self._who()} went to the {self._again(self.scenes, 'place', 0.6)} because the "
                    f"{z('weather')} was {z('adjective')} ."
                ),
            ),
            (8, lambda: f"when the {z('weather')} came , {self._who()} and {self._who()} {z('act')} ."),
            (8, lambda: f"{self._who()} said that {self._what()} was {self._where()} ."),
            (7, lambda: f"{self._who()} asked {self._who()} about {self._what()} ."),
            (7, lambda: f"the {z('adjective')} {self.beast} {z('verb')} {self._what()} with {self._who()} ."),
        )
        return self._choose(forms)().split()

    def _choose(self, forms):
        return self.rng.choices([f for _, f in forms], [w for w, _ in forms])[0]

    def words(self, count):
        out = []
        while len(out) < count:
            out += self.sentence()
        return out[:count]


class _Stranger(_Story):
    """Stories by another hand: the same words and kinds of sentences, but the rare words are the common ones, nobody
    returns, and every kind of sentence is as frequent as any other."""

    def _draw(self, kind):
        words = W[kind]
        return words[len(words) - 1 - words.index(_zipf(self.rng, kind))]

    def _again(self, words, kind, chance):
        return self._draw(kind)

    def _choose(self, forms):
        return self.rng.choice(forms)[1]


def text(rng: random.Random, count: int = ROW - 1) -> list[str]:
    """`count` words of a new story."""
    return _Story(rng).words(count)


def strange_text(rng: random.Random, count: int = ROW - 1) -> list[str]:
    """`count` words of a new story by another hand: the words and kinds of sentences of `text`, used in another way."""
    return _Stranger(rng).words(count)


def sentence_forms() -> int:
    """How many kinds of sentences a story is made of."""
    story, found = _Story(random.Random(0)), []
    story._choose = lambda forms: found.append(len(forms)) or forms[0][1]
    story.sentence()
    return found[0]


def expected_share(task: str) -> float:
    """The share of the task items of training that are of this task, up to one factor for all of TASKS."""
    return _SHARE[task] / _LENGTH[task]


def held_out(op: str, a: int, b: int) -> bool:
    """Whether the sum "a op b" is in the tenth that training never shows."""
    return (a * 7919 + b * 104729 + ord(op)) % 97 % 10 == 3


def sums(unseen: bool) -> list[tuple[str, int, int]]:
    """All sums and differences (a >= b) of two-digit numbers, as (op, a, b): the held-out tenth if `unseen`, otherwise
    the rest."""
    two = range(10, 100)
    return [
        (op, a, b) for op in "+-" for a in two for b in two if (op == "+" or a >= b) and held_out(op, a, b) == unseen
    ]


def sum_item(op: str, a: int, b: int) -> Item:
    """A sum as an item; the answer has a fixed width (3 digits for +, 2 for -), least significant first."""
    result = f"{a + b:03d}" if op == "+" else f"{a - b:02d}"
    return ["calc", ":", *str(a), op, *str(b), "="], list(result[::-1])


def _questions(rng, context, asks, several):
    rng.shuffle(asks)
    asks = asks[: rng.randint(1, len(asks)) if several else 1]
    (prompt, answer), *more = asks
    return [(context + prompt, answer)] + more


def open_book(
    rng: random.Random, several: bool = False, gap: int | None = None, facts: int | None = None
) -> list[Item]:
    """New facts, then a question about one of them (or `several`), which only the context answers.

    gap: words between key and value, one of GAP's values. facts: how many there are. Either is drawn by default.
    Returns a list of items; all but the first continue the first one's context.
    """
    form = rng.choice([f for f, g in GAP.items() if gap in (None, g)])
    keys, values = {0: ("object", "first"), 1: ("object", "color"), 2: ("first", "city"), 3: ("object", "container")}[
        GAP[form]
    ]
    n = facts or rng.randint(2, 4)
    pairs = list(zip(rng.sample(W[keys], n), rng.sample(W[values], n)))
    context = ["context", ":"] + sum([form.format(k, v).split() + ["."] for k, v in pairs], [])
    return _questions(
        rng, context, [(["question", ":"] + form.format(k, "").split(), [v, "."]) for k, v in pairs], several
    )


def deduction(rng: random.Random, several: bool = False, steps: int | None = None) -> list[Item]:
    """If-then rules, then a premise (or `several`); the answer is the chain of conclusions and a full stop.

    steps: length of the first chain, 1 or 2; drawn by default. Returns a list of items, as `open_book` does.
    """
    rules, n = {}, rng.randint(2, 4)
    steps = steps or rng.choice([1, 1, 2])
    words = rng.sample(W["color"] + W["weather"] + W["animal"] + W["object"], 2 * n)
    starts, ends = words[:n], words[n:]
    if steps == 2:
        starts[1] = ends[0]
    rules = dict(zip(starts, ends))
    lines = [["if", a, b, "."] for a, b in rules.items()]
    rng.shuffle(lines)

    def chain(word):
        out = []
        while word in rules:
            word = rules[word]
            out.append(word)
        return out

    heads = [starts[0]] if not several else list(rules)
    asks = [(["so", a], chain(a) + ["."]) for a in heads]
    return _questions(rng, ["logic", ":"] + sum(lines, []), asks, several)


def tracking(rng: random.Random, several: bool = False, moves: int | None = None) -> list[Item]:
    """Things are put into containers and some are moved again; the question is where one of them (or `several`) is now.

    moves: how many; drawn by default. Returns a list of items, as `open_book` does.
    """
    n = rng.randint(2, 3)
    things, places = rng.sample(W["object"], n), rng.sample(W["container"], n + 2)
    where = dict(zip(things, places))
    lines = [["put", t, p, "."] for t, p in where.items()]
    for k in range(rng.randint(1, 2) if moves is None else moves):
        thing = rng.choice(things)
        where[thing] = places[n + k]
        lines.append(["put", thing, where[thing], "."])
    return _questions(rng, ["logic", ":"] + sum(lines, []), [(["now", t], [p, "."]) for t, p in where.items()], several)


def boolean(rng: random.Random) -> Item:
    """An expression of two or three truth values, and its value."""

    def literal():
        value = rng.random() < 0.5
        word = str(value).lower()
        return (["not", word], not value) if rng.random() < 0.3 else ([word], value)

    words, value = literal()
    for _ in range(rng.choice([1, 2, 2])):
        other, other_value = literal()
        if len(words) > 2:
            words = ["(", *words, ")"]
        op = rng.choice(["and", "or"])
        value = (value and other_value) if op == "and" else (value or other_value)
        words = words + [op] + other if rng.random() < 0.5 else other + [op] + words
    return ["logic", ":", *words, "="], [str(value).lower()]


def comparison(rng: random.Random) -> Item:
    """Whether a two-digit number is above (or below) another."""
    a, b = rng.sample(range(10, 100), 2)
    word = rng.choice(["above", "below"])
    return ["logic", ":", *str(a), word, *str(b), "="], [str((a > b) == (word == "above")).lower()]


def refrain(rng: random.Random) -> list[str]:
    """A list that is repeated in order, or pairs that are repeated in another order: dense practice in looking back."""
    if rng.random() < 0.5:
        pool = rng.choice(
            [W["object"] + W["adjective"], W["first"] + W["city"], W["color"] + W["animal"] + W["container"]]
        )
        words = rng.sample(pool, rng.randint(4, 12))
        return ["order", ":", *words, ".", "repeat", ":", *words, "."]
    form = rng.choice(list(GAP))
    pool = rng.sample(W["object"] + W["first"] + W["city"] + W["container"] + W["color"], 2 * rng.randint(3, 6))
    pairs = [form.format(k, v).split() + ["."] for k, v in zip(pool[::2], pool[1::2])]
    again = rng.sample(pairs, len(pairs))
    return ["order", ":"] + sum(pairs, []) + ["repeat", ":"] + sum(again, [])


@dataclass(frozen=True)
class World:
    """Ground truth drawn from `seed`.

    quotes: word lists of PREFIX - 1 + SUFFIX words, each repeated `quote_repeats` times in training.
    ladder: {repeats: [passages]}, the same kind of passage, repeated 1, 2, 4 ... times.
    rare: {(company, kind): (first, last)}, frequent: {(relation, country): value}.
    """

    seed: int
    quotes: list[list[str]]
    ladder: dict[int, list[list[str]]]
    rare: dict[tuple[str, str], tuple[str, str]]
    frequent: dict[tuple[str, str], str]
    quote_repeats: int = 72
    mix: dict = field(
        default_factory=lambda: dict(text=0.28, refrain=0.14, task=0.58)
    )  # of the rows that do not repeat


def make_world(
    seed: int,
    quotes: int = 128,
    rare: int = 120,
    ladder: Sequence[int] = (1, 2, 4, 8, 16, 32),
    rung: int = 16,
    quote_repeats: int = 72,
) -> World:
    """The world of one training seed; the same arguments give the same world on every machine.

    quotes: passages, each repeated `quote_repeats` times. rare: companies. ladder: numbers of repeats, with `rung`
    passages for each.
    """
    rng = random.Random(f"world {seed}")
    passage = lambda: text(rng, PREFIX - 1 + SUFFIX)
    repeated = [passage() for _ in range(quotes)]
    steps = {n: [passage() for _ in range(rung)] for n in ladder}
    capitals = rng.sample(W["city"], len(W["country"]))
    frequent = {}
    for country, capital in zip(W["country"], capitals):
        frequent["capital", country] = capital
        frequent["currency", country] = rng.choice(W["currency"])
        frequent["language", country] = rng.choice(W["language"])
    companies = rng.sample(list(itertools.product(W["company1"], W["company2"])), rare)
    bosses = {c: (rng.choice(W["first"]), rng.choice(W["last"])) for c in companies}
    return World(seed, repeated, steps, bosses, frequent, quote_repeats)


def settings(world: World) -> dict:
    """The arguments of `make_world` that gave this world, as JSON values."""
    return dict(
        seed=world.seed,
        quotes=len(world.quotes),
        rare=len(world.rare),
        ladder=list(world.ladder),
        rung=len(next(iter(world.ladder.values()))),
        quote_repeats=world.quote_repeats,
    )


def digest(world: World) -> str:
    """SHA-256 of everything that the seed decides."""
    truth = [
        world.quotes,
        list(world.ladder.items()),
        list(world.rare.items()),
        list(world.frequent.items()),
        VOCABULARY,
    ]
    return hashlib.sha256(json.dumps(truth).encode()).hexdigest()


def rare_item(world: World, company: tuple[str, str], statement: bool = False) -> Item:
    """A question or a statement about the head of a company."""
    head = ["the", "ceo", "of", *company]
    return (head + ["is"] if statement else ["question", ":", "who", "is", *head, "?", "answer", ":"]), list(
        world.rare[company]
    )


def frequent_item(world: World, key: tuple[str, str], statement: bool = False) -> Item:
    """The capital, currency or language of a country, as a question or as a statement; key: (relation, country)."""
    head = ["the", key[0], "of", key[1]]
    return (head + ["is"] if statement else ["question", ":", "what", "is", *head, "?", "answer", ":"]), [
        world.frequent[key]
    ]


def items(world: World, kind: str, rng: random.Random, several: bool = False) -> list[Item]:
    """Training items of one of TASKS that share a context: one, or `several` for one of LOOKUPS."""
    statement = rng.random() < 0.4
    if kind == "facts_rare":
        return [rare_item(world, rng.choice(list(world.rare)), statement)]
    if kind == "facts_frequent":
        return [frequent_item(world, rng.choice(list(world.frequent)), statement)]
    if kind == "arithmetic":
        while True:
            op = rng.choice("+-")
            a, b = rng.randint(10, 99), rng.randint(10, 99)
            a, b = (max(a, b), min(a, b)) if op == "-" else (a, b)
            if not held_out(op, a, b):
                return [sum_item(op, a, b)]
    if kind in LOOKUPS:
        return dict(open_book=open_book, deduction=deduction, tracking=tracking)[kind](rng, several)
    return [dict(boolean=boolean, comparison=comparison)[kind](rng)]


def row(
    world: World, kind: str, rng: random.Random, passage: Sequence[str] | None = None
) -> tuple[list[int], list[float]]:
    """One training row: (token ids, weights in the loss), `ROW` of each.

    kind: "text", "refrain", "task" or "quote", which takes a passage.
    """
    ids, weights = [BOS], [1.0]

    def add(words, weight=1.0):
        ids.extend(encode(words))
        weights.extend([weight] * (len(ids) - len(weights)))

    if kind == "quote":
        add(passage)
        ids.append(EOS)
        add(text(rng, ROW - len(ids)))
    while len(ids) < ROW:
        if kind == "text":
            add(text(rng))
        elif kind == "refrain":
            add(refrain(rng))
        else:
            chosen = rng.choices(TASKS, [expected_share(t) for t in TASKS])[0]
            for prompt, answer in items(world, chosen, rng, several=True):
                add(prompt)
                add(answer, ANSWER_WEIGHT)
                if answer[-1] != ".":
                    add(["."])
    return ids[:ROW], weights[:ROW]


def schedule(world: World, rows: int, further: int = 0) -> list[tuple[str, list[str] | None]]:
    """The kinds of `rows` training rows, shuffled, with exact repeat counts: [(kind, passage or None)].

    The first schedule (further=0) repeats every passage as often as the world says, every further one half as often,
    rounded down. Raises ValueError if `rows` are too few for the repetitions.
    """
    rng = random.Random(f"schedule {world.seed}" + f" {further}" * (further > 0))
    share = 2 if further else 1
    repeated = [("quote", q) for q in world.quotes for _ in range(world.quote_repeats // share)]
    repeated += [("quote", p) for n, passages in world.ladder.items() for p in passages for _ in range(n // share)]
    if len(repeated) > rows:
        raise ValueError(f"{rows} rows cannot hold {len(repeated)} repetitions: take more steps or fewer repeats")
    kinds = rng.choices(list(world.mix), list(world.mix.values()), k=rows - len(repeated))
    plan = repeated + [(k, None) for k in kinds]
    rng.shuffle(plan)
    return plan
