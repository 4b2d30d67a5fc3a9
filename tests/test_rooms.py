"""The arrows of the design, read off the import lines."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FORBIDDEN = {"bench": {"methods"}, "data": {"bench", "methods"}, "methods": {"data"}}


def imported_modules(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("room", FORBIDDEN)
def test_a_room_imports_only_what_it_may(room):
    files = list((ROOT / room).rglob("*.py"))
    assert len(files) > 3
    wrong = [
        f"{path.name}: {module}"
        for path in files
        for module in imported_modules(path)
        if module.partition(".")[0] in FORBIDDEN[room]
    ]
    assert not wrong


def test_methods_import_nothing_of_the_engine_but_the_interface():
    files = list((ROOT / "methods").rglob("*.py"))
    used = {m for path in files for m in imported_modules(path) if m.partition(".")[0] == "bench"}
    assert used == {"bench.restorer"}


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_listing_loads_neither_torch_nor_numpy_nor_a_restorer():
    loaded = run_python(
        "import sys; sys.argv = ['bench', 'list']\n"
        "from bench.cli import app\n"
        "app(standalone_mode=False)\n"
        "print('LOADED', *sorted(sys.modules))"
    )
    modules = loaded.rpartition("LOADED")[2].split()
    assert "bench.registry" in modules
    heavy = {"torch", "numpy", "bm3d", "skimage", "scipy", "pandas", "pooch", "requests"}
    assert not [m for m in modules if m in heavy or (m.startswith("methods") and m != "methods")]


@pytest.mark.parametrize("path", [p for room in ("bench", "data") for p in (ROOT / room).rglob("*.py")], ids=str)
def test_public_names_are_sorted(path):
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            names = ast.literal_eval(node.value)
            isort_order = sorted(names, key=lambda n: (not n.isupper(), not n[0].isupper(), n))
            assert names == isort_order
