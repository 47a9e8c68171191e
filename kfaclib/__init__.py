"""Curvature, K-FAC and the memorization edit: the library behind the course.

Which folder holds what:

    curvature/   the factors A and G, their eigenbases, spectra, products with the Hessian, slices of the loss
    editing/     the edit by curvature, its baselines, the choice of layers, the edited model's files
    collecting/  collecting on a real model: the plan, the checkpoints, `run(CollectConfig(...))`
    lm/          language models: loading, recitation, perplexity, corpora, mining, relearning, detection
    vision/      ViTs that learned wrong labels
    toy/         the small worlds and models that the defaults run on
    smollm2/     a real pretrained model for a laptop, its texts, and what it is taught
    kernels/     the symmetric product and the labels' gradient, in Triton and in plain PyTorch
    bench/       how fast all this is on a machine
    io/          files and folders that are whole or not there, options, errors, tables, the course's data
    commands/    `kfac`: a module for each shell command, with a function of the command's name

What is looked for most often:

    A and G are summed         curvature/factors.py, `accumulating`
    a label is sampled         curvature/labels.py, `sample_labels`
    the mask is made           editing/edit.py, `keep_prefix` and `prefix_mask`
    the weights are projected  editing/edit.py, `project`
    hooks are set and removed  curvature/capture.py, `capture`

The names below are imported on first use, so that `import kfaclib` takes no time.
"""

import importlib

__version__ = "0.1.0"

_PLACES = {
    "linear_layers": "curvature.layers",
    "Factors": "curvature.factors",
    "collect_factors": "curvature.factors",
    "save_factors": "curvature.factor_file",
    "load_factors": "curvature.factor_file",
    "Eigenbasis": "curvature.eigenbasis",
    "decompose": "curvature.eigenbasis",
    "collect_eigenvalues": "curvature.eigenbasis",
    "keep_prefix": "editing.edit",
    "keep_mask": "editing.edit",
    "edit_weights": "editing.edit",
    "edited": "editing.edit",
    "load": "lm.models",
    "recitation": "lm.recitation",
    "perplexity": "lm.recitation",
    "CollectConfig": "collecting.collection",
}
_FOLDERS = (
    "bench",
    "collecting",
    "commands",
    "curvature",
    "editing",
    "io",
    "kernels",
    "lm",
    "smollm2",
    "toy",
    "vision",
)
__all__ = sorted(_PLACES)


def __getattr__(name):
    if name in _PLACES:
        return getattr(importlib.import_module(f"kfaclib.{_PLACES[name]}"), name)
    if name in _FOLDERS:
        return importlib.import_module(f"kfaclib.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *__all__])
