"""The tiny ViT: its images and wrong labels, its factors, the controls, and the way to an ImageNet folder."""

import json
import math

import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, ViTConfig, ViTForImageClassification

from kfaclib.curvature import exact as testing
from kfaclib.curvature.capture import capture
from kfaclib.curvature.classifiers import backward_classes
from kfaclib.curvature.eigenbasis import decompose
from kfaclib.curvature.factors import collect_factors
from kfaclib.curvature.layers import linear_layers
from kfaclib.editing import baselines
from kfaclib.editing.edit import edit_weights, edited
from kfaclib.io.files import read_json
from kfaclib.toy import mislabelled
from kfaclib.vision import imagenet, vit
from kfcourse.paths import DATA

MLP = "*.mlp.*"


def small_vit(seed=0, classes=3, blocks=2):
    torch.manual_seed(seed)
    names = {i: "abcdefgh"[i] for i in range(classes)}
    model = ViTForImageClassification(
        ViTConfig(
            image_size=8,
            patch_size=4,
            num_channels=1,
            hidden_size=8,
            num_hidden_layers=blocks,
            num_attention_heads=2,
            intermediate_size=12,
            id2label=names,
            label2id={n: i for i, n in names.items()},
            initializer_range=0.5,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    )
    return model.double().eval()


def pixels(n=6, seed=1):
    return torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def same(one, other):
    return all(
        torch.allclose(one[n].A, other[n].A)
        and torch.allclose(one[n].G, other[n].G)
        and one[n].tokens == other[n].tokens
        for n in other
    )


def rng():
    return torch.Generator().manual_seed(0)


# images


def test_a_tenth_of_the_labels_is_wrong_and_only_that_depends_on_the_seed():
    one, two = mislabelled.make_images(0), mislabelled.make_images(1)
    assert one.wrong.sum() == 400 and ((one.given != one.true) == one.wrong).all()
    assert torch.equal(one.x, two.x) and torch.equal(one.true, two.true) and not torch.equal(one.wrong, two.wrong)


def test_the_halves_share_no_digit_and_neither_do_training_and_test():
    images = mislabelled.make_images(0)
    choose, report = (images.half(h) for h in mislabelled.HALVES)
    assert len(choose) + len(report) == len(images.x)
    assert not set(images.base[choose].tolist()) & set(images.base[report].tolist())
    assert len(images.x_test) == 1797 - mislabelled.BASE
    with pytest.raises(ValueError, match="one of"):
        images.half("test")


def test_no_two_training_images_are_equal_and_all_keep_the_range_of_the_digits():
    x = mislabelled.make_images(0).x.flatten(1)
    assert len(torch.unique(x, dim=0)) == len(x)
    assert (
        x.min() >= mislabelled.make_images(0).x_test.min() - 1e-5
        and x.max() <= mislabelled.make_images(0).x_test.max() + 1e-5
    )


def test_scores_count_what_they_say():
    given, true = torch.tensor([1, 1, 1, 1, 0, 0]), torch.tensor([0, 0, 0, 0, 0, 0])
    before = vit.scores(torch.tensor([1, 1, 0, 2, 0, 1]), given, true)
    assert before == {"memorized": 0.5, "recovered": 0.25, "recovered_of_memorized": 0.0, "clean": 0.5}
    learned = torch.tensor([True, True, False, False, True, True])
    after = vit.scores(torch.tensor([0, 1, 0, 0, 0, 0]), given, true, learned)
    assert after == {"memorized": 0.25, "recovered": 0.75, "recovered_of_memorized": 0.5, "clean": 1.0}


# factors


def test_exact_factors_are_the_enumerated_ones(mlp):
    net, x = mlp([4, 6, 3]), torch.randn(7, 4, dtype=torch.float64, generator=rng())
    layers = linear_layers(net, "*")
    mine = collect_factors(net, x.split(3), layers, labels="exact", progress=False)
    assert same(
        mine, {f"net.{n}": f for n, f in testing.exact_factors(net.net, x, linear_layers(net.net, "*")).items()}
    )


@pytest.mark.parametrize("tokens", ["all", "cls"])
def test_a_bfloat16_model_has_float32_factors_that_are_positive_semidefinite(tokens):
    """Against float64 sums of the very same bfloat16 activations and gradients."""
    model, batches = small_vit().bfloat16(), [{"pixel_values": x} for x in pixels(60).bfloat16().split(20)]
    layers = linear_layers(model, MLP)
    found = collect_factors(model, batches, layers, labels="exact", tokens=tokens, progress=False)
    inputs, gradients, A, G, count = {}, {}, dict.fromkeys(layers, 0), dict.fromkeys(layers, 0), 0
    rows = lambda x: (x[:, :1] if tokens == "cls" else x).flatten(0, 1).double()
    with capture(model, layers, on_input=inputs.__setitem__, on_output_gradient=gradients.__setitem__):
        for batch in batches:
            for c, _ in enumerate(backward_classes(model, batch)):
                for name in layers:
                    G[name] = G[name] + rows(gradients[name]).T @ rows(gradients[name])
                    A[name] = A[name] + (rows(inputs[name]).T @ rows(inputs[name]) if c == 0 else 0)
            count += len(rows(inputs[name]))
    for name, f in found.items():
        assert f.tokens == count
        for got, reference in ((f.A, A[name] / count), (f.G, G[name] / count)):
            assert got.dtype == torch.float32 and torch.equal(got, got.T)
            assert (got.double() - reference).norm() < 1e-4 * reference.norm()
            assert torch.linalg.eigvalsh(got.double())[0] > -1e-6 * reference.norm()


def test_exact_factors_of_a_vit_are_those_of_every_label_in_turn():
    """Brute force: the gradient for each label by autograd through the whole model, weighted by its probability."""
    model, x = small_vit(), pixels(4)
    layer = linear_layers(model, "*.1.mlp.fc2")
    (f,) = collect_factors(model, [{"pixel_values": x}], layer, labels="exact", progress=False).values()
    outputs, G = {}, 0
    (module,) = layer.values()
    handle = module.register_forward_hook(lambda m, i, o: outputs.update(z=o))
    log_p = torch.log_softmax(model(pixel_values=x).logits, -1)
    handle.remove()
    for n in range(4):
        for y in range(3):
            g = torch.autograd.grad(log_p[n, y], outputs["z"], retain_graph=True)[0].flatten(0, 1)
            G = G + log_p[n, y].exp().detach() * g.T @ g
    assert torch.allclose(f.G, G / (4 * 5)) and f.tokens == 20


def test_a_language_model_has_neither_exact_labels_nor_a_cls_token(tiny_olmo):
    model, ids = tiny_olmo(), torch.arange(3, 15).view(2, 6)
    layers = linear_layers(model, "*.0.mlp.up_proj")
    with pytest.raises(ValueError, match="too large to enumerate"):
        collect_factors(model, [ids], layers, labels="exact", progress=False)
    with pytest.raises(ValueError, match="no CLS token"):
        collect_factors(model, [ids], layers, tokens="cls", generator=rng(), progress=False)
    with pytest.raises(ValueError, match="give generator="):
        collect_factors(model, [ids], layers, progress=False)


def test_many_draws_approach_the_exact_expectation():
    model, x = small_vit(), pixels(4)
    layers = linear_layers(model, "*.1.mlp.fc2")
    (exact,) = collect_factors(model, [{"pixel_values": x}], layers, labels="exact", progress=False).values()
    errors = []
    for draws in (1, 400):
        batches = [{"pixel_values": x}] * draws
        (f,) = collect_factors(model, batches, layers, labels="sampled", generator=rng(), progress=False).values()
        errors.append(((f.G - exact.G).norm() / exact.G.norm()).item())
    assert errors[1] < 0.15 and errors[1] < errors[0]


def test_a_high_temperature_makes_all_labels_equally_likely():
    model, x = small_vit(), pixels(4)
    layers = linear_layers(model, "*.1.mlp.fc2")
    hot = collect_factors(model, [{"pixel_values": x}], layers, temperature=1e9, labels="exact", progress=False)
    with torch.no_grad():
        model.classifier.weight.mul_(1e-9)
        model.classifier.bias.zero_()
    flat = collect_factors(model, [{"pixel_values": x}], layers, labels="exact", progress=False)
    for name in layers:
        assert torch.allclose(hot[name].G / hot[name].G.trace(), flat[name].G / flat[name].G.trace())


def test_the_cls_token_alone():
    """In the last block only the CLS token reaches the loss, so G is the same matrix spread over fewer tokens; A is
    not.
    """
    model, x = small_vit(), pixels()
    layers = linear_layers(model, "*.1.mlp.*")
    every, cls = (
        collect_factors(model, [{"pixel_values": x}], layers, tokens=t, labels="exact", progress=False)
        for t in ("all", "cls")
    )
    for name in layers:
        assert cls[name].tokens == 6 and every[name].tokens == 30
        assert torch.allclose(cls[name].G, every[name].G * 5)
        assert not torch.allclose(cls[name].A, every[name].A, rtol=1e-2)


def test_what_does_not_apply_is_refused(mlp):
    net, x = mlp([4, 6, 3]), torch.randn(7, 4, dtype=torch.float64)
    layers = linear_layers(net, "*")
    with pytest.raises(ValueError, match="there is no CLS token to take"):
        collect_factors(net, [x], layers, tokens="cls", labels="exact", progress=False)
    with pytest.raises(ValueError, match="labels are 'exact', 'sampled' or 'data'"):
        collect_factors(net, [x], layers, labels="gold", progress=False)
    with pytest.raises(ValueError, match="goes with labels='exact' only"):
        collect_factors(net, [x], layers, labels="sampled", temperature=4.0, generator=rng(), progress=False)
    with pytest.raises(ValueError, match="no batch"):
        collect_factors(net, [], layers, labels="exact", progress=False)
    wide = mlp([4, 101])
    with pytest.raises(ValueError, match="this model has 101"):
        collect_factors(wide, [x], linear_layers(wide, "*"), labels="exact", progress=False)


def test_collecting_leaves_the_model_as_it_was():
    model = small_vit().train()
    collect_factors(model, [{"pixel_values": pixels()}], linear_layers(model, MLP), labels="exact", progress=False)
    assert model.training and all(p.requires_grad and p.grad is None for p in model.parameters())


# controls


def test_magnitude_keeps_the_largest():
    W = torch.tensor([[1.0, -5.0], [3.0, 0.5]])
    assert baselines.magnitude_edit(W, 0.5).tolist() == [[0, -5], [3, 0]]
    assert torch.equal(baselines.magnitude_edit(W, 1.0), W)


def test_a_perturbation_has_the_norm_that_was_asked_for():
    W = torch.randn(5, 3, generator=rng())
    assert math.isclose((baselines.noise_edit(W, 0.7, rng()) - W).norm().item(), 0.7, rel_tol=1e-5)


def test_every_method_changes_less_with_more_strength_and_repeats_itself():
    model = small_vit().float()
    layers = linear_layers(model, MLP)
    bases = decompose(
        collect_factors(model, [{"pixel_values": pixels().float()}], layers, labels="exact", progress=False)
    )
    for method, change in vit.methods(layers, bases).items():
        moved = [sum((w - layers[n].weight).norm().item() for n, w in change(s).items()) for s in (0.4, 0.9, 0.999)]
        assert moved[0] >= moved[1] >= moved[2] and moved[0] > 0, method
        again = change(0.4)
        assert all(torch.equal(w, again[n]) for n, w in change(0.4).items()), method


# the shipped checkpoint


def test_the_shipped_checkpoint_is_what_its_recipe_says():
    folder = DATA / "vit-tiny"
    model, images = mislabelled.load(folder)
    assert sum(p.stat().st_size for p in folder.iterdir()) < 5_000_000
    assert read_json(folder / "recipe.json") == {
        "seed": 0,
        "noise": mislabelled.NOISE,
        "epochs": mislabelled.EPOCHS,
        "labels": mislabelled.digest(images),
    }
    assert model.config.num_hidden_layers == 2 and not model.training


def test_a_checkpoint_with_other_labels_is_refused(tmp_path):
    mislabelled.save(small_vit(), tmp_path, {"seed": 0, "labels": "other"}, [])
    with pytest.raises(ValueError, match="no longer gives the labels"):
        mislabelled.load(tmp_path)


def test_training_learns_and_writes_a_folder_that_loads(tmp_path, monkeypatch):
    monkeypatch.setattr(mislabelled, "IMAGES", 256)
    mislabelled.train(tmp_path, epochs=5)
    model, images = mislabelled.load(tmp_path)
    (line,) = (json.loads(x) for x in (tmp_path / "training.jsonl").read_text().splitlines())
    assert line["epoch"] == 5 and line["clean"] > 0.15 and len(images.x) == 256
    assert vit.predict(model, images.x_test).shape == (497,)


# an ImageNet folder


@pytest.fixture
def folder(tmp_path):
    """Twelve pictures in three class folders, one of them with a wrong label, and the small ViT that says what it was
    given.
    """
    for i in range(12):
        name = "abc"[i % 3]
        (tmp_path / "train" / name).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 14), (20 * i, 20 * i, 20 * i)).save(
            tmp_path / "train" / name / f"p{i}.{'JPEG' if i % 2 else 'png'}"
        )
    (tmp_path / "wrong.json").write_text(json.dumps({"a/p0.png": "b"}))
    return tmp_path


