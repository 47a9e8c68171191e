"""Chapter 10: fresh inputs for every exercise, and a question of one's own for every student."""

import torch

from kfcourse.grading.variants import Variant, falling_spectrum, one_of, orthogonal, real, tenths, whole


def _weighted_columns(g):
    c = tenths(g, 0.2, 1)
    return (
        f"Sort by Pi after column number j (counted from 0) was multiplied by 1 + {c} j.",
        lambda ref: lambda Pi, edges: ref(Pi * (1 + c * torch.arange(Pi.shape[1], dtype=Pi.dtype)), edges),
    )


def _bands(g):
    Pi = falling_spectrum(g)
    Q_A = orthogonal(g, Pi.shape[1])
    pairs = torch.randint(0, 3, Pi.shape, generator=g)
    pairs[0, :3] = torch.arange(3)
    return real(g, whole(g, 5, 9), Pi.shape[1]), Q_A, pairs


def _mean_of_powers(g):
    c = tenths(g, 1.5, 3)

    def band_activity(x, Q_A, pairs):
        a = (x @ Q_A).abs().pow(c).mean(0).expand(pairs.shape)
        return torch.stack([a[pairs == band].mean() for band in range(int(pairs.max()) + 1)])

    return f"Take the mean of the absolute values to the power {c}.", lambda ref: band_activity


def _last_weighted(g):
    c = whole(g, 2, 9)
    return f"Return {c} times both numbers.", lambda ref: lambda: tuple(c * value for value in ref())


class _Summing(torch.nn.Module):
    """Embeds tokens and adds up what came before; its layer sees that."""

    def __init__(self, table, layer):
        super().__init__()
        self.table, self.layer = table, layer

    def forward(self, input_ids, **ignored):
        return self.layer(self.table[input_ids].cumsum(-2))


def _items(g):
    width = whole(g, 3, 6)
    layer = torch.nn.Linear(width, 2, bias=False).requires_grad_(False)
    layer.weight.copy_(real(g, 2, width))
    drawn = lambda n: torch.randint(20, (n,), generator=g).tolist()
    items = [(drawn(whole(g, 2, 5)), drawn(whole(g, 1, 4))) for _ in range(3)]
    return _Summing(real(g, 20, width).float(), layer), "layer", items


def _one_more(g):
    c = whole(g, 2, 9)
    return (f"Multiply the inputs by {c}.", lambda ref: lambda model, name, items: c * ref(model, name, items))


def _control(g):
    pairs = torch.randint(0, 3, (whole(g, 4, 7), whole(g, 4, 7)), generator=g)
    return pairs, torch.Generator().manual_seed(whole(g, 0, 1000))


def _as_large(a, b, arguments):
    """Another mixing is as good: what counts is how many pairs a band has, and that they are not where they were."""
    pairs, b = arguments[0], torch.as_tensor(b)
    return b.shape == a.shape and torch.equal(b.flatten().sort()[0], a.flatten().sort()[0]) and not b.equal(pairs)


def _numbered_from(g):
    c = whole(g, 1, 9)
    return f"Number the bands from {c} instead of 0.", lambda ref: lambda pairs, generator: ref(pairs, generator) + c


VARIANTS = {
    "10.bands": Variant(
        lambda g: (falling_spectrum(g), one_of(g, (0.1, 0.3, 0.6), (0.2, 0.5), (0.15, 0.4, 0.8))), _weighted_columns
    ),
    "10.band_activity": Variant(_bands, _mean_of_powers),
    "10.by_hand": Variant(lambda g: (), _last_weighted),
    "10.answer_inputs": Variant(_items, _one_more),
    "10.shuffled_bands": Variant(_control, _numbered_from, _as_large),
}
