"""A and G: two small covariances per linear layer, collected in one pass, kept in one file.

For a layer W [O, I] with inputs a and output gradients g of the *summed* loss, A = mean a a^T and
G = mean g g^T over the contributing tokens, uncentred.  A causal LM's last position and padding do not contribute.
"""

import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from tqdm.auto import tqdm

from kfaclib import kernels
from kfaclib.curvature.capture import capture
from kfaclib.curvature.labels import logit_gradient, output_gradient, sample_labels
from kfaclib.io import storage

FACTORS = re.compile(r"factors(-\d+-of-\d+)?\.safetensors")  # what `kfac collect` calls its files, and nothing else


@dataclass(frozen=True)
class Factors:
    """Second moments of one layer: A [I, I], G [O, O], and the number of tokens they are a mean over."""

    A: torch.Tensor
    G: torch.Tensor
    tokens: int


@dataclass
class Sums:
    """What a collection has added up so far, enough to go on from: total {(name, "A" or "G"): [d, d]}, owner {name: the
    layer whose A it shares} and tokens {name: rows added}."""

    total: dict = field(default_factory=dict)
    owner: dict = field(default_factory=dict)
    tokens: dict = field(default_factory=dict)


def as_batch(batch):
    """A batch as a dict of tensors: token ids [B, S] become {"input_ids": ids}; for a plain module, floating-point
    inputs become {"x": inputs} and a pair (inputs, labels) becomes {"x": inputs, "labels": labels}."""
    if isinstance(batch, (tuple, list)):
        return dict(zip(("x", "labels"), batch, strict=True))
    if torch.is_tensor(batch):
        return {"x" if batch.is_floating_point() else "input_ids": batch}
    return dict(batch)


def token_mask(batch):
    """bool [B, S]: the positions whose next token is a real one; ValueError if there is none."""
    ids = batch["input_ids"]
    real = batch.get("attention_mask", torch.ones_like(ids)).bool()
    mask = torch.zeros_like(real)
    mask[:, :-1] = real[:, :-1] & real[:, 1:]
    if not mask.any():
        raise ValueError(
            f"a batch of shape {tuple(ids.shape)} has no position with a next token: there is no target to take a "
            "gradient of; drop empty documents and use windows of at least two tokens"
        )
    return mask


def _check_recorded(output):
    if not output.requires_grad:
        raise RuntimeError(
            "none of the chosen layers took part in this batch: take them from this very model, with `linear_layers`"
        )


def backward(model, batch, *, labels, generator):
    """One forward and one backward pass of the summed loss; returns the mask of contributing rows (None: all).

    A causal LM gets the closed-form gradient at its last hidden states; a classifier (batch with "pixel_values" or
    whatever its forward takes; a plain module may return the logits themselves) gets softmax - onehot at its logits,
    and its rows are examples. labels: "sampled" from the model or "data" (next tokens, or batch["labels"]). Sampling
    takes its random numbers from batch["uniform"] (float64 like input_ids) if it is there, from `generator` otherwise.
    """
    if labels not in ("sampled", "data"):
        raise ValueError(f"labels={labels!r}: it is 'sampled' (Fisher) or 'data' (empirical Fisher)")
    device = next(model.parameters()).device
    batch = {k: v.to(device) for k, v in batch.items()}
    if "input_ids" not in batch:
        targets = batch.pop("labels", None)
        if labels == "data" and targets is None:
            raise ValueError("labels='data' needs batch['labels'], and this batch has none")
        output = model(batch["x"]) if set(batch) == {"x"} else model(**batch)
        logits = getattr(output, "logits", output)
        if logits.ndim != 2:
            raise ValueError(
                f"the model's logits have shape {tuple(logits.shape)}: a classifier's are [examples, classes]"
            )
        if labels == "sampled":
            targets = sample_labels(logits.detach(), torch.rand(len(logits), generator=generator).to(device))
        _check_recorded(logits)
        logits.backward(logit_gradient(logits.detach(), targets).to(logits.dtype))
        return None
    uniform = batch.pop("uniform", None)
    mask = token_mask(batch)
    hidden = model.get_decoder()(**batch, use_cache=False).last_hidden_state
    _check_recorded(hidden)
    ids = batch["input_ids"]
    flat = hidden.detach().flatten(0, 1)
    if labels == "data":
        drawn = dict(labels=ids.roll(-1, 1).flatten())
    else:
        uniform = (
            torch.rand(ids.numel(), generator=generator, dtype=torch.float64).to(device)
            if uniform is None
            else uniform.flatten()
        )
        drawn = dict(uniform=uniform)
    gradient = output_gradient(flat, model.get_output_embeddings().weight, mask=mask.flatten(), **drawn)
    hidden.backward(gradient.view_as(hidden))
    return mask