@pytest.fixture
def processor(tmp_path):
    mislabelled.save(small_vit(), tmp_path / "model", {}, [])
    return AutoImageProcessor.from_pretrained(tmp_path / "model")


def test_a_folder_gives_paths_and_labels(folder):
    config = small_vit().config
    found = imagenet.read_folder(folder / "train", config, folder / "wrong.json")
    assert len(found.paths) == 12 and (found.given != found.true).sum() == 1
    assert found.given[found.paths.index(folder / "train" / "a" / "p0.png")] == 1
    clean = imagenet.read_folder(folder / "train", config)
    assert torch.equal(clean.given, clean.true)


def test_class_folders_without_names_in_the_model_count_alphabetically_if_all_are_there(folder):
    config = ViTConfig(num_labels=3)
    assert imagenet.class_numbers(["n02", "n01", "n03"], config) == {"n01": 0, "n02": 1, "n03": 2}
    with pytest.raises(ValueError, match="would be a guess"):
        imagenet.class_numbers(["n02", "n01"], config)


def test_a_folder_that_does_not_fit_is_refused_with_what_is_wrong(folder, tmp_path):
    config = small_vit().config
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        imagenet.read_folder(folder / "nowhere", config)
    with pytest.raises(ValueError, match="no image in a class folder"):
        imagenet.read_folder(folder / "train" / "a", config)
    for content, message in (({"a/p99.png": "b"}, "no such image"), ({"a/p0.png": "z"}, "which has no folder")):
        (folder / "wrong.json").write_text(json.dumps(content))
        with pytest.raises(ValueError, match=message):
            imagenet.read_folder(folder / "train", config, folder / "wrong.json")


