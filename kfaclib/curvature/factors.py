"""A and G: two small covariances per linear layer, collected in one pass.

For a layer W [O, I] with inputs a and output gradients g of the *summed* loss, A = mean a a^T and
G = mean g g^T over the contributing tokens, uncentred.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from tqdm.auto import tqdm

from kfaclib import kernels
from kfaclib.curvature.capture import capture
from kfaclib.curvature.classifiers import backward_classes, cls_mask
from kfaclib.curvature.passes import Batch, as_batch, backward, check_model, check_pass, owners


@dataclass(frozen=True)
class Factors:
    """Second moments of one layer: A [I, I], G [O, O], and the number of tokens that they are a mean over.

    A = mean a a^T of the inputs; G = mean g g^T of the output gradients, in squared nats per squared output.
    """

    A: torch.Tensor
    G: torch.Tensor
    tokens: int


@dataclass
class Sums:
    """What a collection has added up so far, enough to continue from.

    total: {(name, "A" or "G"): [d, d]}. owner: {name: the layer whose A it shares}. tokens: {name: rows added}.
    """

    total: dict = field(default_factory=dict)
    owner: dict = field(default_factory=dict)
    tokens: dict = field(default_factory=dict)


def add_(total: torch.Tensor, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Add x^T x to the lower triangle of total [d, d], in place; returns total.

    x: [T, d]; mask: bool [T], of the rows that count. The product is taken on the device of x, also where the sum lives
    elsewhere.
    """
    if total.device == x.device:
        return kernels.syrk_(total, x, mask=mask)
    return total.add_(add_(torch.zeros(total.shape, dtype=total.dtype, device=x.device), x, mask).to(total.device))