@torch.no_grad()
def check_head(model, batch):
    """Raise ValueError if the logits are not plainly `unembedding @ hidden` (a cap, a scale or a bias would make the
    closed-form gradient wrong).  `collect_factors` calls it; a long job may call it earlier."""
    ids = as_batch(batch)["input_ids"][:1, :8].to(next(model.parameters()).device)
    head = model.get_output_embeddings()
    plain = model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state @ head.weight.T
    apart = (plain - model(input_ids=ids).logits).abs().max()
    rounding = 2e-2 if plain.element_size() == 2 else 1e-5
    if getattr(head, "bias", None) is not None or apart > rounding * plain.abs().max():
        raise ValueError(
            f"{type(model).__name__} does something to its logits after the unembedding (a bias, a scale, a soft "
            "cap): the closed-form output gradient would be wrong, so this model is refused"
        )


def _rows(x, mask):
    return x.flatten(0, -2) if mask is None else x[mask]


def check_pass(layers, inputs, gradients):
    """Raise RuntimeError naming a layer that no gradient reached, or FloatingPointError naming the layer where a value
    that is not finite came up first: on the way forward, then on the way back."""
    for name in layers:
        if name not in gradients:
            raise RuntimeError(f"layer {name!r} took no part in the loss of this batch: no gradient reached it")
    forward = [(name, "activations", inputs[name]) for name in layers]
    back = [(name, "output gradients", gradients[name]) for name in reversed(layers)]
    for name, what, x in forward + back:
        if not torch.isfinite(x.sum(dtype=torch.float64 if x.dtype == torch.float64 else torch.float32)):
            raise FloatingPointError(
                f"layer {name!r}: its {what} are not finite in this batch; nothing of the batch was "
                "added. Look for an overflow (load the model in bfloat16 or float32 instead of float16) "
                "or a broken checkpoint"
            )


def shared_inputs(model, layers):
    """{name: the first layer that is handed the same input tensor}, from one forward pass of a causal LM over two
    tokens.
    """
    inputs = {}
    device = next(model.parameters()).device
    with capture(model, layers, on_input=inputs.__setitem__, on_output_gradient=lambda *_: None):
        model.get_decoder()(input_ids=torch.zeros(1, 2, dtype=torch.int64, device=device), use_cache=False)
    unseen = [name for name in layers if name not in inputs]
    if unseen:
        raise ValueError(
            f"layer {unseen[0]!r} takes no part in the model's decoder: its curvature cannot be collected; leave it "
            "out of --layers"
        )
    return _owners(inputs)


def _owners(inputs):
    first = {}
    return {
        name: first.setdefault((a.data_ptr(), a.shape, a.stride()), name) for name, a in inputs.items()
    }  # same memory read the same way


def add_(total, x, mask=None):
    """Lower triangle of total [d, d] += x^T x for x [T, d] (its rows where mask [T] is True), on x's device even if the
    sum lives elsewhere."""
    if total.device == x.device:
        return kernels.syrk_(total, x, mask=mask)
    return total.add_(add_(torch.zeros(total.shape, dtype=total.dtype, device=x.device), x, mask).to(total.device))


@contextmanager
def accumulating(model, layers, sums, *, labels="sampled", generator=None, device=None):
    """Inside the block, the function that it yields adds a batch to `sums` (a `Sums`) and returns nothing.

    device: where the sums live; default is where the model is.  A batch of which any value is not finite, or that runs
    out of memory in its forward or backward pass, raises and adds nothing; if memory ends later, that is a MemoryError
    and the sums are no longer those of whole batches.
    """
    inputs, gradients = {}, {}
    dtype = torch.float64 if next(model.parameters()).dtype == torch.float64 else torch.float32
    was_training = model.training
    model.eval()

    def rows_of(mask):
        """(name, side, x [T, d]) of everything that is to be added, checked; a shared A once."""
        count = None if mask is None else int(mask.sum())
        owner = _owners({name: inputs[name] for name in layers})
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
            sums.tokens[name] = sums.tokens.get(name, 0) + n_a
            if owner[name] == name:
                yield name, "A", a
            yield name, "G", g

    def add(batch):
        inputs.clear()
        gradients.clear()
        mask = backward(model, as_batch(batch), labels=labels, generator=generator)
        check_pass(layers, inputs, gradients)
        if not sums.total:
            owner = _owners({name: inputs[name] for name in layers})
            wanted = [(name, "A", inputs[name]) for name in layers if owner[name] == name] + [
                (name, "G", gradients[name]) for name in layers
            ]
            fresh = {
                (name, side): torch.zeros(x.shape[-1], x.shape[-1], dtype=dtype, device=device or x.device)
                for name, side, x in wanted
            }
            sums.total.update(fresh)  # all or none of them
        try:
            for name, side, x in rows_of(mask):
                add_(sums.total[name, side], x, None if mask is None else mask.flatten())
        except torch.OutOfMemoryError:
            raise MemoryError(
                "out of memory while a batch was being added: run again with a smaller --batch, more --passes or "
                "sums on "
                "the CPU (--sums cpu)"
            ) from None
        finally:
            inputs.clear()
            gradients.clear()

    try:
        with capture(model, layers, on_input=inputs.__setitem__, on_output_gradient=gradients.__setitem__):
            yield add
    finally:
        model.train(was_training)