def test_pictures_become_what_the_model_takes(folder, processor):
    paths = sorted((folder / "train").glob("*/*"))
    got = list(imagenet.batches(paths, processor, channels=1, size=5))
    assert [len(b["pixel_values"]) for b in got] == [5, 5, 2] and got[0]["pixel_values"].shape[1:] == (1, 8, 8)
    (folder / "train" / "a" / "p0.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="p0.png cannot be read"):
        list(imagenet.batches(paths, processor, channels=1))


def test_a_model_that_is_no_vit_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "resnet"}))
    with pytest.raises(ValueError, match="'resnet' model"):
        imagenet.load(tmp_path)
    with pytest.raises(ValueError, match="neither a ViT's folder"):
        imagenet.load(tmp_path / "nothing")


def test_the_shipped_vit_through_a_folder_of_pictures(tmp_path):
    """The ViT-B/16 path on digits as PNG files: what it memorized before and after is what the arrays say."""
    model, images = mislabelled.load()
    rows = torch.cat([images.wrong.nonzero()[:60, 0], (~images.wrong).nonzero()[:120, 0]])
    folder, wrong = mislabelled.write_folder(tmp_path, images, rows)
    model, processor = imagenet.load(DATA / "vit-tiny")
    train = imagenet.read_folder(folder, model.config, wrong)
    weights = {n: layer.weight.clone() for n, layer in linear_layers(model, MLP).items()}
    result = imagenet.edit_folder(model, processor, train, train, mass=0.75, images=120)
    said = vit.predict(model, images.x[rows])
    direct = vit.scores(said, images.given[rows], images.true[rows])
    assert abs(result["baseline"]["memorized"] - direct["memorized"]) <= 2 / 60
    assert result["K-FAC"]["memorized"] < result["baseline"]["memorized"] - 0.2
    assert result["wrong"] == 60 and len(result["kept"]) == 4 and all(0 < k < 1 for k in result["kept"].values())
    assert all(torch.equal(w, linear_layers(model, MLP)[n].weight) for n, w in weights.items())
    with pytest.raises(ValueError, match="nothing memorized to take out"):
        imagenet.edit_folder(model, processor, imagenet.read_folder(folder, model.config))
    with torch.no_grad(), edited(linear_layers(model, "classifier"), {"classifier": -model.classifier.weight}):
        with pytest.raises(ValueError, match="was not trained on them"):
            imagenet.edit_folder(model, processor, train, images=120)


def test_the_edit_with_mass_one_changes_nothing():
    model = small_vit().float()
    layers = linear_layers(model, MLP)
    bases = decompose(
        collect_factors(
            model, [{"pixel_values": pixels().float()}], layers, tokens="cls", labels="exact", progress=False
        )
    )
    assert all(torch.equal(w, layers[n].weight) for n, w in edit_weights(layers, bases, 1.0).items())
