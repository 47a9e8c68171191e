"""`kfac vit`: the edit of a ViT on a folder of images."""

from dataclasses import dataclass

from kfaclib.commands.shared import JSON, write
from kfaclib.io import files, report
from kfaclib.io.options import Options, option, positive, share


@dataclass(frozen=True)
class VitConfig(Options):
    """A ViT, the images and wrong labels that it was trained on, and how it is edited."""

    model: str = option(
        required=True,
        help="a ViTForImageClassification that was trained on the wrong labels: a folder, or a name on the hub",
    )
    revision: str | None = option(help="commit or tag on the hub")
    images: str = option(required=True, help="folder of the training images: one folder per class")
    wrong: str = option(
        required=True, help='JSON file of the wrong labels: {"class/picture.JPEG": "the class it was given"}'
    )
    validation: str | None = option(help="folder of validation images, in the same format")
    mass: float = option(0.75, read=share, help="share of curvature mass to keep, in (0, 1]")
    rows: int = option(
        10_000, read=positive, help="images that curvature is collected on, and clean images that are measured"
    )
    seed: int = option(0, read=int, help="of the images and labels that are drawn")
    json: str | None = option(help=JSON)


def vit(config: VitConfig) -> dict:
    """Print what the ViT memorized before and after the edit; the same as a dict."""
    from kfaclib.vision import imagenet

    files.check_result(config.json)
    model, processor = imagenet.load(config.model, config.revision)
    folder = imagenet.read_folder(config.images, model.config, config.wrong)
    validation = imagenet.read_folder(config.validation, model.config) if config.validation else None
    result = imagenet.edit_folder(
        model, processor, folder, validation, mass=config.mass, images=config.rows, seed=config.seed
    )
    columns = list(result["baseline"])
    print(report.table(["", *columns], [[name, *result[name].values()] for name in ("baseline", "K-FAC")]))
    result = {"model": str(config.model), "provenance": files.provenance(config.seed), **result}
    write(config, result)
    return result
