"""`kfac collect`: the factors of some layers, in a folder that can be gone on with."""

from kfaclib.collecting import collection
from kfaclib.collecting.collection import CollectConfig


def collect(config: CollectConfig) -> None:
    """Collect A and G into `config.out`; all of it is `kfaclib.collecting.run`."""
    collection.run(config)
