"""A and G: two small covariances per linear layer, collected in one pass, kept in one file.

For a layer W [O, I] with inputs a and output gradients g of the *summed* loss, A = mean a a^T and
G = mean g g^T over the contributing tokens, uncentred.  A causal LM's last position and padding do not contribute.
"""

import hashlib
import json
from dataclasses import dataclass

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tqdm.auto import tqdm

from kfaclib import files
from kfaclib.capture import capture
from kfaclib.fisher import logit_gradient, output_gradient, sample_labels


@dataclass(frozen=True)
class Factors:
    """Second moments of one layer: A [I, I], G [O, O], and the number of tokens they are a mean over."""

    A: torch.Tensor
    G: torch.Tensor
    tokens: int


def as_batch(batch):
    """A batch as a dict of tensors: token ids [B, S] become {"input_ids": ids}; for a plain module, floating-point inputs
    become {"x": inputs} and a pair (inputs, labels) becomes {"x": inputs, "labels": labels}."""
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
        raise ValueError(f"a batch of shape {tuple(ids.shape)} has no position with a next token: there is no target to take a "
                         "gradient of; drop empty documents and use windows of at least two tokens")
    return mask


def _check_recorded(output):
    if not output.requires_grad:
        raise RuntimeError("none of the chosen layers took part in this batch: take them from this very model, with "
                           "`linear_layers`")


