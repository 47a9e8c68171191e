"""Who may import whom: each layer of the library knows only those below it, and none of it knows the course."""

import ast
from pathlib import Path

import pytest

import kfaclib

ROOT = Path(kfaclib.__file__).parent
# from the ground up; a folder imports from its own line and from the lines above it here
LAYERS = (
    {"io", "kernels"},
    {"curvature"},
    {"editing"},
    {"lm", "vision"},
    {"toy"},
    {"smollm2"},
    {"collecting"},
    {"bench"},
    {"commands"},
    {"__main__", "__init__"},
)
FLOOR = {folder: number for number, layer in enumerate(LAYERS) for folder in layer}
NUMERICS = ("kernels", "curvature", "editing", "collecting", "lm", "vision", "toy", "smollm2")


def imported(path):
    """Full names of all modules that a file imports, anywhere in it; `from a import b` counts as a.b and as a."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are written in full"
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def folder_of(name):
    """The folder, or module at the top, of kfaclib that a full name means."""
    inside = name.split(".")[1:]
    there = inside and ((ROOT / inside[0]).is_dir() or (ROOT / f"{inside[0]}.py").exists())
    return inside[0] if there else None


FILES = sorted(ROOT.rglob("*.py"))


def test_every_folder_has_a_layer():
    assert {path.relative_to(ROOT).parts[0].removesuffix(".py") for path in FILES} <= set(FLOOR)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_module_imports_only_from_its_own_layer_and_those_below(path):
    own = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for name in imported(path):
        assert name.split(".")[0] != "kfcourse", f"{name}: the library knows nothing of the course"
        if name.startswith("kfaclib.") and (folder := folder_of(name)):
            same = folder == own
            assert same or FLOOR[folder] < FLOOR[own], (
                f"{path.relative_to(ROOT)} imports {name} from above or beside it"
            )


@pytest.mark.parametrize("folder", NUMERICS)
def test_the_numerics_draw_nothing(folder):
    for path in (ROOT / folder).rglob("*.py"):
        for name in imported(path):
            assert name.split(".")[0] not in ("matplotlib", "ipywidgets", "IPython", "anywidget"), (path, name)


def test_a_and_g_are_summed_in_one_module():
    """No module but `factors` calls `syrk_`; `exact` enumerates, for tests and for reading."""
    callers = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "curvature").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "syrk_"
    }
    assert callers == {"curvature/factors.py"}
