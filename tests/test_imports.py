"""What an import loads, seen in one fresh process: nobody waits seconds for what is never called."""

import json
import subprocess
import sys

import pytest

CODE = """if True:
    import json, sys

    def loaded(*names):
        return [name for name in sys.modules if name.startswith(names)]

    import kfaclib
    from kfcourse import check, exercise
    from kfaclib.commands import cli
    cli.parser("")
    found = {"at once": loaded("torch", "transformers", "nbformat")}

    import torch
    from kfaclib.curvature import exact, factors, layers, per_example, products
    from kfaclib.toy import digits, grokking
    found["curvature"] = loaded("transformers", "scipy", "nbformat")
    from kfaclib.collecting import costs, planning
    from kfaclib.lm import corpora, detector, harness, models, presets, recitation
    from kfaclib.toy import canaries, mislabelled, small_olmo2
    found["models"] = loaded("transformers.modeling_utils", "scipy.stats", "nbformat")
    cli.parser()
    found["help"] = loaded("transformers.models.olmo2.modeling")

    names = kfaclib.__all__
    found["names"] = names
    found["missing"] = [n for n in names if getattr(kfaclib, n, None) is None or n not in dir(kfaclib)]
    found["folders"] = bool(kfaclib.editing.__doc__) and callable(kfaclib.collecting.run)
    found["the same"] = kfaclib.collecting.CollectConfig is kfaclib.CollectConfig
    print(json.dumps(found))"""


@pytest.fixture(scope="module")
def found():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_help_loads_no_model_class(found):
    """They take seconds to import; and the list of commands needs neither them nor PyTorch."""
    assert found["at once"] == found["help"] == []


def test_a_kernel_loads_only_what_its_chapter_uses(found):
    """A chapter's first cell would otherwise wait seconds for what it never calls, in every kernel and every box."""
    assert found["at once"] == found["curvature"] == found["models"] == []


def test_import_kfaclib_maps_the_house_and_imports_on_first_use(found):
    import kfaclib

    assert found["at once"] == [] and 12 <= len(found["names"]) <= 18
    assert found["missing"] == [] and found["folders"] and found["the same"]
    assert all(folder + "/" in kfaclib.__doc__ for folder in ("curvature", "editing", "collecting", "commands"))