def backward(model, batch, *, labels, generator):
    """One forward and one backward pass of the summed loss; returns the mask of contributing rows (None: all).

    A causal LM gets the closed-form gradient at its last hidden states; a classifier (batch with "pixel_values" or
    whatever its forward takes; a plain module may return the logits themselves) gets softmax - onehot at its logits, and
    its rows are examples.
    labels: "sampled" from the model or "data" (next tokens, or batch["labels"]).
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
            raise ValueError(f"the model's logits have shape {tuple(logits.shape)}: a classifier's are [examples, classes]")
        if labels == "sampled":
            targets = sample_labels(logits.detach(), torch.rand(len(logits), generator=generator).to(device))
        _check_recorded(logits)
        logits.backward(logit_gradient(logits.detach(), targets).to(logits.dtype))
        return None
    mask = token_mask(batch)
    hidden = model.get_decoder()(**batch, use_cache=False).last_hidden_state
    _check_recorded(hidden)
    ids = batch["input_ids"]
    flat = hidden.detach().flatten(0, 1)
    drawn = dict(uniform=torch.rand(ids.numel(), generator=generator, dtype=torch.float64).to(device)) if labels == "sampled" else \
        dict(labels=ids.roll(-1, 1).flatten())
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
        raise ValueError(f"{type(model).__name__} does something to its logits after the unembedding (a bias, a scale, a soft "
                         "cap): the closed-form output gradient would be wrong, so this model is refused")


def _rows(x, mask):
    return x.flatten(0, -2) if mask is None else x[mask]


def check_pass(layers, inputs, gradients):
    """Raise RuntimeError naming a layer that no gradient reached, or FloatingPointError naming the layer where a value that
    is not finite came up first: on the way forward, then on the way back."""
    for name in layers:
        if name not in gradients:
            raise RuntimeError(f"layer {name!r} took no part in the loss of this batch: no gradient reached it")
    forward = [(name, "activations", inputs[name]) for name in layers]
    back = [(name, "output gradients", gradients[name]) for name in reversed(layers)]
    for name, what, x in forward + back:
        if not torch.isfinite(x.sum(dtype=torch.float64 if x.dtype == torch.float64 else torch.float32)):
            raise FloatingPointError(f"layer {name!r}: its {what} are not finite in this batch; nothing of the batch was "
                                     "added. Look for an overflow (load the model in bfloat16 or float32 instead of float16) "
                                     "or a broken checkpoint")


def collect_factors(model, batches, layers, *, labels="sampled", generator, progress=True):
    """One pass over `batches`: {name: Factors}.

    model: a causal LM of transformers, or a classifier (of transformers, or any module that returns logits [B, V]).
    batches: token ids [B, S], inputs, pairs (inputs, labels), or dicts of what the model's forward takes;
    "attention_mask" marks padding.  layers: from `linear_layers`.  generator: the
    torch.Generator (CPU) that label sampling uses.
    Sums are float32 (float64 for a float64 model) whatever the model's dtype; layers that are handed the
    same input tensor share one A.  Nothing of a batch is added if any of it is not finite.
    """
    sums, shared, tokens = {}, {}, dict.fromkeys(layers, 0)
    inputs, gradients = {}, {}
    dtype = torch.float64 if next(model.parameters()).dtype == torch.float64 else torch.float32
    was_training = model.training
    model.eval()
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    if head is not None:
        check_head(model, torch.arange(8)[None] % len(head.weight))

    def add(key, x):
        x = x.to(dtype)
        if key not in sums:
            sums[key] = torch.zeros(x.shape[-1], x.shape[-1], dtype=dtype, device=x.device)
        sums[key].addmm_(x.T, x)

    try:
        with capture(model, layers, on_input=inputs.__setitem__, on_output_gradient=gradients.__setitem__):
            for batch in tqdm(batches, desc="collecting A and G") if progress else batches:
                batch = as_batch(batch)
                inputs.clear()
                gradients.clear()
                mask = backward(model, batch, labels=labels, generator=generator)
                check_pass(layers, inputs, gradients)
                owner = {}
                for name in layers:
                    a = inputs[name]
                    first = owner.setdefault((a.data_ptr(), a.shape, a.stride()), name)  # the same memory read the same way
                    if shared.setdefault(name, first) != first:
                        raise RuntimeError(f"layer {name!r} shared its input with {shared[name]!r} before and no longer does: collect it alone")
                    n_a, n_g = (len(_rows(x, mask)) for x in (inputs[name], gradients[name]))
                    if n_a != n_g:
                        raise RuntimeError(f"layer {name!r} saw {n_a} inputs and {n_g} gradients: some of its calls did not reach the loss")
                    if first == name:
                        add((name, "A"), _rows(inputs[name], mask))
                    add((name, "G"), _rows(gradients[name], mask))
                    tokens[name] += n_a
    finally:
        model.train(was_training)
    if not sums:
        raise ValueError("there was no batch to collect from: the corpus is empty")
    mean = {(name, side): value / tokens[name] for (name, side), value in sums.items()}
    return {name: Factors(mean[shared[name], "A"], mean[name, "G"], tokens[name]) for name in layers}


def _digest(tensors, header=None):
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name, x in sorted(tensors.items()):
        digest.update(f"{name} {x.dtype} {tuple(x.shape)}".encode())
        digest.update(x.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def fingerprint(layers):
    """{name: SHA-256 of its weight}: tells the model whose factors these are from its cousins."""
    return {name: _digest({"weight": layer.weight}) for name, layer in layers.items()}


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
    header = dict(format="kfaclib factors 1", tokens={name: f.tokens for name, f in factors.items()}, A=source,
                  weights=fingerprint({name: layers[name] for name in factors}), notes=notes)
    header["digest"] = _digest(tensors, header)
    with files.atomic(path) as temporary:
        save_file(tensors, temporary, metadata={"kfaclib": json.dumps(header)})


def load_factors(path, layers=None):
    """Read `save_factors`' file: {name: Factors}.

    Raises ValueError, naming the file, if it is cut short, changed, not a factor file, or (with `layers`) was
    collected on other weights than these.
    """
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {}).get("kfaclib", "null"))
            tensors = {key: file.get_tensor(key) for key in file.keys()}
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing: collect the factors first, with `kfac collect`") from None
    except Exception as error:  # safetensors has one exception for every kind of damage
        raise ValueError(f"{path} cannot be read as safetensors ({error}): it is cut short or damaged; collect it again") from None
    if not header or not str(header.get("format", "")).startswith("kfaclib factors"):
        raise ValueError(f"{path} is a safetensors file, but not one of factors: was it written by `kfac collect`?")
    if _digest(tensors, {key: value for key, value in header.items() if key != "digest"}) != header.get("digest"):
        raise ValueError(f"{path} does not have its recorded SHA-256: its content changed; collect it again")
    factors = {name: Factors(tensors[place], tensors[f"{name}.G"], header["tokens"][name]) for name, place in header["A"].items()}
    if layers is not None:
        unknown = [name for name in layers if name not in factors]
        if unknown:
            raise ValueError(f"{path} has no factors of layer {unknown[0]!r}; it has {', '.join(list(factors)[:4])}")
        now = fingerprint(layers)
        for name, layer in layers.items():
            if now[name] != header["weights"][name]:
                raise ValueError(f"{path} was collected on another model: layer {name!r} has other weights there "
                                 f"(A {tuple(factors[name].A.shape)}, here W {tuple(layer.weight.shape)}); collect on this model")
    return factors