@contextmanager
def accumulating(
    model: torch.nn.Module,
    layers: dict[str, torch.nn.Linear],
    sums: Sums,
    *,
    labels: str = "sampled",
    tokens: str = "all",
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Iterator[Callable[[object], None]]:
    """Yield a function that adds the sums of a a^T and g g^T over one batch to `sums`, in place.

    labels, tokens, temperature, generator: as for `collect_factors`. device: where the sums live; by default with the
    model. With exact labels a batch takes one pass for each class, and the following holds for each pass.

    Raises FloatingPointError for a batch with a value that is not finite, and torch.OutOfMemoryError if its forward or
    backward pass runs out of memory; nothing of that batch is added then. Raises MemoryError if memory runs out while
    a batch is being added: the sums then hold a part of it and cannot be used. Raises ValueError for `tokens` or a
    `temperature` that do not go together with `labels`.
    """
    if tokens not in ("all", "cls"):
        raise ValueError(f"tokens={tokens!r}: it is 'all', or 'cls' for a classifier's first token alone")
    if temperature != 1 and labels != "exact":
        raise ValueError(
            f"temperature={temperature} goes with labels='exact' only: sampled labels come from the model as it is"
        )
    inputs, gradients = {}, {}
    dtype = torch.float64 if next(model.parameters()).dtype == torch.float64 else torch.float32

    def rounds(batch):
        """Run the passes that a batch takes and yield the mask of contributing rows (None: all) after each."""
        if labels == "exact":
            yield from backward_classes(model, batch, temperature)
        else:
            yield backward(model, batch, labels=labels, generator=generator)

    def rows_of(mask, first):
        """(name, side, x [T, d]) of everything that is to be added, checked; a shared A once, and only in the first
        pass over a batch."""
        count = None if mask is None else int(mask.sum())
        owner = owners({name: inputs[name] for name in layers})
        for name in layers:
            if sums.owner.setdefault(name, owner[name]) != owner[name]:
                raise RuntimeError(
                    f"layer {name!r} shared its input with {sums.owner[name]!r} before and no longer does: collect "
                    "it alone"
                )
            a, g = inputs[name].flatten(0, -2), gradients[name].flatten(0, -2)
            n_a, n_g = (len(x) if mask is None or len(x) != mask.numel() else count for x in (a, g))
            if n_a != n_g:
                raise RuntimeError(
                    f"layer {name!r} saw {n_a} inputs and {n_g} gradients: some of its calls did not reach the loss"
                )
            if first:
                sums.tokens[name] = sums.tokens.get(name, 0) + n_a
                if owner[name] == name:
                    yield name, "A", a
            yield name, "G", g

    def add(batch):
        inputs.clear()
        gradients.clear()
        for number, mask in enumerate(rounds(as_batch(batch))):
            check_pass(layers, inputs, gradients)
            if tokens == "cls":
                mask = cls_mask({name: inputs[name] for name in layers}, mask)
            add_pass(mask, number == 0)

    def add_pass(mask, first):
        if not sums.total:
            owner = owners({name: inputs[name] for name in layers})
            wanted = [(name, "A", inputs[name]) for name in layers if owner[name] == name] + [
                (name, "G", gradients[name]) for name in layers
            ]
            fresh = {
                (name, side): torch.zeros(x.shape[-1], x.shape[-1], dtype=dtype, device=device or x.device)
                for name, side, x in wanted
            }
            sums.total.update(fresh)  # all or none of them
        try:
            for name, side, x in rows_of(mask, first):
                add_(sums.total[name, side], x, None if mask is None else mask.flatten())
        except torch.OutOfMemoryError:
            raise MemoryError(
                "out of memory while a batch was being added: run again with a smaller --batch, more --passes or sums "
                "on the CPU (--sums cpu)"
            ) from None
        finally:
            inputs.clear()
            gradients.clear()

    with capture(model, layers, on_input=inputs.__setitem__, on_output_gradient=gradients.__setitem__):
        yield add


def means(sums: Sums) -> dict[str, Factors]:
    """The factors of a finished collection, {name: Factors}; they take over the memory of the sums.

    Raises ValueError if there was no batch, FloatingPointError naming a layer whose sum is not finite.
    """
    if not sums.total:
        raise ValueError("there was no batch to collect from: the corpus is empty")
    for (name, side), total in sums.total.items():
        # only the lower triangle is summed, exchanged and kept in checkpoints
        kernels.symmetrize_(total).div_(sums.tokens[name])
        if not torch.isfinite(total.sum()):
            raise FloatingPointError(
                f"{side} of layer {name!r} is not finite after {sums.tokens[name]} tokens: its sum left the range of "
                f"{total.dtype}"
            )
    return {
        name: Factors(sums.total[owner, "A"], sums.total[name, "G"], sums.tokens[name])
        for name, owner in sums.owner.items()
    }


def collect_factors(
    model: torch.nn.Module,
    batches: Iterable[Batch],
    layers: dict[str, torch.nn.Linear],
    *,
    labels: str = "sampled",
    tokens: str = "all",
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
    progress: bool = True,
) -> dict[str, Factors]:
    """Collect K-FAC's factors A and G in one pass over `batches`: {name: Factors} (Martens and Grosse 2015, arXiv
    1503.05671; for convolutions and other shared weights Grosse and Martens 2016, arXiv 1602.01407).

    model: a causal LM of transformers, or a classifier (of transformers, or any module that returns logits [B, V]).
    batches: token ids [B, S], inputs, pairs (inputs, labels), or dicts of what the model's forward takes;
    "attention_mask" marks padding. layers: from `linear_layers`.

    labels: "sampled", one for each token or example, drawn from the model with `generator` (a torch.Generator on the
    CPU); "data", the next tokens or the batch's "labels", for the empirical Fisher (Kunstner et al. 2019, arXiv
    1905.12558); for a classifier also "exact", the expectation over all its classes, of softmax(logits / temperature),
    by one pass for each. Only sampling needs the generator. tokens: "all", or "cls" for the first token alone, as
    Merullo et al. (2025, arXiv 2510.24256) take it for ViT-B/16.

    Sums are float32 (float64 for a float64 model) whatever the model's dtype; layers that read the same input tensor
    share one A. Raises ValueError for a model whose output gradient has no closed form, RuntimeError or
    FloatingPointError naming the layer that was not reached or is not finite. `kfaclib.collecting.run` is the same for
    a long-running collection: planned, resumable, on several processes.
    """
    if labels == "sampled" and generator is None:
        raise ValueError(
            "labels='sampled' are drawn: give generator=torch.Generator().manual_seed(...), one for all draws"
        )
    check_model(model)
    sums = Sums()
    with accumulating(
        model, layers, sums, labels=labels, tokens=tokens, temperature=temperature, generator=generator
    ) as add:
        for batch in tqdm(batches, desc="collecting A and G") if progress else batches:
            add(batch)
    return means(sums)
