"""Right answers to the exercises of chapter 17, of unusual form."""

from scipy.stats import binomtest


def by_shapes(hidden, ffn, blocks, projections):
    shapes = {"gate": (ffn, hidden), "up": (ffn, hidden), "down": (hidden, ffn)}
    inputs = {shapes[name][1] for name in projections}  # gate and up read the same one
    return 4 * blocks * (sum(shapes[name][0] ** 2 for name in projections) + sum(width**2 for width in inputs))


def with_integers(widths, per_direction, rate, seconds):
    wanted = -int(-per_direction * sorted(widths)[-1] // 1)
    affordable = int(rate * seconds // 1)
    enough = not affordable < wanted
    return dict(enough=enough, tokens=wanted if enough else affordable)


def by_sorting(rows, bar):
    good = sorted(
        (row["choose"]["perplexity"], i)
        for i, row in enumerate(rows)
        if row["blocks"] and row["choose"]["strict"] <= bar
    )
    return rows[good[0][1]] if good else None


def by_scipy(rows, bar):
    best = by_sorting(rows, bar)
    if not best:
        return None
    seen, chose = best["report"], best["choose"]
    found = binomtest(round(seen["strict"] * seen["windows"]), seen["windows"]).proportion_ci(0.95, "wilson")
    return {
        "optimism": seen["strict"] - chose["strict"],
        "ratio": seen["perplexity"] / rows[0]["report"]["perplexity"],
        "interval": (found.low, found.high),
        "strict": seen["strict"],
        "tried": sum(row["blocks"] is not None for row in rows),
        "blocks": best["blocks"],
    }


RIGHT = {
    "17.factor_bytes": [by_shapes],
    "17.tokens_wanted": [with_integers],
    "17.choose": [by_sorting],
    "17.report": [by_scipy],
}
