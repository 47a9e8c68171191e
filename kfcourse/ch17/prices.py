"""The predicted price of a candidate, taken apart: which step of the prediction misses how much."""

# From K-FAC's prediction to the measured rise of the loss, one thing at a time: (what changes, numerator, denominator)
STEPS = (
    ("K-FAC's product and drawn labels", ("alone", "collected"), ("cost", None)),
    ("the rows that were collected on", ("alone", "other rows"), ("alone", "collected")),
    ("layers one by one", ("exact", "other rows"), ("alone", "other rows")),
    ("another kind of text", ("exact", "stories"), ("exact", "other rows")),
    ("a quadratic form far from its centre", ("kl", "stories"), ("exact", "stories")),
    ("the text's words, not the model's", ("loss", "stories"), ("kl", "stories")),
)


def total(rows, what):
    """The sum of a price over candidates; what: (key, kind of text or None)."""
    key, kind = what
    return sum(row[key] if kind is None else row[key][kind] for row in rows)


def taken_apart(rows):
    """{what changes: factor} of one seed's candidates; the product is measured over predicted, both summed over
    candidates."""
    return {name: total(rows, above) / total(rows, below) for name, above, below in STEPS}


def flat(rows, kind):
    """The rows as `sweep.cheapest` takes them, with "exact" and "alone" of one kind of text."""
    return [{**row, "exact": row["exact"][kind], "alone": row["alone"][kind]} for row in rows]
