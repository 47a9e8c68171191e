"""Near-duplicates as a control for chapter 7: does an edit recover a true label because other copies of the same digit
had it? The same number of training images is taken once from as many digits, and once from a third of them, three
copies of each.
"""

from kfaclib.curvature.layers import linear_layers
from kfaclib.editing.baselines import low_ranks
from kfaclib.io import files
from kfaclib.toy import mislabelled
from kfaclib.vision import vit
from kfcourse.experiments.vit import curvature

SEEDS, IMAGES, EPOCHS = (0, 1, 2), 1299, 200
DIGITS = {"no copies": IMAGES, "three copies": IMAGES // 3}  # how many different digits the images show
METHODS = ("K-FAC", "SVD", "random basis", "random noise")


def examine(seed, different):
    """Train one net and edit it at the agreed price: what it knew before, and a row for each method."""
    images, model = mislabelled.make_images(seed, IMAGES, different), mislabelled.make_model(seed)
    log = mislabelled.fit(model, images, seed, epochs=EPOCHS, desc=f"{different} digits, seed {seed}")
    model.eval()
    layers, before, learned = linear_layers(model, mislabelled.LAYERS), {}, {}
    for half in mislabelled.HALVES:
        before[half], learned[half] = vit.measure(model, images, half)
    changes, rows = vit.methods(layers, curvature(model, images, layers), seed), []
    for method in METHODS:
        grid = low_ranks(layers) if method == "SVD" else None
        strengths = vit.at_price(model, images, layers, changes[method], grid=grid)
        found = {
            half: vit.mixed(model, images, layers, changes[method], strengths, half, learned[half])
            for half in mislabelled.HALVES
        }
        rows.append({"method": method, **found})
    exam = images.exam("report")
    memorized = int((learned["report"] & images.wrong[exam]).sum())
    return {"seed": seed, "before": before, "memorized": memorized, "training": log[-1], "rows": rows}


def run(out):
    """Three seeds of both kinds: about eight minutes on one core."""
    nets = {name: [examine(seed, different) for seed in SEEDS] for name, different in DIGITS.items()}
    files.write_json(
        out,
        {
            "provenance": files.provenance(list(SEEDS)),
            "images": IMAGES,
            "digits": DIGITS,
            "target": vit.CLEAN,
            "nets": nets,
        },
    )