def means(sums):
    """{name: Factors} of a finished `Sums`, whose memory they take over."""
    if not sums.total:
        raise ValueError("there was no batch to collect from: the corpus is empty")
    for (name, side), total in sums.total.items():
        kernels.symmetrize_(total).div_(
            sums.tokens[name]
        )  # only the lower triangle is summed, exchanged and kept in checkpoints
        if not torch.isfinite(total.sum()):
            raise FloatingPointError(
                f"{side} of layer {name!r} is not finite after {sums.tokens[name]} tokens: its sum left the range of "
                f"{total.dtype}"
            )
    return {
        name: Factors(sums.total[owner, "A"], sums.total[name, "G"], sums.tokens[name])
        for name, owner in sums.owner.items()
    }


def check_model(model):
    """`check_head` on a few tokens, for a model that has a head to check."""
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    if head is not None:
        check_head(model, torch.arange(8)[None] % len(head.weight))


def collect_factors(model, batches, layers, *, labels="sampled", generator, progress=True):
    """One pass over `batches`: {name: Factors}.

    model: a causal LM of transformers, or a classifier (of transformers, or any module that returns logits [B, V]).
    batches: token ids [B, S], inputs, pairs (inputs, labels), or dicts of what the model's forward takes;
    "attention_mask" marks padding.  layers: from `linear_layers`.  generator: the
    torch.Generator (CPU) that label sampling uses.
    Sums are float32 (float64 for a float64 model) whatever the model's dtype; layers that are handed the
    same input tensor share one A.  Nothing of a batch is added if any of it is not finite.
    `kfaclib.collecting.resumable` is the same for a job of hours: planned, resumable, on several processes.
    """
    check_model(model)
    sums = Sums()
    with accumulating(model, layers, sums, labels=labels, generator=generator) as add:
        for batch in tqdm(batches, desc="collecting A and G") if progress else batches:
            add(batch)
    return means(sums)


def fingerprint(layers):
    """{name: [dtype, SHA-256 of its weight, SHA-256 of its weight in bfloat16]}: tells the model whose factors these
    are from its cousins, also if one of the two was loaded in another precision."""
    return {
        name: [
            str(layer.weight.dtype),
            storage.digest({"weight": layer.weight}),
            storage.digest({"weight": layer.weight.bfloat16()}),
        ]
        for name, layer in layers.items()
    }


def _same_weight(one, other):
    return one[1] == other[1] if one[0] == other[0] else one[2] == other[2]


def save_factors(path, factors, layers, **notes):
    """Write factors to one safetensors file, atomically; a shared A is written once.

    `layers` (from `linear_layers`) ties the file to the weights it was collected on; `notes` (labels, corpus, seed ...)
    are kept in its header.
    """
    tensors, source, places = {}, {}, {}
    for name, f in factors.items():
        place = places.setdefault(f.A.data_ptr(), f"{name}.A")
        source[name] = place
        tensors[place] = f.A.contiguous().cpu()
        tensors[f"{name}.G"] = f.G.contiguous().cpu()
    storage.write(
        path,
        tensors,
        dict(
            format="kfaclib factors 2",
            tokens={name: f.tokens for name, f in factors.items()},
            A=source,
            weights=fingerprint({name: layers[name] for name in factors}),
            notes=notes,
        ),
    )


def factor_files(path):
    """The factor files that `path` means: itself, or those that `kfac collect` left in this folder, one for each
    pass.
    """
    path = Path(path)
    found = sorted(p for p in path.iterdir() if FACTORS.fullmatch(p.name)) if path.is_dir() else [path]
    return found or [path / "factors.safetensors"]


def load_factors(path, layers=None):
    """Read `save_factors`' file, or a folder of them: {name: Factors}.

    Raises ValueError, naming the file, if it is cut short, changed, not a factor file, or (with `layers`) was
    collected on other weights than these.
    """
    factors, weights = {}, {}
    for file in factor_files(path):
        header, tensors = storage.read(file, "factors", version=2)
        factors |= {
            name: Factors(tensors[place], tensors[f"{name}.G"], header["tokens"][name])
            for name, place in header["A"].items()
        }
        weights |= header["weights"]
    if layers is not None:
        unknown = [name for name in layers if name not in factors]
        if unknown:
            raise ValueError(f"{path} has no factors of layer {unknown[0]!r}; it has {', '.join(list(factors)[:4])}")
        now = fingerprint(layers)
        for name, layer in layers.items():
            if not _same_weight(now[name], weights[name]):
                raise ValueError(
                    f"{path} was collected on another model: layer {name!r} has other weights there "
                    f"(A {tuple(factors[name].A.shape)}, here W {tuple(layer.weight.shape)}); collect on this model"
                )
    return factors
