"""Collecting the curvature of a whole model: planned, resumable, on one process or several.

`run(CollectConfig(...))` is `kfac collect` as a Python call.
"""


def __getattr__(name):  # on first use: most modules here need neither a corpus nor a model
    if name in ("CollectConfig", "run"):
        from kfaclib.collecting import collection

        return getattr(collection, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
