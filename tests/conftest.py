"""The fixtures that all tests share."""

import os
from types import SimpleNamespace

import pytest
import torch
from filelock import FileLock

from kfcourse import paths
from kfcourse.learning import exercises
from kfcourse.notebooks import notebooks
from kfcourse.site import pages
from tiny import CHECKS, tiny_chapter


@pytest.fixture(scope="session")
def whole_site(tmp_path_factory):
    """The folder of the site of all chapters. It takes a minute, so it is written by the process that asks first, for
    both. That it is written at all means that Sphinx had nothing to warn of."""
    both = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        both = both.parent
    with FileLock(both / "site.lock"):
        if not (both / "site").exists():
            pages.render({path.stem: notebooks.read(path) for path in notebooks.chapters()}, both / "site")
    return both / "site"


@pytest.fixture
def checkout(monkeypatch, tmp_path):
    """An empty checkout with the tiny chapter's checks; the course's paths point at it, and friendly mode is on."""
    folders = {"ROOT": "", "DATA": "data", "CHAPTERS": "chapters", "WORK": "work", "BUILD": "build"}
    for name, part in folders.items():
        monkeypatch.setattr(paths, name, tmp_path / part)
    checks = tmp_path / "kfcourse" / "ch97"
    for folder in (checks, paths.CHAPTERS, paths.DATA):
        folder.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text("")
    (checks / "checks.py").write_text(CHECKS)
    for name in ("CI", "KFAC_STRICT", "KFAC_SOLUTIONS"):
        monkeypatch.delenv(name, raising=False)
    yield tmp_path
    exercises.chapter_module.cache_clear()
    exercises._active.clear()
    exercises._hints_given.clear()


@pytest.fixture
def tiny_path(checkout):
    """The tiny chapter, not executed, in the tiny checkout."""
    notebooks.write(tiny_chapter(), paths.CHAPTERS / "97_tiny.ipynb")
    return paths.CHAPTERS / "97_tiny.ipynb"


# Small models that a test of the numerics can build in milliseconds: float64, where theorems hold to rounding.


class Classifier(torch.nn.Module):
    """nn.Sequential behind the interface of a classifier from transformers: forward(x) gives `.logits`."""

    def __init__(self, *stack):
        super().__init__()
        self.net = torch.nn.Sequential(*stack)

    def forward(self, x):
        return SimpleNamespace(logits=self.net(x))


@pytest.fixture
def mlp():
    """A factory: mlp([4, 6, 3], activation=nn.ReLU) is a float64 `Classifier`; activation=None makes a deep linear
    net.
    """

    def make(sizes, activation=torch.nn.ReLU, seed=0):
        torch.manual_seed(seed)
        stack = []
        for before, after in zip(sizes, sizes[1:], strict=False):
            stack += [torch.nn.Linear(before, after)] + ([activation()] if activation else [])
        return Classifier(*(stack[:-1] if activation else stack)).double()

    return make


@pytest.fixture
def tiny_olmo():
    """A factory: an OLMo-2 with 37 words and two blocks of width 16, random, float64."""
    from transformers import Olmo2Config, Olmo2ForCausalLM

    def make(seed=0, **changes):
        torch.manual_seed(seed)
        settings = dict(
            vocab_size=37,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=128,
            tie_word_embeddings=False,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            initializer_range=0.3,
        )
        return Olmo2ForCausalLM(Olmo2Config(**(settings | changes))).double().eval()

    return make


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A saved olmo2-mini that was never trained."""
    from kfaclib.toy import small_olmo2
    from kfaclib.toy import world as w

    path = tmp_path_factory.mktemp("models") / "untrained"
    small_olmo2.save(small_olmo2.make_model("olmo2-mini", seed=5), path, w.make_world(5, quotes=6, rare=6, rung=1))
    return path
